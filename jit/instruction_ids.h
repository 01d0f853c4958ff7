// Which of the assembler's instructions a mnemonic is.
#pragma once

#include <array>

#include "core/decode/opcode.h"

namespace lodge::jit {

using InstructionIds = std::array<u16, kOpcodeCount>;

// The assembler knows instructions by the names that the table has. 0 where `wanted` says no, and for those that it
// does not know.
InstructionIds instruction_ids(bool (*wanted)(Opcode));

}  // namespace lodge::jit
