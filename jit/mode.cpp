#include "jit/mode.h"

namespace lodge::jit {

namespace {

constexpr i64 kWholeSpan = 0xFFFFFFFF;
constexpr u32 kAllFlat = 0x3F << kModeFlatShift;
constexpr u32 kMxcsrMasks = 0x1F80;
constexpr u16 kX87Masks = 0x3F, kX87Summary = 0x80;

u32 flat_segments(const CpuState& state) {
    u32 flat = 0;
    for (u8 i = 0; i < 6; ++i)
        if (is_flat(state, static_cast<Segment>(i))) flat |= 1u << (kModeFlatShift + i);
    return flat;
}

u32 floating_point(const CpuState& state) {
    if (state.cr0 & (kCr0Em | kCr0Ts)) return 0;
    u32 mode = 0;
    if ((state.cr4 & kCr4Osfxsr) && (state.fpu.mxcsr & kMxcsrMasks) == kMxcsrMasks) mode |= kModeSse;
    if ((state.fpu.control & kX87Masks) == kX87Masks && !(state.fpu.status & kX87Summary)) mode |= kModeX87;
    return mode;
}

}  // namespace

bool is_flat(const CpuState& state, Segment which) {
    const SegmentState& segment = state.segment(which);
    const bool whole = which == Segment::cs
                           ? segment.limit == 0xFFFFFFFF
                           : segment.readable_span == kWholeSpan && segment.writable_span == kWholeSpan;
    return segment.base == 0 && whole;
}

u32 current_mode(const Cpu& cpu) {
    const CpuState& state = cpu.state;
    u32 mode = static_cast<u32>(cpu.code_size()) | floating_point(state);
    if (cpu.code64())
        mode |= (kAllFlat & ~flat_bit(Segment::fs) & ~flat_bit(Segment::gs)) | kModeWideStack;
    else
        mode |= flat_segments(state) | (cpu.stack_size() == 4 ? kModeWideStack : 0);
    if (state.cpl == 3)
        mode |= kModeUser;
    else if (cpu.user_pages_are_open())
        mode |= kModeOpen;
    return mode;
}

}  // namespace lodge::jit
