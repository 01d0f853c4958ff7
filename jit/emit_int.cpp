// Integer arithmetic, logic and exchanges: each instruction as itself.
#include "jit/emitter.h"

namespace lodge::jit {

using asmjit::imm;
namespace Inst = x86::Inst;

bool Emitter::emit_integer(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::ADD:
            return emit_binary(insn, Inst::kIdAdd, true, false), true;
        case Opcode::SUB:
            return emit_binary(insn, Inst::kIdSub, true, false), true;
        case Opcode::ADC:
            return emit_binary(insn, Inst::kIdAdc, true, true), true;
        case Opcode::SBB:
            return emit_binary(insn, Inst::kIdSbb, true, true), true;
        case Opcode::AND:
            return emit_binary(insn, Inst::kIdAnd, true, false), true;
        case Opcode::OR:
            return emit_binary(insn, Inst::kIdOr, true, false), true;
        case Opcode::XOR:
            return emit_binary(insn, Inst::kIdXor, true, false), true;
        case Opcode::CMP:
            return emit_binary(insn, Inst::kIdCmp, false, false), true;
        case Opcode::TEST:
            return emit_binary(insn, Inst::kIdTest, false, false), true;
        case Opcode::INC:
            return emit_unary(insn, Inst::kIdInc, true), true;
        case Opcode::DEC:
            return emit_unary(insn, Inst::kIdDec, true), true;
        case Opcode::NEG:
            return emit_unary(insn, Inst::kIdNeg, true), true;
        case Opcode::NOT:
            return emit_unary(insn, Inst::kIdNot, false), true;
        case Opcode::MUL:
            return emit_multiply_wide(insn), true;
        case Opcode::IMUL:
            if (insn.operands[1].kind == OperandKind::none)
                emit_multiply_wide(insn);
            else
                emit_multiply(insn);
            return true;
        case Opcode::DIV:
        case Opcode::IDIV:
            return emit_divide(insn), true;
        case Opcode::XCHG:
            return emit_exchange(insn), true;
        case Opcode::XADD:
            return emit_exchange_add(insn), true;
        case Opcode::CMPXCHG:
        case Opcode::CMPXCHG8B:
        case Opcode::CMPXCHG16B:
            return emit_compare_exchange(insn), true;
        case Opcode::BT:
            return emit_bit_test(insn, Inst::kIdBt), true;
        case Opcode::BTS:
            return emit_bit_test(insn, Inst::kIdBts), true;
        case Opcode::BTR:
            return emit_bit_test(insn, Inst::kIdBtr), true;
        case Opcode::BTC:
            return emit_bit_test(insn, Inst::kIdBtc), true;
        case Opcode::BSF:
            return emit_scan(insn, Inst::kIdBsf), true;
        case Opcode::BSR:
            return emit_scan(insn, Inst::kIdBsr), true;
        case Opcode::POPCNT:
            return emit_count_bits(insn, Inst::kIdPopcnt), true;
        case Opcode::CRC32:
            return emit_count_bits(insn, Inst::kIdCrc32), true;
        case Opcode::CLC:
        case Opcode::STC:
        case Opcode::CMC:
            return emit_carry(insn), true;
        case Opcode::CLD:
        case Opcode::STD:
            release_flags();
            if (insn.opcode == Opcode::CLD)
                a_.and_(LODGE_STATE(system_flags, 4), imm(~static_cast<i32>(kFlagDirection)));
            else
                a_.or_(LODGE_STATE(system_flags, 4), imm(kFlagDirection));
            return true;
        default:
            return false;
    }
}

