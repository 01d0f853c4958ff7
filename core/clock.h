// Guest time. Devices and the TSC ask here, never the host.
//
// realtime: guest time follows the host's monotonic clock, scaled by `speed`, and stands still while paused.
// virtual:  guest time = (retired instructions + instructions' worth of idle time skipped by HLT) x a fixed period.
//
// The unit is the nanosecond since the machine was made. Only the CPU thread may call, but for nothing else.
#pragma once

#include <algorithm>
#include <ctime>

#include "core/base/state_io.h"
#include "core/base/types.h"
#include "core/host_ticks.h"

namespace lodge {

enum class ClockMode : u8 { realtime, virtual_time };

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;
constexpr u64 kNever = ~u64{0};

// The realtime clock between two looks at the host's: it goes on with the host's time stamp counter. Translated code
// reads it by itself (jit/emit_system.cpp):
//
//     passed = ticks now - ticks;  passed < span, or ask GuestClock
//     last = max(last, guest + (passed * nanoseconds_per_tick >> kFraction))
struct TickAnchor {
    static constexpr unsigned kFraction = HostTicks::kFraction;

    u64 ticks = 0;
    u64 span = 0;   // ticks; 0: the counter is no clock now
    u64 guest = 0;  // nanoseconds
    u64 nanoseconds_per_tick = 0;
    u64 last = 0;  // what has been told: time does not go back when the host adjusts its clock
};

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
        const u64 passed = HostTicks::now() - anchor_.ticks;
        if (passed >= anchor_.span) [[unlikely]]
            return look_at_host();
        return tell(anchor_.guest + static_cast<u64>(u128{passed} * anchor_.nanoseconds_per_tick >> kFraction));
    }
    const TickAnchor& anchor() const { return anchor_; }
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
        anchor_.span = 0;
    }
    void resume() {
        if (paused_) host_base_ = host_now();
        paused_ = false;
        anchor_.span = 0;
    }
    // Share of real speed, in thousandths of a percent: 100'000 is full speed. At least 1.
    void set_speed(u64 millipercent) {
        guest_base_ = now();
        host_base_ = host_now();
        speed_ = millipercent ? millipercent : 1;
        anchor_.span = 0;
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
        guest_base_ = anchor_.last = now_at_save;
        host_base_ = host_now();
        anchor_.span = 0;
    }

    // The host's monotonic clock, nanoseconds.
    static u64 host_now() { return HostTicks::monotonic(); }

  private:
    static constexpr unsigned kFraction = TickAnchor::kFraction;
    static constexpr u64 kAnchorHolds = 1'000'000;  // nanoseconds until the host's clock is looked at again

    u64 tell(u64 time) const { return anchor_.last = std::max(anchor_.last, time); }
    // Realtime, by the host's clock; and anchors the counter there, if it is good for that.
    u64 look_at_host() const {
        if (paused_) return guest_base_;
        const HostTicks::Reading host = ticks_.read();
        const u64 guest = guest_base_ + scale(host.nanoseconds - host_base_);
        const u64 rate = speed_ == 100'000 ? ticks_.rate() : 0;
        anchor_ = {host.ticks, rate ? (kAnchorHolds << kFraction) / rate : 0, guest, rate, anchor_.last};
        return tell(guest);
    }
    u64 scale(u64 host) const { return speed_ == 100'000 ? host : static_cast<u64>(u128{host} * speed_ / 100'000); }

    ClockMode mode_;
    bool paused_ = false;
    u64 speed_ = 100'000;
    u64 wall_base_ = 0;
    u64 position_ = 0;
    u64 skipped_ = 0;
    u64 guest_base_ = 0;
    u64 host_base_ = 0;
    // What reading the clock learns.
    mutable HostTicks ticks_;
    mutable TickAnchor anchor_;
};

}  // namespace lodge
