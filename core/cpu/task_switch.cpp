// Hardware task switches: SDM vol. 3, chapter 7. 16- and 32-bit TSSs.
#include "core/cpu/new_stack.h"

namespace lodge {

namespace {

// Offsets in a TSS (SDM vol. 3, figures 7-2 and 7-10).
struct TssLayout {
    unsigned size;  // of a field, bytes
    unsigned least_limit;
    unsigned cr3;  // 0: none
    unsigned ip, flags, gpr, segments, ldt;
    unsigned segment_count;
};
constexpr TssLayout kTss32{4, 0x67, 0x1C, 0x20, 0x24, 0x28, 0x48, 0x60, 6};
constexpr TssLayout kTss16{2, 0x2B, 0, 0x0E, 0x10, 0x12, 0x22, 0x2A, 4};
constexpr unsigned kDebugTrapFlag = 0x64;

// In the order the TSS has them.
constexpr Segment kSegmentOrder[6] = {Segment::es, Segment::cs, Segment::ss, Segment::ds, Segment::fs, Segment::gs};

}  // namespace

struct Cpu::TaskImage {
    u64 cr3 = 0, ip = 0, flags = 0;
    u64 gpr[8] = {};
    u64 segments[6] = {};
    u64 ldt = 0;
    u64 debug_trap = 0;
};

bool Cpu::read_task_field(u64 address, unsigned size, u64& value) {
    value = 0;
    return access_system(address, &value, size, false);
}

bool Cpu::read_task(u64 base, bool wide, TaskImage& image) {
    const TssLayout& layout = wide ? kTss32 : kTss16;
    const unsigned size = layout.size;
    if (!read_task_field(base + layout.ip, size, image.ip) || !read_task_field(base + layout.flags, size, image.flags))
        return false;
    for (unsigned i = 0; i < 8; ++i)
        if (!read_task_field(base + layout.gpr + i * size, size, image.gpr[i])) return false;
    for (unsigned i = 0; i < layout.segment_count; ++i)
        if (!read_task_field(base + layout.segments + i * size, 2, image.segments[i])) return false;
    if (!read_task_field(base + layout.ldt, 2, image.ldt)) return false;
    if (!wide) return true;
    return read_task_field(base + layout.cr3, 4, image.cr3) &&
           read_task_field(base + kDebugTrapFlag, 2, image.debug_trap);
}

// The old task's dynamic fields.
bool Cpu::save_task(bool wide, u64 return_ip, u32 flags) {
    const TssLayout& layout = wide ? kTss32 : kTss16;
    const unsigned size = layout.size;
    const u64 base = state.tr.base;
    const auto put = [&](unsigned offset, u64 value, unsigned bytes) {
        return access_system(base + offset, &value, bytes, true);
    };
    if (!put(layout.ip, return_ip, size) || !put(layout.flags, flags, size)) return false;
    for (unsigned i = 0; i < 8; ++i)
        if (!put(layout.gpr + i * size, state.gpr[i], size)) return false;
    for (unsigned i = 0; i < layout.segment_count; ++i)
        if (!put(layout.segments + i * size, state.segment(kSegmentOrder[i]).selector, 2)) return false;
    return true;
}

// SDM vol. 3, table 7-1 "Exception Conditions Checked During a Task Switch".
bool Cpu::switch_task(u16 selector, TaskSwitch how, u64 return_ip, std::optional<u32> error_code, u32 external) {
    const u32 error = (selector & ~3u) | external;
    if (long_mode()) return raise_gp(error);
    const Exception wrong = how == TaskSwitch::iret ? Exception::TS : Exception::GP;
    if ((selector & ~3u) == 0 || (selector & 4)) return raise(wrong, error);
    Descriptor descriptor;
    if (!read_descriptor(selector, wrong, descriptor, external)) return false;
    const unsigned type = descriptor.type();
    const bool busy = type & 2;
    if (!descriptor.system() || (type & ~0xAu) != 1 || busy != (how == TaskSwitch::iret)) return raise(wrong, error);
    if (!descriptor.present()) return raise(Exception::NP, error);
    const bool wide = type & 8;
    if (descriptor.limit() < (wide ? kTss32 : kTss16).least_limit) return raise(Exception::TS, error);

    TaskImage image;
    if (!read_task(descriptor.base(), wide, image)) return false;
    const bool old_wide = state.tr.attributes & 8;
    u32 flags = how == TaskSwitch::interrupt ? saved_flags_ : eflags() | 0x02;
    if (how == TaskSwitch::iret) flags &= ~kFlagNestedTask;
    if (!save_task(old_wide, return_ip, flags)) return false;

    const bool nests = how == TaskSwitch::call || how == TaskSwitch::interrupt;
    const u16 old_selector = state.tr.selector;
    if (!nests) {
        Descriptor old;
        if (!read_descriptor(old_selector, Exception::TS, old) || !set_busy(old_selector, old, false)) return false;
    }
    if (nests && !write_system<u16>(descriptor.base(), old_selector)) return false;
    if (how != TaskSwitch::iret && !set_busy(selector, descriptor, true)) return false;
    set_system_segment(state.tr, selector, descriptor);
    state.tr.attributes |= 2;
    state.cr0 |= kCr0Ts;
    if (nests) image.flags |= kFlagNestedTask;
    if (enter_task(image, wide, error_code, external)) return true;
    fault_in_new_context_ = true;
    return false;
}

// From here on faults belong to the new task (SDM vol. 3, 7.3, step 12 on).
bool Cpu::enter_task(const TaskImage& image, bool wide, std::optional<u32> error_code, u32 external) {
    const u64 width = wide ? 0xFFFFFFFF : 0xFFFF;
    if (wide && (state.cr0 & kCr0Pg)) {
        if ((state.cr4 & kCr4Pae) && !load_pdptrs(image.cr3)) return false;
        state.cr3 = image.cr3;
        flush_tlb(false);
        for (CpuObserver* observer : observers_) observer->on_page_table_change();
    }
    state.ip = image.ip;
    // Those of a 16-bit TSS have no upper half: VM, RF and AC of the old task end with it.
    set_eflags(static_cast<u32>(image.flags));
    // A 16-bit TSS leaves the upper halves undefined in the manuals; the 80386 fills them with ones.
    for (unsigned i = 0; i < 8; ++i) state.gpr[i] = wide ? image.gpr[i] : image.gpr[i] | 0xFFFF0000;
    state.dr[7] &= ~u64{0x155};  // local breakpoints
    update_single_attention();

    // Selectors first, all unusable until each descriptor has been checked.
    for (unsigned i = 0; i < 6; ++i) load_null(kSegmentOrder[i], static_cast<u16>(image.segments[i]));
    state.ldtr.selector = static_cast<u16>(image.ldt);
    state.ldtr.attributes |= kSegmentUnusable;
    if (!load_task_ldt(static_cast<u16>(image.ldt), external)) return false;
    if (v86()) {
        state.cpl = 3;
        for (unsigned i = 0; i < 6; ++i) set_real_mode_segment(kSegmentOrder[i], static_cast<u16>(image.segments[i]));
    } else if (!load_task_segments(image, wide, external)) {
        return false;
    }
    mode_changed();
    if (error_code) {
        const unsigned size = wide ? 4 : 2;
        NewStack stack{*this, state.segment(Segment::ss), state.gpr[kRsp] & stack_mask(), state.cpl == 3};
        if (!stack.push(*error_code, size)) return false;
        set_stack_pointer(stack.pointer);
    }
    if (image.debug_trap & 1) trap_after(1u << 15);
    return (state.ip & width) <= state.segment(Segment::cs).limit ? true : raise_gp(0);
}

bool Cpu::load_task_ldt(u16 selector, u32 external) {
    if ((selector & ~3u) == 0) return true;
    const u32 error = (selector & ~3u) | external;
    Descriptor descriptor;
    if (selector & 4) return raise(Exception::TS, error);
    if (!read_descriptor(selector, Exception::TS, descriptor, external)) return false;
    if (!descriptor.system() || descriptor.type() != 2 || !descriptor.present()) return raise(Exception::TS, error);
    set_system_segment(state.ldtr, selector, descriptor);
    return true;
}

bool Cpu::load_task_segments(const TaskImage& image, bool wide, u32 external) {
    const auto cs = static_cast<u16>(image.segments[1]);
    const u32 cs_error = (cs & ~3u) | external;
    const unsigned cpl = cs & 3;
    Descriptor code;
    if ((cs & ~3u) == 0) return raise(Exception::TS, external);
    if (!read_descriptor(cs, Exception::TS, code, external)) return false;
    if (!code.code() || (code.conforming() ? code.dpl() > cpl : code.dpl() != cpl))
        return raise(Exception::TS, cs_error);
    if (!code.present()) return raise(Exception::NP, cs_error);
    if (!set_accessed(cs, code)) return false;
    load_code_segment(cs, code, cpl);

    Descriptor stack;
    const auto ss = static_cast<u16>(image.segments[2]);
    if (!check_stack_segment(ss, cpl, Exception::TS, stack, external)) return false;
    set_segment(Segment::ss, ss, stack);

    for (unsigned i = 0; i < (wide ? 6u : 4u); ++i) {
        const Segment which = kSegmentOrder[i];
        if (which == Segment::cs || which == Segment::ss) continue;
        const auto selector = static_cast<u16>(image.segments[i]);
        const u32 error = (selector & ~3u) | external;
        if ((selector & ~3u) == 0) continue;
        Descriptor data;
        if (!read_descriptor(selector, Exception::TS, data, external)) return false;
        if (data.system() || !data.readable()) return raise(Exception::TS, error);
        const bool conforming = data.code() && data.conforming();
        if (!conforming && (data.dpl() < cpl || data.dpl() < (selector & 3u))) return raise(Exception::TS, error);
        if (!data.present()) return raise(Exception::NP, error);
        if (!set_accessed(selector, data)) return false;
        set_segment(which, selector, data);
    }
    return true;
}

}  // namespace lodge
