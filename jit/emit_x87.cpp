#include "jit/emitter.h"
#include "jit/fpu_transfer.h"
namespace lodge::jit {
bool is_translated_x87(const Insn&) { return false; }
bool Emitter::emit_x87(const Insn&) { return false; }
}
