// What the interpreter can run.
#pragma once

#include "core/decode/insn.h"

namespace lodge::oracle {

// Whether the interpreter has the instruction, whatever the CPU model.
bool interpreter_has(const Insn& insn);

}  // namespace lodge::oracle
