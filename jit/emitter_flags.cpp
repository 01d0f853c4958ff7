// Where the guest's flags are. They enter a block in CpuState::status, or, in a version of it, as a recipe; in between,
// an instruction that sets them leaves them in the host's flags, where the next one that looks at them finds them. What
// needs the host's flags in between, a memory access above all, first releases them: where they can be had again from
// registers that last, or from an operand that is kept, a recipe stands for them; else they are saved. Direct branches
// leave the block with the recipe (see Link), all others with the flags in memory.
#include "jit/emitter.h"

namespace lodge::jit {

using asmjit::imm;

// LAHF and SETO, as StatusFlags has them.
void Emitter::emit_save() {
    a_.mov(kTemp0, x86::rax);
    a_.lahf();
    a_.seto(x86::al);
    a_.mov(LODGE_STATE(status, 2), x86::ax);
    a_.mov(x86::rax, kTemp0);
}
// 1 + 127 overflows a signed byte, 0 + 127 does not; SAHF leaves OF alone.
void Emitter::emit_load() {
    a_.mov(kTemp1, x86::rax);
    a_.movzx(x86::eax, LODGE_STATE(status, 2));
    a_.add(x86::al, imm(127));
    a_.sahf();
    a_.mov(x86::rax, kTemp1);
}

void Emitter::save_flags() {
    emit_save();
    flags_ = Flags::both;
}

// CF alone is had without the others.
void Emitter::load_flags(u32 mask) {
    if (mask == kFlagCarry) {
        a_.bt(LODGE_STATE(status, 2), imm(8));
        return;
    }
    emit_load();
    flags_ = Flags::both;
}

void Emitter::recompute_flags() {
    emit_recipe(recipe_);
    flags_ = Flags::host;
}

asmjit::Operand Emitter::recipe_operand(u8 reg, unsigned size) {
    return reg == kKeptOperand ? asmjit::Operand(LODGE_STATE(engine.flag_operand, 8).cloneResized(size))
                               : place_of(reg, size);
}

void Emitter::keep_operand(const x86::Gp& value) {
    a_.mov(LODGE_STATE(engine.flag_operand, 8).cloneResized(value.size()), value);
}

// Uses both temporaries. The operands of an addition or subtraction are had from its result and its other operand.
void Emitter::emit_recipe(const FlagRecipe& recipe) {
    using Kind = FlagRecipe::Kind;
    const unsigned size = recipe.size;
    const x86::Gp temporary = sized(kTemp0, size);
    const asmjit::Operand result = recipe_operand(recipe.result, size);
    const asmjit::Operand other =
        recipe.other == kNoRegister ? asmjit::Operand(imm(recipe.immediate)) : recipe_operand(recipe.other, size);
    switch (recipe.kind) {
        case Kind::none:
            return;
        case Kind::compare:
        case Kind::test: {
            const bool test = recipe.kind == Kind::test;
            if (result.isReg() && !(test && other.isMem())) {
                a_.emit(test ? x86::Inst::kIdTest : x86::Inst::kIdCmp, result, other);
                return;
            }
            a_.emit(x86::Inst::kIdMov, temporary, result);
            a_.emit(test ? x86::Inst::kIdAnd : x86::Inst::kIdCmp, temporary, other);
            return;
        }
        case Kind::logic:
            if (result.isReg()) {
                a_.emit(x86::Inst::kIdTest, result, result);
                return;
            }
            a_.emit(x86::Inst::kIdMov, temporary, result);
            a_.emit(x86::Inst::kIdTest, temporary, temporary);
            return;
        case Kind::shl:
        case Kind::shr:
        case Kind::sar:
            a_.emit(x86::Inst::kIdMov, temporary, result);
            a_.emit(recipe.kind == Kind::shl   ? x86::Inst::kIdShl
                    : recipe.kind == Kind::shr ? x86::Inst::kIdShr
                                               : x86::Inst::kIdSar,
                    temporary, other);
            return;
        case Kind::multiply:
            emit_multiply_status(LODGE_STATE(engine.flag_operand, 1));
            emit_load();
            return;
        case Kind::add:
            a_.emit(x86::Inst::kIdMov, temporary, result);
            a_.emit(x86::Inst::kIdSub, temporary, other);
            a_.emit(x86::Inst::kIdAdd, temporary, other);
            return;
        case Kind::sub:
            a_.emit(x86::Inst::kIdMov, temporary, result);
            a_.emit(x86::Inst::kIdAdd, temporary, other);
            a_.emit(x86::Inst::kIdSub, temporary, other);
            return;
        case Kind::inc:
        case Kind::dec:  // CF is in memory
            a_.emit(x86::Inst::kIdMov, temporary, result);
            a_.lea(kTemp0, x86::ptr(kTemp0, recipe.kind == Kind::inc ? -1 : 1));
            load_flags(kFlagCarry);
            a_.emit(recipe.kind == Kind::inc ? x86::Inst::kIdInc : x86::Inst::kIdDec, temporary);
            return;
        case Kind::neg:
            a_.emit(x86::Inst::kIdMov, temporary, result);
            a_.neg(temporary);
            a_.neg(temporary);
            return;
    }
}

u32 Emitter::wanted_flags() const {
    const InsnFlags& f = insn_flags();
    const u32 passed_on = f.kills | f.keeps ? f.exact & ~f.kills : 0;
    return (f.reads & kArithmeticFlags) | passed_on;
}

void Emitter::release_flags() {
    const InsnFlags& f = insn_flags();
    if (flags_ == Flags::both) flags_ = Flags::memory;
    if (flags_ != Flags::host) return;
    const bool overwritten = (recipe_.registers & f.writes) && (f.exact & ~f.kills);
    if (wanted_flags() || overwritten || recipe_.kind == FlagRecipe::Kind::none) {
        emit_save();
        flags_ = Flags::memory;
        return;
    }
    flags_ = Flags::recipe;
}

void Emitter::want_flags(u32 mask) {
    if (!mask || flags_ == Flags::host || flags_ == Flags::both) return;
    if (flags_ == Flags::recipe)
        recompute_flags();
    else
        load_flags(mask);
}

void Emitter::flags_to_memory() {
    if (flags_ == Flags::recipe) recompute_flags();
    if (flags_ == Flags::host) save_flags();
}

FlagRecipe Emitter::flags_for_exit() {
    if (flags_ == Flags::host && recipe_.kind == FlagRecipe::Kind::none) save_flags();
    return flags_ == Flags::host || flags_ == Flags::recipe ? recipe_ : FlagRecipe{};
}

// INC and DEC leave CF alone, which the recipe of the last one finds in memory.
bool Emitter::carry_in_memory(const Insn& insn) const {
    const auto steps = [](FlagRecipe::Kind kind) {
        return kind == FlagRecipe::Kind::inc || kind == FlagRecipe::Kind::dec;
    };
    return (insn.opcode == Opcode::INC || insn.opcode == Opcode::DEC) && steps(recipe_.kind);
}

void Emitter::flags_are_set(const FlagRecipe& recipe) {
    flags_ = Flags::host;
    recipe_ = recipe;
}

// Before an instruction overwrites what the recipe needs while somebody may still want the flags.
void Emitter::protect_recipe() {
    const InsnFlags& f = insn_flags();
    if (flags_ != Flags::recipe || carry_in_memory(insn())) return;
    if (!(recipe_.registers & f.writes) || !(f.exact & ~f.kills)) return;
    recompute_flags();
    save_flags();
}

}  // namespace lodge::jit
