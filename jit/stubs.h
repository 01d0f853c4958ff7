// Host code that all translations share: entering and leaving, and the call of the interpreter.
#pragma once

#include "core/cpu/cpu.h"
#include "jit/code_memory.h"

namespace lodge::jit {

class Translator;

// The table of indirect targets, looked up by translated code too.
constexpr unsigned kJumpEntries = 32768;
constexpr unsigned kJumpEntryBytes = 32;
constexpr unsigned kJumpHashShift = 9;
inline unsigned jump_index(u64 ip) {
    return static_cast<unsigned>(ip ^ ip >> kJumpHashShift) % kJumpEntries;
}

struct Stubs {
    // Called as a function. `state` is the biased address (registers.h).
    using Enter = void (*)(u8* state, const u8* code);
    Enter enter = nullptr;
    const u8* leave = nullptr;   // jumped to: stores the guest's registers and returns
    const u8* follow = nullptr;  // jumped to with the Link in r10 and its target in state.ip: goes on there, or leaves
    const u8* fall_back = nullptr;  // called with the Fallback in r10; comes back only if translated code may go on
    // Called; they change r10 and the flags. What they load may be loaded already.
    const u8* load_sse = nullptr;
    const u8* load_x87 = nullptr;
    // Called with the linear address of up to 4 or 8 bytes in r10 and the TLB's StackCell in r11, change both and the
    // flags. Carry clear: r10 is the host's address, and the cell, but at the page's end, now for that page. Carry set:
    // the page is no stack, or the access may leave it.
    const u8* find_stack_4 = nullptr;
    const u8* find_stack_8 = nullptr;
    // Called with a linear address in r10 and an AccessCell in r11, changes r11 and the flags. Carry clear: the cell
    // now covers the bytes there.
    const u8* refill_cell = nullptr;
    // Called with the target of an indirect branch in r11, which its entry in the jump cache is not good for. Changes
    // r10, r11 and the flags. Carry clear: r10 is the entry's address, and it is good now. Carry set: it could not be
    // made so.
    const u8* find_jump = nullptr;
    u64 bytes = 0;  // of code memory used
};

// `tlb`: any, for the layout.
Stubs make_stubs(CodeMemory& memory, const Tlb& tlb);

}  // namespace lodge::jit
