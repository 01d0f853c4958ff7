// How handlers reach their operands. An operation is written once, over operand policies:
//
//     template <class T, class Destination, class Source> bool op_add(Cpu& cpu, const Insn& insn)
//
// and the binder (bind.h) picks the instance for the operands of a decoded instruction.
//
// A handler returns false at once when an access faulted (the fault is recorded in the Cpu), before it has changed
// anything; true when the instruction has completed.
#pragma once

#include "core/cpu/cpu.h"

namespace lodge {

// Where a register's value lies. T is u8, u16, u32 or u64; for u8, 16..19 are AH, CH, DH, BH (see insn.h).
template <class T>
inline u8* gpr_address(Cpu& cpu, u8 reg) {
    u8* base = reinterpret_cast<u8*>(cpu.state.gpr);
    if constexpr (sizeof(T) == 1) return base + (reg & 15) * 8 + (reg >> 4);
    return base + reg * 8;
}
template <class T>
inline T get_gpr(Cpu& cpu, u8 reg) {
    return load<T>(gpr_address<T>(cpu, reg));
}
// A 32-bit write clears the upper half, as in 64-bit mode; nothing can see that in other modes.
template <class T>
inline void set_gpr(Cpu& cpu, u8 reg, T value) {
    if constexpr (sizeof(T) == 4)
        cpu.state.gpr[reg] = value;
    else
        store<T>(gpr_address<T>(cpu, reg), value);
}

inline u64 size_mask(unsigned bytes) {
    return ~u64{0} >> (64 - 8 * bytes);
}

inline u64 effective_address(const Cpu& cpu, const Insn& insn) {
    const u64* gpr = cpu.state.gpr;
    return (gpr[insn.base] + (gpr[insn.index] << insn.scale) + static_cast<u64>(insn.displacement)) &
           size_mask(insn.address_size);
}
// The offset of the instruction after this one.
inline u64 next_ip(const Cpu& cpu, const Insn& insn) {
    const u64 ip = cpu.state.gpr[kBlockIp] + insn.block_offset + insn.length;
    return insn.code_size == CodeSize::bits64 ? ip : ip & 0xFFFFFFFF;
}
inline u64 this_ip(const Cpu& cpu, const Insn& insn) {
    return next_ip(cpu, insn) - insn.length;
}

// Operand N is a general register.
template <unsigned N>
struct RegisterOperand {
    template <class T>
    static bool read(Cpu& cpu, const Insn& insn, T& value) {
        value = get_gpr<T>(cpu, insn.operands[N].reg);
        return true;
    }
    template <class T>
    static bool write(Cpu& cpu, const Insn& insn, T value) {
        set_gpr<T>(cpu, insn.operands[N].reg, value);
        return true;
    }
    // change(T old) -> T
    template <class T, class Change>
    static bool modify(Cpu& cpu, const Insn& insn, Change change) {
        set_gpr<T>(cpu, insn.operands[N].reg, change(get_gpr<T>(cpu, insn.operands[N].reg)));
        return true;
    }
};

// The memory operand.
struct MemoryOperand {
    template <class T>
    static bool read(Cpu& cpu, const Insn& insn, T& value) {
        return cpu.read<T>(insn.segment, effective_address(cpu, insn), value);
    }
    template <class T>
    static bool write(Cpu& cpu, const Insn& insn, T value) {
        return cpu.write<T>(insn.segment, effective_address(cpu, insn), value);
    }
    template <class T, class Change>
    static bool modify(Cpu& cpu, const Insn& insn, Change change) {
        return cpu.modify<T>(insn.segment, effective_address(cpu, insn), change);
    }
};

struct ImmediateOperand {
    template <class T>
    static bool read(Cpu&, const Insn& insn, T& value) {
        value = static_cast<T>(insn.immediate);
        return true;
    }
};

inline bool is_register(const Insn& insn, unsigned n) {
    return insn.operands[n].kind == OperandKind::gpr;
}
inline bool is_memory(const Insn& insn, unsigned n) {
    return insn.operands[n].kind == OperandKind::memory;
}
inline bool is_immediate(const Insn& insn, unsigned n) {
    return insn.operands[n].kind == OperandKind::immediate;
}

}  // namespace lodge