// How the flags can be had again. An operand in memory must have been kept: the result, or first operand of a
// comparison, or (`source_kept`) the second operand.
FlagRecipe Emitter::recipe_for(const Insn& insn, bool source_kept) const {
    using Kind = FlagRecipe::Kind;
    FlagRecipe recipe;
    const Operand& first = insn.operands[0];
    const Operand& second = insn.operands[1];
    recipe.size = first.size;
    if (is_memory(first)) {
        recipe.result = kKeptOperand;
    } else {
        if (high_byte(first.reg, first.size)) return {};
        recipe.result = first.reg;
        recipe.registers = static_cast<u16>(1u << first.reg);
    }
    const bool same = is_gpr(first) && is_gpr(second) && (second.reg & 15) == first.reg;
    switch (insn.opcode) {
        case Opcode::ADD:
            if (same) return {};
            recipe.kind = Kind::add;
            break;
        case Opcode::SUB:
            recipe.kind = Kind::sub;
            break;
        case Opcode::CMP:
            recipe.kind = Kind::compare;
            break;
        case Opcode::TEST:
            recipe.kind = Kind::test;
            break;
        case Opcode::AND:
        case Opcode::OR:
        case Opcode::XOR:
            recipe.kind = Kind::logic;
            return recipe;
        case Opcode::NEG:
            recipe.kind = Kind::neg;
            return recipe;
        case Opcode::INC:
        case Opcode::DEC:
            // CF is as it was; the recipe finds it in memory.
            recipe.kind = insn.opcode == Opcode::INC ? Kind::inc : Kind::dec;
            return recipe;
        default:
            return {};
    }
    if (is_gpr(second)) {
        if (high_byte(second.reg, second.size)) return {};
        recipe.other = second.reg;
        recipe.registers = static_cast<u16>(recipe.registers | 1u << second.reg);
    } else if (second.kind == OperandKind::immediate) {
        recipe.immediate = immediate_of(insn, first.size).value();
    } else {
        if (!source_kept) return {};
        recipe.other = kKeptOperand;
    }
    return recipe;
}

// ADD, SUB, AND, OR, XOR, CMP and TEST with a destination in memory: the result is kept, or what is compared.
void Emitter::emit_binary_to_memory(const Insn& insn, u32 id, const x86::Mem& memory, bool writes) {
    const Operand& from = insn.operands[1];
    const unsigned size = insn.operands[0].size;
    const FlagRecipe recipe = wants_recipe() ? recipe_for(insn) : FlagRecipe{};
    const bool keeps = recipe.kind != FlagRecipe::Kind::none;
    const x86::Gp value = sized(kTemp0, size);
    asmjit::Operand to = memory;
    if (keeps && !writes) {
        a_.mov(value, memory);
        keep_operand(value);
        to = value;
    }
    if (is_gpr(from))
        a_.emit(id, to, in_register(from.reg, size, kTemp1));
    else
        a_.emit(id, to, immediate_of(insn, size));
    if (keeps && writes) {
        a_.mov(value, memory);
        keep_operand(value);
    }
    flags_are_set(recipe);
}

void Emitter::emit_binary(const Insn& insn, u32 id, bool writes, bool carries) {
    const Operand& to = insn.operands[0];
    const Operand& from = insn.operands[1];
    const unsigned size = to.size;
    const u32 wanted = carries ? kFlagCarry : 0;
    if (is_memory(to)) {
        const x86::Mem memory = memory_operand(insn, size, writes);
        if (!carries) return emit_binary_to_memory(insn, id, memory, writes);
        want_flags(wanted);
        if (is_gpr(from))
            a_.emit(id, memory, in_register(from.reg, size, kTemp1));
        else
            a_.emit(id, memory, immediate_of(insn, size));
        return flags_are_set();
    }
    asmjit::Operand source;
    if (is_memory(from))
        source = memory_operand(insn, size, false);
    else if (is_gpr(from))
        source = in_register(from.reg, size, kTemp0);
    else
        source = immediate_of(insn, size);
    want_flags(wanted);
    const FlagRecipe recipe = wants_recipe() ? recipe_for(insn, true) : FlagRecipe{};
    if (recipe.other == kKeptOperand) {
        const x86::Gp loaded = sized(kTemp0, size);
        a_.emit(Inst::kIdMov, loaded, source);
        keep_operand(loaded);
        source = loaded;
    }
    const bool spilled = !high_byte(to.reg, size) && !is_pinned(to.reg);
    const x86::Gp value = in_register(to.reg, size, kTemp1);  // the register itself when it is pinned
    if (id == Inst::kIdTest && source.isMem())
        a_.emit(id, source, value);  // TEST has no form with memory as its source
    else
        a_.emit(id, value, source);
    if (writes && spilled) store_spilled(to.reg, size, kTemp1);
    flags_are_set(recipe);
}

