// MMX, SSE and later: the checks that their instructions begin with, and their operands.
//
// The host has the same instructions, so each one is executed as itself: results are exact by construction. A host must
// therefore have what the CPU model offers.
#pragma once

#include <emmintrin.h>

#include "core/interp/bind.h"

namespace lodge::simd {

// Before anything that uses XMM registers or MXCSR: #UD, #NM (SDM vol. 3, table 13-1).
inline bool enter_sse(Cpu& cpu) {
    const CpuState& state = cpu.state;
    if (!(state.cr0 & (kCr0Em | kCr0Ts)) && (state.cr4 & kCr4Osfxsr)) [[likely]]
        return true;
    const bool exists = !(state.cr0 & kCr0Em) && (state.cr4 & kCr4Osfxsr);
    return cpu.raise(exists ? Exception::NM : Exception::UD);
}

// Before anything that uses MMX registers: #UD, #NM, #MF for a pending x87 error (SDM vol. 1, 9.5.1, 9.6.2; vol. 3,
// table 12-1).
bool enter_mmx_slow(Cpu& cpu);
inline bool enter_mmx(Cpu& cpu) {
    constexpr u16 kSummary = 0x80;
    if (!(cpu.state.cr0 & (kCr0Em | kCr0Ts)) && !(cpu.state.fpu.status & kSummary)) [[likely]]
        return true;
    return enter_mmx_slow(cpu);
}
// After the access to MMX registers can no longer fail: every x87 register is in use, TOP is 0.
inline void begin_mmx(FpuState& fpu) {
    fpu.status &= static_cast<u16>(~0x3800);
    fpu.valid = 0xFF;
}
inline u64 get_mmx(const FpuState& fpu, unsigned n) {
    return load<u64>(fpu.st[n]);
}
// The exponent and sign above an MMX register read as ones (SDM vol. 1, 9.6.1).
inline void set_mmx(FpuState& fpu, unsigned n, u64 value) {
    store<u64>(fpu.st[n], value);
    store<u16>(fpu.st[n] + 8, 0xFFFF);
}

inline __m128i get_xmm(const FpuState& fpu, unsigned n) {
    return _mm_load_si128(reinterpret_cast<const __m128i*>(fpu.xmm[n]));
}
inline void set_xmm(FpuState& fpu, unsigned n, __m128i value) {
    _mm_store_si128(reinterpret_cast<__m128i*>(fpu.xmm[n]), value);
}

inline bool is_aligned(const Cpu& cpu, Segment segment, u64 address) {
    return ((cpu.state.segment(segment).base + address) & 15) == 0;
}

// A memory operand of 16 bytes. `aligned`: #GP(0) when it is not (SDM vol. 1, 11.4.1).
inline bool read_vector(Cpu& cpu, const Insn& insn, bool aligned, __m128i& value) {
    const u64 address = effective_address(cpu, insn);
    if (aligned && !is_aligned(cpu, insn.segment, address)) [[unlikely]]
        return cpu.raise_gp(0);
    return cpu.read(insn.segment, address, value);
}
inline bool write_vector(Cpu& cpu, const Insn& insn, bool aligned, __m128i value) {
    const u64 address = effective_address(cpu, insn);
    if (aligned && !is_aligned(cpu, insn.segment, address)) [[unlikely]]
        return cpu.raise_gp(0);
    return cpu.write(insn.segment, address, value);
}

// A memory operand of 1 to 8 bytes, zero-extended.
bool read_narrow(Cpu& cpu, const Insn& insn, unsigned size, u64& value);

// Operand N: an XMM register or memory.
struct XmmRegister {
    static constexpr bool is_memory = false;
    static bool read(Cpu& cpu, const Insn& insn, unsigned n, __m128i& value) {
        value = get_xmm(cpu.state.fpu, insn.operands[n].reg);
        return true;
    }
};
struct XmmMemory {
    static constexpr bool is_memory = true;
    static bool read(Cpu& cpu, const Insn& insn, unsigned n, __m128i& value) {
        if (insn.operands[n].size == 16) return read_vector(cpu, insn, true, value);
        u64 narrow;
        if (!read_narrow(cpu, insn, insn.operands[n].size, narrow)) return false;
        value = _mm_cvtsi64_si128(static_cast<i64>(narrow));
        return true;
    }
};
// Operand N: an MMX register or memory.
struct MmxRegister {
    static constexpr bool is_memory = false;
    static bool read(Cpu& cpu, const Insn& insn, unsigned n, u64& value) {
        value = get_mmx(cpu.state.fpu, insn.operands[n].reg);
        return true;
    }
};
struct MmxMemory {
    static constexpr bool is_memory = true;
    static bool read(Cpu& cpu, const Insn& insn, unsigned n, u64& value) {
        return read_narrow(cpu, insn, insn.operands[n].size, value);
    }
};

inline bool is_mmx(const Insn& insn, unsigned n) {
    return insn.operands[n].kind == OperandKind::mmx;
}
inline bool is_xmm(const Insn& insn, unsigned n) {
    return insn.operands[n].kind == OperandKind::xmm;
}

// chained or chained_pure, as the operation reaches memory or not.
template <bool memory, Operation operation>
InsnHandler chain() {
    if constexpr (memory) return chained<operation>;
    return chained_pure<operation>;
}

// Each file binds its own opcodes and returns null for others.
InsnHandler bind_move(const Insn& insn);     // ops_simd_move.cpp
InsnHandler bind_integer(const Insn& insn);  // ops_simd_integer.cpp
InsnHandler bind_shuffle(const Insn& insn);  // ops_simd_shuffle.cpp
InsnHandler bind_float(const Insn& insn);    // ops_simd_float.cpp
InsnHandler bind_convert(const Insn& insn);  // ops_simd_convert.cpp
InsnHandler bind_sse4(const Insn& insn);     // ops_simd_sse4.cpp
InsnHandler bind_crypto(const Insn& insn);   // ops_simd_crypto.cpp
InsnHandler bind_strings(const Insn& insn);  // ops_simd_strings.cpp

}  // namespace lodge::simd
