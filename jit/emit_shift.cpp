// Shifts and rotations.
#include "jit/emitter.h"

namespace lodge::jit {

using asmjit::imm;
namespace Inst = x86::Inst;

bool Emitter::emit_shift(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::SHL:
            return emit_simple_shift(insn, Inst::kIdShl), true;
        case Opcode::SHR:
            return emit_simple_shift(insn, Inst::kIdShr), true;
        case Opcode::SAR:
            return emit_simple_shift(insn, Inst::kIdSar), true;
        case Opcode::ROL:
            return emit_simple_shift(insn, Inst::kIdRol), true;
        case Opcode::ROR:
            return emit_simple_shift(insn, Inst::kIdRor), true;
        case Opcode::RCL:
            return emit_simple_shift(insn, Inst::kIdRcl), true;
        case Opcode::RCR:
            return emit_simple_shift(insn, Inst::kIdRcr), true;
        case Opcode::SHLD:
            return emit_double_shift(insn, Inst::kIdShld), true;
        case Opcode::SHRD:
            return emit_double_shift(insn, Inst::kIdShrd), true;
        default:
            return false;
    }
}

void Emitter::emit_simple_shift(const Insn& insn, u32 id) {
    const Operand& to = insn.operands[0];
    const unsigned size = to.size;
    const asmjit::Operand count = insn.operands[1].kind == OperandKind::immediate
                                      ? asmjit::Operand(imm(insn.immediate & 0xFF))
                                      : asmjit::Operand(x86::cl);
    if (to.kind == OperandKind::memory) {
        const x86::Mem memory = memory_operand(insn, size, true);
        want_flags();
        a_.emit(id, memory, count);
    } else if (high_byte(to.reg, size) || is_pinned(to.reg)) {
        want_flags();
        a_.emit(id, pinned(to.reg, size), count);
    } else {
        want_flags();
        a_.emit(id, in_register(to.reg, size, kTemp1), count);
        store_spilled(to.reg, size, kTemp1);
    }
    flags_are_set();
}

void Emitter::emit_double_shift(const Insn& insn, u32 id) {
    const Operand& to = insn.operands[0];
    const Operand& fill = insn.operands[1];
    const unsigned size = to.size;
    const asmjit::Operand count = insn.operands[2].kind == OperandKind::immediate
                                      ? asmjit::Operand(imm(insn.immediate & 0xFF))
                                      : asmjit::Operand(x86::cl);
    if (to.kind == OperandKind::memory) {
        const x86::Mem memory = memory_operand(insn, size, true);
        want_flags();
        a_.emit(id, memory, in_register(fill.reg, size, kTemp1), count);
    } else {
        want_flags();
        const bool spilled = !is_pinned(to.reg);
        const x86::Gp value = spilled ? in_register(to.reg, size, kTemp0) : pinned(to.reg, size);
        a_.emit(id, value, in_register(fill.reg, size, kTemp1), count);
        if (spilled) store_spilled(to.reg, size, kTemp0);
    }
    flags_are_set();
}

}  // namespace lodge::jit
