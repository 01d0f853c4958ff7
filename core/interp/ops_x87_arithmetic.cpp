// x87 addition, subtraction, multiplication, division, square root, comparison and the like.
#include "core/interp/x87_host.h"

namespace lodge::x87 {

namespace {

// ST(0) with ST(1), with a 32- or 64-bit real, with a 16- or 32-bit integer.
#define LODGE_X87_ARITHMETIC(name)                              \
    struct name {                                               \
        LODGE_X87_BINARY(registers, "f" #name " %%st(1), %%st") \
        LODGE_X87_WITH_MEMORY(real4, "f" #name "s")             \
        LODGE_X87_WITH_MEMORY(real8, "f" #name "l")             \
        LODGE_X87_WITH_MEMORY(integer2, "fi" #name "s")         \
        LODGE_X87_WITH_MEMORY(integer4, "fi" #name "l")         \
    };

LODGE_X87_ARITHMETIC(add)
LODGE_X87_ARITHMETIC(mul)
LODGE_X87_ARITHMETIC(sub)
LODGE_X87_ARITHMETIC(subr)
LODGE_X87_ARITHMETIC(div)
LODGE_X87_ARITHMETIC(divr)

struct com {
    LODGE_X87_COMPARE(registers, "fcom %%st(1)")
    LODGE_X87_STORE(real4, "fcoms")
    LODGE_X87_STORE(real8, "fcoml")
    LODGE_X87_STORE(integer2, "ficoms")
    LODGE_X87_STORE(integer4, "ficoml")
};
struct ucom {
    LODGE_X87_COMPARE(registers, "fucom %%st(1)")
};
LODGE_X87_COMPARE_ONE(test, "ftst")
LODGE_X87_COMPARE_ONE(examine, "fxam")
LODGE_X87_UNARY(square_root, "fsqrt")
LODGE_X87_UNARY(round, "frndint")
LODGE_X87_BINARY(scale, "fscale")
LODGE_X87_BINARY(remainder, "fprem")
LODGE_X87_BINARY(ieee_remainder, "fprem1")

constexpr u16 kUnordered = kC0 | kC2 | kC3;

// destination = destination op source, for whatever follows when it is computed.
template <class Kernel>
bool compute(FpuState& fpu, const Insn& insn, u8* destination, const u8* source, void* memory) {
    alignas(16) u8 result[16];
    const u16 status = run_on_host<Kernel>(fpu, {destination, source, memory, result});
    if (!finish(fpu, insn, status, kC1, kPreventRegister)) return false;
    copy_value(destination, result);
    return true;
}

// ST(d), ST(s); then `pops`.
template <class Kernel, unsigned pops>
bool op_registers(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    const unsigned d = insn.operands[0].reg, s = insn.operands[1].reg;
    if (is_empty(fpu, d) || is_empty(fpu, s)) [[unlikely]] {
        if (!stack_fault(fpu, insn, kStackUnderflow)) return true;
        set_indefinite(st(fpu, d));
        set_valid(fpu, d);
    } else if (!compute<Kernel>(fpu, insn, st(fpu, d), st(fpu, s), nullptr)) {
        return true;
    }
    pop(fpu, pops);
    return true;
}

// ST(0) and ST(1), or ST(0) alone.
template <class Kernel, bool binary>
bool op_top(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    if (is_empty(fpu, 0) || (binary && is_empty(fpu, 1))) [[unlikely]] {
        if (!stack_fault(fpu, insn, kStackUnderflow)) return true;
        set_indefinite(st(fpu, 0));
        set_valid(fpu, 0);
        return true;
    }
    compute<Kernel>(fpu, insn, st(fpu, 0), st(fpu, 1), nullptr);
    return true;
}

bool is_nan(const u8* value) {
    return (sign_and_exponent(value) & 0x7FFF) == 0x7FFF && significand(value) << 1;
}

// FPREM, FPREM1: C0, C3, C1 have the quotient's low bits, C2 says that the reduction is incomplete. Without a quotient
// C0 and C3 stay as they were (verified on hardware).
template <class Kernel>
bool op_remainder(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    if (is_empty(fpu, 0) || is_empty(fpu, 1)) [[unlikely]] {
        if (!stack_fault(fpu, insn, kStackUnderflow, kC1 | kC2)) return true;
        set_indefinite(st(fpu, 0));
        set_valid(fpu, 0);
        return true;
    }
    alignas(16) u8 result[16];
    const u16 status = Kernel::careful({st(fpu, 0), st(fpu, 1), nullptr, result}, fpu.control);
    const bool quotient = !(status & ~fpu.control & kPreventRegister) && !is_nan(result);
    const u16 codes = quotient ? kConditionCodes : kC1 | kC2;
    if (finish(fpu, insn, status, codes, kPreventRegister)) copy_value(st(fpu, 0), result);
    return true;
}

// ST(0) and a memory operand of type T.
template <class Kernel, class T>
bool op_memory(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    const u64 address = effective_address(cpu, insn);
    T operand;
    if (!cpu.read<T>(insn.segment, address, operand)) return false;
    record_memory(cpu, insn, address);
    FpuState& fpu = cpu.state.fpu;
    if (is_empty(fpu, 0)) [[unlikely]] {
        if (!stack_fault(fpu, insn, kStackUnderflow)) return true;
        set_indefinite(st(fpu, 0));
        set_valid(fpu, 0);
        return true;
    }
    compute<Kernel>(fpu, insn, st(fpu, 0), nullptr, &operand);
    return true;
}

// C3, C2, C0 of a comparison with ST(0). False: an unmasked exception prevents a pop, though not the condition codes.
template <class Kernel>
bool compare(FpuState& fpu, const Insn& insn, const u8* other, void* memory, u16& codes, u16 cleared = kC1) {
    codes = run_on_host<Kernel>(fpu, {st(fpu, 0), other, memory});
    return finish(fpu, insn, codes & ~kC1, cleared, kPreventRegister);
}
bool compare_empty(FpuState& fpu, const Insn& insn, u16& codes) {
    codes = kUnordered;
    return stack_fault(fpu, insn, kStackUnderflow);
}
void set_codes(FpuState& fpu, u16 codes) {
    fpu.status = static_cast<u16>((fpu.status & ~kUnordered) | (codes & kUnordered));
}
// FCOMI: C3, C2, C0 go to ZF, PF, CF; the others are cleared.
void set_flags(StatusFlags& flags, u16 codes) {
    flags.overflow = 0;
    flags.low = static_cast<u8>(0x02 | (codes & kC3 ? kFlagZero : 0) | (codes & kC2 ? kFlagParity : 0) |
                                (codes & kC0 ? kFlagCarry : 0));
}

// What FCOMI and its like clear in the status word: C1 with Intel (SDM vol. 2, "FCOMI"), nothing with AMD. The host's
// way is taken, so that a translator may execute them as they are.
u16 cleared_by_fcomi() {
    static const u16 cleared = [] {
        u16 status;
        asm volatile("fld1\n\tfchs\n\tfxam\n\tfcomi %%st, %%st\n\tfnstsw %%ax\n\tfstp %%st(0)"
                     : "=a"(status)
                     :
                     : "cc", "st");
        return status & kC1 ? u16{0} : kC1;
    }();
    return cleared;
}

template <class Kernel, unsigned pops, bool to_flags>
bool compare_with(Cpu& cpu, const Insn& insn, unsigned s) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    u16 codes;
    const u16 cleared = to_flags ? cleared_by_fcomi() : kC1;
    const bool done = is_empty(fpu, 0) || is_empty(fpu, s)
                          ? compare_empty(fpu, insn, codes)
                          : compare<Kernel>(fpu, insn, st(fpu, s), nullptr, codes, cleared);
    if (!to_flags) set_codes(fpu, codes);
    // EFLAGS stay as they are only when an invalid operation is not masked (SDM vol. 2, "FCOMI"); a denormal operand
    // does not keep them (verified on hardware).
    if (to_flags && !(fpu.status & ~fpu.control & kInvalid)) set_flags(cpu.state.status, codes);
    if (!done) return true;
    pop(fpu, pops);
    return true;
}
// FCOM ST(i): the register is the last operand, whether or not ST(0) is given as well.
template <class Kernel, unsigned pops, bool to_flags>
bool op_compare(Cpu& cpu, const Insn& insn) {
    const Operand& last = insn.operands[1].kind == OperandKind::st ? insn.operands[1] : insn.operands[0];
    return compare_with<Kernel, pops, to_flags>(cpu, insn, last.reg);
}
template <class Kernel>
bool op_compare_and_pop_both(Cpu& cpu, const Insn& insn) {
    return compare_with<Kernel, 2, false>(cpu, insn, 1);
}
bool op_ftst(Cpu& cpu, const Insn& insn) {
    return compare_with<test, 0, false>(cpu, insn, 0);
}

template <class Kernel, class T, unsigned pops>
bool op_compare_memory(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    const u64 address = effective_address(cpu, insn);
    T operand;
    if (!cpu.read<T>(insn.segment, address, operand)) return false;
    record_memory(cpu, insn, address);
    FpuState& fpu = cpu.state.fpu;
    u16 codes;
    const bool done =
        is_empty(fpu, 0) ? compare_empty(fpu, insn, codes) : compare<Kernel>(fpu, insn, nullptr, &operand, codes);
    set_codes(fpu, codes);
    if (done) pop(fpu, pops);
    return true;
}

// FXAM tells an empty register from others, but still its sign.
bool op_fxam(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    u16 codes = run_on_host<examine>(fpu, {st(fpu, 0)});
    if (is_empty(fpu, 0)) codes = static_cast<u16>((codes & kC1) | kC3 | kC0);
    fpu.status = static_cast<u16>((fpu.status & ~kConditionCodes) | (codes & kConditionCodes));
    return true;
}

template <class Family>
InsnHandler bind_real(const Insn& insn) {
    const Operand* memory = insn.memory();
    if (!memory) return chained_pure<op_registers<typename Family::registers, 0>>;
    if (memory->size == 4) return chained<op_memory<typename Family::real4, u32>>;
    return chained<op_memory<typename Family::real8, u64>>;
}
template <class Family>
InsnHandler bind_integer(const Insn& insn) {
    if (insn.memory()->size == 2) return chained<op_memory<typename Family::integer2, u16>>;
    return chained<op_memory<typename Family::integer4, u32>>;
}
template <class Family>
InsnHandler bind_popping() {
    return chained_pure<op_registers<typename Family::registers, 1>>;
}
template <unsigned pops>
InsnHandler bind_compare(const Insn& insn) {
    const Operand* memory = insn.memory();
    if (!memory) return chained_pure<op_compare<com::registers, pops, false>>;
    if (memory->size == 4) return chained<op_compare_memory<com::real4, u32, pops>>;
    return chained<op_compare_memory<com::real8, u64, pops>>;
}
template <unsigned pops>
InsnHandler bind_compare_integer(const Insn& insn) {
    if (insn.memory()->size == 2) return chained<op_compare_memory<com::integer2, u16, pops>>;
    return chained<op_compare_memory<com::integer4, u32, pops>>;
}

}  // namespace

InsnHandler bind_arithmetic(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::FADD:
            return bind_real<add>(insn);
        case Opcode::FMUL:
            return bind_real<mul>(insn);
        case Opcode::FSUB:
            return bind_real<sub>(insn);
        case Opcode::FSUBR:
            return bind_real<subr>(insn);
        case Opcode::FDIV:
            return bind_real<div>(insn);
        case Opcode::FDIVR:
            return bind_real<divr>(insn);
        case Opcode::FIADD:
            return bind_integer<add>(insn);
        case Opcode::FIMUL:
            return bind_integer<mul>(insn);
        case Opcode::FISUB:
            return bind_integer<sub>(insn);
        case Opcode::FISUBR:
            return bind_integer<subr>(insn);
        case Opcode::FIDIV:
            return bind_integer<div>(insn);
        case Opcode::FIDIVR:
            return bind_integer<divr>(insn);
        case Opcode::FADDP:
            return bind_popping<add>();
        case Opcode::FMULP:
            return bind_popping<mul>();
        case Opcode::FSUBP:
            return bind_popping<sub>();
        case Opcode::FSUBRP:
            return bind_popping<subr>();
        case Opcode::FDIVP:
            return bind_popping<div>();
        case Opcode::FDIVRP:
            return bind_popping<divr>();
        case Opcode::FCOM:
            return bind_compare<0>(insn);
        case Opcode::FCOMP:
            return bind_compare<1>(insn);
        case Opcode::FICOM:
            return bind_compare_integer<0>(insn);
        case Opcode::FICOMP:
            return bind_compare_integer<1>(insn);
        case Opcode::FUCOM:
            return chained_pure<op_compare<ucom::registers, 0, false>>;
        case Opcode::FUCOMP:
            return chained_pure<op_compare<ucom::registers, 1, false>>;
        case Opcode::FCOMPP:
            return chained_pure<op_compare_and_pop_both<com::registers>>;
        case Opcode::FUCOMPP:
            return chained_pure<op_compare_and_pop_both<ucom::registers>>;
        case Opcode::FCOMI:
            return chained_pure<op_compare<com::registers, 0, true>>;
        case Opcode::FCOMIP:
            return chained_pure<op_compare<com::registers, 1, true>>;
        case Opcode::FUCOMI:
            return chained_pure<op_compare<ucom::registers, 0, true>>;
        case Opcode::FUCOMIP:
            return chained_pure<op_compare<ucom::registers, 1, true>>;
        case Opcode::FTST:
            return chained_pure<op_ftst>;
        case Opcode::FXAM:
            return chained_pure<op_fxam>;
        case Opcode::FSQRT:
            return chained_pure<op_top<square_root, false>>;
        case Opcode::FRNDINT:
            return chained_pure<op_top<round, false>>;
        case Opcode::FSCALE:
            return chained_pure<op_top<scale, true>>;
        case Opcode::FPREM:
            return chained_pure<op_remainder<remainder>>;
        case Opcode::FPREM1:
            return chained_pure<op_remainder<ieee_remainder>>;
        default:
            return nullptr;
    }
}

}  // namespace lodge::x87
