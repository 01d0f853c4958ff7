// Instructions that only move elements about, as their immediate says: shuffles, whole-register shifts, PINSR, PEXTR,
// blends, and SSE4a's bit fields.
#include <array>

#include "core/interp/simd.h"

namespace lodge::simd {

namespace {

template <class T>
using Elements = std::array<T, 16 / sizeof(T)>;

template <class T>
Elements<T> elements(__m128i value) {
    return std::bit_cast<Elements<T>>(value);
}
template <class T>
__m128i vector_of(const Elements<T>& elements) {
    return std::bit_cast<__m128i>(elements);
}
unsigned field(u64 immediate, unsigned index, unsigned width) {
    return (immediate >> (index * width)) & ((1u << width) - 1);
}

// --- XMM: function(destination, source, immediate)

using XmmFunction = __m128i (*)(__m128i, __m128i, u64);

__m128i pshufd(__m128i, __m128i b, u64 immediate) {
    const auto from = elements<u32>(b);
    return vector_of<u32>({from[field(immediate, 0, 2)], from[field(immediate, 1, 2)], from[field(immediate, 2, 2)],
                           from[field(immediate, 3, 2)]});
}
// The low (first = 0) or high (4) four words.
template <unsigned first>
__m128i shuffle_words(__m128i, __m128i b, u64 immediate) {
    const auto from = elements<u16>(b);
    auto to = from;
    for (unsigned i = 0; i < 4; ++i) to[first + i] = from[first + field(immediate, i, 2)];
    return vector_of<u16>(to);
}
__m128i shufps(__m128i a, __m128i b, u64 immediate) {
    const auto low = elements<u32>(a), high = elements<u32>(b);
    return vector_of<u32>({low[field(immediate, 0, 2)], low[field(immediate, 1, 2)], high[field(immediate, 2, 2)],
                           high[field(immediate, 3, 2)]});
}
__m128i shufpd(__m128i a, __m128i b, u64 immediate) {
    return vector_of<u64>({elements<u64>(a)[immediate & 1], elements<u64>(b)[immediate >> 1 & 1]});
}
__m128i palignr(__m128i a, __m128i b, u64 immediate) {
    u8 joined[48] = {};  // and zeros above
    std::memcpy(joined, &b, 16);
    std::memcpy(joined + 16, &a, 16);
    const u64 shift = immediate & 0xFF;
    return shift >= 32 ? __m128i{} : load<__m128i>(joined + shift);
}
template <class T>
__m128i blend(__m128i a, __m128i b, u64 immediate) {
    auto to = elements<T>(a);
    const auto from = elements<T>(b);
    for (unsigned i = 0; i < to.size(); ++i)
        if (immediate >> i & 1) to[i] = from[i];
    return vector_of<T>(to);
}
// Bits 7..6 choose the source element of a register; of memory there is only one.
template <bool memory>
__m128i insertps(__m128i a, __m128i b, u64 immediate) {
    auto to = elements<u32>(a);
    to[immediate >> 4 & 3] = elements<u32>(b)[memory ? 0 : immediate >> 6 & 3];
    for (unsigned i = 0; i < 4; ++i)
        if (immediate >> i & 1) to[i] = 0;
    return vector_of<u32>(to);
}
__m128i pslldq(__m128i a, u64 count) {
    u8 joined[32] = {};
    std::memcpy(joined + 16, &a, 16);
    return count >= 16 ? __m128i{} : load<__m128i>(joined + 16 - count);
}
__m128i psrldq(__m128i a, u64 count) {
    u8 joined[32] = {};
    std::memcpy(joined, &a, 16);
    return count >= 16 ? __m128i{} : load<__m128i>(joined + count);
}

template <XmmFunction function, class Source>
bool op_xmm(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    __m128i source;
    if (!Source::read(cpu, insn, 1, source)) return false;
    FpuState& fpu = cpu.state.fpu;
    const unsigned d = insn.operands[0].reg;
    set_xmm(fpu, d, function(get_xmm(fpu, d), source, insn.immediate));
    return true;
}
template <XmmFunction function>
InsnHandler bind_xmm(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_xmm<function, XmmMemory>>;
    return chained_pure<op_xmm<function, XmmRegister>>;
}

template <auto function>
bool op_shift_bytes(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    const unsigned d = insn.operands[0].reg;
    set_xmm(fpu, d, function(get_xmm(fpu, d), insn.immediate & 0xFF));
    return true;
}

// --- MMX: the same

using MmxFunction = u64 (*)(u64, u64, u64);

u64 pshufw(u64, u64 b, u64 immediate) {
    u64 to = 0;
    for (unsigned i = 0; i < 4; ++i) to |= (b >> (16 * field(immediate, i, 2)) & 0xFFFF) << (16 * i);
    return to;
}
u64 palignr_mmx(u64 a, u64 b, u64 immediate) {
    const u64 shift = immediate & 0xFF;
    return shift >= 16 ? 0 : static_cast<u64>((u128{a} << 64 | b) >> (8 * shift));
}

template <MmxFunction function, class Source>
bool op_mmx(Cpu& cpu, const Insn& insn) {
    if (!enter_mmx(cpu)) return false;
    u64 source;
    if (!Source::read(cpu, insn, 1, source)) return false;
    FpuState& fpu = cpu.state.fpu;
    const unsigned d = insn.operands[0].reg;
    begin_mmx(fpu);
    set_mmx(fpu, d, function(get_mmx(fpu, d), source, insn.immediate));
    return true;
}
template <MmxFunction function>
InsnHandler bind_mmx(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_mmx<function, MmxMemory>>;
    return chained_pure<op_mmx<function, MmxRegister>>;
}

// --- One element and a general register or memory

// From a register of 4 bytes or from memory of the element's size.
template <class T>
bool read_element(Cpu& cpu, const Insn& insn, T& value) {
    if (is_memory(insn, 1)) return MemoryOperand::read(cpu, insn, value);
    value = static_cast<T>(get_gpr<u64>(cpu, insn.operands[1].reg));
    return true;
}
// A register is written whole.
template <class T>
bool write_element(Cpu& cpu, const Insn& insn, T value) {
    if (is_memory(insn, 0)) return MemoryOperand::write(cpu, insn, value);
    cpu.state.gpr[insn.operands[0].reg] = value;
    return true;
}

template <class T>
bool op_insert(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    T value;
    if (!read_element(cpu, insn, value)) return false;
    const unsigned index = insn.immediate % (16 / sizeof(T));
    store(cpu.state.fpu.xmm[insn.operands[0].reg] + index * sizeof(T), value);
    return true;
}
template <class T>
bool op_extract(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    const unsigned index = insn.immediate % (16 / sizeof(T));
    return write_element(cpu, insn, load<T>(cpu.state.fpu.xmm[insn.operands[1].reg] + index * sizeof(T)));
}
bool op_pinsrw_mmx(Cpu& cpu, const Insn& insn) {
    if (!enter_mmx(cpu)) return false;
    u16 value;
    if (!read_element(cpu, insn, value)) return false;
    FpuState& fpu = cpu.state.fpu;
    const unsigned d = insn.operands[0].reg, shift = 16 * (insn.immediate & 3);
    begin_mmx(fpu);
    set_mmx(fpu, d, replace_bits(get_mmx(fpu, d), u64{0xFFFF} << shift, u64{value} << shift));
    return true;
}
bool op_pextrw_mmx(Cpu& cpu, const Insn& insn) {
    if (!enter_mmx(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    begin_mmx(fpu);
    return write_element(cpu, insn,
                         static_cast<u16>(get_mmx(fpu, insn.operands[1].reg) >> (16 * (insn.immediate & 3))));
}
template <class T>
InsnHandler bind_insert(const Insn& insn) {
    return is_memory(insn, 1) ? chained<op_insert<T>> : chained_pure<op_insert<T>>;
}
template <class T>
InsnHandler bind_extract(const Insn& insn) {
    return is_memory(insn, 0) ? chained<op_extract<T>> : chained_pure<op_extract<T>>;
}

// --- SSE4a: fields of the low quadword (APM vol. 4, "EXTRQ", "INSERTQ"). Length 0 means 64. A field that does not fit
// is undefined; here it is cut off. The upper quadword, undefined too, is cleared.

u64 field_mask(unsigned length) {
    return length ? (u64{1} << length) - 1 : ~u64{0};
}
void extract_field(FpuState& fpu, unsigned d, unsigned length, unsigned index) {
    const u64 value = load<u64>(fpu.xmm[d]) >> (index & 63) & field_mask(length & 63);
    set_xmm(fpu, d, _mm_cvtsi64_si128(static_cast<i64>(value)));
}
void insert_field(FpuState& fpu, unsigned d, u64 source, unsigned length, unsigned index) {
    const u64 mask = field_mask(length & 63) << (index & 63);
    const u64 value = replace_bits(load<u64>(fpu.xmm[d]), mask, source << (index & 63));
    set_xmm(fpu, d, _mm_cvtsi64_si128(static_cast<i64>(value)));
}
bool op_extrq(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    if (is_xmm(insn, 1)) {
        const u8* control = fpu.xmm[insn.operands[1].reg];
        extract_field(fpu, insn.operands[0].reg, control[0], control[1]);
    } else {
        extract_field(fpu, insn.operands[0].reg, insn.immediate & 0xFF, insn.immediate2);
    }
    return true;
}
bool op_insertq(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    const u8* source = fpu.xmm[insn.operands[1].reg];
    const bool immediate = is_immediate(insn, 2);
    const unsigned length = immediate ? insn.immediate & 0xFF : source[8];
    insert_field(fpu, insn.operands[0].reg, load<u64>(source), length, immediate ? insn.immediate2 : source[9]);
    return true;
}

}  // namespace

InsnHandler bind_shuffle(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::PSHUFD:
            return bind_xmm<pshufd>(insn);
        case Opcode::PSHUFLW:
            return bind_xmm<shuffle_words<0>>(insn);
        case Opcode::PSHUFHW:
            return bind_xmm<shuffle_words<4>>(insn);
        case Opcode::PSHUFW:
            return bind_mmx<pshufw>(insn);
        case Opcode::SHUFPS:
            return bind_xmm<shufps>(insn);
        case Opcode::SHUFPD:
            return bind_xmm<shufpd>(insn);
        case Opcode::PALIGNR:
            return is_mmx(insn, 0) ? bind_mmx<palignr_mmx>(insn) : bind_xmm<palignr>(insn);
        case Opcode::BLENDPS:
            return bind_xmm<blend<u32>>(insn);
        case Opcode::BLENDPD:
            return bind_xmm<blend<u64>>(insn);
        case Opcode::PBLENDW:
            return bind_xmm<blend<u16>>(insn);
        case Opcode::INSERTPS:
            return is_memory(insn, 1) ? bind_xmm<insertps<true>>(insn) : bind_xmm<insertps<false>>(insn);
        case Opcode::PSLLDQ:
            return chained_pure<op_shift_bytes<pslldq>>;
        case Opcode::PSRLDQ:
            return chained_pure<op_shift_bytes<psrldq>>;
        case Opcode::PINSRB:
            return bind_insert<u8>(insn);
        case Opcode::PINSRW:
            if (is_mmx(insn, 0)) return is_memory(insn, 1) ? chained<op_pinsrw_mmx> : chained_pure<op_pinsrw_mmx>;
            return bind_insert<u16>(insn);
        case Opcode::PINSRD:
            return bind_insert<u32>(insn);
        case Opcode::PINSRQ:
            return bind_insert<u64>(insn);
        case Opcode::PEXTRB:
            return bind_extract<u8>(insn);
        case Opcode::PEXTRW:
            return is_mmx(insn, 1) ? chained_pure<op_pextrw_mmx> : bind_extract<u16>(insn);
        case Opcode::PEXTRD:
        case Opcode::EXTRACTPS:
            return bind_extract<u32>(insn);
        case Opcode::PEXTRQ:
            return bind_extract<u64>(insn);
        case Opcode::EXTRQ:
            return chained_pure<op_extrq>;
        case Opcode::INSERTQ:
            return chained_pure<op_insertq>;
        default:
            return nullptr;
    }
}

}  // namespace lodge::simd
