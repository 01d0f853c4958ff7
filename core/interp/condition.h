// The sixteen conditions of Jcc, SETcc and CMOVcc, numbered as in their opcodes (SDM vol. 2, appendix B, table B-10).
#pragma once

#include <array>
#include <utility>

#include "core/interp/operands.h"

namespace lodge {

template <unsigned Code>
inline bool condition(const StatusFlags& flags) {
    if constexpr (Code & 1) {
        return !condition<Code - 1>(flags);
    } else if constexpr (Code == 0) {
        return flags.overflow;
    } else if constexpr (Code == 2) {
        return flags.carry();
    } else if constexpr (Code == 4) {
        return flags.zero();
    } else if constexpr (Code == 6) {
        return flags.low & (kFlagCarry | kFlagZero);
    } else if constexpr (Code == 8) {
        return flags.sign();
    } else if constexpr (Code == 10) {
        return flags.parity();
    } else if constexpr (Code == 12) {
        return (flags.low >> 7) != flags.overflow;
    } else {
        return flags.zero() | ((flags.low >> 7) != flags.overflow);
    }
}

// The number of the condition of `opcode`, whose family begins with `first`; 16 or more when it is not of the family.
constexpr unsigned condition_index(Opcode opcode, Opcode first) {
    return static_cast<unsigned>(opcode) - static_cast<unsigned>(first);
}

}  // namespace lodge
