// PUSH, POP, LEAVE.
#include "jit/emitter.h"

namespace lodge::jit {

using asmjit::imm;

bool Emitter::emit_stack(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::PUSH:
            return emit_push(insn), true;
        case Opcode::POP:
            return emit_pop(insn), true;
        case Opcode::LEAVE:
            return emit_leave(insn), true;
        default:
            return false;
    }
}

void Emitter::emit_push(const Insn& insn) {
    const Operand& from = insn.operands[0];
    const unsigned size = insn.operand_size;
    const i32 by = -static_cast<i32>(size);
    if (from.kind == OperandKind::memory) {
        const x86::Mem scratch = LODGE_STATE(engine.scratch, 8).cloneResized(size);
        a_.mov(sized(kTemp1, size), memory_operand(insn, size, false));
        a_.mov(scratch, sized(kTemp1, size));
        const x86::Mem slot = stack_slot(by, size, true);
        a_.mov(sized(kTemp1, size), scratch);
        a_.mov(slot, sized(kTemp1, size));
        return move_stack_pointer(by);
    }
    const x86::Mem slot = stack_slot(by, size, true);
    if (from.kind == OperandKind::gpr)
        a_.mov(slot, in_register(from.reg, size, kTemp1));
    else
        a_.mov(slot, immediate_of(insn, size));
    move_stack_pointer(by);
}

// POP rSP: the value read is what stays.
void Emitter::emit_pop(const Insn& insn) {
    const Operand& to = insn.operands[0];
    const unsigned size = insn.operand_size;
    const x86::Mem slot = stack_slot(0, size, false);
    if (to.reg != kRsp && is_pinned(to.reg)) {
        a_.mov(pinned(to.reg, size), slot);
        return move_stack_pointer(static_cast<i32>(size));
    }
    a_.mov(sized(kTemp1, size), slot);
    move_stack_pointer(static_cast<i32>(size));
    write_register(to.reg, size, kTemp1);
}

void Emitter::emit_leave(const Insn& insn) {
    const unsigned size = insn.operand_size;
    const unsigned width = code64() ? 8 : 4;
    const x86::Gp frame = pinned(kRbp, 8);
    const x86::Mem slot = stack_slot_at(frame, 0, size, false);
    a_.mov(sized(kTemp1, size), slot);
    a_.lea(sized(pinned(kRsp, 8), width), x86::ptr(frame, static_cast<i32>(size)));
    write_register(kRbp, size, kTemp1);
}

}  // namespace lodge::jit
