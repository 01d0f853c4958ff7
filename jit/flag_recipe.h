// How the flags of the last instruction that set them can be had again.
#pragma once

#include "core/decode/insn.h"

namespace lodge::jit {

struct FlagRecipe {
    enum class Kind : u8 { none, compare, test, add, sub, logic, inc, dec, neg, shl, shr, sar, multiply };
    Kind kind = Kind::none;
    u8 size = 0;
    u8 result = 0;           // the destination, or the first operand of a comparison; of a shift, what was shifted
    u8 other = kNoRegister;  // the second operand
    u16 registers = 0;       // that must not have changed since, one bit each
    i64 immediate = 0;       // when there is no other operand

    bool operator==(const FlagRecipe&) const = default;
};

// As an operand of a recipe: EngineState::flag_operand.
constexpr u8 kKeptOperand = 0x80;
inline bool has_kept_operand(const FlagRecipe& recipe) {
    return recipe.result == kKeptOperand || recipe.other == kKeptOperand;
}

}  // namespace lodge::jit
