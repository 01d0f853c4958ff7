// x87: each instruction as itself, on the host's own register stack.
//
// Exceptions are masked and none is pending (kModeX87), so an instruction can fault only by its memory operand. What it
// does to the status word, stack faults included, is the host's doing. Of the pointers to the last instruction and
// operand see emitter_fpu.cpp.
#include "jit/emitter.h"
#include "jit/fpu_transfer.h"
#include "jit/instruction_ids.h"

namespace lodge::jit {

using asmjit::imm;
namespace Inst = x86::Inst;

namespace {

constexpr u16 kMasks = 0x3F;

bool is_translated(Opcode opcode) {
    switch (opcode) {
        // The whole state or the environment; rare.
        case Opcode::FNSTENV:
        case Opcode::FNSAVE:
        case Opcode::FLDENV:
        case Opcode::FRSTOR:
        case Opcode::FNINIT:
        // Nothing since the 80387.
        case Opcode::FNENI:
        case Opcode::FNDISI:
        case Opcode::FNSETPM:
            return false;
        default:
            return is_x87(opcode);
    }
}

// FFREEP alone the assembler does not know.
u32 id_of(const Insn& insn) {
    static const InstructionIds ids = instruction_ids(is_translated);
    return ids[static_cast<size_t>(insn.opcode)];
}

// FADD and the like name both registers; of any other instruction ST(0) is understood.
bool names_both(Opcode opcode) {
    return opcode >= Opcode::FADD && opcode <= Opcode::FDIVR;
}
bool is_popping_arithmetic(Opcode opcode) {
    return opcode >= Opcode::FADDP && opcode <= Opcode::FDIVRP;
}

}  // namespace

bool is_translated_x87(const Insn& insn) {
    return is_translated(insn.opcode);
}

bool Emitter::emit_x87(const Insn& insn) {
    if (!is_translated(insn.opcode)) return false;
    switch (insn.opcode) {
        case Opcode::FWAIT:  // nothing is pending
        case Opcode::FNOP:
            return true;
        case Opcode::FFREEP:
            a_.db(0xDF);
            a_.db(static_cast<u8>(0xC0 | insn.operands[0].reg));
            return true;
        case Opcode::FNSTSW:
            return emit_fnstsw(insn), true;
        case Opcode::FLDCW:
            return emit_fldcw(insn), true;
        default:
            break;
    }
    if (insn.has_memory())
        emit_x87_memory(insn, id_of(insn));
    else
        emit_x87_registers(insn, id_of(insn));
    return true;
}

void Emitter::emit_x87_memory(const Insn& insn, u32 id) {
    const bool writes = operand_access(insn, 0) == Access::write;
    a_.emit(id, memory_operand(insn, insn.memory()->size, writes));
}

void Emitter::emit_x87_registers(const Insn& insn, u32 id) {
    asmjit::Operand operands[2];
    unsigned count = 0;
    for (const Operand& operand : insn.operands)
        if (operand.kind == OperandKind::st) operands[count++] = x86::st(operand.reg);
    if (count == 2 && !names_both(insn.opcode)) {
        if (!is_popping_arithmetic(insn.opcode)) operands[0] = operands[1];
        operands[1] = asmjit::Operand();
    }
    const bool to_flags = facts(insn.opcode).flags_written != 0;
    if (to_flags || facts(insn.opcode).flags_read) want_flags();
    a_.emit(id, operands[0], operands[1]);
    if (to_flags) flags_are_set();
}

void Emitter::emit_fnstsw(const Insn& insn) {
    if (insn.has_memory())
        a_.fnstsw(memory_operand(insn, 2, true));
    else
        a_.fnstsw(x86::ax);
}

// Only a value that masks every exception. It is read once, since another thread may write to the guest's memory in
// between.
void Emitter::emit_fldcw(const Insn& insn) {
    release_flags();
    const asmjit::Label cold = cold_label(true);
    const x86::Mem copy = LODGE_STATE(engine.scratch[1], 2);
    a_.movzx(kTemp1.r32(), memory_operand(insn, 2, false));
    a_.mov(copy, kTemp1.r16());
    a_.not_(kTemp1.r32());
    a_.test(kTemp1.r8(), imm(kMasks));
    a_.jnz(cold);
    a_.fldcw(copy);
}

}  // namespace lodge::jit
