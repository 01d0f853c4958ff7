// The machine-check registers: the global ones and kBanks banks, as a P6 processor has them. Nothing in lodge breaks,
// so every status register stays clear; what systems set up reads back. Source: SDM vol. 3, "Machine-check
// architecture", and vol. 4, table 2-2.
#pragma once

#include <array>

#include "core/base/state_io.h"
#include "core/base/types.h"

namespace lodge {

class MachineCheck {
  public:
    static constexpr unsigned kBanks = 5;  // a P6's

    // Whether the MSR is one of these.
    static bool holds(u32 index);

    void reset() { *this = MachineCheck{}; }
    void state(StateIo& io);

    // Of an MSR that is one of these.
    u64 read(u32 index) const;
    // False, and nothing changed, where the processor raises #GP(0).
    bool write(u32 index, u64 value);

  private:
    u64 global_status_ = 0;
    u64 global_control_ = 0;
    std::array<u64, kBanks> bank_control_{};
};

}  // namespace lodge
