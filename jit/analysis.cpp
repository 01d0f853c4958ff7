#include "jit/analysis.h"

#include <array>

#include "core/interp/alu.h"

namespace lodge::jit {

namespace {

// --- Undefined flags of this host

// Runs `operation(StatusFlags&)` from all flags clear and from all flags set: do the results differ?
template <class Operation>
bool depends_on_old_flags(Operation operation) {
    StatusFlags clear, set;
    set.set_eflags(kArithmeticFlags);
    operation(clear);
    operation(set);
    return clear.eflags() != set.eflags();
}

template <class Operation>
bool depends_for_samples(Operation operation) {
    constexpr u64 kSamples[] = {1, 2, 3, 0x80, 0x7FFF, 0x8000, 0x12345678, 0x80000000, 0xFFFFFFFF, 0x8000000000000000};
    for (const u64 a : kSamples)
        for (const u64 b : kSamples) {
            if (depends_on_old_flags(
                    [&](StatusFlags& f) { operation(static_cast<u16>(a | 1), static_cast<u16>(b | 1), f); }))
                return true;
            if (depends_on_old_flags([&](StatusFlags& f) { operation(static_cast<u32>(a), static_cast<u32>(b), f); }))
                return true;
            if (depends_on_old_flags([&](StatusFlags& f) { operation(a, b, f); })) return true;
        }
    return false;
}

// A shift by a count that is not zero once masked.
constexpr u8 count_of(u64 b) {
    return static_cast<u8>(b % 15 + 1);
}

struct UndefinedFlags {
    bool scan, test, shift, double_shift;
};

const UndefinedFlags& undefined_flags() {
    static const UndefinedFlags measured = {
        depends_for_samples([](auto a, auto b, StatusFlags& f) { alu::scan_forward(a, b, f); }) ||
            depends_for_samples([](auto a, auto b, StatusFlags& f) { alu::scan_reverse(a, b, f); }),
        depends_for_samples([](auto a, auto b, StatusFlags& f) { alu::bit_test(a, b, f); }),
        depends_for_samples([](auto a, auto b, StatusFlags& f) { alu::shift_left(a, count_of(b), f); }) ||
            depends_for_samples([](auto a, auto b, StatusFlags& f) { alu::shift_right(a, count_of(b), f); }) ||
            depends_for_samples([](auto a, auto b, StatusFlags& f) { alu::shift_right_signed(a, count_of(b), f); }),
        depends_for_samples([](auto a, auto b, StatusFlags& f) { alu::shift_left_double(a, b, count_of(b), f); }) ||
            depends_for_samples([](auto a, auto b, StatusFlags& f) { alu::shift_right_double(a, b, count_of(b), f); }),
    };
    return measured;
}

// --- One instruction

constexpr bool is_logic(Opcode opcode) {
    return opcode == Opcode::AND || opcode == Opcode::OR || opcode == Opcode::XOR || opcode == Opcode::TEST;
}

// A shift or rotation whose count is known not to be zero.
bool surely_shifts(const Insn& insn) {
    const Operand& count = insn.operands[2].kind != OperandKind::none ? insn.operands[2] : insn.operands[1];
    const u64 mask = insn.operands[0].size == 8 ? 63 : 31;
    return count.kind == OperandKind::immediate && (insn.immediate & mask) != 0;
}

u16 bit_of_register(u8 reg) {
    return static_cast<u16>(1u << (reg & 15));
}

u16 written_registers(const Insn& insn) {
    u32 written = 0;
    for (unsigned i = 0; i < 4; ++i) {
        const Operand& operand = insn.operands[i];
        if (operand.kind != OperandKind::gpr) continue;
        const Access access = operand_access(insn, i);
        if (access == Access::write || access == Access::read_write) written |= bit_of_register(operand.reg);
    }
    switch (insn.opcode) {
        case Opcode::MUL:
        case Opcode::IMUL:
        case Opcode::DIV:
        case Opcode::IDIV:
            if (insn.operands[1].kind == OperandKind::none) written |= 1u << kRax | 1u << kRdx;
            break;
        case Opcode::CBW:
        case Opcode::CMPXCHG:
        case Opcode::LAHF:
            written |= 1u << kRax;
            break;
        case Opcode::CWD:
            written |= 1u << kRdx;
            break;
        case Opcode::RDTSCP:
            written |= 1u << kRax | 1u << kRcx | 1u << kRdx;
            break;
        case Opcode::RDTSC:
        case Opcode::CMPXCHG8B:
        case Opcode::CMPXCHG16B:
            written |= 1u << kRax | 1u << kRdx;
            break;
        case Opcode::PUSH:
        case Opcode::POP:
        case Opcode::CALL:
        case Opcode::RET:
        case Opcode::PUSHF:
        case Opcode::POPF:
        case Opcode::PUSH_SEG:
            written |= 1u << kRsp;
            break;
        case Opcode::LEAVE:
            written |= 1u << kRsp | 1u << kRbp;
            break;
        case Opcode::LOOP:
        case Opcode::PCMPESTRI:
        case Opcode::PCMPISTRI:
            written |= 1u << kRcx;
            break;
        case Opcode::MOVS:
        case Opcode::STOS:
        case Opcode::LODS:
        case Opcode::CMPS:
        case Opcode::SCAS:
            written |= 1u << kRax | 1u << kRcx | 1u << kRsi | 1u << kRdi;
            break;
        default:
            break;
    }
    return static_cast<u16>(written);
}

InsnFlags flags_of(const Insn& insn) {
    const OpcodeFacts& f = facts(insn.opcode);
    InsnFlags result;
    result.reads = f.flags_read & kArithmeticFlags;
    result.kills = f.flags_written & kArithmeticFlags;
    if (is_logic(insn.opcode) || !keeps_undefined_flags(insn.opcode))
        result.kills |= f.flags_undefined & kArithmeticFlags;
    if (f.may_keep_flags && !surely_shifts(insn)) {
        result.keeps = (f.flags_written | f.flags_undefined) & kArithmeticFlags;
        result.kills = 0;
    }
    result.writes = written_registers(insn);
    return result;
}

}  // namespace

bool keeps_undefined_flags(Opcode opcode) {
    const UndefinedFlags& measured = undefined_flags();
    switch (opcode) {
        case Opcode::SHL:
        case Opcode::SHR:
        case Opcode::SAR:
            return measured.shift;
        case Opcode::SHLD:
        case Opcode::SHRD:
            return measured.double_shift;
        case Opcode::IMUL:  // the translation clears them (emit_int.cpp)
        case Opcode::MUL:
            return false;
        case Opcode::BSF:
        case Opcode::BSR:
            return measured.scan;
        case Opcode::BT:
        case Opcode::BTS:
        case Opcode::BTR:
        case Opcode::BTC:
            return measured.test;
        default:
            return facts(opcode).flags_undefined != 0;
    }
}

std::vector<InsnFlags> analyse_flags(std::span<const Insn> insns, const std::vector<bool>& native,
                                     const std::vector<bool>& faults) {
    std::vector<InsnFlags> result(insns.size());
    u32 live = kArithmeticFlags, exact = kArithmeticFlags;
    for (size_t i = insns.size(); i-- > 0;) {
        InsnFlags& at = result[i];
        at = flags_of(insns[i]);
        at.live = live;
        at.exact = exact;
        if (!native[i]) {
            at.reads = kArithmeticFlags;
            at.writes = 0xFFFF;
        }
        live = (live & ~at.kills) | at.reads;
        exact = faults[i] ? kArithmeticFlags : (exact & ~at.kills) | at.reads;
    }
    return result;
}

}  // namespace lodge::jit
