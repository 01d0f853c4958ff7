// System instructions that kernels execute all the time, in the forms that change nothing but flags, FS, GS and
// registers: interrupt and access flags, segment selectors read, SWAPGS, the TSC. What would need a closer look (an
// interrupt that is due, a flag that changes the mode) is left to the interpreter.
#include "jit/emitter.h"

namespace lodge::jit {

using asmjit::imm;

namespace {

// POPF leaves a change of these to the interpreter.
constexpr u32 kModeFlags = kFlagTrap | kFlagIopl | kFlagNestedTask;
constexpr u32 kWideModeFlags = kModeFlags | kFlagAlignmentCheck | kFlagId;

x86::Mem selector_of(u8 segment) {
    return state_at(offsetof(CpuState, segments) + segment * sizeof(SegmentState) + offsetof(SegmentState, selector),
                    2);
}

}  // namespace

bool Emitter::emit_system(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::PUSHF:
            return emit_pushf(insn), true;
        case Opcode::POPF:
            return emit_popf(insn), true;
        case Opcode::CLI:
            return emit_cli(), true;
        case Opcode::STI:
            return emit_sti(), true;
        case Opcode::STAC:
        case Opcode::CLAC:
            return emit_access_flag(insn.opcode == Opcode::STAC), true;
        case Opcode::PUSH_SEG:
            return emit_push_segment(insn), true;
        case Opcode::MOV_SEG:
            return emit_mov_from_segment(insn), true;
        case Opcode::SWAPGS:
            return emit_swapgs(), true;
        case Opcode::RDTSC:
        case Opcode::RDTSCP:
            return emit_rdtsc(insn.opcode == Opcode::RDTSCP), true;
        default:
            return false;
    }
}

x86::Mem Emitter::place(i32 from_state, unsigned size) {
    return x86::Mem(kState, from_state, size);
}

void Emitter::leave_unless_supervisor() {
    a_.cmp(LODGE_STATE(cpl, 1), imm(0));
    a_.jne(cold_label());
}

// --- Flags on the stack

// VM and RF are pushed as zero. Virtual 8086 mode has rules of its own.
void Emitter::emit_pushf(const Insn& insn) {
    const unsigned size = insn.operand_size;
    const i32 by = -static_cast<i32>(size);
    constexpr i32 kHidden = static_cast<i32>(~(kFlagVirtual8086 | kFlagResume));
    const auto status = [](size_t field) { return state_at(offsetof(CpuState, status) + field, 1); };
    flags_to_memory();
    flags_ = Flags::memory;
    const asmjit::Label cold = cold_label();
    if (!code64()) {
        a_.test(LODGE_STATE(system_flags, 4), imm(kFlagVirtual8086));
        a_.jnz(cold);
    }
    const x86::Mem slot = stack_slot(by, size, true);
    a_.movzx(kTemp1.r32(), status(offsetof(StatusFlags, overflow)));
    a_.shl(kTemp1.r32(), imm(11));
    static_assert(kFlagOverflow == 1u << 11);
    a_.or_(kTemp1.r8(), status(offsetof(StatusFlags, low)));
    a_.or_(kTemp1.r32(), LODGE_STATE(system_flags, 4));
    a_.or_(kTemp1.r32(), imm(2));
    a_.and_(kTemp1.r32(), imm(kHidden));
    a_.mov(slot, sized(kTemp1, size));
    move_stack_pointer(by);
}

// For the supervisor (native.cpp). A change of IF is taken here only while nobody waits for one.
void Emitter::emit_popf(const Insn& insn) {
    const unsigned size = insn.operand_size;
    constexpr i32 kNative = kFlagInterrupt | kFlagDirection;
    flags_to_memory();
    flags_ = Flags::memory;
    const asmjit::Label cold = cold_label(), same = a_.newLabel();
    leave_unless_supervisor();
    const x86::Mem slot = stack_slot(0, size, false);
    if (size == 2)
        a_.movzx(kTemp1.r32(), slot);
    else
        a_.mov(sized(kTemp1, size), slot);
    a_.mov(kTemp0.r32(), kTemp1.r32());
    a_.xor_(kTemp0.r32(), LODGE_STATE(system_flags, 4));
    a_.test(kTemp0.r32(), imm(size == 2 ? kModeFlags : kWideModeFlags));
    a_.jnz(cold);
    a_.and_(kTemp0.r32(), imm(kNative));
    a_.test(kTemp0.r32(), imm(kFlagInterrupt));
    a_.jz(same);
    leave_if_interrupt_waits();
    a_.bind(same);
    a_.xor_(LODGE_STATE(system_flags, 4), kTemp0.r32());
    // Into StatusFlags, which is stored whole for the sake of whoever loads it whole.
    a_.mov(kTemp0.r32(), kTemp1.r32());
    a_.and_(kTemp0.r32(), imm(kArithmeticFlags & 0xFF));
    a_.or_(kTemp0.r32(), imm(2));
    a_.shl(kTemp0.r32(), imm(8));
    a_.shr(kTemp1.r32(), imm(11));
    a_.and_(kTemp1.r32(), imm(1));
    a_.or_(kTemp0.r32(), kTemp1.r32());
    a_.mov(LODGE_STATE(status, 2), kTemp0.r16());
    recipe_ = {};
    move_stack_pointer(static_cast<i32>(size));
}

// --- Interrupt flag

// An interrupt line that is high, or anything else that asks for attention: the interpreter knows what becomes of it.
void Emitter::leave_if_interrupt_waits() {
    const asmjit::Label cold = cold_label();
    a_.cmp(place(context_.interrupt_line, 1), imm(0));
    a_.jne(cold);
    a_.cmp(place(context_.attention, 4), imm(0));
    a_.jne(cold);
}

