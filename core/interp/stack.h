// Pushes and pops as instructions make them, specialised for the sizes that code uses most. The general ones are
// Cpu::push and Cpu::pop.
#pragma once

#include "core/interp/operands.h"

namespace lodge {

// How the stack pointer is used, known when binding only for 64-bit code: for others SS.B decides.
template <class Pointer>
inline u64 stack_offset(const Cpu& cpu, i64 change) {
    return static_cast<Pointer>(cpu.state.gpr[kRsp] + static_cast<u64>(change));
}

template <class T, class Pointer>
inline bool push_through(Cpu& cpu, T value) {
    const u64 offset = stack_offset<Pointer>(cpu, -static_cast<i64>(sizeof(T)));
    if (!cpu.write<T>(Segment::ss, offset, value)) return false;
    set_gpr<Pointer>(cpu, kRsp, static_cast<Pointer>(offset));
    return true;
}
template <class T, class Pointer>
inline bool pop_through(Cpu& cpu, T& value) {
    const u64 offset = stack_offset<Pointer>(cpu, 0);
    if (!cpu.read<T>(Segment::ss, offset, value)) return false;
    set_gpr<Pointer>(cpu, kRsp, static_cast<Pointer>(offset + sizeof(T)));
    return true;
}

inline bool big_stack(const Cpu& cpu) {
    return cpu.state.segment(Segment::ss).attributes & kSegmentBig;
}

// rSP changes only when the access has succeeded.
template <class T>
inline bool push(Cpu& cpu, const Insn& insn, T value) {
    if (insn.code_size == CodeSize::bits64) return push_through<T, u64>(cpu, value);
    return big_stack(cpu) ? push_through<T, u32>(cpu, value) : push_through<T, u16>(cpu, value);
}
template <class T>
inline bool pop(Cpu& cpu, const Insn& insn, T& value) {
    if (insn.code_size == CodeSize::bits64) return pop_through<T, u64>(cpu, value);
    return big_stack(cpu) ? pop_through<T, u32>(cpu, value) : pop_through<T, u16>(cpu, value);
}

}  // namespace lodge
