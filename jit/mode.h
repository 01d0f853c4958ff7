// What a translation takes for granted of the CPU: part of the key of every block, and of the epoch that links and the
// jump cache are made for.
#pragma once

#include "core/cpu/cpu.h"

namespace lodge::jit {

constexpr u32 kModeCodeSize = 0x000F;   // CodeSize: 2, 4, 8
constexpr u32 kModeUser = 0x0010;       // CPL 3: the user's TLB
constexpr u32 kModeOpen = 0x0020;       // the supervisor may touch the user's pages although CR4.SMAP is set
constexpr u32 kModeWideStack = 0x0040;  // rSP, ESP: not SP
// Bits 8..13: this segment (ES, CS, SS, DS, FS, GS) is flat: base 0, 4 GiB, readable and writable. In 64-bit code all
// but FS and GS are.
constexpr u32 kModeFlatShift = 8;
constexpr u32 kModeSse = 0x4000;  // SSE instructions raise neither #UD nor #NM, and every SIMD exception is masked
constexpr u32 kModeX87 = 0x8000;  // the same for x87 and MMX, and no x87 exception is pending
constexpr unsigned kModeBits = 16;

constexpr u32 flat_bit(Segment segment) {
    return 1u << (kModeFlatShift + static_cast<u32>(segment));
}

u32 current_mode(const Cpu& cpu);
// Outside 64-bit code.
bool is_flat(const CpuState& state, Segment segment);

}  // namespace lodge::jit
