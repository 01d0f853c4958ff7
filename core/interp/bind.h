// From a decoded instruction to the function that executes it.
//
// Handlers chain: each one, when done, calls the handler of the next instruction of the block as its last act (a tail
// call, so a block runs without coming back to a loop). `chained` wraps an operation that goes on to the next
// instruction, `ending` one that has set state.ip itself (branches, and whatever ends a block by changing the mode).
#pragma once

#include "core/interp/operands.h"

namespace lodge {

using Operation = bool (*)(Cpu&, const Insn&);

// Leaves the block: Cpu::current is then the instruction that did not complete (it faulted) or comes next.
inline void leave_block(Cpu& cpu, const Insn* at) {
    cpu.current = at;
}

// Leaves the block normally before `at`: the IP is at's.
inline void stop_before(Cpu& cpu, const Insn* at) {
    cpu.state.ip = cpu.state.gpr[kBlockIp] + at->block_offset;
    if (at->code_size != CodeSize::bits64) cpu.state.ip &= 0xFFFFFFFF;
    leave_block(cpu, at);
}

template <Operation operation>
void chained(Cpu& cpu, const Insn* insn) {
    cpu.current = insn;  // a device may ask for the time, that is, for the count of instructions
    if (!operation(cpu, *insn)) [[unlikely]]
        return;
    if (cpu.stop) [[unlikely]]
        return stop_before(cpu, insn + 1);
    return insn[1].run(cpu, insn + 1);
}

// For operations that touch no memory and no device: nothing can have asked to stop.
template <Operation operation>
void chained_pure(Cpu& cpu, const Insn* insn) {
    if (!operation(cpu, *insn)) [[unlikely]]
        return leave_block(cpu, insn);
    return insn[1].run(cpu, insn + 1);
}

// The operation has set state.ip.
template <Operation operation>
void ending(Cpu& cpu, const Insn* insn) {
    cpu.current = insn;
    if (!operation(cpu, *insn)) [[unlikely]]
        return;
    leave_block(cpu, insn + 1);
}

// Each file of operations binds its own opcodes and returns null for others.
InsnHandler bind_integer(const Insn& insn);  // ops_int.cpp
InsnHandler bind_shift(const Insn& insn);    // ops_shift.cpp
InsnHandler bind_move(const Insn& insn);     // ops_move.cpp
InsnHandler bind_string(const Insn& insn);   // ops_string.cpp
InsnHandler bind_branch(const Insn& insn);   // ops_branch.cpp
InsnHandler bind_system(const Insn& insn);   // ops_system.cpp
InsnHandler bind_x87(const Insn& insn);      // ops_x87.cpp
InsnHandler bind_simd(const Insn& insn);     // ops_simd.cpp: MMX, SSE and later

// Never null: what nobody binds, or the model lacks, is #UD.
InsnHandler bind(const Insn& insn, const CpuModel& model);

// Picks the instance of a binary operation's template for the size and kinds of operands 0 (register or memory) and
// 1 (register, memory or immediate). `Form` is a struct with
//     template <class T, class Destination, class Source> static bool run(Cpu&, const Insn&);
template <class Form, class T>
InsnHandler bind_binary_sized(const Insn& insn) {
    using Register0 = RegisterOperand<0>;
    using Register1 = RegisterOperand<1>;
    if (is_register(insn, 0)) {
        if (is_register(insn, 1)) return chained_pure<Form::template run<T, Register0, Register1>>;
        if (is_immediate(insn, 1)) return chained_pure<Form::template run<T, Register0, ImmediateOperand>>;
        return chained<Form::template run<T, Register0, MemoryOperand>>;
    }
    if (is_register(insn, 1)) return chained<Form::template run<T, MemoryOperand, Register1>>;
    return chained<Form::template run<T, MemoryOperand, ImmediateOperand>>;
}
template <class Form>
InsnHandler bind_binary(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 1:
            return bind_binary_sized<Form, u8>(insn);
        case 2:
            return bind_binary_sized<Form, u16>(insn);
        case 4:
            return bind_binary_sized<Form, u32>(insn);
        default:
            return bind_binary_sized<Form, u64>(insn);
    }
}

// The same for one operand: template <class T, class Destination> static bool run(Cpu&, const Insn&).
template <class Form, class T>
InsnHandler bind_unary_sized(const Insn& insn) {
    if (is_register(insn, 0)) return chained_pure<Form::template run<T, RegisterOperand<0>>>;
    return chained<Form::template run<T, MemoryOperand>>;
}
template <class Form>
InsnHandler bind_unary(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 1:
            return bind_unary_sized<Form, u8>(insn);
        case 2:
            return bind_unary_sized<Form, u16>(insn);
        case 4:
            return bind_unary_sized<Form, u32>(insn);
        default:
            return bind_unary_sized<Form, u64>(insn);
    }
}

}  // namespace lodge
