// What each instruction of a block needs of the flags and does to them, and which flags somebody still wants after it.
#pragma once

#include <span>
#include <vector>

#include "core/decode/insn.h"

namespace lodge::jit {

struct InsnFlags {
    u32 reads = 0;  // EFLAGS bits it looks at
    u32 kills = 0;  // bits that it replaces whatever they were
    u32 keeps = 0;  // bits that it may replace or leave
    // Bits that must be right after it: `live` for what follows in the block when nothing faults, and at its end;
    // `exact` also for a fault on the way.
    u32 live = 0;
    u32 exact = 0;
    u16 writes = 0;  // general registers it may change, one bit each
};

// Whether this host's instruction leaves flags that the manuals call undefined as they were, so that the translation
// must put the guest's there first. Measured once per process.
bool keeps_undefined_flags(Opcode opcode);

// `native[i]`: instruction i is translated to itself, and can fault only as far as `faults[i]` says; any other is
// executed by the interpreter, which needs all flags.
std::vector<InsnFlags> analyse_flags(std::span<const Insn> insns, const std::vector<bool>& native,
                                     const std::vector<bool>& faults);

}  // namespace lodge::jit
