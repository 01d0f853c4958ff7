// Insn to text, for traces and dumps: Intel syntax, lower case, numbers in hexadecimal.
#pragma once

#include <string>

#include "core/decode/insn.h"

namespace lodge {

// `address` is that of the instruction in its code segment (EIP, RIP): it only turns relative targets into absolute
// ones. Works for any Insn, also one no decoder made.
std::string disassemble(const Insn& insn, u64 address);

// "eax", "r10b", "xmm3", "st(1)", "cr0", "ds". `size` in bytes picks the name of a general register and XMM or YMM.
// "?" for what does not exist.
std::string register_name(OperandKind kind, u8 reg, u8 size);

}  // namespace lodge
