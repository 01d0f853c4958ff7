// Moves, conversions, conditional moves and sets.
#include "core/interp/condition.h"
#include "jit/emitter.h"

namespace lodge::jit {

using asmjit::imm;
namespace Inst = x86::Inst;

namespace {

constexpr u32 kSetIds[16] = {Inst::kIdSeto, Inst::kIdSetno, Inst::kIdSetb,  Inst::kIdSetnb,
                             Inst::kIdSetz, Inst::kIdSetnz, Inst::kIdSetbe, Inst::kIdSeta,
                             Inst::kIdSets, Inst::kIdSetns, Inst::kIdSetp,  Inst::kIdSetnp,
                             Inst::kIdSetl, Inst::kIdSetnl, Inst::kIdSetle, Inst::kIdSetg};
constexpr u32 kCmovIds[16] = {Inst::kIdCmovo, Inst::kIdCmovno, Inst::kIdCmovb,  Inst::kIdCmovnb,
                              Inst::kIdCmovz, Inst::kIdCmovnz, Inst::kIdCmovbe, Inst::kIdCmova,
                              Inst::kIdCmovs, Inst::kIdCmovns, Inst::kIdCmovp,  Inst::kIdCmovnp,
                              Inst::kIdCmovl, Inst::kIdCmovnl, Inst::kIdCmovle, Inst::kIdCmovg};

}  // namespace

bool Emitter::emit_move(const Insn& insn) {
    if (const unsigned condition = condition_index(insn.opcode, Opcode::CMOVO); condition < 16)
        return emit_cmov(insn, condition), true;
    if (const unsigned condition = condition_index(insn.opcode, Opcode::SETO); condition < 16)
        return emit_set(insn, condition), true;
    if (does_nothing(insn.opcode)) return true;
    switch (insn.opcode) {
        case Opcode::MOV:
            return emit_mov(insn), true;
        case Opcode::MOVZX:
            return emit_extend(insn, Inst::kIdMovzx), true;
        case Opcode::MOVSX:
            return emit_extend(insn, Inst::kIdMovsx), true;
        case Opcode::MOVSXD:
            return emit_extend(insn, insn.operands[0].size == 8 ? Inst::kIdMovsxd : Inst::kIdMov), true;
        case Opcode::LEA:
            return emit_lea(insn), true;
        case Opcode::BSWAP:
            return emit_bswap(insn), true;
        case Opcode::MOVBE:
            return emit_movbe(insn), true;
        case Opcode::CBW:
        case Opcode::CWD:
            return emit_convert(insn), true;
        case Opcode::LAHF:
            want_flags(kArithmeticFlags);
            a_.lahf();
            return true;
        case Opcode::SAHF:
            want_flags();
            a_.sahf();
            flags_are_set();
            return true;
        default:
            return false;
    }
}

void Emitter::emit_mov(const Insn& insn) {
    const Operand& to = insn.operands[0];
    const Operand& from = insn.operands[1];
    const unsigned size = to.size;
    if (is_memory(to)) {
        const x86::Mem memory = memory_operand(insn, size, true);
        if (from.kind == OperandKind::gpr) {
            a_.mov(memory, in_register(from.reg, size, kTemp1));
        } else if (size == 8 && static_cast<i64>(insn.immediate) != static_cast<i32>(insn.immediate)) {
            a_.mov(kTemp1, immediate_of(insn, 8));
            a_.mov(memory, kTemp1);
        } else {
            a_.mov(memory, immediate_of(insn, size));
        }
        return;
    }
    asmjit::Operand source;
    if (is_memory(from))
        source = memory_operand(insn, size, false);
    else if (from.kind == OperandKind::gpr)
        source = in_register(from.reg, size, kTemp0);
    else
        source = immediate_of(insn, size);
    if (high_byte(to.reg, size) || is_pinned(to.reg)) {
        a_.emit(Inst::kIdMov, pinned(to.reg, size), source);
        return;
    }
    a_.emit(Inst::kIdMov, sized(kTemp1, size), source);
    store_spilled(to.reg, size, kTemp1);
}

void Emitter::emit_extend(const Insn& insn, u32 id) {
    const Operand& to = insn.operands[0];
    const Operand& from = insn.operands[1];
    asmjit::Operand source;
    if (is_memory(from))
        source = memory_operand(insn, from.size, false);
    else
        source = in_register(from.reg, from.size, kTemp0);
    if (to.size == from.size) id = Inst::kIdMov;
    const x86::Gp target = is_pinned(to.reg) ? pinned(to.reg, to.size) : sized(kTemp1, to.size);
    a_.emit(id, target, source);
    if (!is_pinned(to.reg)) store_spilled(to.reg, to.size, kTemp1);
}

void Emitter::emit_lea(const Insn& insn) {
    const Operand& to = insn.operands[0];
    const bool direct = insn.base != kBlockIp && insn.address_size >= 4 && to.size >= 4 && is_pinned(to.reg);
    if (direct && (insn.base != kNoRegister || insn.index != kNoRegister)) {
        const unsigned width = std::min<unsigned>(insn.address_size, to.size);
        return form_address(insn, pinned(to.reg, width));
    }
    emit_address(insn);
    if (to.size == 4 && !is_pinned(to.reg)) a_.mov(kTemp0.r32(), kTemp0.r32());
    write_register(to.reg, to.size, kTemp0);
}

void Emitter::emit_bswap(const Insn& insn) {
    const Operand& operand = insn.operands[0];
    if (is_pinned(operand.reg)) {
        a_.bswap(pinned(operand.reg, operand.size));
        return;
    }
    a_.bswap(in_register(operand.reg, operand.size, kTemp1));
    store_spilled(operand.reg, operand.size, kTemp1);
}

void Emitter::emit_movbe(const Insn& insn) {
    const Operand& to = insn.operands[0];
    const Operand& from = insn.operands[1];
    if (is_memory(to)) {
        const x86::Mem memory = memory_operand(insn, to.size, true);
        a_.movbe(memory, in_register(from.reg, to.size, kTemp1));
        return;
    }
    const x86::Mem memory = memory_operand(insn, to.size, false);
    if (is_pinned(to.reg)) {
        a_.movbe(pinned(to.reg, to.size), memory);
        return;
    }
    a_.movbe(sized(kTemp1, to.size), memory);
    store_spilled(to.reg, to.size, kTemp1);
}

void Emitter::emit_cmov(const Insn& insn, unsigned condition) {
    const Operand& to = insn.operands[0];
    const Operand& from = insn.operands[1];
    asmjit::Operand source;
    if (is_memory(from))
        source = memory_operand(insn, to.size, false);
    else
        source = place_of(from.reg, to.size);
    want_flags();
    if (is_pinned(to.reg)) {
        a_.emit(kCmovIds[condition], pinned(to.reg, to.size), source);
        return;
    }
    a_.emit(kCmovIds[condition], in_register(to.reg, to.size, kTemp1), source);
    store_spilled(to.reg, to.size, kTemp1);
}

void Emitter::emit_set(const Insn& insn, unsigned condition) {
    const Operand& to = insn.operands[0];
    asmjit::Operand target;
    if (is_memory(to))
        target = memory_operand(insn, 1, true);
    else
        target = place_of(to.reg, 1);
    want_flags();
    a_.emit(kSetIds[condition], target);
}

// CBW, CWDE, CDQE; CWD, CDQ, CQO.
void Emitter::emit_convert(const Insn& insn) {
    const bool widens = insn.opcode == Opcode::CBW;
    switch (insn.operand_size) {
        case 2:
            widens ? a_.cbw() : a_.cwd();
            return;
        case 4:
            widens ? a_.cwde() : a_.cdq();
            return;
        default:
            widens ? a_.cdqe() : a_.cqo();
    }
}

}  // namespace lodge::jit
