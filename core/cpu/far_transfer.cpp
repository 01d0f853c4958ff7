// Far jumps, calls and returns, call gates, IRET: SDM vol. 3, 5.8, and vol. 2, "JMP", "CALL", "RET", "IRET".
#include "core/cpu/new_stack.h"

namespace lodge {

bool Cpu::check_target_offset(const Descriptor& code, u64 offset) {
    const bool to64 = long_mode() && (code.attributes() & kSegmentLong);
    return (to64 ? canonical(offset) : offset <= code.limit()) ? true : raise_gp(0);
}

bool Cpu::check_code_target(u16 selector, const Descriptor& code) {
    const u32 error = selector & ~3u;
    const unsigned rpl = selector & 3;
    if (long_mode() && (code.attributes() & kSegmentLong) && (code.attributes() & kSegmentBig)) return raise_gp(error);
    if (code.conforming()) {
        if (code.dpl() > state.cpl) return raise_gp(error);
    } else if (rpl > state.cpl || code.dpl() != state.cpl) {
        return raise_gp(error);
    }
    return code.present() ? true : raise(Exception::NP, error);
}

bool Cpu::far_to_system(u16 selector, const Descriptor& descriptor, bool call, u64 next_ip) {
    const u32 error = selector & ~3u;
    const unsigned rpl = selector & 3;
    if (descriptor.dpl() < state.cpl || descriptor.dpl() < rpl) return raise_gp(error);
    if (long_mode()) return descriptor.type() == 0xC ? call_gate_long(selector, call, next_ip) : raise_gp(error);
    const auto how = call ? TaskSwitch::call : TaskSwitch::jump;
    switch (descriptor.type()) {
        case 1:
        case 9:  // available TSS
            if (!descriptor.present()) return raise(Exception::NP, error);
            return switch_task(selector, how, next_ip, std::nullopt);
        case 5:  // task gate
            if (!descriptor.present()) return raise(Exception::NP, error);
            return switch_task(descriptor.gate_selector(), how, next_ip, std::nullopt);
        case 4:
        case 0xC:
            if (!descriptor.present()) return raise(Exception::NP, error);
            return call_gate(descriptor, call, next_ip);
        default:
            return raise_gp(error);
    }
}

bool Cpu::far_jump(u16 selector, u64 offset, unsigned operand_size, u64 next_ip) {
    if (operand_size == 2) offset &= 0xFFFF;
    if (real_or_v86()) {
        if (offset > state.segment(Segment::cs).limit) return raise_gp(0);
        set_real_mode_segment(Segment::cs, selector);
        state.ip = offset;
        return true;
    }
    if ((selector & ~3u) == 0) return raise_gp(0);
    Descriptor code;
    if (!read_descriptor(selector, Exception::GP, code)) return false;
    if (code.system()) return far_to_system(selector, code, false, next_ip);
    if (!code.code()) return raise_gp(selector & ~3u);
    if (!check_code_target(selector, code)) return false;
    if (!check_target_offset(code, offset)) return false;
    if (!set_accessed(selector, code)) return false;
    load_code_segment(selector, code, state.cpl);
    state.ip = offset;
    return true;
}

bool Cpu::far_call(u16 selector, u64 offset, unsigned operand_size, u64 next_ip) {
    if (operand_size == 2) offset &= 0xFFFF;
    NewStack stack{*this, state.segment(Segment::ss), state.gpr[kRsp] & stack_mask(), state.cpl == 3};
    stack.wide = code64();
    if (real_or_v86()) {
        if (offset > state.segment(Segment::cs).limit) return raise_gp(0);
        if (!stack.push(state.segment(Segment::cs).selector, operand_size) || !stack.push(next_ip, operand_size))
            return false;
        set_stack_pointer(stack.pointer);
        set_real_mode_segment(Segment::cs, selector);
        state.ip = offset;
        return true;
    }
    if ((selector & ~3u) == 0) return raise_gp(0);
    Descriptor code;
    if (!read_descriptor(selector, Exception::GP, code)) return false;
    if (code.system()) return far_to_system(selector, code, true, next_ip);
    if (!code.code()) return raise_gp(selector & ~3u);
    if (!check_code_target(selector, code)) return false;
    if (!stack.push(state.segment(Segment::cs).selector, operand_size) || !stack.push(next_ip, operand_size))
        return false;
    if (!check_target_offset(code, offset)) return false;
    if (!set_accessed(selector, code)) return false;
    set_stack_pointer(stack.pointer);
    load_code_segment(selector, code, state.cpl);
    state.ip = offset;
    return true;
}

bool Cpu::call_gate(const Descriptor& gate, bool call, u64 next_ip) {
    const u16 selector = gate.gate_selector();
    const u32 error = selector & ~3u;
    if (error == 0) return raise_gp(0);
    Descriptor code;
    if (!read_descriptor(selector, Exception::GP, code)) return false;
    if (!code.code() || code.dpl() > state.cpl) return raise_gp(error);
    const bool inner = call && !code.conforming() && code.dpl() < state.cpl;
    if (!call && !code.conforming() && code.dpl() != state.cpl) return raise_gp(error);
    if (!code.present()) return raise(Exception::NP, error);
    if (inner) return call_gate_inner(selector, code, gate, next_ip);

    const unsigned size = gate.type() & 8 ? 4 : 2;
    const u64 target = size == 4 ? gate.gate_offset() : gate.gate_offset() & 0xFFFF;
    NewStack stack{*this, state.segment(Segment::ss), state.gpr[kRsp] & stack_mask(), state.cpl == 3};
    if (call)
        if (!stack.push(state.segment(Segment::cs).selector, size) || !stack.push(next_ip, size)) return false;
    if (!check_target_offset(code, target)) return false;
    if (!set_accessed(selector, code)) return false;
    set_stack_pointer(stack.pointer);
    load_code_segment(selector, code, state.cpl);
    state.ip = target;
    return true;
}

bool Cpu::call_gate_inner(u16 selector, const Descriptor& code_descriptor, const Descriptor& gate, u64 next_ip) {
    Descriptor code = code_descriptor;
    const unsigned cpl = code.dpl();
    const unsigned size = gate.type() & 8 ? 4 : 2;
    const unsigned parameters = gate.high & 0x1F;
    NewStack stack{*this, {}, 0, false};
    u16 new_ss = 0;
    if (!open_inner_stack(cpl, 0, stack, new_ss)) return false;
    const u64 old_stack = state.gpr[kRsp] & stack_mask();
    if (!stack.push(state.segment(Segment::ss).selector, size) || !stack.push(state.gpr[kRsp] & 0xFFFFFFFF, size))
        return false;
    for (unsigned i = parameters; i-- > 0;) {
        u64 parameter = 0;
        if (!read_stack(old_stack + i * size, parameter, size) || !stack.push(parameter, size)) return false;
    }
    if (!stack.push(state.segment(Segment::cs).selector, size) || !stack.push(next_ip, size)) return false;
    const u64 target = size == 4 ? gate.gate_offset() : gate.gate_offset() & 0xFFFF;
    if (!check_target_offset(code, target)) return false;
    if (!set_accessed(selector, code)) return false;
    load_code_segment(selector, code, cpl);
    commit_stack(new_ss, stack);
    set_stack_pointer(stack.pointer);
    state.ip = target;
    return true;
}

// The code segment that a far return or IRET goes to.
bool Cpu::read_returned_code(u16 selector, Descriptor& code) {
    if ((selector & ~3u) == 0) return raise_gp(0);
    const u32 error = selector & ~3u;
    const unsigned rpl = selector & 3;
    if (!read_descriptor(selector, Exception::GP, code)) return false;
    if (!code.code() || rpl < state.cpl) return raise_gp(error);
    if (long_mode() && (code.attributes() & kSegmentLong) && (code.attributes() & kSegmentBig)) return raise_gp(error);
    if (code.conforming() ? code.dpl() > rpl : code.dpl() != rpl) return raise_gp(error);
    return code.present() ? true : raise(Exception::NP, error);
}

// `frame`: where ESP and SS of the outer level lie, as a stack offset.
bool Cpu::return_to_outer(u16 selector, const Descriptor& code_descriptor, u64 ip, unsigned operand_size, u64 frame,
                          u16 extra_bytes) {
    Descriptor code = code_descriptor;
    const unsigned rpl = selector & 3;
    u64 esp = 0, ss = 0;
    if (!read_stack(frame, esp, operand_size) || !read_stack(frame + operand_size, ss, operand_size)) return false;
    const auto ss_selector = static_cast<u16>(ss);
    if (long_mode()) {
        if (!load_outer_context(selector, code, ip, ss_selector, esp + extra_bytes)) return false;
        state.ip = ip;
        return true;
    }
    Descriptor stack;
    if (!check_stack_segment(ss_selector, rpl, Exception::GP, stack, 0)) return false;
    if (!check_target_offset(code, ip)) return false;
    if (!set_accessed(selector, code)) return false;
    load_code_segment(selector, code, rpl);
    set_segment(Segment::ss, ss_selector, stack);
    if (operand_size == 2) esp &= 0xFFFF;
    set_stack_pointer(esp + extra_bytes);
    invalidate_data_segments_for(rpl);
    state.ip = ip;
    return true;
}

bool Cpu::far_return(unsigned operand_size, u16 extra_bytes) {
    const u64 frame = state.gpr[kRsp];
    u64 ip = 0, cs = 0;
    if (!read_stack(frame, ip, operand_size) || !read_stack(frame + operand_size, cs, operand_size)) return false;
    const auto selector = static_cast<u16>(cs);
    const u64 above = frame + 2 * operand_size + extra_bytes;
    if (real_or_v86()) {
        if (ip > state.segment(Segment::cs).limit) return raise_gp(0);
        set_stack_pointer(above);
        set_real_mode_segment(Segment::cs, selector);
        state.ip = ip;
        return true;
    }
    Descriptor code;
    if (!read_returned_code(selector, code)) return false;
    if ((selector & 3u) > state.cpl) return return_to_outer(selector, code, ip, operand_size, above, extra_bytes);
    if (!check_target_offset(code, ip)) return false;
    if (!set_accessed(selector, code)) return false;
    set_stack_pointer(above);
    load_code_segment(selector, code, state.cpl);
    state.ip = ip;
    return true;
}

// What IRET may change of EFLAGS depends on the privilege it is executed with.
void Cpu::set_returned_flags(u64 flags, unsigned operand_size, unsigned old_cpl, unsigned old_iopl) {
    u32 changeable = kArithmeticFlags | kFlagTrap | kFlagDirection | kFlagNestedTask;
    if (operand_size > 2) changeable |= kFlagResume | kFlagAlignmentCheck | kFlagId;
    if (old_cpl <= old_iopl) changeable |= kFlagInterrupt;
    if (old_cpl == 0) {
        changeable |= kFlagIopl;
        if (operand_size > 2) changeable |= kFlagVirtualInterrupts;
    }
    set_eflags(replace_bits(eflags(), changeable, static_cast<u32>(flags)));
}

bool Cpu::iret_real(unsigned operand_size) {
    const u64 frame = state.gpr[kRsp];
    u64 ip = 0, cs = 0, flags = 0;
    if (!read_stack(frame, ip, operand_size) || !read_stack(frame + operand_size, cs, operand_size) ||
        !read_stack(frame + 2 * operand_size, flags, operand_size))
        return false;
    if (ip > state.segment(Segment::cs).limit) return raise_gp(0);
    set_stack_pointer(frame + 3 * operand_size);
    set_real_mode_segment(Segment::cs, static_cast<u16>(cs));
    state.ip = ip;
    // In V86 mode IOPL stays, and IF may change as IOPL is 3 here.
    set_returned_flags(flags, operand_size, v86() ? 3 : 0, 3);
    return true;
}

bool Cpu::iret_to_v86(u64 ip, u64 cs, u64 flags, u64 frame) {
    u64 words[6];  // ESP SS ES DS FS GS
    for (unsigned i = 0; i < 6; ++i)
        if (!read_stack(frame + 4 * i, words[i], 4)) return false;
    if (ip > 0xFFFF) return raise_gp(0);
    set_eflags(static_cast<u32>(flags));
    state.cpl = 3;
    static constexpr Segment kOrder[] = {Segment::ss, Segment::es, Segment::ds, Segment::fs, Segment::gs};
    for (unsigned i = 0; i < 5; ++i) set_real_mode_segment(kOrder[i], static_cast<u16>(words[i + 1]));
    set_real_mode_segment(Segment::cs, static_cast<u16>(cs));
    state.gpr[kRsp] = words[0];
    state.ip = ip;
    return true;
}

bool Cpu::iret_protected(unsigned operand_size) {
    const u64 frame = state.gpr[kRsp];
    u64 ip = 0, cs = 0, flags = 0;
    if (!read_stack(frame, ip, operand_size) || !read_stack(frame + operand_size, cs, operand_size) ||
        !read_stack(frame + 2 * operand_size, flags, operand_size))
        return false;
    const u64 above = frame + 3 * operand_size;
    if (operand_size == 4 && (flags & kFlagVirtual8086) && state.cpl == 0) return iret_to_v86(ip, cs, flags, above);
    const auto selector = static_cast<u16>(cs);
    Descriptor code;
    if (!read_returned_code(selector, code)) return false;
    const unsigned old_cpl = state.cpl, old_iopl = iopl();
    if ((selector & 3u) > state.cpl) {
        if (!return_to_outer(selector, code, ip, operand_size, above, 0)) return false;
    } else {
        if (!check_target_offset(code, ip)) return false;
        if (!set_accessed(selector, code)) return false;
        set_stack_pointer(above);
        load_code_segment(selector, code, state.cpl);
        state.ip = ip;
    }
    set_returned_flags(flags, operand_size, old_cpl, old_iopl);
    return true;
}

bool Cpu::interrupt_return(unsigned operand_size, u64 next_ip) {
    if (!leave_handler(operand_size, next_ip)) return false;
    for (CpuObserver* observer : observers_) observer->on_interrupt_return();
    return true;
}

bool Cpu::leave_handler(unsigned operand_size, u64 next_ip) {
    if (v86() && iopl() < 3) return raise_gp(0);
    nmi_blocked_ = false;  // even if it faults on the way (SDM vol. 3, 27.2.3, "NMI unblocking due to IRET")
    if (real_or_v86()) return iret_real(operand_size);
    if (long_mode()) return iret_long(operand_size);
    if (!flag(kFlagNestedTask)) return iret_protected(operand_size);
    u16 link = 0;
    return read_system<u16>(state.tr.base, link) && switch_task(link, TaskSwitch::iret, next_ip, std::nullopt);
}

}  // namespace lodge
