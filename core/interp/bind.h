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
InsnHandler bind_integer(const Insn& insn);    // ops_int.cpp
InsnHandler bind_shift(const Insn& insn);      // ops_shift.cpp
InsnHandler bind_move(const Insn& insn);       // ops_move.cpp
InsnHandler bind_string(const Insn& insn);     // ops_string.cpp
InsnHandler bind_branch(const Insn& insn);     // ops_branch.cpp
InsnHandler bind_system(const Insn& insn);     // ops_system.cpp
InsnHandler bind_extension(const Insn& insn);  // ops_extension.cpp: small system instructions that came later
InsnHandler bind_xsave(const Insn& insn);      // ops_xsave.cpp
InsnHandler bind_x87(const Insn& insn);        // ops_x87.cpp
InsnHandler bind_simd(const Insn& insn);       // ops_simd.cpp: MMX, SSE and later

// Whether the model has the instruction in this form (TZCNT and LZCNT are then still BSF and BSR).
bool exists(const Insn& insn, const CpuModel& model);

// What the model takes the instruction for: TZCNT and LZCNT may still be BSF and BSR.
Opcode opcode_in(const CpuModel& model, const Insn& insn);

// Never null: what nobody binds, or the model lacks, is #UD.
InsnHandler bind(const Insn& insn, const CpuModel& model);

}  // namespace lodge
