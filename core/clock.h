// Guest time. Devices and the TSC ask here, never the host.
//
// realtime: guest time follows the host's monotonic clock, scaled by `speed`, and stands still while paused.
// virtual:  guest time = (retired instructions + instructions' worth of idle time skipped by HLT) x a fixed period.
//
// The unit is the nanosecond since the machine was made. Only the CPU thread may call, but for nothing else.
#pragma once

#include <ctime>

#include "core/base/state_io.h"
#include "core/base/types.h"

namespace lodge {

enum class ClockMode : u8 { realtime, virtual_time };

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;
constexpr u64 kNever = ~u64{0};

class GuestClock {
  public:
    // One instruction takes one nanosecond on the virtual clock, so guests measure a 1 GHz CPU in both modes.
    static constexpr u64 kTscHertz = 1'000'000'000;
    // Virtual machines all start at this wall-clock second: 2026-01-01 00:00 UTC.
    static constexpr u64 kVirtualEpoch = 1'767'225'600;

    explicit GuestClock(ClockMode mode)
        : mode_(mode), wall_base_(mode == ClockMode::realtime ? static_cast<u64>(std::time(nullptr)) : kVirtualEpoch) {
        host_base_ = host_now();
    }

    ClockMode mode() const { return mode_; }

    u64 now() const {
        if (mode_ == ClockMode::virtual_time) return position_ + skipped_;
        return paused_ ? guest_base_ : guest_base_ + scale(host_now() - host_base_);
    }
    // Seconds since 1970 at guest time 0, as the host had it then (realtime) or kVirtualEpoch.
    u64 wall_base() const { return wall_base_; }
    u64 tsc() const { return now(); }

    // Virtual: the executor says how many instructions have retired, before anything asks for the time.
    u64 position() const { return position_; }
    void set_position(u64 retired) { position_ = retired; }
    // Virtual: HLT waits until `when` by jumping there. Realtime: nothing to do.
    void skip_to(u64 when) {
        if (mode_ == ClockMode::virtual_time && when > now()) skipped_ += when - now();
    }

    // Realtime: stops and restarts the guest's time.
    void pause() {
        if (!paused_) guest_base_ = now();
        paused_ = true;
    }
    void resume() {
        if (paused_) host_base_ = host_now();
        paused_ = false;
    }
    // Share of real speed, in thousandths of a percent: 100'000 is full speed. At least 1.
    void set_speed(u64 millipercent) {
        guest_base_ = now();
        host_base_ = host_now();
        speed_ = millipercent ? millipercent : 1;
    }
    // Realtime: host nanoseconds until guest time `when`; 0 when it has come.
    u64 host_time_until(u64 when) const {
        const u64 current = now();
        return when <= current ? 0 : static_cast<u64>(u128{when - current} * 100'000 / speed_);
    }

    void state(StateIo& io) {
        u64 now_at_save = now();
        io.section("clock", 1, [&] {
            io.field("now", now_at_save);
            io.field("position", position_);
            io.field("wall_base", wall_base_);
        });
        if (!io.loading()) return;
        skipped_ = now_at_save - position_;
        guest_base_ = now_at_save;
        host_base_ = host_now();
    }

    // The host's monotonic clock, nanoseconds.
    static u64 host_now() {
        timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        return static_cast<u64>(time.tv_sec) * kNanosecondsPerSecond + static_cast<u64>(time.tv_nsec);
    }

  private:
    u64 scale(u64 host) const { return speed_ == 100'000 ? host : static_cast<u64>(u128{host} * speed_ / 100'000); }

    ClockMode mode_;
    bool paused_ = false;
    u64 speed_ = 100'000;
    u64 wall_base_ = 0;
    u64 position_ = 0;
    u64 skipped_ = 0;
    u64 guest_base_ = 0;
    u64 host_base_ = 0;
};

}  // namespace lodge
