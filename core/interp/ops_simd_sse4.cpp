// SSE4.1 and SSE4.2 instructions with an immediate or an implicit operand.
#include "core/interp/simd_host.h"

namespace lodge::simd {

namespace {

namespace kernel {

// --- Rounding. Bits 7..4 of the immediate are ignored.
#define LODGE_ROUND(name) \
    template <u8 how>     \
    LODGE_SSE_XMM(name, #name " %[how], %[b], %[a]", [how] "i"(how))
LODGE_ROUND(ROUNDPS)
LODGE_ROUND(ROUNDPD)
LODGE_ROUND(ROUNDSS)
LODGE_ROUND(ROUNDSD)
#undef LODGE_ROUND

// --- Dot products of everything, everywhere: unwanted elements are masked before and after.
LODGE_SSE_XMM(DPPS, "DPPS $255, %[b], %[a]")
LODGE_SSE_XMM(DPPD, "DPPD $51, %[b], %[a]")

// --- Blends by XMM0
#define LODGE_BLEND(name)                                            \
    struct name {                                                    \
        static __m128i xmm(__m128i a, __m128i b, __m128i mask) {     \
            asm(#name " %2, %1, %0" : "+x"(a) : "x"(b), "Yz"(mask)); \
            return a;                                                \
        }                                                            \
    };
LODGE_BLEND(BLENDVPS)
LODGE_BLEND(BLENDVPD)
LODGE_BLEND(PBLENDVB)
LODGE_BLEND(SHA256RNDS2)
#undef LODGE_BLEND

template <u8 how>
struct MPSADBW {
    static __m128i xmm(__m128i a, __m128i b) {
        asm("MPSADBW %2, %1, %0" : "+x"(a) : "x"(b), "i"(how));
        return a;
    }
};

}  // namespace kernel

template <template <u8> class Kernel, u8 how = 0>
InsnHandler bind_round(const Insn& insn) {
    if constexpr (how < 15)
        if ((insn.immediate & 15) != how) return bind_round<Kernel, how + 1>(insn);
    return bind_float_kernel<Kernel<how>>(insn);
}

// Element i is all ones when bit i of `bits` is set.
template <class T>
__m128i element_mask(u64 bits) {
    u8 mask[16] = {};
    for (unsigned i = 0; i < 16 / sizeof(T); ++i)
        if (bits >> i & 1) std::memset(mask + i * sizeof(T), 0xFF, sizeof(T));
    return load<__m128i>(mask);
}
template <class Kernel, class T, class Source>
bool op_dot_product(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    __m128i source, result;
    if (!Source::read(cpu, insn, 1, source)) return false;
    const unsigned d = insn.operands[0].reg;
    const __m128i wanted = element_mask<T>(insn.immediate >> 4);
    const __m128i a = _mm_and_si128(get_xmm(cpu.state.fpu, d), wanted);
    const __m128i b = _mm_and_si128(source, wanted);
    const u32 mxcsr = cpu.state.fpu.mxcsr;
    if ((mxcsr & kMxcsrMasks) != kMxcsrMasks && !set_flags(cpu, dot_product_flags(sizeof(T), mxcsr, a, b)))
        return false;
    if (!run_on_host<Kernel>(cpu, a, b, result)) return false;
    set_xmm(cpu.state.fpu, d, _mm_and_si128(result, element_mask<T>(insn.immediate)));
    return true;
}
template <class Kernel, class T>
InsnHandler bind_dot_product(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_dot_product<Kernel, T, XmmMemory>>;
    return chained_pure<op_dot_product<Kernel, T, XmmRegister>>;
}

template <class Kernel, class Source>
bool op_with_xmm0(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    __m128i source;
    if (!Source::read(cpu, insn, 1, source)) return false;
    FpuState& fpu = cpu.state.fpu;
    const unsigned d = insn.operands[0].reg;
    set_xmm(fpu, d, Kernel::xmm(get_xmm(fpu, d), source, get_xmm(fpu, 0)));
    return true;
}
template <class Kernel>
InsnHandler bind_with_xmm0(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_with_xmm0<Kernel, XmmMemory>>;
    return chained_pure<op_with_xmm0<Kernel, XmmRegister>>;
}

template <class Kernel, class Source>
bool op_xmm(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    __m128i source;
    if (!Source::read(cpu, insn, 1, source)) return false;
    FpuState& fpu = cpu.state.fpu;
    const unsigned d = insn.operands[0].reg;
    set_xmm(fpu, d, Kernel::xmm(get_xmm(fpu, d), source));
    return true;
}
template <u8 how = 0>
InsnHandler bind_mpsadbw(const Insn& insn) {
    if constexpr (how < 7)
        if ((insn.immediate & 7) != how) return bind_mpsadbw<how + 1>(insn);
    if (is_memory(insn, 1)) return chained<op_xmm<kernel::MPSADBW<how>, XmmMemory>>;
    return chained_pure<op_xmm<kernel::MPSADBW<how>, XmmRegister>>;
}

template <class Source>
bool op_ptest(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    __m128i source;
    if (!Source::read(cpu, insn, 1, source)) return false;
    u16 ax;
    asm("ptest %2, %1\n\tlahf\n\tseto %%al"
        : "=&a"(ax)
        : "x"(get_xmm(cpu.state.fpu, insn.operands[0].reg)), "x"(source)
        : "cc");
    store(&cpu.state.status, ax);
    return true;
}

}  // namespace

InsnHandler bind_sse4(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::ROUNDPS:
            return bind_round<kernel::ROUNDPS>(insn);
        case Opcode::ROUNDPD:
            return bind_round<kernel::ROUNDPD>(insn);
        case Opcode::ROUNDSS:
            return bind_round<kernel::ROUNDSS>(insn);
        case Opcode::ROUNDSD:
            return bind_round<kernel::ROUNDSD>(insn);
        case Opcode::DPPS:
            return bind_dot_product<kernel::DPPS, u32>(insn);
        case Opcode::DPPD:
            return bind_dot_product<kernel::DPPD, u64>(insn);
        case Opcode::BLENDVPS:
            return bind_with_xmm0<kernel::BLENDVPS>(insn);
        case Opcode::BLENDVPD:
            return bind_with_xmm0<kernel::BLENDVPD>(insn);
        case Opcode::PBLENDVB:
            return bind_with_xmm0<kernel::PBLENDVB>(insn);
        case Opcode::SHA256RNDS2:
            return bind_with_xmm0<kernel::SHA256RNDS2>(insn);
        case Opcode::MPSADBW:
            return bind_mpsadbw(insn);
        case Opcode::PTEST:
            return is_memory(insn, 1) ? chained<op_ptest<XmmMemory>> : chained_pure<op_ptest<XmmRegister>>;
        default:
            return nullptr;
    }
}

}  // namespace lodge::simd
