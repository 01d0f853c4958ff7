// SSE conversions from and to general and MMX registers. (Those between XMM registers are in ops_simd_float.cpp.)
#include "core/interp/simd_host.h"

namespace lodge::simd {

namespace {

namespace kernel {
// T is u32 or u64; the register's name tells the assembler which.
#define LODGE_FROM_GPR(name) \
    template <class T>       \
    LODGE_SSE_KERNEL(name, #name " %[b], %[a]", __m128i, "+x", T, "r")
#define LODGE_TO_GPR(name) \
    template <class T>     \
    LODGE_SSE_KERNEL(name, #name " %[b], %[a]", T, "+r", __m128i, "x")
#define LODGE_FROM_MMX(name) \
    LODGE_SSE_KERNEL(name, "movq %[b], %%mm0\n\t" #name " %%mm0, %[a]\n\temms", __m128i, "+x", u64, "r")
#define LODGE_TO_MMX(name) \
    LODGE_SSE_KERNEL(name, #name " %[b], %%mm0\n\tmovq %%mm0, %[a]\n\temms", u64, "+r", __m128i, "x")
LODGE_FROM_GPR(CVTSI2SS)
LODGE_FROM_GPR(CVTSI2SD)
LODGE_TO_GPR(CVTSS2SI)
LODGE_TO_GPR(CVTTSS2SI)
LODGE_TO_GPR(CVTSD2SI)
LODGE_TO_GPR(CVTTSD2SI)
LODGE_FROM_MMX(CVTPI2PS)
LODGE_FROM_MMX(CVTPI2PD)
LODGE_TO_MMX(CVTPS2PI)
LODGE_TO_MMX(CVTTPS2PI)
LODGE_TO_MMX(CVTPD2PI)
LODGE_TO_MMX(CVTTPD2PI)
}  // namespace kernel

template <class Kernel, class Source>
bool op_from_gpr(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    typename Kernel::Source source;
    if (!Source::read(cpu, insn, source)) return false;
    const unsigned d = insn.operands[0].reg;
    __m128i result;
    if (!run_on_host<Kernel>(cpu, get_xmm(cpu.state.fpu, d), source, result)) return false;
    set_xmm(cpu.state.fpu, d, result);
    return true;
}
template <class Kernel, class Source>
bool op_to_gpr(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    __m128i source;
    if (!Source::read(cpu, insn, 1, source)) return false;
    typename Kernel::Destination result;
    if (!run_on_host<Kernel>(cpu, 0, source, result)) return false;
    set_gpr(cpu, insn.operands[0].reg, result);
    return true;
}

// Both checks apply, though only an MMX register as operand makes the x87 registers busy (SDM vol. 2, "CVTPI2PD").
template <class Kernel, class Source>
bool op_from_mmx(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    if (!Source::is_memory && !enter_mmx(cpu)) return false;
    u64 source;
    if (!Source::read(cpu, insn, 1, source)) return false;
    FpuState& fpu = cpu.state.fpu;
    const unsigned d = insn.operands[0].reg;
    if (!Source::is_memory) begin_mmx(fpu);
    __m128i result;
    if (!run_on_host<Kernel>(cpu, get_xmm(fpu, d), source, result)) return false;
    set_xmm(fpu, d, result);
    return true;
}
template <class Kernel, class Source>
bool op_to_mmx(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu) || !enter_mmx(cpu)) return false;
    __m128i source;
    if (!Source::read(cpu, insn, 1, source)) return false;
    FpuState& fpu = cpu.state.fpu;
    u64 result;
    begin_mmx(fpu);
    if (!run_on_host<Kernel>(cpu, 0, source, result)) return false;
    set_mmx(fpu, insn.operands[0].reg, result);
    return true;
}

template <class Kernel>
InsnHandler bind_from_gpr_sized(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_from_gpr<Kernel, MemoryOperand>>;
    return chained_pure<op_from_gpr<Kernel, RegisterOperand<1>>>;
}
template <template <class> class Kernel>
InsnHandler bind_from_gpr(const Insn& insn) {
    return insn.operands[1].size == 8 ? bind_from_gpr_sized<Kernel<u64>>(insn) : bind_from_gpr_sized<Kernel<u32>>(insn);
}
template <class Kernel>
InsnHandler bind_to_gpr_sized(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_to_gpr<Kernel, XmmMemory>>;
    return chained_pure<op_to_gpr<Kernel, XmmRegister>>;
}
template <template <class> class Kernel>
InsnHandler bind_to_gpr(const Insn& insn) {
    return insn.operands[0].size == 8 ? bind_to_gpr_sized<Kernel<u64>>(insn) : bind_to_gpr_sized<Kernel<u32>>(insn);
}
template <class Kernel>
InsnHandler bind_from_mmx(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_from_mmx<Kernel, MmxMemory>>;
    return chained_pure<op_from_mmx<Kernel, MmxRegister>>;
}
template <class Kernel>
InsnHandler bind_to_mmx(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_to_mmx<Kernel, XmmMemory>>;
    return chained_pure<op_to_mmx<Kernel, XmmRegister>>;
}

}  // namespace

InsnHandler bind_convert(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::CVTSI2SS:
            return bind_from_gpr<kernel::CVTSI2SS>(insn);
        case Opcode::CVTSI2SD:
            return bind_from_gpr<kernel::CVTSI2SD>(insn);
        case Opcode::CVTSS2SI:
            return bind_to_gpr<kernel::CVTSS2SI>(insn);
        case Opcode::CVTTSS2SI:
            return bind_to_gpr<kernel::CVTTSS2SI>(insn);
        case Opcode::CVTSD2SI:
            return bind_to_gpr<kernel::CVTSD2SI>(insn);
        case Opcode::CVTTSD2SI:
            return bind_to_gpr<kernel::CVTTSD2SI>(insn);
        case Opcode::CVTPI2PS:
            return bind_from_mmx<kernel::CVTPI2PS>(insn);
        case Opcode::CVTPI2PD:
            return bind_from_mmx<kernel::CVTPI2PD>(insn);
        case Opcode::CVTPS2PI:
            return bind_to_mmx<kernel::CVTPS2PI>(insn);
        case Opcode::CVTTPS2PI:
            return bind_to_mmx<kernel::CVTTPS2PI>(insn);
        case Opcode::CVTPD2PI:
            return bind_to_mmx<kernel::CVTPD2PI>(insn);
        case Opcode::CVTTPD2PI:
            return bind_to_mmx<kernel::CVTTPD2PI>(insn);
        default:
            return nullptr;
    }
}

}  // namespace lodge::simd
