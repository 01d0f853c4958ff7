// x87 instructions that take or leave two values: logarithms, exponentials, trigonometry, FXTRACT.
//
// They take so long that they are always run the careful way.
#include "core/interp/x87_host.h"

namespace lodge::x87 {

namespace {

LODGE_X87_UNARY(power_of_2_minus_1, "f2xm1")
LODGE_X87_UNARY(sine, "fsin")
LODGE_X87_UNARY(cosine, "fcos")

// ST(1) = f(ST(1), ST(0)), popped. When the operation is prevented nothing is popped and nothing is used.
#define LODGE_X87_POPPING(name, instruction) \
    LODGE_X87_KERNEL(name, "fldt (%[b])\n\tfldt (%[a])\n\t" instruction, "fstpt (%[result])", "")
LODGE_X87_POPPING(logarithm, "fyl2x")
LODGE_X87_POPPING(logarithm_of_1_plus, "fyl2xp1")
LODGE_X87_POPPING(arc_tangent, "fpatan")

// ST(0) gives two values. When nothing was pushed, `second` is rubbish.
#define LODGE_X87_PUSHING(name, instruction) \
    LODGE_X87_KERNEL(name, "fldt (%[a])\n\t" instruction, "fstpt (%[result])\n\tfstpt (%[second])", "")
LODGE_X87_PUSHING(tangent, "fptan")
LODGE_X87_PUSHING(sine_and_cosine, "fsincos")
LODGE_X87_PUSHING(extract, "fxtract")

template <class Kernel, u16 codes>
bool op_unary(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    alignas(16) u8 result[16];
    if (is_empty(fpu, 0)) {
        if (!stack_fault(fpu, insn, kStackUnderflow, codes)) return true;
        set_indefinite(result);
        set_valid(fpu, 0);
    } else {
        const u16 status = Kernel::careful({.a = st(fpu, 0), .result = result}, fpu.control);
        if (!finish(fpu, insn, status, codes, kPreventRegister)) return true;
    }
    copy_value(st(fpu, 0), result);
    return true;
}

template <class Kernel>
bool op_popping(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    alignas(16) u8 result[16];
    if (is_empty(fpu, 0) || is_empty(fpu, 1)) {
        if (!stack_fault(fpu, insn, kStackUnderflow)) return true;
        set_indefinite(result);
        set_valid(fpu, 1);
    } else {
        const u16 status = Kernel::careful({.a = st(fpu, 0), .b = st(fpu, 1), .result = result}, fpu.control);
        if (!finish(fpu, insn, status, kC1, kPreventRegister)) return true;
    }
    pop(fpu);
    copy_value(st(fpu, 0), result);
    return true;
}

// C2 among `codes`: the operand was out of range, ST(0) stays and nothing is pushed (SDM vol. 1, 8.1.3.3).
template <class Kernel, u16 codes>
bool op_pushing(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    alignas(16) u8 result[16], second[16];
    const bool underflow = is_empty(fpu, 0);
    if (underflow || !is_empty(fpu, 7)) {
        if (!stack_fault(fpu, insn, underflow ? kStackUnderflow : kStackOverflow, codes)) return true;
        set_indefinite(result);
        set_indefinite(second);
        set_valid(fpu, 0);
    } else {
        const u16 status = Kernel::careful({.a = st(fpu, 0), .result = result, .second = second}, fpu.control);
        if (!finish(fpu, insn, status, codes, kPreventRegister)) return true;
        if (status & codes & kC2) return true;
    }
    copy_value(st(fpu, 0), second);
    push(fpu);
    copy_value(st(fpu, 0), result);
    return true;
}

}  // namespace

InsnHandler bind_transcendental(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::F2XM1:
            return chained_pure<op_unary<power_of_2_minus_1, kC1>>;
        case Opcode::FSIN:
            return chained_pure<op_unary<sine, kC1 | kC2>>;
        case Opcode::FCOS:
            return chained_pure<op_unary<cosine, kC1 | kC2>>;
        case Opcode::FYL2X:
            return chained_pure<op_popping<logarithm>>;
        case Opcode::FYL2XP1:
            return chained_pure<op_popping<logarithm_of_1_plus>>;
        case Opcode::FPATAN:
            return chained_pure<op_popping<arc_tangent>>;
        case Opcode::FPTAN:
            return chained_pure<op_pushing<tangent, kC1 | kC2>>;
        case Opcode::FSINCOS:
            return chained_pure<op_pushing<sine_and_cosine, kC1 | kC2>>;
        case Opcode::FXTRACT:
            return chained_pure<op_pushing<extract, kC1>>;
        default:
            return nullptr;
    }
}

}  // namespace lodge::x87
