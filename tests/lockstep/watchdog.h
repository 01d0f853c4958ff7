// Ends what would never end: a CPU that faults into its own handler's first instruction for ever retires nothing, and
// no budget stops it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "core/cpu/cpu.h"

namespace lodge::lockstep {

class Watchdog {
  public:
    Watchdog(Cpu& a, Cpu& b) : thread_([this, &a, &b](std::stop_token stop) { watch(stop, a, b); }) {}

    // All is well; called often.
    void pat() { pats_.fetch_add(1, std::memory_order_relaxed); }
    // Has kicked since.
    bool has_bitten() const { return bitten_at_.load() == pats_.load(); }

  private:
    static constexpr std::chrono::seconds kPatience{30};

    void watch(std::stop_token stop, Cpu& a, Cpu& b) {
        u64 seen = 0;
        std::unique_lock lock(mutex_);
        while (!wake_.wait_for(lock, stop, kPatience, [&] { return stop.stop_requested(); })) {
            const u64 pats = pats_.load();
            if (pats == seen) {
                bitten_at_.store(pats);
                a.request_attention(kAttentionKick);
                b.request_attention(kAttentionKick);
            }
            seen = pats;
        }
    }

    std::atomic<u64> pats_{0}, bitten_at_{~u64{0}};
    std::mutex mutex_;
    std::condition_variable_any wake_;
    std::jthread thread_;
};

}  // namespace lodge::lockstep
