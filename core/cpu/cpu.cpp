// The CPU's pins, flags and modes; reset; the state walk.
#include "core/cpu/cpu.h"

namespace lodge {

Cpu::Cpu(Log& log, PhysicalMemory& memory, AddressSpace& ports, GuestClock& clock, const CpuModel& model, u64 seed)
    : log_(log), memory_(memory), ports_(ports), clock_(clock), model_(model), random_(seed) {
    memory_.add_listener(*this);
    reset();
}

Cpu::~Cpu() {
    memory_.remove_listener(*this);
}

void Cpu::connect(InterruptController& controller, ApicRegisters* apic) {
    controller_ = &controller;
    apic_ = apic;
}

// SDM vol. 3, table 9-1 "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT".
void Cpu::reset() {
    state.fpu = FpuState{};
    state.efer = 0;
    tsc_offset_ = 0 - clock_.tsc();
    tsc_adjust_ = 0;
    sysenter_cs_ = sysenter_esp_ = sysenter_eip_ = 0;
    star_ = lstar_ = cstar_ = flag_mask_ = kernel_gs_base_ = tsc_aux_ = 0;
    pat_ = 0x0007040600070406;
    mtrr_def_type_ = 0;
    for (u64& value : mtrr_fixed_) value = 0;
    for (u64& value : mtrr_variable_) value = 0;
    misc_enable_ = 1;
    machine_check_.reset();
    xcr0_ = kXcr0X87;
    state.cr0 = 0;
    a20_ = true;
    init();
}

void Cpu::init() {
    const u64 cache_bits = state.cr0 & (kCr0Cd | kCr0Nw);
    for (u64& value : state.gpr) value = 0;
    state.gpr[kRdx] = model_.family_model_stepping;
    state.ip = 0xFFF0;
    state.status = StatusFlags{};
    state.system_flags = 0;
    state.cr0 = (cache_bits ? cache_bits : kCr0Cd | kCr0Nw) | kCr0Et;
    state.cr2 = state.cr3 = state.cr4 = 0;
    state.efer = 0;
    for (u64& value : state.dr) value = 0;
    state.dr[6] = 0xFFFF0FF0;
    state.dr[7] = 0x400;
    for (unsigned i = 0; i < 6; ++i) {
        state.segments[i] = SegmentState{};  // limits and rights of protected mode do not survive
        set_real_mode_segment(static_cast<Segment>(i), 0);
    }
    SegmentState& cs = state.segment(Segment::cs);
    cs.selector = 0xF000;
    cs.base = cs.descriptor_base = 0xFFFF0000;
    cs.attributes |= kSegmentCode;
    for (SegmentState* segment : {&state.ldtr, &state.tr}) {
        *segment = SegmentState{};
        segment->limit = 0xFFFF;
        segment->attributes = kSegmentPresent | (segment == &state.tr ? 0x0B : 0x02);
    }
    state.gdtr = state.idtr = TableRegister{};
    state.cpl = 0;
    state.halted = false;
    nmi_blocked_ = false;
    waiting_for_startup_ = false;
    pending_dr6 = 0;
    fault_.reset();
    fault_in_new_context_ = false;
    attention.store(attention.load() & (kAttentionKick | kAttentionDebugger));
    update_interrupt_attention();
    flush_tlb(true);
    mode_changed();
}

void Cpu::startup(u8 vector) {
    if (!waiting_for_startup_) return;
    waiting_for_startup_ = false;
    set_real_mode_segment(Segment::cs, static_cast<u16>(vector << 8));
    state.ip = 0;
    state.halted = false;
    clear_attention(kAttentionHalted);
    mode_changed();
}

void Cpu::take_init() {
    clear_attention(kAttentionInit);
    init();
}

void Cpu::set_interrupt(bool level) {
    interrupt_line_ = level;
    update_interrupt_attention();
}

void Cpu::nmi() {
    request_attention(kAttentionNmi);
}

void Cpu::set_a20(bool enabled) {
    if (a20_ == enabled) return;
    a20_ = enabled;
    flush_tlb(true);
    stop = code_changed = true;
}

void Cpu::update_interrupt_attention() {
    if (interrupt_line_ && flag(kFlagInterrupt) && !holds_interrupts_)
        request_attention(kAttentionInterrupt);
    else
        clear_attention(kAttentionInterrupt);
}

void Cpu::set_eflags(u32 value) {
    state.status.set_eflags(value);
    set_system_flags(value);
}

void Cpu::set_system_flags(u32 value) {
    constexpr u32 kExisting =
        kFlagTrap | kFlagInterrupt | kFlagDirection | kFlagIopl | kFlagNestedTask | kFlagResume | kFlagVirtual8086;
    u32 existing = kExisting | kFlagAlignmentCheck;
    if (model_.has_cpuid) existing |= kFlagId;
    if (model_.features_edx & kCpuidVme) existing |= kFlagVirtualInterrupts;
    const u32 changed = state.system_flags ^ (value & existing);
    state.system_flags = value & existing;
    if (changed & kFlagInterrupt) update_interrupt_attention();
    if (changed & (kFlagTrap | kFlagResume)) update_single_attention();
    if (changed & (kFlagVirtual8086 | kFlagAlignmentCheck)) mode_changed();
}

void Cpu::mode_changed() {
    const SegmentState& cs = state.segment(Segment::cs);
    state.linear_mask = code64() ? ~u64{0} : 0xFFFFFFFF;
    if (code64() != was_code64_) {
        was_code64_ = code64();
        for (SegmentState& segment : state.segments) update_spans(segment);
    }
    const bool check_alignment = (state.cr0 & kCr0Am) && flag(kFlagAlignmentCheck) && state.cpl == 3;
    tlb_ = check_alignment ? &empty_tlb_ : &table_for(state.cpl == 3);
    if (cs.base != code_base_ || cs.limit != code_limit_) {
        code_base_ = cs.base;
        code_limit_ = cs.limit;
        next_generation();
    }
    fetch_epoch = generation() << 8 | static_cast<u64>(state.cpl) << 4 | static_cast<u64>(code_size());
    for (CpuObserver* observer : observers_) observer->on_mode_change();
}

void Cpu::flush_tlb(bool global_too) {
    for (Tlb* tlb : {&supervisor_tlb_, &open_tlb_, &user_tlb_}) {
        if (global_too)
            tlb->clear();
        else
            tlb->clear_non_global();
    }
    next_user_generation();
    if (global_too || local_supervisor_code_) next_supervisor_generation();
    mode_changed();
}

void Cpu::forget_cells() {
    for (Tlb* tlb : {&supervisor_tlb_, &open_tlb_, &user_tlb_}) tlb->forget_cells();
}

void Cpu::invalidate_page(u64 linear) {
    bool large = false;
    for (Tlb* tlb : {&supervisor_tlb_, &open_tlb_, &user_tlb_}) large |= tlb->clear_page(linear);
    const bool user = large || user_fetched_.has(linear), supervisor = large || supervisor_fetched_.has(linear);
    if (user) next_user_generation();
    if (supervisor) next_supervisor_generation();
    if (user || supervisor) mode_changed();
}

void Cpu::on_code_written(u64 backing_page, unsigned offset, unsigned length) {
    if (code_cache_) code_cache_->drop_code(backing_page, offset, length);
    stop = code_changed = true;
}

void Cpu::on_write_watched(u64 backing_page) {
    const u8* host = memory_.backing().data() + backing_page * kPageSize;
    for (Tlb* tlb : {&supervisor_tlb_, &open_tlb_, &user_tlb_}) tlb->forbid_writes(host);
}

void Cpu::on_map_changed() {
    flush_tlb(true);
    stop = code_changed = true;
}

bool Cpu::raise(Exception vector, u32 error) {
    fault_ = PendingFault{vector, has_error_code(vector) && protected_mode(), error};
    return false;
}

void Cpu::begin_device_access() {
    clock_.set_position(state.retired + (current ? current->block_index : 0));
    stop = true;
}

// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
u64 Cpu::random() {
    random_ += 0x9E3779B97F4A7C15;
    u64 mixed = random_;
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB;
    return mixed ^ mixed >> 31;
}

u64 Cpu::tsc() {
    clock_.set_position(state.retired + (current ? current->block_index : 0));
    return clock_.tsc() + tsc_offset_;
}

namespace {

void table_state(StateIo& io, std::string_view name, TableRegister& table) {
    io.section(name, 1, [&] {
        io.field("base", table.base);
        io.field("limit", table.limit);
    });
}

void segment_state(StateIo& io, std::string_view name, SegmentState& segment) {
    io.section(name, 1, [&] {
        io.field("selector", segment.selector);
        io.field("base", segment.base);
        io.field("descriptor_base", segment.descriptor_base);
        io.field("limit", segment.limit);
        io.field("attributes", segment.attributes);
        io.field("readable_span", segment.readable_span);
        io.field("writable_span", segment.writable_span);
    });
}

void fpu_state(StateIo& io, FpuState& fpu) {
    io.section("fpu", 1, [&] {
        io.field("st", fpu.st);
        io.field("xmm", fpu.xmm);
        io.field("control", fpu.control);
        io.field("status", fpu.status);
        io.field("valid", fpu.valid);
        io.field("opcode", fpu.opcode);
        io.field("instruction", fpu.instruction);
        io.field("data", fpu.data);
        io.field("instruction_selector", fpu.instruction_selector);
        io.field("data_selector", fpu.data_selector);
        io.field("mxcsr", fpu.mxcsr);
    });
}

}  // namespace

void Cpu::save_or_load(StateIo& io) {
    static constexpr std::string_view kSegmentNames[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
    constexpr u32 kNotTheGuests = kAttentionKick | kAttentionDebugger;
    u32 attention_bits = attention.load() & ~kNotTheGuests;
    state.gpr[kBlockIp] = 0;  // means something only while a block runs
    io.section("cpu", 3, [&] {
        io.field("gpr", state.gpr);
        io.field("ip", state.ip);
        io.field("status_low", state.status.low);
        io.field("status_overflow", state.status.overflow);
        io.field("system_flags", state.system_flags);
        for (unsigned i = 0; i < 6; ++i) segment_state(io, kSegmentNames[i], state.segments[i]);
        segment_state(io, "ldtr", state.ldtr);
        segment_state(io, "tr", state.tr);
        table_state(io, "gdtr", state.gdtr);
        table_state(io, "idtr", state.idtr);
        io.field("cr0", state.cr0);
        io.field("cr2", state.cr2);
        io.field("cr3", state.cr3);
        io.field("cr4", state.cr4);
        io.field("efer", state.efer);
        io.field("dr", state.dr);
        io.field("retired", state.retired);
        io.field("cpl", state.cpl);
        io.field("halted", state.halted);
        fpu_state(io, state.fpu);
        io.field("attention", attention_bits);
        io.field("pending_dr6", pending_dr6);
        io.field("interrupt_line", interrupt_line_);
        io.field("nmi_blocked", nmi_blocked_);
        io.field("a20", a20_);
        io.field("waiting_for_startup", waiting_for_startup_);
        io.field("pdptr", pdptr_);
        io.field("tsc_offset", tsc_offset_);
        io.field("tsc_adjust", tsc_adjust_);
        io.field("sysenter_cs", sysenter_cs_);
        io.field("sysenter_esp", sysenter_esp_);
        io.field("sysenter_eip", sysenter_eip_);
        io.field("star", star_);
        io.field("lstar", lstar_);
        io.field("cstar", cstar_);
        io.field("flag_mask", flag_mask_);
        io.field("kernel_gs_base", kernel_gs_base_);
        io.field("tsc_aux", tsc_aux_);
        io.field("pat", pat_);
        io.field("mtrr_def_type", mtrr_def_type_);
        io.field("mtrr_fixed", mtrr_fixed_);
        io.field("mtrr_variable", mtrr_variable_);
        io.field("misc_enable", misc_enable_);
        machine_check_.state(io);
        io.field("xcr0", xcr0_);
        io.field("random", random_);
    });
    if (!io.loading()) return;
    fault_.reset();
    current = nullptr;
    state.gpr[kNoRegister] = 0;
    state.cpl &= 3;
    xcr0_ = (xcr0_ & kXcr0Sse) | kXcr0X87;
    attention.store((attention_bits & ~kNotTheGuests) | (attention.load() & kNotTheGuests));
    flush_tlb(true);
}

}  // namespace lodge
