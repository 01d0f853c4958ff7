// MMX and SSE moves, EMMS, MXCSR, hints.
#include "core/interp/simd.h"

namespace lodge::simd {

namespace {

// --- 16 bytes. `aligned` is of the memory form.

template <bool aligned>
bool op_load_vector(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    __m128i value;
    if (!read_vector(cpu, insn, aligned, value)) return false;
    set_xmm(cpu.state.fpu, insn.operands[0].reg, value);
    return true;
}
template <bool aligned>
bool op_store_vector(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    return write_vector(cpu, insn, aligned, get_xmm(cpu.state.fpu, insn.operands[1].reg));
}
bool op_copy_vector(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    set_xmm(fpu, insn.operands[0].reg, get_xmm(fpu, insn.operands[1].reg));
    return true;
}
template <bool aligned>
InsnHandler bind_vector(const Insn& insn) {
    if (is_memory(insn, 0)) return chained<op_store_vector<aligned>>;
    if (is_memory(insn, 1)) return chained<op_load_vector<aligned>>;
    return chained_pure<op_copy_vector>;
}

// --- Half a vector and memory, or the halves of two vectors.

template <unsigned half>
bool op_load_half(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    u64 value;
    if (!MemoryOperand::read(cpu, insn, value)) return false;
    store(cpu.state.fpu.xmm[insn.operands[0].reg] + 8 * half, value);
    return true;
}
template <unsigned half>
bool op_store_half(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    return MemoryOperand::write(cpu, insn, load<u64>(cpu.state.fpu.xmm[insn.operands[1].reg] + 8 * half));
}
template <unsigned to, unsigned from>
bool op_copy_half(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    store(fpu.xmm[insn.operands[0].reg] + 8 * to, load<u64>(fpu.xmm[insn.operands[1].reg] + 8 * from));
    return true;
}
template <unsigned half>
InsnHandler bind_half(const Insn& insn) {
    if (is_memory(insn, 0)) return chained<op_store_half<half>>;
    if (is_memory(insn, 1)) return chained<op_load_half<half>>;
    return half ? chained_pure<op_copy_half<1, 0>> : chained_pure<op_copy_half<0, 1>>;  // MOVLHPS, MOVHLPS
}

// --- MOVSS, MOVSD: from memory the rest is cleared, from a register it is kept.

template <class T>
bool op_load_scalar(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    T value;
    if (!MemoryOperand::read(cpu, insn, value)) return false;
    set_xmm(cpu.state.fpu, insn.operands[0].reg, _mm_cvtsi64_si128(static_cast<i64>(value)));
    return true;
}
template <class T>
bool op_store_scalar(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    return MemoryOperand::write(cpu, insn, load<T>(cpu.state.fpu.xmm[insn.operands[1].reg]));
}
template <class T>
bool op_copy_scalar(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    store(fpu.xmm[insn.operands[0].reg], load<T>(fpu.xmm[insn.operands[1].reg]));
    return true;
}
template <class T>
InsnHandler bind_scalar(const Insn& insn) {
    if (is_memory(insn, 0)) return chained<op_store_scalar<T>>;
    if (is_memory(insn, 1)) return chained<op_load_scalar<T>>;
    return chained_pure<op_copy_scalar<T>>;
}

// --- MOVD, MOVQ and their like: up to 8 bytes between any two places, zero-extended.

// Any MMX register among the operands makes it an MMX instruction, any XMM register an SSE one (CVTPI2PS has both).
bool enter_registers(Cpu& cpu, const Insn& insn) {
    if ((is_xmm(insn, 0) || is_xmm(insn, 1)) && !enter_sse(cpu)) return false;
    if ((is_mmx(insn, 0) || is_mmx(insn, 1)) && !enter_mmx(cpu)) return false;
    return true;
}

template <class T>
bool read_low(Cpu& cpu, const Insn& insn, u64& value) {
    const Operand& source = insn.operands[1];
    T narrow;
    switch (source.kind) {
        case OperandKind::mmx:
            narrow = static_cast<T>(get_mmx(cpu.state.fpu, source.reg));
            break;
        case OperandKind::xmm:
            narrow = load<T>(cpu.state.fpu.xmm[source.reg]);
            break;
        case OperandKind::gpr:
            narrow = get_gpr<T>(cpu, source.reg);
            break;
        default:
            if (!MemoryOperand::read(cpu, insn, narrow)) return false;
    }
    value = narrow;
    return true;
}

template <class T>
bool op_move_low(Cpu& cpu, const Insn& insn) {
    if (!enter_registers(cpu, insn)) return false;
    FpuState& fpu = cpu.state.fpu;
    const Operand& destination = insn.operands[0];
    u64 value;
    if (!read_low<T>(cpu, insn, value)) return false;
    if (destination.kind == OperandKind::memory && !MemoryOperand::write(cpu, insn, static_cast<T>(value)))
        return false;
    if (is_mmx(insn, 0) || is_mmx(insn, 1)) begin_mmx(fpu);
    if (destination.kind == OperandKind::mmx) set_mmx(fpu, destination.reg, value);
    if (destination.kind == OperandKind::xmm) set_xmm(fpu, destination.reg, _mm_cvtsi64_si128(static_cast<i64>(value)));
    if (destination.kind == OperandKind::gpr) set_gpr<T>(cpu, destination.reg, static_cast<T>(value));
    return true;
}
// Four bytes when the general register or the memory operand has four.
InsnHandler bind_move_low(const Insn& insn) {
    for (const Operand& operand : {insn.operands[0], insn.operands[1]})
        if ((operand.kind == OperandKind::gpr || operand.kind == OperandKind::memory) && operand.size == 4)
            return insn.has_memory() ? chained<op_move_low<u32>> : chained_pure<op_move_low<u32>>;
    return insn.has_memory() ? chained<op_move_low<u64>> : chained_pure<op_move_low<u64>>;
}

// MOVNTI has no vector register at all.
template <class T>
bool op_movnti(Cpu& cpu, const Insn& insn) {
    return MemoryOperand::write(cpu, insn, get_gpr<T>(cpu, insn.operands[1].reg));
}

// --- Byte masks

// DS:rDI, or the overriding segment.
u64 string_address(const Cpu& cpu, const Insn& insn) {
    return cpu.state.gpr[kRdi] & size_mask(insn.address_size);
}
template <unsigned size>
bool write_masked(Cpu& cpu, const Insn& insn, const u8* value, const u8* mask) {
    const u64 address = string_address(cpu, insn);
    for (unsigned i = 0; i < size; ++i)
        if (mask[i] & 0x80)
            if (!cpu.probe_write(insn.segment, (address + i) & size_mask(insn.address_size), 1)) return false;
    for (unsigned i = 0; i < size; ++i)
        if (mask[i] & 0x80)
            if (!cpu.write(insn.segment, (address + i) & size_mask(insn.address_size), value[i])) return false;
    return true;
}
bool op_maskmovdqu(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    const FpuState& fpu = cpu.state.fpu;
    return write_masked<16>(cpu, insn, fpu.xmm[insn.operands[0].reg], fpu.xmm[insn.operands[1].reg]);
}
bool op_maskmovq(Cpu& cpu, const Insn& insn) {
    if (!enter_mmx(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    if (!write_masked<8>(cpu, insn, fpu.st[insn.operands[0].reg], fpu.st[insn.operands[1].reg])) return false;
    begin_mmx(fpu);
    return true;
}

// Sign bits to a general register.
template <class Element>
bool op_sign_mask(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    const u8* from = cpu.state.fpu.xmm[insn.operands[1].reg];
    u32 mask = 0;
    for (unsigned i = 0; i < 16 / sizeof(Element); ++i)
        mask |= u32{static_cast<u8>(from[(i + 1) * sizeof(Element) - 1] >> 7)} << i;
    set_gpr<u32>(cpu, insn.operands[0].reg, mask);
    return true;
}
bool op_sign_mask_mmx(Cpu& cpu, const Insn& insn) {
    if (!enter_mmx(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    const __m128i value = _mm_cvtsi64_si128(static_cast<i64>(get_mmx(fpu, insn.operands[1].reg)));
    begin_mmx(fpu);
    set_gpr<u32>(cpu, insn.operands[0].reg, static_cast<u32>(_mm_movemask_epi8(value)));
    return true;
}

// --- State

bool op_emms(Cpu& cpu, const Insn& insn) {
    if (!enter_mmx(cpu)) return false;
    begin_mmx(cpu.state.fpu);
    cpu.state.fpu.valid = 0;
    return true;
}

bool op_ldmxcsr(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    u32 value;
    if (!MemoryOperand::read(cpu, insn, value)) return false;
    if (value & ~kMxcsrMask) return cpu.raise_gp(0);
    cpu.state.fpu.mxcsr = value;
    return true;
}
bool op_stmxcsr(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    return MemoryOperand::write(cpu, insn, cpu.state.fpu.mxcsr);
}

// Fences order accesses that are in order already; prefetches never fault.
bool op_hint(Cpu& cpu, const Insn& insn) {
    return true;
}

}  // namespace

InsnHandler bind_move(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::MOVAPS:
        case Opcode::MOVAPD:
        case Opcode::MOVDQA:
        case Opcode::MOVNTPS:
        case Opcode::MOVNTPD:
        case Opcode::MOVNTDQ:
        case Opcode::MOVNTDQA:
            return bind_vector<true>(insn);
        case Opcode::MOVUPS:
        case Opcode::MOVUPD:
        case Opcode::MOVDQU:
        case Opcode::LDDQU:
            return bind_vector<false>(insn);
        case Opcode::MOVLPS:
        case Opcode::MOVLPD:
        case Opcode::MOVHLPS:
            return bind_half<0>(insn);
        case Opcode::MOVHPS:
        case Opcode::MOVHPD:
        case Opcode::MOVLHPS:
            return bind_half<1>(insn);
        case Opcode::MOVSS:
        case Opcode::MOVNTSS:
            return bind_scalar<u32>(insn);
        case Opcode::MOVSD:
        case Opcode::MOVNTSD:
            return bind_scalar<u64>(insn);
        case Opcode::MOVD:
        case Opcode::MOVQ:
        case Opcode::MOVNTQ:
        case Opcode::MOVQ2DQ:
        case Opcode::MOVDQ2Q:
            return bind_move_low(insn);
        case Opcode::MOVNTI:
            return insn.operands[1].size == 8 ? chained<op_movnti<u64>> : chained<op_movnti<u32>>;
        case Opcode::MASKMOVDQU:
            return chained<op_maskmovdqu>;
        case Opcode::MASKMOVQ:
            return chained<op_maskmovq>;
        case Opcode::MOVMSKPS:
            return chained_pure<op_sign_mask<u32>>;
        case Opcode::MOVMSKPD:
            return chained_pure<op_sign_mask<u64>>;
        case Opcode::PMOVMSKB:
            return is_mmx(insn, 1) ? chained_pure<op_sign_mask_mmx> : chained_pure<op_sign_mask<u8>>;
        case Opcode::EMMS:
        case Opcode::FEMMS:
            return chained_pure<op_emms>;
        case Opcode::LDMXCSR:
            return chained<op_ldmxcsr>;
        case Opcode::STMXCSR:
            return chained<op_stmxcsr>;
        case Opcode::SFENCE:
        case Opcode::LFENCE:
        case Opcode::MFENCE:
        case Opcode::PREFETCH:
        case Opcode::PREFETCHW:
        case Opcode::PREFETCHWT1:
        case Opcode::PREFETCHNTA:
        case Opcode::PREFETCHT0:
        case Opcode::PREFETCHT1:
        case Opcode::PREFETCHT2:
            return chained_pure<op_hint>;
        default:
            return nullptr;
    }
}

}  // namespace lodge::simd
