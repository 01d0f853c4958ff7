// Bytes to Insn.
#pragma once

#include <span>

#include "core/decode/insn.h"

namespace lodge {

enum class DecodeStatus : u8 {
    ok,
    truncated,  // more bytes are needed than were given; the instruction may still be valid
    invalid,    // no such instruction: #UD
    too_long,   // longer than 15 bytes: #GP(0) (SDM vol. 3, 6.15 "General Protection Exception")
};

constexpr size_t kLongestInsn = 15;

// Decodes the first instruction of `bytes`. On `ok` every field of `insn` except `run` and the block fields is set.
// An instruction whose LOCK prefix is not allowed is `invalid`.
DecodeStatus decode(std::span<const u8> bytes, CodeSize code_size, Insn& insn);

}  // namespace lodge
