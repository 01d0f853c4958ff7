// AES, SHA and carry-less multiplication with an immediate. (Those without are in ops_simd_integer.cpp.)
#include "core/interp/simd.h"

namespace lodge::simd {

namespace {

using Function = __m128i (*)(__m128i, __m128i, u64);

// The round constant is only XORed in, to doublewords 1 and 3 (SDM vol. 2, "AESKEYGENASSIST").
__m128i aeskeygenassist(__m128i, __m128i b, u64 immediate) {
    __m128i result;
    asm("aeskeygenassist $0, %1, %0" : "=x"(result) : "x"(b));
    const int constant = static_cast<int>(immediate & 0xFF);
    return _mm_xor_si128(result, _mm_set_epi32(constant, 0, constant, 0));
}

// Bits 0 and 4 of the immediate choose the quadwords.
__m128i pclmulqdq(__m128i a, __m128i b, u64 immediate) {
    if (immediate & 0x01) a = _mm_srli_si128(a, 8);
    if (immediate & 0x10) b = _mm_srli_si128(b, 8);
    asm("pclmulqdq $0, %1, %0" : "+x"(a) : "x"(b));
    return a;
}

template <u8 rounds>
__m128i sha1rnds4_of(__m128i a, __m128i b) {
    asm("sha1rnds4 %2, %1, %0" : "+x"(a) : "x"(b), "i"(rounds));
    return a;
}
__m128i sha1rnds4(__m128i a, __m128i b, u64 immediate) {
    switch (immediate & 3) {
        case 0:
            return sha1rnds4_of<0>(a, b);
        case 1:
            return sha1rnds4_of<1>(a, b);
        case 2:
            return sha1rnds4_of<2>(a, b);
        default:
            return sha1rnds4_of<3>(a, b);
    }
}

template <Function function, class Source>
bool op_with_immediate(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    __m128i source;
    if (!Source::read(cpu, insn, 1, source)) return false;
    FpuState& fpu = cpu.state.fpu;
    const unsigned d = insn.operands[0].reg;
    set_xmm(fpu, d, function(get_xmm(fpu, d), source, insn.immediate));
    return true;
}
template <Function function>
InsnHandler bind_with_immediate(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_with_immediate<function, XmmMemory>>;
    return chained_pure<op_with_immediate<function, XmmRegister>>;
}

}  // namespace

InsnHandler bind_crypto(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::AESKEYGENASSIST:
            return bind_with_immediate<aeskeygenassist>(insn);
        case Opcode::PCLMULQDQ:
            return bind_with_immediate<pclmulqdq>(insn);
        case Opcode::SHA1RNDS4:
            return bind_with_immediate<sha1rnds4>(insn);
        default:
            return nullptr;
    }
}

}  // namespace lodge::simd