void Emitter::emit_unary(const Insn& insn, u32 id, bool sets_flags) {
    const Operand& operand = insn.operands[0];
    const unsigned size = operand.size;
    FlagRecipe recipe;
    const auto carry_from_memory = [&] {
        if (!sets_flags) return;
        if (flags_ == Flags::recipe && carry_in_memory(insn))
            load_flags(kFlagCarry);
        else
            want_flags();
    };
    if (is_memory(operand)) {
        const x86::Mem memory = memory_operand(insn, size, true);
        carry_from_memory();
        a_.emit(id, memory);
    } else {
        if (sets_flags && wants_recipe()) recipe = recipe_for(insn);
        carry_from_memory();
        if (high_byte(operand.reg, size) || is_pinned(operand.reg)) {
            a_.emit(id, pinned(operand.reg, size));
        } else {
            a_.emit(id, in_register(operand.reg, size, kTemp1));
            store_spilled(operand.reg, size, kTemp1);
        }
    }
    if (!sets_flags) return;
    const bool steps = recipe.kind == FlagRecipe::Kind::inc || recipe.kind == FlagRecipe::Kind::dec;
    if (steps && flags_ == Flags::host) a_.setc(state_at(offsetof(CpuState, status) + offsetof(StatusFlags, low), 1));
    flags_are_set(recipe);
}

// IMUL with two or three operands.
void Emitter::emit_multiply(const Insn& insn) {
    const Operand& to = insn.operands[0];
    const Operand& from = insn.operands[1];
    const bool immediate = insn.operands[2].kind == OperandKind::immediate;
    asmjit::Operand source;
    if (is_memory(from))
        source = memory_operand(insn, to.size, false);
    else
        source = place_of(from.reg, to.size);
    const bool spilled = !is_pinned(to.reg);
    const x86::Gp target = spilled ? sized(kTemp1, to.size) : pinned(to.reg, to.size);
    if (immediate) {
        a_.emit(Inst::kIdImul, target, source, immediate_of(insn, to.size));
    } else {
        if (spilled) in_register(to.reg, to.size, kTemp1);
        a_.emit(Inst::kIdImul, target, source);
    }
    if (spilled) store_spilled(to.reg, to.size, kTemp1);
    set_multiply_flags();
}

// MUL and IMUL with one operand: rDX:rAX or AX.
void Emitter::emit_multiply_wide(const Insn& insn) {
    const Operand& from = insn.operands[0];
    asmjit::Operand source;
    if (is_memory(from))
        source = memory_operand(insn, from.size, false);
    else
        source = place_of(from.reg, from.size);
    a_.emit(insn.opcode == Opcode::MUL ? Inst::kIdMul : Inst::kIdImul, source);
    set_multiply_flags();
}

// CF and OF are equal, and the other flags are clear (core/interp/ops_int.cpp).
void Emitter::set_multiply_flags() {
    if (!insn_flags().exact) return flags_are_set();
    a_.seto(LODGE_STATE(engine.flag_operand, 1));
    recipe_ = {};
    recipe_.kind = FlagRecipe::Kind::multiply;
    recipe_.size = 1;
    recipe_.result = kKeptOperand;
    flags_ = Flags::recipe;
}

// To CpuState::status. Uses kTemp0 and the flags.
void Emitter::emit_multiply_status(const x86::Mem& overflow) {
    constexpr i32 kNone = 0x0200, kBoth = 0x0301;  // as StatusFlags has them
    a_.movzx(kTemp0.r32(), overflow);
    a_.imul(kTemp0.r32(), kTemp0.r32(), imm((kBoth - kNone)));
    a_.add(kTemp0.r32(), imm(kNone));
    a_.mov(LODGE_STATE(status, 2), kTemp0.r16());
}

// What would raise #DE, and the rarer signed divisions, are left to the interpreter. The flags stay.
void Emitter::emit_divide(const Insn& insn) {
    const Operand& from = insn.operands[0];
    const unsigned size = from.size;
    release_flags();  // first, since it uses kTemp0
    asmjit::Operand source;
    if (is_memory(from))
        source = memory_operand(insn, size, false);
    else
        source = place_of(from.reg, size);
    const asmjit::Label cold = cold_label();
    const x86::Gp low = sized(x86::rax, size), high = sized(x86::rdx, size);
    if (insn.opcode == Opcode::DIV) {
        a_.emit(Inst::kIdCmp, high, source);
        a_.jae(cold);
        a_.emit(Inst::kIdDiv, source);
        return;
    }
    const x86::Gp sign = sized(kTemp1, size);
    a_.mov(sign, low);
    a_.sar(sign, imm(8 * size - 1));
    a_.cmp(sign, high);
    a_.jne(cold);
    // A divisor of 0 or -1.
    a_.emit(Inst::kIdMov, sign, source);
    a_.add(sign, imm(1));
    a_.cmp(sign, imm(1));
    a_.jbe(cold);
    a_.emit(Inst::kIdIdiv, source);
}

