#include "core/host_ticks.h"

#include <cpuid.h>

namespace lodge {

namespace {

// CPUID 80000007H, EDX bit 8: the counter runs at one rate in every state of the processor (SDM vol. 3, 17.17.1).
bool counter_is_invariant() {
    u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) && (edx & 1u << 8);
}

// Two rates of one counter differ by less than this share, in parts of 2^kShareBits: clocks are adjusted by 500 parts
// per million at most, and a reading that was interrupted in the middle is forgiven.
constexpr unsigned kShareBits = 9;

}  // namespace

HostTicks::HostTicks() : invariant_(counter_is_invariant()) {
    base_ = next_base_ = {now(), monotonic()};
}

HostTicks::Reading HostTicks::read() {
    const Reading reading{now(), monotonic()};
    const u64 ticks = reading.ticks - base_.ticks, nanoseconds = reading.nanoseconds - base_.nanoseconds;
    if (!invariant_ || nanoseconds < kShortestBase) return reading;
    const u64 rate = ticks >> 63 || ticks == 0 ? 0 : static_cast<u64>((u128{nanoseconds} << kFraction) / ticks);
    const u64 apart = rate > rate_ ? rate - rate_ : rate_ - rate;
    if (rate == 0 || (rate_ && apart > rate_ >> kShareBits)) {
        // The host slept, or has moved to another machine: begin anew.
        rate_ = 0;
        base_ = next_base_ = reading;
        return reading;
    }
    rate_ = rate;
    if (reading.nanoseconds - next_base_.nanoseconds > kLongestBase) {
        base_ = next_base_;
        next_base_ = reading;
    }
    return reading;
}

}  // namespace lodge
