// Interrupts and exceptions: SDM vol. 3, chapter 6, and vol. 2, "INT n".
#include "core/cpu/new_stack.h"

namespace lodge {

namespace {

constexpr u32 kExternal = 1;  // error code: EXT
constexpr u32 kInIdt = 2;     // error code: IDT

bool contributory(Exception vector) {
    return vector == Exception::DE || (vector >= Exception::TS && vector <= Exception::GP);
}

}  // namespace

void Cpu::shutdown() {
    log_.write(LogChannel::cpu, LogLevel::info, "triple fault at %04X:%llX", state.segment(Segment::cs).selector,
               static_cast<unsigned long long>(state.ip));
    fault_.reset();
    request_attention(kAttentionShutdown);
}

void Cpu::deliver_fault() {
    deliver_fault_as(false);
}

// SDM vol. 3, table 6-5 "Conditions for Generating a Double Fault".
void Cpu::deliver_fault_as(bool trap) {
    current = nullptr;
    PendingFault fault = *fault_;
    for (;;) {
        fault_.reset();
        fault_in_new_context_ = false;  // state.ip is right as it is
        const std::optional<u32> error = fault.has_error ? std::optional<u32>(fault.error) : std::nullopt;
        // Faults set RF in the saved flags so that a code breakpoint on the instruction does not come again; after the
        // breakpoint itself that is for its handler to do (SDM vol. 3, 2.3 "RF").
        saved_flags_ = eflags() | 0x02;
        if (!trap && fault.vector != Exception::DF && !fault.code_breakpoint) saved_flags_ |= kFlagResume;
        if (fault.vector == Exception::DB) state.dr[7] &= ~kDr7GeneralDetect;  // SDM vol. 3, 17.2.4 "GD"
        if (enter_interrupt(static_cast<u8>(fault.vector), EventKind::exception, state.ip, error)) return;
        const PendingFault second = *fault_;
        if (fault.vector == Exception::DF) return shutdown();
        const bool first_page = fault.vector == Exception::PF;
        const bool second_page = second.vector == Exception::PF;
        if ((contributory(fault.vector) && contributory(second.vector)) ||
            (first_page && (second_page || contributory(second.vector))))
            fault = PendingFault{Exception::DF, protected_mode(), 0};
        else
            fault = second;
        trap = false;
    }
}

void Cpu::deliver_interrupt(u8 vector) {
    current = nullptr;
    state.halted = false;
    clear_attention(kAttentionHalted);
    saved_flags_ = eflags() | 0x02;
    if (!enter_interrupt(vector, EventKind::hardware, state.ip, std::nullopt)) deliver_fault();
}

void Cpu::take_interrupt() {
    if (!controller_) return;
    clock_.set_position(state.retired);
    if (const std::optional<u8> vector = controller_->acknowledge()) deliver_interrupt(*vector);
}

bool Cpu::take_nmi() {
    if (nmi_blocked_) return false;
    clear_attention(kAttentionNmi);
    nmi_blocked_ = true;
    deliver_interrupt(static_cast<u8>(Exception::NMI));
    return true;
}

bool Cpu::software_interrupt(u8 vector, u64 return_ip, EventKind kind) {
    saved_flags_ = eflags() | 0x02;
    return enter_interrupt(vector, kind, return_ip, std::nullopt);
}

bool Cpu::enter_interrupt(u8 vector, EventKind kind, u64 return_ip, std::optional<u32> error_code) {
    const u64 return_linear = (state.segment(Segment::cs).base + return_ip) & state.linear_mask;
    if (!enter_handler(vector, kind, return_ip, error_code)) return false;
    if (!observers_.empty()) [[unlikely]]
        tell_interrupt(vector, kind, return_ip, error_code, return_linear);
    return true;
}

bool Cpu::enter_handler(u8 vector, EventKind kind, u64 return_ip, std::optional<u32> error_code) {
    if (!protected_mode()) return enter_real(vector, return_ip);
    if (kind == EventKind::software && v86() && iopl() < 3 && !int_ignores_iopl(vector)) return raise_gp(0);
    return enter_protected(vector, kind, return_ip, error_code);
}

// INT3 and INTO have one-byte opcodes that are not sensitive to IOPL (SDM vol. 3, 20.2.7). INT n with n = 3 or 4 comes
// here too, but its handler has checked IOPL itself.
bool Cpu::int_ignores_iopl(u8 vector) const {
    return vector == static_cast<u8>(Exception::BP) || vector == static_cast<u8>(Exception::OF);
}

bool Cpu::enter_real(u8 vector, u64 return_ip) {
    const u32 at = vector * 4u;
    if (at + 3 > state.idtr.limit) return raise_gp(at + kInIdt);
    u32 entry = 0;
    if (!read_system<u32>(state.idtr.base + at, entry)) return false;
    const u64 pointer = state.gpr[kRsp] & stack_mask();
    const u16 frame[3] = {static_cast<u16>(return_ip), state.segment(Segment::cs).selector,
                          static_cast<u16>(saved_flags_)};
    for (unsigned i = 0; i < 3; ++i)
        if (!write<u16>(Segment::ss, (pointer - 2 * (3 - i)) & stack_mask(), frame[i])) return false;
    set_stack_pointer(pointer - 6);
    set_system_flags(state.system_flags & ~(kFlagInterrupt | kFlagTrap | kFlagAlignmentCheck | kFlagResume));
    state.ip = entry & 0xFFFF;
    set_real_mode_segment(Segment::cs, static_cast<u16>(entry >> 16));
    return true;
}

bool Cpu::enter_protected(u8 vector, EventKind kind, u64 return_ip, std::optional<u32> error_code) {
    if (long_mode()) return enter_long(vector, kind, return_ip, error_code);
    const u32 external = kind == EventKind::software ? 0 : kExternal;
    const u32 at = vector * 8u;
    const u32 error = at + kInIdt + external;
    if (at + 7 > state.idtr.limit) return raise_gp(error);
    u64 raw = 0;
    if (!read_system<u64>(state.idtr.base + at, raw)) return false;
    const Descriptor gate{static_cast<u32>(raw), static_cast<u32>(raw >> 32)};
    const unsigned type = gate.type();
    if (!gate.system() || !(type == 5 || type == 6 || type == 7 || type == 0xE || type == 0xF)) return raise_gp(error);
    if (kind == EventKind::software && gate.dpl() < state.cpl) return raise_gp(error);
    if (!gate.present()) return raise(Exception::NP, error);
    if (type == 5) return switch_task(gate.gate_selector(), TaskSwitch::interrupt, return_ip, error_code, external);
    return enter_gate(gate, return_ip, error_code, external);
}

bool Cpu::enter_gate(const Descriptor& gate, u64 return_ip, std::optional<u32> error_code, u32 external) {
    const u16 selector = gate.gate_selector();
    const u32 selector_error = (selector & ~3u) | external;
    if ((selector & ~3u) == 0) return raise_gp(external);
    Descriptor code;
    if (!read_descriptor(selector, Exception::GP, code, external)) return false;
    if (!code.code() || code.dpl() > state.cpl) return raise_gp(selector_error);
    if (!code.present()) return raise(Exception::NP, selector_error);

    const bool from_v86 = v86();
    const bool inner = !code.conforming() && code.dpl() < state.cpl;
    if (from_v86 && (!inner || code.dpl() != 0)) return raise_gp(selector_error);
    const unsigned cpl = inner ? code.dpl() : state.cpl;

    NewStack stack{*this, state.segment(Segment::ss), state.gpr[kRsp] & stack_mask(), cpl == 3};
    stack.error = external;
    u16 new_ss = state.segment(Segment::ss).selector;
    if (inner && !open_inner_stack(cpl, external, stack, new_ss)) return false;

    const unsigned size = gate.type() & 8 ? 4 : 2;
    if (from_v86)
        for (Segment which : {Segment::gs, Segment::fs, Segment::ds, Segment::es})
            if (!stack.push(state.segment(which).selector, size)) return false;
    if (inner)
        if (!stack.push(state.segment(Segment::ss).selector, size) || !stack.push(state.gpr[kRsp] & 0xFFFFFFFF, size))
            return false;
    if (!stack.push(saved_flags_, size) || !stack.push(state.segment(Segment::cs).selector, size) ||
        !stack.push(return_ip, size))
        return false;
    if (error_code && !stack.push(*error_code, size)) return false;
    const u64 target = size == 4 ? gate.gate_offset() : gate.gate_offset() & 0xFFFF;
    if (target > code.limit()) return raise_gp(external);
    if (!set_accessed(selector, code)) return false;

    u32 cleared = kFlagTrap | kFlagNestedTask | kFlagResume | kFlagVirtual8086;
    if (!(gate.type() & 1)) cleared |= kFlagInterrupt;
    set_system_flags(state.system_flags & ~cleared);
    if (from_v86)
        for (Segment which : {Segment::gs, Segment::fs, Segment::ds, Segment::es}) load_null(which, 0);
    load_code_segment(selector, code, cpl);
    if (inner) commit_stack(new_ss, stack);
    set_stack_pointer(stack.pointer);
    state.ip = target;
    return true;
}

// The stack of an inner level, as the TSS has it. SDM vol. 2, "INT n", INTER-PRIVILEGE-LEVEL-INTERRUPT.
bool Cpu::open_inner_stack(unsigned cpl, u32 external, NewStack& stack, u16& selector) {
    u64 pointer = 0;
    if (!inner_stack(cpl, selector, pointer, external)) return false;
    Descriptor descriptor;
    if (!check_stack_segment(selector, cpl, Exception::TS, descriptor, external)) return false;
    stack.segment = SegmentState{};
    stack.segment.base = descriptor.base();
    stack.segment.limit = descriptor.limit();
    stack.segment.attributes = descriptor.attributes();
    stack.pointer = pointer & stack.mask();
    stack.user = cpl == 3;
    stack.error = (selector & ~3u) | external;
    return true;
}

void Cpu::commit_stack(u16 selector, const NewStack& stack) {
    SegmentState& ss = state.segment(Segment::ss);
    ss.selector = selector;
    ss.descriptor_base = stack.segment.base;
    ss.limit = stack.segment.limit;
    ss.attributes = stack.segment.attributes | kSegmentAccessed;
    update_spans(ss);
}

bool Cpu::inner_stack(unsigned cpl, u16& ss, u64& esp, u32 external) {
    const u32 type = state.tr.attributes & kSegmentType;
    const u32 error = (state.tr.selector & ~3u) | external;
    if (type & 8) {
        const u32 at = 4 + cpl * 8;
        u32 pointer = 0;
        if (at + 5 > state.tr.limit) return raise(Exception::TS, error);
        if (!read_system<u32>(state.tr.base + at, pointer) || !read_system<u16>(state.tr.base + at + 4, ss))
            return false;
        esp = pointer;
        return true;
    }
    const u32 at = 2 + cpl * 4;
    u16 pointer = 0;
    if (at + 3 > state.tr.limit) return raise(Exception::TS, error);
    if (!read_system<u16>(state.tr.base + at, pointer) || !read_system<u16>(state.tr.base + at + 2, ss)) return false;
    esp = pointer;
    return true;
}

bool Cpu::check_stack_segment(u16 selector, unsigned cpl, Exception vector, Descriptor& descriptor, u32 external) {
    if ((selector & ~3u) == 0) return raise(vector, external);
    const u32 error = (selector & ~3u) | external;
    if (!read_descriptor(selector, vector, descriptor, external)) return false;
    if ((selector & 3u) != cpl || descriptor.dpl() != cpl || !descriptor.data_writable()) return raise(vector, error);
    if (!descriptor.present()) return raise(Exception::SS, error);
    return set_accessed(selector, descriptor);
}

}  // namespace lodge
