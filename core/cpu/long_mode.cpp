// What long mode does in its own way: interrupts, IRET, call gates, SYSCALL and SYSRET, SWAPGS, FS and GS bases.
// SDM vol. 3, 5.8 and 6.14; vol. 2 "SYSCALL", "SYSRET", "SWAPGS", "IRET".
#include "core/cpu/new_stack.h"

namespace lodge {

namespace {

constexpr u32 kInIdt = 2;  // error code: IDT

}  // namespace

bool Cpu::canonical(u64 linear) {
    return static_cast<u64>(static_cast<i64>(linear << 16) >> 16) == linear;
}

bool Cpu::read_wide_descriptor(u16 selector, Exception vector, Descriptor& descriptor, u32& upper) {
    const u32 error = selector & ~3u;
    u64 linear = 0, high = 0;
    if (!read_descriptor(selector, vector, descriptor)) return false;
    const u32 limit = selector & 4 ? state.ldtr.limit : state.gdtr.limit;
    if ((selector | 7u) + 8 > limit) return raise(vector, error);
    if (!descriptor_address(selector, vector, linear) || !read_system<u64>(linear + 8, high)) return false;
    upper = static_cast<u32>(high);
    constexpr u64 kType = u64{0x1F} << 40;  // bits 12:8 of the fourth dword: zero, so that it is no descriptor itself
    return high & kType ? raise(vector, error) : true;
}

// RSPn (n 0..2) or, from 1 on, ISTn of the 64-bit TSS (SDM vol. 3, figure 7-11).
bool Cpu::tss_stack(unsigned offset, u32 error, u64& pointer) {
    if (offset + 7 > state.tr.limit) return raise(Exception::TS, error);
    if (!read_system<u64>(state.tr.base + offset, pointer)) return false;
    return canonical(pointer) ? true : raise(Exception::SS, error & 1);
}

bool Cpu::enter_long(u8 vector, EventKind kind, u64 return_ip, std::optional<u32> error_code) {
    const u32 external = kind == EventKind::software ? 0 : 1;
    const u32 at = vector * 16u;
    const u32 error = vector * 8u + kInIdt + external;
    if (at + 15 > state.idtr.limit) return raise_gp(error);
    u64 raw[2] = {};
    if (!read_system<u64>(state.idtr.base + at, raw[0]) || !read_system<u64>(state.idtr.base + at + 8, raw[1]))
        return false;
    const Descriptor gate{static_cast<u32>(raw[0]), static_cast<u32>(raw[0] >> 32)};
    if (!gate.system() || (gate.type() != 0xE && gate.type() != 0xF)) return raise_gp(error);
    if (kind == EventKind::software && gate.dpl() < state.cpl) return raise_gp(error);
    if (!gate.present()) return raise(Exception::NP, error);

    const u16 selector = gate.gate_selector();
    const u32 selector_error = (selector & ~3u) | external;
    if ((selector & ~3u) == 0) return raise_gp(external);
    Descriptor code;
    if (!read_descriptor(selector, Exception::GP, code, external)) return false;
    const u32 kind_bits = code.attributes() & (kSegmentLong | kSegmentBig);
    if (!code.code() || code.dpl() > state.cpl || kind_bits != kSegmentLong) return raise_gp(selector_error);
    if (!code.present()) return raise(Exception::NP, selector_error);

    const bool inner = !code.conforming() && code.dpl() < state.cpl;
    const unsigned cpl = inner ? code.dpl() : state.cpl;
    const unsigned ist = gate.ist();
    u64 pointer = state.gpr[kRsp];
    const u32 tss_error = (state.tr.selector & ~3u) | external;
    if (ist) {
        if (!tss_stack(0x24 + (ist - 1) * 8, tss_error, pointer)) return false;
    } else if (inner) {
        if (!tss_stack(4 + cpl * 8, tss_error, pointer)) return false;
    }
    NewStack stack{*this, {}, pointer & ~u64{15}, cpl == 3};
    stack.wide = true;
    stack.error = external;
    const u64 target = gate.gate_offset() | raw[1] << 32;
    if (!stack.push(state.segment(Segment::ss).selector, 8) || !stack.push(state.gpr[kRsp], 8) ||
        !stack.push(saved_flags_, 8) || !stack.push(state.segment(Segment::cs).selector, 8) ||
        !stack.push(return_ip, 8))
        return false;
    if (error_code && !stack.push(*error_code, 8)) return false;
    if (!canonical(target)) return raise_gp(external);
    if (!set_accessed(selector, code)) return false;

    u32 cleared = kFlagTrap | kFlagNestedTask | kFlagResume | kFlagVirtual8086;
    if (!(gate.type() & 1)) cleared |= kFlagInterrupt;
    set_system_flags(state.system_flags & ~cleared);
    load_code_segment(selector, code, cpl);
    if (inner) load_null(Segment::ss, static_cast<u16>(cpl));
    state.gpr[kRsp] = stack.pointer;
    state.ip = target;
    return true;
}

bool Cpu::iret_long(unsigned operand_size) {
    if (flag(kFlagNestedTask)) return raise_gp(0);
    const bool from64 = code64();
    u64 words[5] = {};  // IP CS FLAGS SP SS
    for (unsigned i = 0; i < 3; ++i)
        if (!read_stack(state.gpr[kRsp] + i * operand_size, words[i], operand_size)) return false;
    const auto selector = static_cast<u16>(words[1]);
    // Before CS is looked at; the limit of compatibility-mode code comes after SS (SDM vol. 2, "IRET",
    // IA-32e-MODE-RETURN).
    if (!canonical(words[0])) return raise_gp(0);
    Descriptor code;
    if (!read_returned_code(selector, code)) return false;
    const unsigned rpl = selector & 3;
    const bool outer = rpl > state.cpl;
    const unsigned old_cpl = state.cpl, old_iopl = iopl();
    if (!from64 && !outer) {
        if (!check_target_offset(code, words[0])) return false;
        if (!set_accessed(selector, code)) return false;
        set_stack_pointer(state.gpr[kRsp] + 3 * operand_size);
        load_code_segment(selector, code, rpl);
    } else {
        for (unsigned i = 3; i < 5; ++i)
            if (!read_stack(state.gpr[kRsp] + i * operand_size, words[i], operand_size)) return false;
        if (!load_outer_context(selector, code, words[0], static_cast<u16>(words[4]), words[3])) return false;
    }
    state.ip = words[0];
    set_returned_flags(words[2], operand_size, old_cpl, old_iopl);
    return true;
}

// CS, SS and rSP of an IRET, far return or the like in long mode, once the target `ip` is found good. A null SS is
// allowed towards 64-bit code above ring 3.
bool Cpu::load_outer_context(u16 selector, const Descriptor& code_descriptor, u64 ip, u16 ss, u64 pointer) {
    Descriptor code = code_descriptor;
    const unsigned rpl = selector & 3;
    const bool to64 = code.attributes() & kSegmentLong;
    const bool null_stack = (ss & ~3u) == 0;
    Descriptor stack;
    if (null_stack) {
        if (!to64 || rpl == 3 || (ss & 3u) != rpl) return raise_gp(0);
    } else if (!check_stack_segment(ss, rpl, Exception::GP, stack, 0)) {
        return false;
    }
    if (!check_target_offset(code, ip)) return false;
    if (!set_accessed(selector, code)) return false;
    const bool outer = rpl > state.cpl;
    load_code_segment(selector, code, rpl);
    if (null_stack)
        load_null(Segment::ss, ss);
    else
        set_segment(Segment::ss, ss, stack);
    set_stack_pointer(pointer);
    if (outer) invalidate_data_segments_for(rpl);
    return true;
}

// A 64-bit call gate (type Ch, 16 bytes). SDM vol. 3, 5.8.3.1.
bool Cpu::call_gate_long(u16 gate_selector, bool call, u64 next_ip) {
    Descriptor gate;
    u32 upper = 0;
    const u32 gate_error = gate_selector & ~3u;
    if (!read_wide_descriptor(gate_selector, Exception::GP, gate, upper)) return false;
    if (!gate.present()) return raise(Exception::NP, gate_error);
    const u16 selector = gate.gate_selector();
    const u32 error = selector & ~3u;
    if (error == 0) return raise_gp(0);
    Descriptor code;
    if (!read_descriptor(selector, Exception::GP, code)) return false;
    const u32 kind_bits = code.attributes() & (kSegmentLong | kSegmentBig);
    if (!code.code() || code.dpl() > state.cpl || kind_bits != kSegmentLong) return raise_gp(error);
    const bool inner = call && !code.conforming() && code.dpl() < state.cpl;
    if (!call && !code.conforming() && code.dpl() != state.cpl) return raise_gp(error);
    if (!code.present()) return raise(Exception::NP, error);
    const u64 target = gate.gate_offset() | u64{upper} << 32;
    const unsigned cpl = inner ? code.dpl() : state.cpl;
    if (!canonical(target)) return raise_gp(0);

    u64 pointer = state.gpr[kRsp];
    if (inner && !tss_stack(4 + cpl * 8, state.tr.selector & ~3u, pointer)) return false;
    NewStack stack{*this, {}, pointer, cpl == 3};
    stack.wide = true;
    if (inner && (!stack.push(state.segment(Segment::ss).selector, 8) || !stack.push(state.gpr[kRsp], 8))) return false;
    if (call && (!stack.push(state.segment(Segment::cs).selector, 8) || !stack.push(next_ip, 8))) return false;
    if (!set_accessed(selector, code)) return false;
    load_code_segment(selector, code, cpl);
    if (inner) load_null(Segment::ss, static_cast<u16>(cpl));
    if (call) state.gpr[kRsp] = stack.pointer;
    state.ip = target;
    return true;
}

// As Intel's CPUs, so in 64-bit code only; AMD's also have forms for compatibility and legacy mode.
bool Cpu::syscall(u64 next_ip) {
    if (!(state.efer & kEferSce) || !code64()) return raise_ud();
    const auto selector = static_cast<u16>(bits(star_, 32, 16));
    state.gpr[kRcx] = next_ip;
    state.gpr[11] = eflags() | 0x02;
    const u32 kept = eflags() & ~static_cast<u32>(flag_mask_);
    set_long_segments(selector & ~3u, static_cast<u16>(selector + 8), 0);
    set_eflags(kept & ~kFlagResume);
    state.ip = lstar_;
    return true;
}

bool Cpu::sysret(unsigned operand_size) {
    if (!(state.efer & kEferSce) || !code64()) return raise_ud();
    if (state.cpl != 0) return raise_gp(0);
    const bool to64 = operand_size == 8;
    const u64 target = to64 ? state.gpr[kRcx] : state.gpr[kRcx] & 0xFFFFFFFF;
    if (!canonical(target)) return raise_gp(0);  // in ring 0, before the return
    const auto base = static_cast<u16>(bits(star_, 48, 16));
    const auto code = static_cast<u16>((base + (to64 ? 16 : 0)) | 3);
    set_flat_segments(code, static_cast<u16>((base + 8) | 3), 3, to64 ? kSegmentLong : kSegmentBig);
    set_eflags(static_cast<u32>(state.gpr[11]) & 0x003C7FD7);
    state.ip = target;
    return true;
}

bool Cpu::swapgs() {
    if (state.cpl != 0) return raise_gp(0);
    std::swap(state.segment(Segment::gs).base, kernel_gs_base_);
    state.segment(Segment::gs).descriptor_base = state.segment(Segment::gs).base;
    return true;
}

bool Cpu::set_segment_base(Segment which, u64 base) {
    if (!canonical(base)) return raise_gp(0);
    state.segment(which).base = base;
    state.segment(which).descriptor_base = base;
    return true;
}

bool Cpu::fs_gs_base_allowed() {
    return code64() && (state.cr4 & kCr4Fsgsbase) ? true : raise_ud();
}

// --- Model-specific registers that only long mode has

bool Cpu::read_long_msr(u32 index, u64& value, bool& known) {
    known = true;
    switch (index) {
        case 0xC0000081:
            value = star_;
            return true;
        case 0xC0000082:
            value = lstar_;
            return true;
        case 0xC0000083:
            value = cstar_;
            return true;
        case 0xC0000084:
            value = flag_mask_;
            return true;
        case 0xC0000100:
            value = state.segment(Segment::fs).base;
            return true;
        case 0xC0000101:
            value = state.segment(Segment::gs).base;
            return true;
        case 0xC0000102:
            value = kernel_gs_base_;
            return true;
        case 0xC0000103:
            value = tsc_aux_;
            return (model_.extended_edx & kCpuidRdtscp) || raise_gp(0);
        default:
            known = false;
            return true;
    }
}

bool Cpu::write_long_msr(u32 index, u64 value, bool& known) {
    known = true;
    const auto put = [&](u64& target) {
        if (!canonical(value)) return raise_gp(0);
        target = value;
        return true;
    };
    switch (index) {
        case 0xC0000081:
            star_ = value;
            return true;
        case 0xC0000082:
            return put(lstar_);
        case 0xC0000083:
            return put(cstar_);
        case 0xC0000084:
            flag_mask_ = value & 0xFFFFFFFF;
            return true;
        case 0xC0000100:
            return set_segment_base(Segment::fs, value);
        case 0xC0000101:
            return set_segment_base(Segment::gs, value);
        case 0xC0000102:
            return put(kernel_gs_base_);
        case 0xC0000103:
            if (!(model_.extended_edx & kCpuidRdtscp) || value >> 32) return raise_gp(0);
            tsc_aux_ = value;
            return true;
        default:
            known = false;
            return true;
    }
}

}  // namespace lodge
