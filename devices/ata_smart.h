// SMART of a disk that cannot wear out: the attributes, logs and self-tests that tools expect to find.
// Source: ATA/ATAPI-6 (T13/1410D revision 3b) 8.55, SMART; ATA-3 annex B for the attributes, which later standards
// leave to vendors and all tools still read.
#pragma once

#include <array>
#include <optional>

#include "core/base/state_io.h"
#include "core/base/types.h"

namespace lodge {

class AtaSmart {
  public:
    using Page = std::array<u8, 512>;

    // `now` everywhere: guest time in nanoseconds; power-on is 0.

    bool enabled() const { return enabled_; }
    void enable(bool on) { enabled_ = on; }
    // Power-on: tests are forgotten, the log is not, nor whether SMART is enabled.
    void stop_test() { running_ = 0; }

    Page data(u64 now);
    Page thresholds() const;
    // The log's only page; nothing for a log that this disk does not have.
    std::optional<Page> log(u8 address, u64 now);
    // SMART EXECUTE OFF-LINE IMMEDIATE. False: no such test.
    bool run_test(u8 kind, u64 now);

    // In a section named "smart".
    void state(StateIo& io);

  private:
    static constexpr size_t kEntries = 21;
    struct Entry {
        u8 kind = 0;
        u8 status = 0;
        u16 hour = 0;
    };

    void update(u64 now);
    void record(u8 kind, u8 status, u64 now);
    u8 execution_status(u64 now) const;
    Page self_test_log() const;

    bool enabled_ = true;
    bool offline_done_ = false;
    u8 last_status_ = 0;  // of the last self-test, as byte 363 of the data shows it
    u8 running_ = 0;      // the self-test's kind; 0 for none
    u64 started_ = 0;
    u8 newest_ = 0;  // of the log: 1..21, 0 when it is empty
    std::array<Entry, kEntries> entries_{};
};

}  // namespace lodge
