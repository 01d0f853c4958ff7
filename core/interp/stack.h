// Pushes and pops as instructions make them. The general ones are Cpu::push and Cpu::pop.
#pragma once

#include "core/interp/fast.h"

namespace lodge {

template <class T, class Pointer, class Access>
inline bool push_through(Cpu& cpu, T value) {
    const u64 offset = static_cast<Pointer>(cpu.state.gpr[kRsp] - sizeof(T));
    if (!Access::template write<T>(cpu, Segment::ss, offset, value)) return false;
    set_gpr<Pointer>(cpu, kRsp, static_cast<Pointer>(offset));
    return true;
}
template <class T, class Pointer, class Access>
inline bool pop_through(Cpu& cpu, T& value) {
    const u64 offset = static_cast<Pointer>(cpu.state.gpr[kRsp]);
    if (!Access::template read<T>(cpu, Segment::ss, offset, value)) return false;
    set_gpr<Pointer>(cpu, kRsp, static_cast<Pointer>(offset + sizeof(T)));
    return true;
}

inline bool big_stack(const Cpu& cpu) {
    return cpu.state.segment(Segment::ss).attributes & kSegmentBig;
}

// rSP changes only when the access has succeeded. Operands of 8 bytes exist only in 64-bit code, of 4 bytes only
// elsewhere; fast accesses care for operands as wide as the stack.
template <class T, class Access = FullAccess>
inline bool push(Cpu& cpu, const Insn& insn, T value) {
    constexpr bool fast = std::is_same_v<Access, FastAccess>;
    if constexpr (sizeof(T) == 8) return push_through<T, u64, Access>(cpu, value);
    if (sizeof(T) == 2 && insn.code_size == CodeSize::bits64) return !fast && push_through<T, u64, Access>(cpu, value);
    if (big_stack(cpu)) return (!fast || sizeof(T) == 4) && push_through<T, u32, Access>(cpu, value);
    return (!fast || sizeof(T) == 2) && push_through<T, u16, Access>(cpu, value);
}
template <class T, class Access = FullAccess>
inline bool pop(Cpu& cpu, const Insn& insn, T& value) {
    constexpr bool fast = std::is_same_v<Access, FastAccess>;
    if constexpr (sizeof(T) == 8) return pop_through<T, u64, Access>(cpu, value);
    if (sizeof(T) == 2 && insn.code_size == CodeSize::bits64) return !fast && pop_through<T, u64, Access>(cpu, value);
    if (big_stack(cpu)) return (!fast || sizeof(T) == 4) && pop_through<T, u32, Access>(cpu, value);
    return (!fast || sizeof(T) == 2) && pop_through<T, u16, Access>(cpu, value);
}

}  // namespace lodge
