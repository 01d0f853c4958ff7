// The x87 register stack, its status word, and the checks that every x87 instruction begins and ends with.
//
// Registers are held by physical number; a bit of FpuState::valid per register says that it is not empty. Stack
// overflow and underflow are found here from those bits, so that the host's x87 (x87_host.h), which does the
// arithmetic, never sees one. SDM vol. 1, chapter 8.
//
// Pointers: non-control instructions record their own address and that of their memory operand, as Intel's processors
// do. FOP is recorded only when an unmasked exception arises, as from the Pentium 4 on (SDM vol. 1, 8.1.9.1).
#pragma once

#include "core/interp/bind.h"

namespace lodge::x87 {

// Status word (SDM vol. 1, 8.1.3).
constexpr u16 kInvalid = 0x01, kDenormal = 0x02, kZeroDivide = 0x04, kOverflow = 0x08, kUnderflow = 0x10,
              kPrecision = 0x20, kStackFault = 0x40, kSummary = 0x80, kC0 = 0x100, kC1 = 0x200, kC2 = 0x400,
              kC3 = 0x4000, kBusy = 0x8000;
constexpr u16 kExceptions = 0x3F;  // the same bits mask them in the control word
constexpr u16 kConditionCodes = kC0 | kC1 | kC2 | kC3;
constexpr u16 kTopMask = 0x3800;
// Control word: what FNINIT loads, and which bits can be written; bit 6 reads as one.
constexpr u16 kInitialControl = 0x37F;
constexpr u16 kControlWritable = 0x1F3F, kControlFixed = 0x40;

// An 80-bit number in memory.
struct Float80 {
    u8 bytes[10];
};
constexpr u64 kIndefiniteSignificand = 0xC000000000000000;
constexpr u16 kIndefiniteExponent = 0xFFFF;

inline unsigned top(const FpuState& fpu) {
    return (fpu.status >> 11) & 7;
}
inline void set_top(FpuState& fpu, unsigned top) {
    fpu.status = static_cast<u16>((fpu.status & ~kTopMask) | (top & 7) << 11);
}
inline unsigned physical(const FpuState& fpu, unsigned i) {
    return (top(fpu) + i) & 7;
}
inline u8* st(FpuState& fpu, unsigned i) {
    return fpu.st[physical(fpu, i)];
}
inline bool is_empty(const FpuState& fpu, unsigned i) {
    return !(fpu.valid >> physical(fpu, i) & 1);
}
inline void set_valid(FpuState& fpu, unsigned i) {
    fpu.valid = static_cast<u8>(fpu.valid | 1u << physical(fpu, i));
}
inline void set_empty(FpuState& fpu, unsigned i) {
    fpu.valid = static_cast<u8>(fpu.valid & ~(1u << physical(fpu, i)));
}
inline void push(FpuState& fpu) {
    set_top(fpu, top(fpu) - 1);
    set_valid(fpu, 0);
}
inline void pop(FpuState& fpu) {
    set_empty(fpu, 0);
    set_top(fpu, top(fpu) + 1);
}
inline void pop(FpuState& fpu, unsigned times) {
    for (unsigned i = 0; i < times; ++i) pop(fpu);
}

inline u64 significand(const u8* value) {
    return load<u64>(value);
}
inline u16 sign_and_exponent(const u8* value) {
    return load<u16>(value + 8);
}
inline void set_value(u8* to, u16 sign_and_exponent, u64 significand) {
    store<u64>(to, significand);
    store<u16>(to + 8, sign_and_exponent);
}
inline void copy_value(u8* to, const u8* from) {
    set_value(to, sign_and_exponent(from), significand(from));
}
inline void set_indefinite(u8* to) {
    set_value(to, kIndefiniteExponent, kIndefiniteSignificand);
}

// #NM, #MF: neither is pending. With CR0.NE clear an error is the business of IRQ 13, which no pin of this CPU raises:
// noted once, then ignored as if IGNNE# were held.
bool check_pending(Cpu& cpu);
bool enter_slow(Cpu& cpu, bool waiting);

// Before a waiting instruction: everything but the FN... forms.
inline bool enter(Cpu& cpu) {
    if ((cpu.state.cr0 & (kCr0Em | kCr0Ts)) || (cpu.state.fpu.status & kSummary)) [[unlikely]]
        return enter_slow(cpu, true);
    return true;
}
inline bool enter_no_wait(Cpu& cpu) {
    if (cpu.state.cr0 & (kCr0Em | kCr0Ts)) [[unlikely]]
        return enter_slow(cpu, false);
    return true;
}

inline void record_instruction(Cpu& cpu, const Insn& insn) {
    FpuState& fpu = cpu.state.fpu;
    fpu.instruction = this_ip(cpu, insn);
    fpu.instruction_selector = cpu.state.segment(Segment::cs).selector;
}
inline void record_memory(Cpu& cpu, const Insn& insn, u64 address) {
    FpuState& fpu = cpu.state.fpu;
    record_instruction(cpu, insn);
    fpu.data = address;
    fpu.data_selector = cpu.state.segment(insn.segment).selector;
}

// The low three bits of the escape byte and ModRM, as FOP has them.
u16 opcode_of(const Insn& insn);

// ES and B follow from the flags and the masks.
inline void update_summary(FpuState& fpu) {
    const bool unmasked = fpu.status & ~fpu.control & kExceptions;
    fpu.status = static_cast<u16>((fpu.status & ~(kSummary | kBusy)) | (unmasked ? kSummary | kBusy : 0));
}

inline void set_control(FpuState& fpu, u16 value) {
    fpu.control = (value & kControlWritable) | kControlFixed;
}
// FNINIT. The registers keep their values.
void initialise(FpuState& fpu);

// Takes the condition codes in `codes` and the exception flags from a status word. False: one of the exceptions in
// `preventing` is not masked, so the instruction must leave its destination alone.
inline bool finish(FpuState& fpu, const Insn& insn, u16 status, u16 codes, u16 preventing) {
    fpu.status = static_cast<u16>((fpu.status & ~codes) | (status & (codes | kExceptions)));
    const u16 unmasked = status & ~fpu.control & kExceptions;
    if (!unmasked) [[likely]]
        return true;
    fpu.status |= kSummary | kBusy;
    fpu.opcode = opcode_of(insn);
    return !(unmasked & preventing);
}
// Exceptions that keep a result from a register (SDM vol. 1, 8.5) and from memory: there, overflow and underflow too.
constexpr u16 kPreventRegister = kInvalid | kDenormal | kZeroDivide;
constexpr u16 kPreventMemory = kPreventRegister | kOverflow | kUnderflow;

// Stack overflow (C1 set) or underflow. True: masked, so the masked response is to be given. C2 among `cleared`: the
// instruction is not incomplete.
inline bool stack_fault(FpuState& fpu, const Insn& insn, u16 c1, u16 cleared = kC1) {
    fpu.status |= kStackFault;
    return finish(fpu, insn, kInvalid | c1, cleared, kInvalid);
}
constexpr u16 kStackOverflow = kC1, kStackUnderflow = 0;

// Each file of x87 operations binds its own opcodes and returns null for others.
InsnHandler bind_arithmetic(const Insn& insn);      // ops_x87_arithmetic.cpp
InsnHandler bind_move(const Insn& insn);            // ops_x87_move.cpp
InsnHandler bind_transcendental(const Insn& insn);  // ops_x87_transcendental.cpp
InsnHandler bind_control(const Insn& insn);         // ops_x87_control.cpp
InsnHandler bind_environment(const Insn& insn);     // ops_x87_environment.cpp

}  // namespace lodge::x87