// One CPU, and devices touch memory between its instructions only: no need for the bus lock.
void Emitter::emit_exchange(const Insn& insn) {
    const Operand* a = &insn.operands[0];
    const Operand* b = &insn.operands[1];
    if (is_memory(*b)) std::swap(a, b);
    const unsigned size = a->size;
    if (is_memory(*a)) {
        const x86::Mem memory = memory_operand(insn, size, true);
        const x86::Gp value = in_register(b->reg, size, kTemp1);
        if (value.id() == kTemp1.id()) {
            // The register is in memory, too: both go through one temporary.
            a_.lea(kTemp0, memory);
            const x86::Mem there(kTemp0, 0, size);
            a_.push(x86::rax);
            a_.mov(sized(x86::rax, size == 1 ? 1 : size), there);
            a_.mov(there, value);
            a_.mov(kTemp1, x86::rax);
            if (size == 4) a_.mov(kTemp1.r32(), kTemp1.r32());
            a_.pop(x86::rax);
            store_spilled(b->reg, size, kTemp1);
            return;
        }
        const x86::Gp old = sized(kTemp1, size);
        a_.mov(old, memory);
        a_.mov(memory, value);
        a_.mov(value, old);
        return;
    }
    if (high_byte(a->reg, size) || high_byte(b->reg, size)) {
        a_.xchg(pinned(a->reg, size), pinned(b->reg, size));
        return;
    }
    const x86::Gp first = sized(kTemp0, size), second = sized(kTemp1, size);
    a_.emit(Inst::kIdMov, first, place_of(a->reg, size));
    a_.emit(Inst::kIdMov, second, place_of(b->reg, size));
    write_register(a->reg, size, kTemp1);
    write_register(b->reg, size, kTemp0);
}

void Emitter::emit_exchange_add(const Insn& insn) {
    const unsigned size = insn.operands[0].size;
    const x86::Mem memory = memory_operand(insn, size, true);
    want_flags();
    a_.xadd(memory, pinned(insn.operands[1].reg, size));
    flags_are_set();
}

void Emitter::emit_compare_exchange(const Insn& insn) {
    const unsigned size = insn.operands[0].size;
    const bool aligned = insn.opcode == Opcode::CMPXCHG16B;
    const x86::Mem memory = memory_operand(insn, size, true, aligned ? size : 1);
    want_flags();
    if (insn.opcode == Opcode::CMPXCHG8B)
        a_.cmpxchg8b(memory);
    else if (insn.opcode == Opcode::CMPXCHG16B)
        a_.cmpxchg16b(memory);
    else
        a_.cmpxchg(memory, pinned(insn.operands[1].reg, size));
    flags_are_set();
}

void Emitter::emit_bit_test(const Insn& insn, u32 id) {
    const Operand& to = insn.operands[0];
    const Operand& bit = insn.operands[1];
    const unsigned size = to.size;
    const bool writes = insn.opcode != Opcode::BT;
    if (is_memory(to) && is_gpr(bit)) return emit_bit_test_in_string(insn, id);
    if (is_memory(to)) {  // the number of the bit is an immediate: it stays within the operand
        const x86::Mem memory = memory_operand(insn, size, writes);
        want_flags();
        a_.emit(id, memory, imm(insn.immediate % (8 * size)));
        return flags_are_set();
    }
    want_flags();
    const bool spilled = !is_pinned(to.reg);
    const x86::Gp value = spilled ? in_register(to.reg, size, kTemp0) : pinned(to.reg, size);
    if (is_gpr(bit))
        a_.emit(id, value, in_register(bit.reg, size, kTemp1));
    else
        a_.emit(id, value, imm(insn.immediate % (8 * size)));
    if (spilled && writes) store_spilled(to.reg, size, kTemp0);
    flags_are_set();
}

