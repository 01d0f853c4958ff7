// The host's time stamp counter as a clock: how long one tick takes, learnt from the host's monotonic clock.
#pragma once

#include <ctime>

#include "core/base/types.h"

namespace lodge {

class HostTicks {
  public:
    // The rate is a fixed-point number of nanoseconds per tick with this many fractional bits.
    static constexpr unsigned kFraction = 32;

    struct Reading {
        u64 ticks = 0;
        u64 nanoseconds = 0;  // of the monotonic clock
    };

    static u64 now() { return __builtin_ia32_rdtsc(); }
    // The host's monotonic clock, nanoseconds.
    static u64 monotonic() {
        timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
    }

    HostTicks();

    // Reads both clocks, and learns from every reading.
    Reading read();
    // Nanoseconds per tick; 0 while they are not known, or the counter is not to be trusted.
    u64 rate() const { return rate_; }

  private:
    static constexpr u64 kShortestBase = 20'000'000;     // nanoseconds between the readings that give the rate
    static constexpr u64 kLongestBase = 10'000'000'000;  // beyond, a rate would hide how the host adjusts its clock

    bool invariant_ = false;
    Reading base_, next_base_;
    u64 rate_ = 0;
};

}  // namespace lodge
