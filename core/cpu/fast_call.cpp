// SYSENTER and SYSEXIT: SDM vol. 2. SYSCALL and SYSRET are in long_mode.cpp.
#include "core/cpu/cpu.h"

namespace lodge {

namespace {

// A flat 32-bit segment of the given kind.
void make_flat(SegmentState& segment, u16 selector, u32 type, unsigned dpl) {
    segment.selector = selector;
    segment.base = segment.descriptor_base = 0;
    segment.limit = 0xFFFFFFFF;
    segment.attributes = type | kSegmentNotSystem | kSegmentPresent | kSegmentBig | kSegmentGranular |
                         kSegmentAccessed | dpl << kSegmentDplShift;
}

constexpr u32 kCodeType = kSegmentCode | kSegmentReadable;
constexpr u32 kDataType = kSegmentWritable;

// The selector in IA32_SYSENTER_CS; 0 in its bits 15:2 forbids both instructions.
u16 entry_selector(u64 msr) {
    return static_cast<u16>(msr & 0xFFFC);
}

}  // namespace

// `code_width`: kSegmentBig or kSegmentLong.
void Cpu::set_flat_segments(u16 code, u16 stack, unsigned cpl, u32 code_width) {
    SegmentState& cs = state.segment(Segment::cs);
    make_flat(cs, code, kCodeType, cpl);
    cs.attributes = (cs.attributes & ~kSegmentBig) | code_width;
    make_flat(state.segment(Segment::ss), stack, kDataType, cpl);
    update_spans(state.segment(Segment::cs));
    update_spans(state.segment(Segment::ss));
    state.cpl = static_cast<u8>(cpl);
    mode_changed();
}

void Cpu::enter_flat_protected(u16 code, u16 data) {
    state.cr0 |= kCr0Pe;
    set_flat_segments(code, data, 0);
    for (const Segment which : {Segment::es, Segment::ds, Segment::fs, Segment::gs}) {
        make_flat(state.segment(which), data, kDataType, 0);
        update_spans(state.segment(which));
    }
}

// CS of 64-bit code and a flat SS, as SYSCALL and its kin load them.
void Cpu::set_long_segments(u16 code, u16 stack, unsigned cpl) {
    set_flat_segments(code, stack, cpl, kSegmentLong);
}

bool Cpu::sysenter() {
    const u16 selector = entry_selector(sysenter_cs_);
    if (!protected_mode() || selector == 0) return raise_gp(0);
    set_system_flags(state.system_flags & ~(kFlagVirtual8086 | kFlagInterrupt | kFlagResume));
    if (long_mode()) {
        set_long_segments(selector, static_cast<u16>(selector + 8), 0);
        state.gpr[kRsp] = sysenter_esp_;
        state.ip = sysenter_eip_;
        return true;
    }
    set_flat_segments(selector, static_cast<u16>(selector + 8), 0);
    state.gpr[kRsp] = sysenter_esp_ & 0xFFFFFFFF;
    state.ip = sysenter_eip_ & 0xFFFFFFFF;
    return true;
}

bool Cpu::sysexit(unsigned operand_size) {
    const u16 base = entry_selector(sysenter_cs_);
    if (!protected_mode() || state.cpl != 0 || base == 0) return raise_gp(0);
    if (operand_size == 8) {
        if (!canonical(state.gpr[kRdx]) || !canonical(state.gpr[kRcx])) return raise_gp(0);
        set_long_segments(static_cast<u16>((base + 32) | 3), static_cast<u16>((base + 40) | 3), 3);
        state.gpr[kRsp] = state.gpr[kRcx];
        state.ip = state.gpr[kRdx];
        return true;
    }
    const u64 ip = state.gpr[kRdx] & 0xFFFFFFFF;
    const u64 stack = state.gpr[kRcx] & 0xFFFFFFFF;
    set_flat_segments(static_cast<u16>((base + 16) | 3), static_cast<u16>((base + 24) | 3), 3);
    state.gpr[kRsp] = stack;
    state.ip = ip;
    return true;
}

}  // namespace lodge
