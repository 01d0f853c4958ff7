// The 512 bytes that FXSAVE writes, which are also the legacy region of XSAVE's area (SDM vol. 1, 10.5.1 and 13.4.1).
#pragma once

#include "core/cpu/cpu.h"

namespace lodge::x87 {

struct FxArea {
    u16 control;
    u16 status;
    u8 valid;
    u8 reserved;
    u16 opcode;
    u64 instruction;  // without REX.W: offset in 4 bytes, then the selector
    u64 data;
    u32 mxcsr;
    u32 mxcsr_mask;
    u8 registers[8][16];  // ST(0) first
};
static_assert(sizeof(FxArea) == 160);
constexpr unsigned kFxAreaSize = 512;

template <unsigned count>
struct FxAreaWithXmm {
    FxArea legacy;
    u8 xmm[count][16];
};

// Everything but the XMM registers; `insn` tells the form of the pointers.
void fill_fx_area(const Insn& insn, FpuState& fpu, FxArea& area);
// Everything but MXCSR and the XMM registers.
void take_fx_area(const Insn& insn, const FxArea& area, FpuState& fpu);

}  // namespace lodge::x87
