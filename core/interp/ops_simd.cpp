// MMX, SSE and later: which file binds what, and what they share.
#include "core/interp/simd.h"
#include "core/interp/x87.h"

namespace lodge {

namespace simd {

bool enter_mmx_slow(Cpu& cpu) {
    if (cpu.state.cr0 & kCr0Em) return cpu.raise_ud();
    if (cpu.state.cr0 & kCr0Ts) return cpu.raise(Exception::NM);
    return x87::check_pending(cpu);
}

namespace {

template <class T>
bool read_extended(Cpu& cpu, const Insn& insn, u64& value) {
    T narrow;
    if (!MemoryOperand::read(cpu, insn, narrow)) return false;
    value = narrow;
    return true;
}

}  // namespace

bool read_narrow(Cpu& cpu, const Insn& insn, unsigned size, u64& value) {
    switch (size) {
        case 1:
            return read_extended<u8>(cpu, insn, value);
        case 2:
            return read_extended<u16>(cpu, insn, value);
        case 4:
            return read_extended<u32>(cpu, insn, value);
        default:
            return read_extended<u64>(cpu, insn, value);
    }
}

}  // namespace simd

InsnHandler bind_simd(const Insn& insn) {
    for (auto* bind_part : {simd::bind_move, simd::bind_integer, simd::bind_shuffle, simd::bind_float,
                            simd::bind_convert, simd::bind_sse4, simd::bind_crypto, simd::bind_strings})
        if (InsnHandler handler = bind_part(insn)) return handler;
    return nullptr;
}

}  // namespace lodge
