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
    } else {
        want_flags();
        const bool spilled = !high_byte(to.reg, size) && !is_pinned(to.reg);
        const x86::Gp value = in_register(to.reg, size, kTemp1);
        const FlagRecipe recipe = wants_recipe() ? recipe_for_shift(insn) : FlagRecipe{};
        if (recipe.kind != FlagRecipe::Kind::none) keep_operand(value);
        a_.emit(id, value, count);
        if (spilled) store_spilled(to.reg, size, kTemp1);
        return flags_are_set(recipe);
    }
    flags_are_set();
}

// From what was shifted, kept. The count is not 0, so that all flags are replaced.
FlagRecipe Emitter::recipe_for_shift(const Insn& insn) const {
    using Kind = FlagRecipe::Kind;
    const Operand& to = insn.operands[0];
    if (high_byte(to.reg, to.size) || insn_flags().kills != kArithmeticFlags) return {};
    FlagRecipe recipe;
    if (insn.opcode == Opcode::SHL) recipe.kind = Kind::shl;
    if (insn.opcode == Opcode::SHR) recipe.kind = Kind::shr;
    if (insn.opcode == Opcode::SAR) recipe.kind = Kind::sar;
    recipe.size = to.size;
    recipe.result = kKeptOperand;
    recipe.immediate = static_cast<i64>(insn.immediate & 0xFF);
    return recipe;
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
