// Integer arithmetic with its flags, as pure functions: operands in, value out, StatusFlags updated.
//
// The host is an x86-64 and has the same instructions, so each function is that instruction and LAHF/SETO: exact by
// construction, undefined flags included (they come out as this host's CPU leaves them).
#pragma once

#include "core/cpu/state.h"

namespace lodge::alu {

// LAHF and SETO put the flags where StatusFlags has them: AH = SF ZF 0 AF 0 PF 1 CF, AL = OF.
#define LODGE_TAKE_FLAGS "lahf\n\tseto %%al"

inline void put_flags(StatusFlags& flags, u16 ax) {
    store<u16>(&flags, ax);
}

#define LODGE_BINARY(name, instruction)                                                        \
    template <class T>                                                                         \
    inline T name(T a, T b, StatusFlags& flags) {                                              \
        u16 ax;                                                                                \
        asm(instruction " %2, %0\n\t" LODGE_TAKE_FLAGS : "+q"(a), "=&a"(ax) : "qm"(b) : "cc"); \
        put_flags(flags, ax);                                                                  \
        return a;                                                                              \
    }

LODGE_BINARY(add, "add")
LODGE_BINARY(sub, "sub")
LODGE_BINARY(bit_and, "and")
LODGE_BINARY(bit_or, "or")
LODGE_BINARY(bit_xor, "xor")

#undef LODGE_BINARY

}  // namespace lodge::alu
