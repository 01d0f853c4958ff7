// Which instructions are translated, in which forms. Everything else the interpreter executes.
#include "core/interp/bind.h"
#include "core/interp/condition.h"
#include "jit/emitter.h"
#include "jit/fpu_transfer.h"

namespace lodge::jit {

bool does_nothing(Opcode opcode) {
    switch (opcode) {
        case Opcode::NOP:
        case Opcode::PAUSE:
        case Opcode::LFENCE:
        case Opcode::MFENCE:
        case Opcode::SFENCE:
        case Opcode::PREFETCHNTA:
        case Opcode::PREFETCHT0:
        case Opcode::PREFETCHT1:
        case Opcode::PREFETCHT2:
        case Opcode::PREFETCH:
        case Opcode::PREFETCHW:
            return true;
        default:
            return false;
    }
}

namespace {

// AH, CH, DH and BH cannot be named beside a register or address that needs a REX prefix: rSP lives in r14, and checked
// addresses in r10.
bool encodable(const Insn& insn) {
    bool high = false, extended = insn.has_memory();
    for (const Operand& operand : insn.operands) {
        if (!is_gpr(operand)) continue;
        if (operand.size == 1 && operand.reg >= 16)
            high = true;
        else
            extended |=
                !is_pinned(operand.reg) || kHostOfGuest[operand.reg] >= 8 || (operand.size == 1 && operand.reg >= 4);
    }
    return !(high && extended);
}

// A memory operand whose address translated code can form.
bool address_is_simple(const Insn& insn) {
    if (insn.base != kBlockIp) return true;
    const i64 reach = insn.displacement + 4096;
    return reach == static_cast<i32>(reach) && insn.displacement == static_cast<i32>(insn.displacement);
}

// Operands that are registers, plain memory or immediates only.
bool has_plain_operands(const Insn& insn) {
    for (const Operand& operand : insn.operands)
        if (operand.kind != OperandKind::none && operand.kind != OperandKind::gpr &&
            operand.kind != OperandKind::memory && operand.kind != OperandKind::immediate)
            return false;
    return encodable(insn);
}

bool is_native_integer(const Insn& insn) {
    const Operand* operands = insn.operands;
    switch (insn.opcode) {
        case Opcode::ADD:
        case Opcode::SUB:
        case Opcode::ADC:
        case Opcode::SBB:
        case Opcode::AND:
        case Opcode::OR:
        case Opcode::XOR:
        case Opcode::CMP:
        case Opcode::TEST:
        case Opcode::INC:
        case Opcode::DEC:
        case Opcode::NEG:
        case Opcode::NOT:
        case Opcode::MUL:
        case Opcode::IMUL:
        case Opcode::XCHG:
        case Opcode::CLC:
        case Opcode::STC:
        case Opcode::CMC:
        case Opcode::CLD:
        case Opcode::STD:
        case Opcode::POPCNT:
        case Opcode::CRC32:
            return has_plain_operands(insn);
        case Opcode::DIV:
        case Opcode::IDIV:
            return operands[0].size >= 2;
        case Opcode::XADD:
        case Opcode::CMPXCHG:
            return is_gpr(operands[1]) && has_plain_operands(insn) && is_pinned(operands[1].reg & 15) &&
                   operands[0].kind == OperandKind::memory;
        case Opcode::CMPXCHG8B:
        case Opcode::CMPXCHG16B:
        case Opcode::BT:
        case Opcode::BTS:
        case Opcode::BTR:
        case Opcode::BTC:
            return true;
        case Opcode::BSF:
        case Opcode::BSR:
            return true;
        default:
            return false;
    }
}

bool is_native_shift(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::SHL:
        case Opcode::SHR:
        case Opcode::SAR:
        case Opcode::ROL:
        case Opcode::ROR:
        case Opcode::RCL:
        case Opcode::RCR:
            return has_plain_operands(insn);
        case Opcode::SHLD:
        case Opcode::SHRD:
            return has_plain_operands(insn) && insn.operands[0].size >= 4;
        default:
            return false;
    }
}

bool is_native_move(const Insn& insn) {
    if (condition_index(insn.opcode, Opcode::CMOVO) < 16 || condition_index(insn.opcode, Opcode::SETO) < 16)
        return has_plain_operands(insn);
    if (does_nothing(insn.opcode)) return true;
    switch (insn.opcode) {
        case Opcode::MOV:
        case Opcode::MOVZX:
        case Opcode::MOVSX:
        case Opcode::MOVSXD:
        case Opcode::LEA:
        case Opcode::MOVBE:
            return has_plain_operands(insn);
        case Opcode::BSWAP:
            return insn.operands[0].size >= 4;
        case Opcode::CBW:
        case Opcode::CWD:
        case Opcode::LAHF:
        case Opcode::SAHF:
            return true;
        default:
            return false;
    }
}

bool is_native_stack(const Insn& insn, u32 mode) {
    const Operand& operand = insn.operands[0];
    switch (insn.opcode) {
        case Opcode::PUSH:
            return operand.kind == OperandKind::gpr || operand.kind == OperandKind::immediate ||
                   (operand.kind == OperandKind::memory && (mode & flat_bit(Segment::ss)) && (mode & kModeWideStack));
        case Opcode::POP:
            return operand.kind == OperandKind::gpr;
        case Opcode::LEAVE:
            return (mode & kModeWideStack) && insn.operand_size >= 4;
        default:
            return false;
    }
}

bool is_native_string(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::MOVS:
        case Opcode::STOS:
        case Opcode::LODS:
        case Opcode::CMPS:
        case Opcode::SCAS:
            return insn.address_size >= 4 && !(insn.prefixes & (kPrefixRep | kPrefixRepne));
        default:
            return false;
    }
}

