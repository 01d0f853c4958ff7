// SSE floating-point arithmetic and comparison.
#include "core/interp/simd_host.h"

namespace lodge::simd {

bool set_flags(Cpu& cpu, u32 flags) {
    u32& mxcsr = cpu.state.fpu.mxcsr;
    const u32 masked = mxcsr >> 7 & kMxcsrFlags;
    mxcsr |= flags;
    if (!(flags & ~masked)) return true;
    return cpu.raise(cpu.state.cr4 & kCr4Osxmmexcpt ? Exception::XM : Exception::UD);
}

namespace {

// clang-format off
#define LODGE_FLOAT_LIST(X) \
    X(ADDPS) X(ADDSS) X(ADDPD) X(ADDSD) X(SUBPS) X(SUBSS) X(SUBPD) X(SUBSD) X(MULPS) X(MULSS) X(MULPD) \
    X(MULSD) X(DIVPS) X(DIVSS) X(DIVPD) X(DIVSD) X(MINPS) X(MINSS) X(MINPD) X(MINSD) X(MAXPS) X(MAXSS) \
    X(MAXPD) X(MAXSD) X(SQRTPS) X(SQRTSS) X(SQRTPD) X(SQRTSD) X(ADDSUBPS) X(ADDSUBPD) X(HADDPS) X(HADDPD) \
    X(HSUBPS) X(HSUBPD) X(CVTPS2PD) X(CVTPD2PS) X(CVTDQ2PS) X(CVTPS2DQ) X(CVTTPS2DQ) X(CVTPD2DQ) X(CVTTPD2DQ) \
    X(CVTDQ2PD) X(CVTSS2SD) X(CVTSD2SS)
// clang-format on

namespace kernel {
#define LODGE_FLOAT(name) LODGE_SSE_XMM(name, #name " %[b], %[a]")
LODGE_FLOAT_LIST(LODGE_FLOAT)
#undef LODGE_FLOAT

// The flags come back in the low bytes of `a`, as LAHF leaves them (bits 15..8); OF is always cleared.
#define LODGE_ORDER(name) LODGE_SSE_XMM(name, #name " %[b], %[a]\n\tlahf\n\tmovd %%eax, %[a]")
LODGE_ORDER(COMISS)
LODGE_ORDER(COMISD)
LODGE_ORDER(UCOMISS)
LODGE_ORDER(UCOMISD)
#undef LODGE_ORDER

#define LODGE_COMPARE(type) \
    template <u8 predicate> \
    LODGE_SSE_XMM(CMP##type, "CMP" #type " %[predicate], %[b], %[a]", [predicate] "i"(predicate))
LODGE_COMPARE(PS)
LODGE_COMPARE(SS)
LODGE_COMPARE(PD)
LODGE_COMPARE(SD)
#undef LODGE_COMPARE
}  // namespace kernel

}  // namespace

#define LODGE_ELEMENTS(name, ...) \
    template <>                   \
    inline constexpr Elements kElementsOf<kernel::name> = {__VA_ARGS__};
#define LODGE_ELEMENTS_OF_FOUR(name, step)            \
    LODGE_ELEMENTS(name##PS, step, step, 4, 4, false) \
    LODGE_ELEMENTS(name##SS, step, step, 4, 1, false) \
    LODGE_ELEMENTS(name##PD, step, step, 8, 2, false) \
    LODGE_ELEMENTS(name##SD, step, step, 8, 1, false)
LODGE_ELEMENTS_OF_FOUR(ADD, Step::add)
LODGE_ELEMENTS_OF_FOUR(SUB, Step::subtract)
LODGE_ELEMENTS_OF_FOUR(MUL, Step::multiply)
LODGE_ELEMENTS_OF_FOUR(DIV, Step::divide)
LODGE_ELEMENTS(ADDSUBPS, Step::subtract, Step::add, 4, 4, false)
LODGE_ELEMENTS(ADDSUBPD, Step::subtract, Step::add, 8, 2, false)
LODGE_ELEMENTS(HADDPS, Step::add, Step::add, 4, 4, true)
LODGE_ELEMENTS(HADDPD, Step::add, Step::add, 8, 2, true)
LODGE_ELEMENTS(HSUBPS, Step::subtract, Step::subtract, 4, 4, true)
LODGE_ELEMENTS(HSUBPD, Step::subtract, Step::subtract, 8, 2, true)
LODGE_ELEMENTS(CVTPD2PS, Step::narrow, Step::narrow, 8, 2, false)
LODGE_ELEMENTS(CVTSD2SS, Step::narrow, Step::narrow, 8, 1, false)
#undef LODGE_ELEMENTS_OF_FOUR
#undef LODGE_ELEMENTS

namespace {

template <class Kernel, class Source>
bool op_order(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    __m128i source, result;
    if (!Source::read(cpu, insn, 1, source)) return false;
    if (!run_on_host<Kernel>(cpu, get_xmm(cpu.state.fpu, insn.operands[0].reg), source, result)) return false;
    cpu.state.status.low = static_cast<u8>(_mm_cvtsi128_si32(result) >> 8);
    cpu.state.status.overflow = 0;
    return true;
}
template <class Kernel>
InsnHandler bind_order(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_order<Kernel, XmmMemory>>;
    return chained_pure<op_order<Kernel, XmmRegister>>;
}

// Bits 7..3 of the predicate count only under VEX.
template <template <u8> class Kernel>
InsnHandler bind_compare(const Insn& insn) {
    switch (insn.immediate & 7) {
        case 0:
            return bind_float_kernel<Kernel<0>>(insn);
        case 1:
            return bind_float_kernel<Kernel<1>>(insn);
        case 2:
            return bind_float_kernel<Kernel<2>>(insn);
        case 3:
            return bind_float_kernel<Kernel<3>>(insn);
        case 4:
            return bind_float_kernel<Kernel<4>>(insn);
        case 5:
            return bind_float_kernel<Kernel<5>>(insn);
        case 6:
            return bind_float_kernel<Kernel<6>>(insn);
        default:
            return bind_float_kernel<Kernel<7>>(insn);
    }
}

}  // namespace

InsnHandler bind_float(const Insn& insn) {
    switch (insn.opcode) {
#define LODGE_CASE(name) \
    case Opcode::name:   \
        return bind_float_kernel<kernel::name>(insn);
        LODGE_FLOAT_LIST(LODGE_CASE)
#undef LODGE_CASE
        case Opcode::COMISS:
            return bind_order<kernel::COMISS>(insn);
        case Opcode::COMISD:
            return bind_order<kernel::COMISD>(insn);
        case Opcode::UCOMISS:
            return bind_order<kernel::UCOMISS>(insn);
        case Opcode::UCOMISD:
            return bind_order<kernel::UCOMISD>(insn);
        case Opcode::CMPPS:
            return bind_compare<kernel::CMPPS>(insn);
        case Opcode::CMPSS:
            return bind_compare<kernel::CMPSS>(insn);
        case Opcode::CMPPD:
            return bind_compare<kernel::CMPPD>(insn);
        case Opcode::CMPSD:
            return bind_compare<kernel::CMPSD>(insn);
        default:
            return nullptr;
    }
}

}  // namespace lodge::simd