// The number of the bit is signed, and counts from the operand on: the unit that has it is what is checked. The host's
// instruction finds the way there again by itself.
void Emitter::emit_bit_test_in_string(const Insn& insn, u32 id) {
    const unsigned size = insn.operands[0].size;
    const u8 bit = insn.operands[1].reg;
    const unsigned shift = size == 2 ? 1 : size == 4 ? 2 : 3;
    const auto load_unit = [&] {
        if (size == 2)
            a_.emit(Inst::kIdMovsx, kTemp1, place_of(bit, 2));
        else if (size == 4)
            a_.emit(Inst::kIdMovsxd, kTemp1, place_of(bit, 4));
        else
            a_.emit(Inst::kIdMov, kTemp1, place_of(bit, 8));
        a_.sar(kTemp1, imm(shift + 3));
    };
    release_flags();
    emit_address(insn);
    load_unit();
    a_.lea(sized(kTemp0, insn.address_size == 8 ? 8 : 4), x86::ptr(kTemp0, kTemp1, shift));
    if (insn.address_size == 2) a_.movzx(kTemp0.r32(), kTemp0.r16());
    checked(insn.segment, size, insn.opcode != Opcode::BT);
    load_unit();
    a_.shl(kTemp1, imm(shift));
    a_.sub(kTemp0, kTemp1);
    want_flags();
    a_.emit(id, x86::Mem(kTemp0, 0, size), in_register(bit, size, kTemp1));
    flags_are_set();
}

// A source of 0 is left to the interpreter: what happens to the destination then differs between makers.
void Emitter::emit_scan(const Insn& insn, u32 id) {
    const Operand& to = insn.operands[0];
    const Operand& from = insn.operands[1];
    const unsigned size = to.size;
    const x86::Gp source = sized(kTemp1, size);
    if (is_memory(from))
        a_.mov(source, memory_operand(insn, size, false));
    else
        a_.emit(Inst::kIdMov, source, place_of(from.reg, size));
    release_flags();
    a_.test(source, source);
    a_.jz(cold_label());
    if (wanted_flags()) {
        a_.mov(kTemp0, kTemp1);
        want_flags();  // uses kTemp1
        a_.mov(kTemp1, kTemp0);
    }
    if (is_pinned(to.reg)) {
        a_.emit(id, pinned(to.reg, size), source);
    } else {
        a_.emit(id, source, source);
        store_spilled(to.reg, size, kTemp1);
    }
    flags_are_set();
}

// POPCNT and CRC32. The latter's source may be narrower than its destination, and it sets no flags.
void Emitter::emit_count_bits(const Insn& insn, u32 id) {
    const Operand& to = insn.operands[0];
    const Operand& from = insn.operands[1];
    asmjit::Operand source;
    if (is_memory(from))
        source = memory_operand(insn, from.size, false);
    else
        source = place_of(from.reg, from.size);
    const bool counts = insn.opcode == Opcode::POPCNT;
    if (is_pinned(to.reg)) {
        a_.emit(id, pinned(to.reg, to.size), source);
    } else {
        if (!counts) in_register(to.reg, to.size, kTemp1);
        a_.emit(id, sized(kTemp1, to.size), source);
        store_spilled(to.reg, to.size, kTemp1);
    }
    if (counts) flags_are_set();
}

// CLC, STC, CMC: where the flags are.
void Emitter::emit_carry(const Insn& insn) {
    if (flags_ == Flags::recipe) recompute_flags();
    if (flags_ == Flags::host) {
        if (insn.opcode == Opcode::CLC) a_.clc();
        if (insn.opcode == Opcode::STC) a_.stc();
        if (insn.opcode == Opcode::CMC) a_.cmc();
        return flags_are_set();
    }
    const x86::Mem low = state_at(offsetof(CpuState, status) + offsetof(StatusFlags, low), 1);
    if (insn.opcode == Opcode::CLC) a_.and_(low, imm(~static_cast<i32>(kFlagCarry)));
    if (insn.opcode == Opcode::STC) a_.or_(low, imm(kFlagCarry));
    if (insn.opcode == Opcode::CMC) a_.xor_(low, imm(kFlagCarry));
    flags_ = Flags::memory;
    recipe_ = {};
}

}  // namespace lodge::jit