void Emitter::emit_cli() {
    release_flags();
    leave_unless_supervisor();
    a_.test(place(context_.attention, 4), imm(kAttentionInterrupt));
    a_.jnz(cold_label());
    a_.and_(LODGE_STATE(system_flags, 4), imm(~static_cast<i32>(kFlagInterrupt)));
}

// The shadow of STI is the next instruction, which lies in the same block (native_in_place), so that nothing can come
// up in between: an interrupt that comes up during it finds the shadow gone.
void Emitter::emit_sti() {
    release_flags();
    const asmjit::Label set = a_.newLabel();
    leave_unless_supervisor();
    a_.test(LODGE_STATE(system_flags, 4), imm(kFlagInterrupt));
    a_.jnz(set);
    leave_if_interrupt_waits();
    a_.or_(LODGE_STATE(system_flags, 4), imm(kFlagInterrupt));
    a_.bind(set);
}

// --- SMAP

// Where AC opens or closes the user's pages, the code behind belongs to another mode, and the block ends.
void Emitter::emit_access_flag(bool set) {
    const bool open = mode_ & kModeOpen;
    const i64 behind = offset_after(insn());
    release_flags();
    flags_to_memory();
    const asmjit::Label cold = cold_label(true);
    leave_unless_supervisor();
    ended_ = true;
    if (set == open) {  // as it is; but without SMAP, AC says nothing of the mode
        a_.test(LODGE_STATE(system_flags, 4), imm(kFlagAlignmentCheck));
        a_.emit(set ? x86::Inst::kIdJz : x86::Inst::kIdJnz, cold);
        return emit_exit(behind, {});
    }
    a_.test(LODGE_STATE(cr4, 4), imm(kCr4Smap));
    a_.jz(cold);
    a_.lea(kTemp0, place(set ? context_.open_tlb : context_.supervisor_tlb, 8));
    a_.mov(place(context_.current_tlb, 8), kTemp0);
    a_.xor_(LODGE_STATE(system_flags, 4), imm(kFlagAlignmentCheck));
    a_.xor_(LODGE_STATE(engine.epoch, 8), imm(kModeOpen));
    emit_exit(behind, {});
    block_.links.back()->mode ^= kModeOpen;
}

// --- Segments

void Emitter::emit_push_segment(const Insn& insn) {
    const unsigned size = insn.operand_size;
    const i32 by = -static_cast<i32>(size);
    const x86::Mem slot = stack_slot(by, size, true);
    a_.movzx(kTemp1.r32(), selector_of(insn.operands[0].reg));
    a_.mov(slot, sized(kTemp1, size));
    move_stack_pointer(by);
}

void Emitter::emit_mov_from_segment(const Insn& insn) {
    const Operand& to = insn.operands[0];
    const u8 segment = insn.operands[1].reg;
    if (is_memory(to)) {
        const x86::Mem memory = memory_operand(insn, 2, true);
        a_.movzx(kTemp1.r32(), selector_of(segment));
        a_.mov(memory, kTemp1.r16());
        return;
    }
    a_.movzx(kTemp1.r32(), selector_of(segment));
    write_register(to.reg, to.size, kTemp1);
}

void Emitter::emit_swapgs() {
    constexpr size_t kGs = offsetof(CpuState, segments) + static_cast<size_t>(Segment::gs) * sizeof(SegmentState);
    const x86::Mem base = state_at(kGs + offsetof(SegmentState, base), 8);
    release_flags();
    leave_unless_supervisor();
    a_.mov(kTemp0, base);
    a_.mov(kTemp1, place(context_.kernel_gs_base, 8));
    a_.mov(place(context_.kernel_gs_base, 8), kTemp0);
    a_.mov(base, kTemp1);
    a_.mov(state_at(kGs + offsetof(SegmentState, descriptor_base), 8), kTemp1);
}

// --- TSC

// As GuestClock::now() reads the host's ticks, as long as they count for something.
void Emitter::emit_rdtsc(bool with_processor) {
    const auto anchor = [](size_t field) { return x86::ptr(kTemp0, static_cast<i32>(field), 8); };
    release_flags();
    const asmjit::Label cold = cold_label();
    a_.test(LODGE_STATE(cr4, 4), imm(kCr4Tsd));
    a_.jnz(cold);
    a_.mov(kTemp0, imm(reinterpret_cast<u64>(context_.ticks)));
    a_.rdtsc();
    a_.shl(x86::rdx, imm(32));
    a_.or_(x86::rax, x86::rdx);
    a_.sub(x86::rax, anchor(offsetof(TickAnchor, ticks)));
    a_.cmp(x86::rax, anchor(offsetof(TickAnchor, span)));
    a_.jae(cold);
    a_.mul(anchor(offsetof(TickAnchor, nanoseconds_per_tick)));
    a_.shrd(x86::rax, x86::rdx, imm(TickAnchor::kFraction));
    a_.add(x86::rax, anchor(offsetof(TickAnchor, guest)));
    a_.cmp(x86::rax, anchor(offsetof(TickAnchor, last)));
    a_.cmovb(x86::rax, anchor(offsetof(TickAnchor, last)));
    a_.mov(anchor(offsetof(TickAnchor, last)), x86::rax);
    a_.add(x86::rax, place(context_.tsc_offset, 8));
    a_.mov(x86::rdx, x86::rax);
    a_.shr(x86::rdx, imm(32));
    a_.mov(x86::eax, x86::eax);
    if (with_processor) a_.mov(x86::ecx, place(context_.tsc_aux, 4));
}

}  // namespace lodge::jit
