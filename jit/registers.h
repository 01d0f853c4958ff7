// Where the guest's registers live while translated code runs, for 16-, 32- and 64-bit code alike:
//
//     rAX rCX rDX rBX rBP rSI rDI r8 r9 r12 r13   in themselves
//     rSP                                         in r14
//     r10 r11 r14 r15                             in CpuState
//
// r15 points into CpuState, r10 and r11 are free for translated code, and the host's rSP is its own.
#pragma once

#include <asmjit/x86.h>

#include "core/cpu/state.h"
#include "core/cpu/tlb.h"

namespace lodge::jit {

namespace x86 = asmjit::x86;

inline const x86::Gp kTemp0 = x86::r10;
inline const x86::Gp kTemp1 = x86::r11;
inline const x86::Gp kState = x86::r15;

// r15 is this far behind the state's start, so that the registers are within reach of a one-byte displacement.
constexpr i32 kStateBias = 128;

inline x86::Mem state_at(size_t offset, unsigned size) {
    return x86::Mem(kState, static_cast<i32>(offset) - kStateBias, size);
}
#define LODGE_STATE(field, size) ::lodge::jit::state_at(offsetof(::lodge::CpuState, field), size)

inline x86::Mem gpr_in_state(unsigned reg, unsigned size) {
    return state_at(offsetof(CpuState, gpr) + 8 * reg, size);
}

// From a linear address to the offset of its entry in the TLB.
constexpr unsigned kTlbIndexShift = 12 - 5;  // page number times the size of an entry
constexpr i32 kTlbIndexMask = static_cast<i32>((Tlb::kEntries - 1) * sizeof(TlbEntry));

constexpr u8 kHostOfGuest[16] = {0, 1, 2, 3, 14, 5, 6, 7, 8, 9, 0xFF, 0xFF, 12, 13, 0xFF, 0xFF};
constexpr bool is_pinned(unsigned reg) {
    return kHostOfGuest[reg] != 0xFF;
}

}  // namespace lodge::jit