bool is_native_system(const Insn& insn, u32 mode) {
    switch (insn.opcode) {
        case Opcode::PUSHF:
        case Opcode::PUSH_SEG:
        case Opcode::RDTSC:
        case Opcode::RDTSCP:
            return true;
        case Opcode::MOV_SEG:
            return insn.operands[1].kind == OperandKind::segment;
        case Opcode::POPF:
        case Opcode::CLI:
        case Opcode::STI:
        case Opcode::STAC:
        case Opcode::CLAC:
        case Opcode::SWAPGS:
            return !(mode & kModeUser);
        default:
            return false;
    }
}

bool is_native_branch(const Insn& insn, u32 mode) {
    const bool code64 = (mode & kModeCodeSize) == 8;
    // A 16-bit branch of 64-bit code, and an indirect one in other than flat segments, are too rare.
    if (code64 && insn.operand_size != 8) return false;
    if (condition_index(insn.opcode, Opcode::JO) < 16) return true;
    const OperandKind kind = insn.operands[0].kind;
    switch (insn.opcode) {
        case Opcode::JMP:
        case Opcode::CALL:
            return kind == OperandKind::relative || kind == OperandKind::gpr || kind == OperandKind::memory;
        case Opcode::RET:
            return true;
        case Opcode::LOOP:
        case Opcode::JCXZ:
            return insn.address_size >= 4;
        default:
            return false;
    }
}

bool is_native_fpu(const Insn& insn, u32 mode) {
    const u8 parts = fpu_parts(insn);
    if ((parts & kFpuSse) && !(mode & kModeSse)) return false;
    if ((parts & kFpuX87) && !(mode & kModeX87)) return false;
    return is_x87(insn.opcode) ? is_translated_x87(insn) : is_translated_simd(insn);
}

}  // namespace

bool Emitter::is_native(const Insn& insn, const EmitterContext& context, u32 mode) {
    if (!exists(insn, *context.model)) return false;
    if (insn.has_memory() && !address_is_simple(insn)) return false;
    return is_native_integer(insn) || is_native_shift(insn) || is_native_move(insn) || is_native_stack(insn, mode) ||
           is_native_string(insn) || is_native_system(insn, mode) || is_native_branch(insn, mode) ||
           is_native_fpu(insn, mode);
}

bool Emitter::is_native_in(std::span<const Insn> insns, size_t index, const EmitterContext& context, u32 mode) {
    return is_native(insns[index], context, mode) && (insns[index].opcode != Opcode::STI || index + 1 < insns.size());
}

}  // namespace lodge::jit
