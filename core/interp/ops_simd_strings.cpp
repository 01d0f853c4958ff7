// SSE4.2 string comparison. The host compares; what the immediate asks to be made of the result is done here, so that
// 16 forms are needed rather than 128. SDM vol. 2, 4.1 "Imm8 Control Byte Operation".
#include <array>

#include "core/interp/simd.h"

namespace lodge::simd {

namespace {

constexpr u64 kWords = 0x01;        // elements are words
constexpr u64 kCompareMask = 0x0F;  // their format and how to compare
constexpr u64 kNegate = 0x10;       // the result
constexpr u64 kNegateValid = 0x20;  // with kNegate: only for elements of the second string
constexpr u64 kSelectHigh = 0x40;   // the index of the last, not of the first; a mask of elements, not of bits

struct Strings {
    __m128i first, second;
    u64 first_length, second_length;  // PCMPESTRx: EAX and EDX, or RAX and RDX
    bool wide;                        // the latter
};
// One bit per element, and flags of which ZF and SF are right whatever the other options are.
struct Comparison {
    u32 mask;
    u8 flags;
};
using Compare = Comparison (*)(const Strings&);

template <u8 how>
Comparison compare_implicit(const Strings& s) {
    u32 mask;
    u16 ax;
    asm("pcmpistrm %[how], %[second], %[first]\n\tlahf\n\tmovd %%xmm0, %[mask]"
        : [mask] "=r"(mask), "=&a"(ax)
        : [first] "x"(s.first), [second] "x"(s.second), [how] "i"(how)
        : "cc", "xmm0");
    return {mask, static_cast<u8>(ax >> 8)};
}
template <u8 how>
Comparison compare_explicit(const Strings& s) {
    u32 mask;
    u64 ax = s.first_length;
    if (s.wide)
        asm("pcmpestrmq %[how], %[second], %[first]\n\tlahf\n\tmovd %%xmm0, %[mask]"
            : [mask] "=r"(mask), "+a"(ax)
            : [first] "x"(s.first), [second] "x"(s.second), "d"(s.second_length), [how] "i"(how)
            : "cc", "xmm0");
    else
        asm("pcmpestrm %[how], %[second], %[first]\n\tlahf\n\tmovd %%xmm0, %[mask]"
            : [mask] "=r"(mask), "+a"(ax)
            : [first] "x"(s.first), [second] "x"(s.second), "d"(s.second_length), [how] "i"(how)
            : "cc", "xmm0");
    return {mask, static_cast<u8>(ax >> 8)};
}

unsigned element_count(u64 immediate) {
    return immediate & kWords ? 8 : 16;
}
unsigned length_up_to_null(__m128i string, u64 immediate) {
    const unsigned count = element_count(immediate);
    const auto bytes = std::bit_cast<std::array<u8, 16>>(string);
    for (unsigned i = 0; i < count; ++i)
        if (immediate & kWords ? !(bytes[2 * i] | bytes[2 * i + 1]) : !bytes[i]) return i;
    return count;
}
// A length is a signed number of which the absolute value counts, up to the number of elements.
unsigned saturated_length(u64 length, bool wide, u64 immediate) {
    const i64 value = wide ? static_cast<i64>(length) : static_cast<i32>(length);
    const u64 absolute = value < 0 ? u64{0} - static_cast<u64>(value) : static_cast<u64>(value);
    const unsigned count = element_count(immediate);
    return absolute > count ? count : static_cast<unsigned>(absolute);
}

u32 apply_polarity(u32 mask, unsigned second_length, u64 immediate) {
    if (!(immediate & kNegate)) return mask;
    const unsigned negated = immediate & kNegateValid ? second_length : element_count(immediate);
    return mask ^ ((1u << negated) - 1);
}
void set_flags(StatusFlags& flags, u8 from_host, u32 mask) {
    flags.low = static_cast<u8>(0x02 | (from_host & (kFlagZero | kFlagSign)) | (mask ? kFlagCarry : 0));
    flags.overflow = mask & 1;
}

struct ToIndex {
    static void put(Cpu& cpu, u32 mask, u64 immediate) {
        unsigned index = element_count(immediate);
        if (mask)
            index = static_cast<unsigned>(immediate & kSelectHigh ? std::bit_width(mask) - 1 : std::countr_zero(mask));
        set_gpr<u32>(cpu, kRcx, index);
    }
};
struct ToMask {
    static void put(Cpu& cpu, u32 mask, u64 immediate) {
        u8 value[16] = {};
        if (!(immediate & kSelectHigh)) {
            store<u32>(value, mask);
        } else {
            const unsigned size = 16 / element_count(immediate);
            for (unsigned i = 0; i < 16; ++i) value[i] = mask >> (i / size) & 1 ? 0xFF : 0;
        }
        set_xmm(cpu.state.fpu, 0, load<__m128i>(value));
    }
};

// These take memory operands as they come, aligned or not.
bool read_second(Cpu& cpu, const Insn& insn, __m128i& value) {
    if (is_memory(insn, 1)) return read_vector(cpu, insn, false, value);
    value = get_xmm(cpu.state.fpu, insn.operands[1].reg);
    return true;
}

template <Compare compare, bool explicit_length, class Result>
bool op_compare_strings(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    Strings s;
    if (!read_second(cpu, insn, s.second)) return false;
    s.first = get_xmm(cpu.state.fpu, insn.operands[0].reg);
    s.first_length = cpu.state.gpr[kRax];
    s.second_length = cpu.state.gpr[kRdx];
    s.wide = insn.prefixes & kPrefixRexW;
    const Comparison result = compare(s);
    const unsigned length = explicit_length ? saturated_length(s.second_length, s.wide, insn.immediate)
                                            : length_up_to_null(s.second, insn.immediate);
    const u32 mask = apply_polarity(result.mask, length, insn.immediate);
    set_flags(cpu.state.status, result.flags, mask);
    Result::put(cpu, mask, insn.immediate);
    return true;
}

template <class Result, u8 how = 0>
InsnHandler bind_implicit(const Insn& insn) {
    if constexpr (how < kCompareMask)
        if ((insn.immediate & kCompareMask) != how) return bind_implicit<Result, how + 1>(insn);
    return chained<op_compare_strings<compare_implicit<how>, false, Result>>;
}
template <class Result, u8 how = 0>
InsnHandler bind_explicit(const Insn& insn) {
    if constexpr (how < kCompareMask)
        if ((insn.immediate & kCompareMask) != how) return bind_explicit<Result, how + 1>(insn);
    return chained<op_compare_strings<compare_explicit<how>, true, Result>>;
}

}  // namespace

InsnHandler bind_strings(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::PCMPISTRI:
            return bind_implicit<ToIndex>(insn);
        case Opcode::PCMPISTRM:
            return bind_implicit<ToMask>(insn);
        case Opcode::PCMPESTRI:
            return bind_explicit<ToIndex>(insn);
        case Opcode::PCMPESTRM:
            return bind_explicit<ToMask>(insn);
        default:
            return nullptr;
    }
}

}  // namespace lodge::simd
