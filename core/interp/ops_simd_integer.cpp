// Packed instructions over one or two vectors that raise no floating-point exception: each is executed as itself.
#include "core/interp/simd.h"

namespace lodge::simd {

namespace {

// clang-format off

// Over MMX and XMM registers alike. (Assemblers take capital letters.)
#define LODGE_PACKED_LIST(X) \
    X(PACKSSWB) X(PACKSSDW) X(PACKUSWB) X(PUNPCKLBW) X(PUNPCKLWD) X(PUNPCKLDQ) X(PUNPCKHBW) X(PUNPCKHWD) \
    X(PUNPCKHDQ) X(PCMPEQB) X(PCMPEQW) X(PCMPEQD) X(PCMPGTB) X(PCMPGTW) X(PCMPGTD) X(PADDB) X(PADDW) X(PADDD) \
    X(PADDQ) X(PADDSB) X(PADDSW) X(PADDUSB) X(PADDUSW) X(PSUBB) X(PSUBW) X(PSUBD) X(PSUBQ) X(PSUBSB) X(PSUBSW) \
    X(PSUBUSB) X(PSUBUSW) X(PMULLW) X(PMULHW) X(PMULHUW) X(PMULUDQ) X(PMADDWD) X(PAND) X(PANDN) X(POR) X(PXOR) \
    X(PAVGB) X(PAVGW) X(PMAXSW) X(PMAXUB) X(PMINSW) X(PMINUB) X(PSADBW) X(PABSB) X(PABSW) X(PABSD) X(PHADDW) \
    X(PHADDD) X(PHADDSW) X(PHSUBW) X(PHSUBD) X(PHSUBSW) X(PMADDUBSW) X(PMULHRSW) X(PSHUFB) X(PSIGNB) X(PSIGNW) \
    X(PSIGND)
// The same, or with a count as an immediate.
#define LODGE_SHIFT_LIST(X) \
    X(PSLLW) X(PSLLD) X(PSLLQ) X(PSRLW) X(PSRLD) X(PSRLQ) X(PSRAW) X(PSRAD)
// Over XMM registers only. The reciprocals are approximations that differ from one family of hosts to another; they
// raise nothing and do not look at MXCSR (SDM vol. 2, "RCPPS").
#define LODGE_XMM_LIST(X) \
    X(PUNPCKLQDQ) X(PUNPCKHQDQ) X(ANDPS) X(ANDNPS) X(ORPS) X(XORPS) X(ANDPD) X(ANDNPD) X(ORPD) X(XORPD) \
    X(UNPCKLPS) X(UNPCKHPS) X(UNPCKLPD) X(UNPCKHPD) X(RCPPS) X(RCPSS) X(RSQRTPS) X(RSQRTSS) X(MOVSLDUP) \
    X(MOVSHDUP) X(MOVDDUP) X(PACKUSDW) X(PCMPEQQ) X(PCMPGTQ) X(PMAXSB) X(PMAXSD) X(PMAXUD) X(PMAXUW) X(PMINSB) \
    X(PMINSD) X(PMINUD) X(PMINUW) X(PMULDQ) X(PMULLD) X(PHMINPOSUW) X(PMOVSXBW) X(PMOVSXBD) X(PMOVSXBQ) \
    X(PMOVSXWD) X(PMOVSXWQ) X(PMOVSXDQ) X(PMOVZXBW) X(PMOVZXBD) X(PMOVZXBQ) X(PMOVZXWD) X(PMOVZXWQ) X(PMOVZXDQ) \
    X(AESENC) X(AESENCLAST) X(AESDEC) X(AESDECLAST) X(AESIMC) X(SHA1NEXTE) X(SHA1MSG1) X(SHA1MSG2) X(SHA256MSG1) \
    X(SHA256MSG2)

// clang-format on

#define LODGE_XMM_FUNCTION(name)                 \
    static __m128i xmm(__m128i a, __m128i b) {   \
        asm(#name " %1, %0" : "+x"(a) : "x"(b)); \
        return a;                                \
    }
#define LODGE_MMX_FUNCTION(name)                                                                   \
    static u64 mmx(u64 a, u64 b) {                                                                 \
        asm("movq %0, %%mm0\n\tmovq %1, %%mm1\n\t" #name " %%mm1, %%mm0\n\tmovq %%mm0, %0\n\temms" \
            : "+r"(a)                                                                              \
            : "r"(b)                                                                               \
            : "mm0", "mm1", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");  \
        return a;                                                                                  \
    }

namespace kernel {
#define LODGE_BOTH(name)         \
    struct name {                \
        LODGE_XMM_FUNCTION(name) \
        LODGE_MMX_FUNCTION(name) \
    };
LODGE_PACKED_LIST(LODGE_BOTH)
LODGE_SHIFT_LIST(LODGE_BOTH)
#undef LODGE_BOTH
#define LODGE_XMM_ONLY(name)     \
    struct name {                \
        LODGE_XMM_FUNCTION(name) \
    };
LODGE_XMM_LIST(LODGE_XMM_ONLY)
#undef LODGE_XMM_ONLY
}  // namespace kernel

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

template <class Kernel, class Source>
bool op_mmx(Cpu& cpu, const Insn& insn) {
    if (!enter_mmx(cpu)) return false;
    u64 source;
    if (!Source::read(cpu, insn, 1, source)) return false;
    FpuState& fpu = cpu.state.fpu;
    const unsigned d = insn.operands[0].reg;
    begin_mmx(fpu);
    set_mmx(fpu, d, Kernel::mmx(get_mmx(fpu, d), source));
    return true;
}

// A shift's count.
struct XmmImmediate {
    [[maybe_unused]] static constexpr bool is_memory = false;
    static bool read(Cpu& cpu, const Insn& insn, unsigned, __m128i& value) {
        value = _mm_cvtsi64_si128(static_cast<i64>(insn.immediate & 0xFF));
        return true;
    }
};
struct MmxImmediate {
    [[maybe_unused]] static constexpr bool is_memory = false;
    static bool read(Cpu& cpu, const Insn& insn, unsigned, u64& value) {
        value = insn.immediate & 0xFF;
        return true;
    }
};

template <class Kernel>
InsnHandler bind_xmm(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_xmm<Kernel, XmmMemory>>;
    return chained_pure<op_xmm<Kernel, XmmRegister>>;
}
template <class Kernel>
InsnHandler bind_packed(const Insn& insn) {
    if (!is_mmx(insn, 0)) return bind_xmm<Kernel>(insn);
    if (is_memory(insn, 1)) return chained<op_mmx<Kernel, MmxMemory>>;
    return chained_pure<op_mmx<Kernel, MmxRegister>>;
}
template <class Kernel>
InsnHandler bind_shift(const Insn& insn) {
    if (!is_immediate(insn, 1)) return bind_packed<Kernel>(insn);
    if (is_mmx(insn, 0)) return chained_pure<op_mmx<Kernel, MmxImmediate>>;
    return chained_pure<op_xmm<Kernel, XmmImmediate>>;
}

}  // namespace

InsnHandler bind_integer(const Insn& insn) {
    switch (insn.opcode) {
#define LODGE_CASE(name) \
    case Opcode::name:   \
        return bind_packed<kernel::name>(insn);
        LODGE_PACKED_LIST(LODGE_CASE)
#undef LODGE_CASE
#define LODGE_CASE(name) \
    case Opcode::name:   \
        return bind_shift<kernel::name>(insn);
        LODGE_SHIFT_LIST(LODGE_CASE)
#undef LODGE_CASE
#define LODGE_CASE(name) \
    case Opcode::name:   \
        return bind_xmm<kernel::name>(insn);
        LODGE_XMM_LIST(LODGE_CASE)
#undef LODGE_CASE
        default:
            return nullptr;
    }
}

}  // namespace lodge::simd
