// Segment registers and descriptors: SDM vol. 3, chapters 3 and 5.
#include <limits>

#include "core/cpu/cpu.h"

namespace lodge {

bool Cpu::descriptor_address(u16 selector, Exception vector, u64& linear, u32 external) {
    const bool local = selector & 4;
    if (local && (state.ldtr.attributes & kSegmentUnusable || !(state.ldtr.attributes & kSegmentPresent)))
        return raise(vector, (selector & ~3u) | external);
    const u64 base = local ? state.ldtr.base : state.gdtr.base;
    const u32 limit = local ? state.ldtr.limit : state.gdtr.limit;
    if ((selector | 7u) > limit) return raise(vector, (selector & ~3u) | external);
    linear = base + (selector & ~7u);
    return true;
}

bool Cpu::read_descriptor(u16 selector, Exception vector, Descriptor& descriptor, u32 external) {
    u64 linear = 0, raw = 0;
    if (!descriptor_address(selector, vector, linear, external)) return false;
    if (!read_system<u64>(linear, raw)) return false;
    descriptor.low = static_cast<u32>(raw);
    descriptor.high = static_cast<u32>(raw >> 32);
    return true;
}

bool Cpu::set_accessed(u16 selector, Descriptor& descriptor) {
    if (descriptor.system() || (descriptor.high & 0x100)) return true;
    descriptor.high |= 0x100;
    u64 linear = 0;
    if (!descriptor_address(selector, Exception::GP, linear)) return false;
    return write_system<u32>(linear + 4, descriptor.high);
}

// The fast limits: anything that needs a closer look gets -1 (see SegmentState).
void Cpu::update_spans(SegmentState& segment) {
    const u32 attributes = segment.attributes;
    const bool flat = code64() && &segment != &state.segment(Segment::fs) && &segment != &state.segment(Segment::gs);
    segment.base = flat ? 0 : segment.descriptor_base;
    if (code64()) {  // no limits and no types in 64-bit mode; a null selector is as good as any
        segment.readable_span = segment.writable_span = std::numeric_limits<i64>::max();
        return;
    }
    segment.readable_span = segment.writable_span = -1;
    if (attributes & kSegmentUnusable) return;
    const bool code = attributes & kSegmentCode;
    if (!code && (attributes & kSegmentExpandDown)) return;
    const bool rights_matter = protected_mode() && !v86();
    if (!rights_matter || !code || (attributes & kSegmentReadable)) segment.readable_span = segment.limit;
    if (!rights_matter || (!code && (attributes & kSegmentWritable))) segment.writable_span = segment.limit;
}

void Cpu::set_segment(Segment which, u16 selector, const Descriptor& descriptor) {
    SegmentState& segment = state.segment(which);
    segment.selector = selector;
    segment.descriptor_base = descriptor.base();
    segment.limit = descriptor.limit();
    segment.attributes = descriptor.attributes() | kSegmentAccessed;
    update_spans(segment);
}

// Real mode keeps the limit and the rights of what was there (so that "unreal" mode works); V86 and reset set them.
void Cpu::set_real_mode_segment(Segment which, u16 selector) {
    SegmentState& segment = state.segment(which);
    segment.selector = selector;
    segment.descriptor_base = u64{selector} << 4;
    if (v86() || !(segment.attributes & kSegmentPresent)) {
        segment.limit = 0xFFFF;
        segment.attributes = kSegmentPresent | kSegmentNotSystem | kSegmentWritable | kSegmentAccessed;
        if (v86()) segment.attributes |= 3u << kSegmentDplShift;
    }
    segment.attributes &= ~kSegmentUnusable;
    if (which == Segment::cs) segment.attributes &= ~(kSegmentBig | kSegmentLong);
    update_spans(segment);
    if (which == Segment::cs) mode_changed();
}

void Cpu::load_null(Segment which, u16 selector) {
    SegmentState& segment = state.segment(which);
    segment.selector = selector;
    segment.attributes |= kSegmentUnusable;
    if (long_mode()) segment.descriptor_base = 0;  // as Intel's
    update_spans(segment);
}

// SDM vol. 2, "MOV", protected mode exceptions for segment registers.
bool Cpu::load_segment(Segment which, u16 selector) {
    if (real_or_v86()) {
        set_real_mode_segment(which, selector);
        return true;
    }
    const unsigned rpl = selector & 3;
    if ((selector & ~3u) == 0) {
        if (which == Segment::ss && !(code64() && state.cpl != 3 && rpl == state.cpl)) return raise_gp(0);
        load_null(which, selector);
        return true;
    }
    Descriptor descriptor;
    if (!read_descriptor(selector, Exception::GP, descriptor)) return false;
    const u32 error = selector & ~3u;
    if (which == Segment::ss) {
        if (rpl != state.cpl || descriptor.dpl() != state.cpl || !descriptor.data_writable()) return raise_gp(error);
        if (!descriptor.present()) return raise(Exception::SS, error);
    } else {
        if (descriptor.system() || !descriptor.readable()) return raise_gp(error);
        const bool conforming_code = descriptor.code() && descriptor.conforming();
        if (!conforming_code && (descriptor.dpl() < rpl || descriptor.dpl() < state.cpl)) return raise_gp(error);
        if (!descriptor.present()) return raise(Exception::NP, error);
    }
    if (!set_accessed(selector, descriptor)) return false;
    set_segment(which, selector, descriptor);
    return true;
}

void Cpu::load_code_segment(u16 selector, const Descriptor& descriptor, unsigned cpl) {
    set_segment(Segment::cs, static_cast<u16>((selector & ~3u) | cpl), descriptor);
    state.cpl = static_cast<u8>(cpl);
    mode_changed();
}

// On a return to an outer level, data segments that it may not use become null (SDM vol. 2, "RET"). Their bases stay: a
// kernel's IA32_GS_BASE outlives an IRET that takes the selector away.
void Cpu::invalidate_data_segments_for(unsigned cpl) {
    for (Segment which : {Segment::es, Segment::ds, Segment::fs, Segment::gs}) {
        const SegmentState& segment = state.segment(which);
        if (segment.attributes & kSegmentUnusable) continue;
        const bool conforming = (segment.attributes & kSegmentCode) && (segment.attributes & kSegmentConforming);
        const unsigned dpl = (segment.attributes >> kSegmentDplShift) & 3;
        if (conforming || dpl >= cpl) continue;
        const u64 base = segment.descriptor_base;
        load_null(which, 0);
        state.segment(which).descriptor_base = base;
        update_spans(state.segment(which));
    }
}

bool Cpu::load_ldtr(u16 selector) {
    if ((selector & ~3u) == 0) {
        state.ldtr.selector = selector;
        state.ldtr.attributes |= kSegmentUnusable;
        return true;
    }
    Descriptor descriptor;
    const u32 error = selector & ~3u;
    if (selector & 4) return raise_gp(error);
    if (!read_descriptor(selector, Exception::GP, descriptor)) return false;
    if (!descriptor.system() || descriptor.type() != 2) return raise_gp(error);
    if (!descriptor.present()) return raise(Exception::NP, error);
    u64 base = 0;
    if (!read_system_base(selector, descriptor, base)) return false;
    set_system_segment(state.ldtr, selector, descriptor);
    state.ldtr.base = base;
    return true;
}

bool Cpu::load_tr(u16 selector) {
    Descriptor descriptor;
    const u32 error = selector & ~3u;
    if (error == 0) return raise_gp(0);
    if (selector & 4) return raise_gp(error);
    if (!read_descriptor(selector, Exception::GP, descriptor)) return false;
    const bool narrow_tss = descriptor.type() == 1 && !long_mode();
    if (!descriptor.system() || (descriptor.type() != 9 && !narrow_tss)) return raise_gp(error);
    if (!descriptor.present()) return raise(Exception::NP, error);
    u64 base = 0;
    if (!read_system_base(selector, descriptor, base)) return false;
    if (!set_busy(selector, descriptor, true)) return false;
    set_system_segment(state.tr, selector, descriptor);
    state.tr.base = base;
    return true;
}

// 64 bits in long mode.
bool Cpu::read_system_base(u16 selector, const Descriptor& descriptor, u64& base) {
    base = descriptor.base();
    if (!long_mode()) return true;
    Descriptor wide;
    u32 upper = 0;
    if (!read_wide_descriptor(selector, Exception::GP, wide, upper)) return false;
    base |= u64{upper} << 32;
    return canonical(base) ? true : raise_gp(selector & ~3u);
}

void Cpu::set_system_segment(SegmentState& segment, u16 selector, const Descriptor& descriptor) {
    segment.selector = selector;
    segment.base = descriptor.base();
    segment.limit = descriptor.limit();
    segment.attributes = descriptor.attributes();
}

bool Cpu::set_busy(u16 selector, Descriptor& descriptor, bool busy) {
    u64 linear = 0;
    if (!descriptor_address(selector, Exception::GP, linear)) return false;
    descriptor.high = busy ? descriptor.high | 0x200 : descriptor.high & ~0x200u;
    return write_system<u32>(linear + 4, descriptor.high);
}

// LAR, LSL, VERR, VERW: whether CPL and RPL let the descriptor be looked at. False with no fault recorded: not visible.
bool Cpu::inspect_descriptor(u16 selector, Descriptor& descriptor) {
    if ((selector & ~3u) == 0) return false;
    if (!read_descriptor(selector, Exception::GP, descriptor)) {
        if (fault_ && fault_->vector == Exception::GP) fault_.reset();  // outside its table: only ZF tells
        return false;
    }
    if (descriptor.code() && descriptor.conforming()) return true;
    const unsigned rpl = selector & 3;
    return descriptor.dpl() >= state.cpl && descriptor.dpl() >= rpl;
}

bool Cpu::load_access_rights(u16 selector, u32& rights) {
    Descriptor descriptor;
    if (!inspect_descriptor(selector, descriptor)) return false;
    if (descriptor.system()) {
        const unsigned type = descriptor.type();
        constexpr u32 kValidLong = 1u << 2 | 1u << 9 | 1u << 0xB | 1u << 0xC;
        constexpr u32 kValid = kValidLong | 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5;
        if (!((long_mode() ? kValidLong : kValid) >> type & 1)) return false;
    }
    rights = descriptor.high & 0x00FFFF00;
    return true;
}

bool Cpu::load_segment_limit(u16 selector, u32& limit) {
    Descriptor descriptor;
    if (!inspect_descriptor(selector, descriptor)) return false;
    if (descriptor.system()) {
        const unsigned type = descriptor.type();
        constexpr u32 kValidLong = 1u << 2 | 1u << 9 | 1u << 0xB;
        constexpr u32 kValid = kValidLong | 1u << 1 | 1u << 3;
        if (!((long_mode() ? kValidLong : kValid) >> type & 1)) return false;
    }
    limit = descriptor.limit();
    return true;
}

bool Cpu::verify_segment(u16 selector, bool write) {
    Descriptor descriptor;
    if (!inspect_descriptor(selector, descriptor) || descriptor.system()) return false;
    return write ? descriptor.data_writable() : descriptor.readable();
}

}  // namespace lodge
