// The hot half of handlers that touch memory.
//
// An operation that makes one memory access is instantiated twice: over FastMemoryOperand, which succeeds only for what
// is in the TLB, within the segment's span and plain memory, and otherwise returns false with nothing done; and over
// MemoryOperand, which can do everything, faults included. The handler tries the first and leaves the rest to the
// second in a function of its own, so that the hot path needs no stack frame. As it can neither fault nor reach a
// device, it need not say where it is (Cpu::current) or ask whether to stop.
#pragma once

#include "core/interp/bind.h"

namespace lodge {

template <class T>
inline bool fast_read(Cpu& cpu, Segment segment, u64 offset, T& value) {
    const SegmentState& s = cpu.state.segment(segment);
    if (static_cast<i64>(offset + sizeof(T) - 1) > s.readable_span) [[unlikely]]
        return false;
    const u8* host = cpu.direct_read((s.base + offset) & cpu.state.linear_mask, sizeof(T));
    if (!host) [[unlikely]]
        return false;
    value = load<T>(host);
    return true;
}
inline u8* fast_write_pointer(Cpu& cpu, Segment segment, u64 offset, unsigned size) {
    const SegmentState& s = cpu.state.segment(segment);
    if (static_cast<i64>(offset + size - 1) > s.writable_span) [[unlikely]]
        return nullptr;
    return cpu.direct_write((s.base + offset) & cpu.state.linear_mask, size);
}
template <class T>
inline bool fast_write(Cpu& cpu, Segment segment, u64 offset, T value) {
    u8* host = fast_write_pointer(cpu, segment, offset, sizeof(T));
    if (!host) [[unlikely]]
        return false;
    store<T>(host, value);
    return true;
}

// The memory operand, with an address size known when binding: u16, u32 or u64.
template <class Address>
struct FastMemoryOperand {
    static u64 address(const Cpu& cpu, const Insn& insn) {
        const u64* gpr = cpu.state.gpr;
        using Wide = std::conditional_t<sizeof(Address) == 8, u64, u32>;
        return static_cast<Address>(static_cast<Wide>(gpr[insn.base]) +
                                    (static_cast<Wide>(gpr[insn.index]) << insn.scale) +
                                    static_cast<Wide>(insn.displacement));
    }
    template <class T>
    static bool read(Cpu& cpu, const Insn& insn, T& value) {
        return fast_read<T>(cpu, insn.segment, address(cpu, insn), value);
    }
    template <class T>
    static bool write(Cpu& cpu, const Insn& insn, T value) {
        return fast_write<T>(cpu, insn.segment, address(cpu, insn), value);
    }
    template <class T, class Change>
    static bool modify(Cpu& cpu, const Insn& insn, Change change) {
        u8* host = fast_write_pointer(cpu, insn.segment, address(cpu, insn), sizeof(T));
        if (!host) [[unlikely]]
            return false;
        store<T>(host, change(load<T>(host)));
        return true;
    }
};

template <Operation full>
[[gnu::noinline, gnu::cold]] void chained_slowly(Cpu& cpu, const Insn* insn) {
    return chained<full>(cpu, insn);
}
template <Operation fast, Operation full>
void chained_fast(Cpu& cpu, const Insn* insn) {
    if (!fast(cpu, *insn)) [[unlikely]]
        return chained_slowly<full>(cpu, insn);
    return insn[1].run(cpu, insn + 1);
}

template <Operation full>
[[gnu::noinline, gnu::cold]] void ending_slowly(Cpu& cpu, const Insn* insn) {
    return ending<full>(cpu, insn);
}
template <Operation fast, Operation full>
void ending_fast(Cpu& cpu, const Insn* insn) {
    if (!fast(cpu, *insn)) [[unlikely]]
        return ending_slowly<full>(cpu, insn);
    leave_block(cpu, insn + 1);
}

// How the stack is reached: as FastMemoryOperand and MemoryOperand, but at an offset.
struct FullAccess {
    template <class T>
    static bool read(Cpu& cpu, Segment segment, u64 offset, T& value) {
        return cpu.read<T>(segment, offset, value);
    }
    template <class T>
    static bool write(Cpu& cpu, Segment segment, u64 offset, T value) {
        return cpu.write<T>(segment, offset, value);
    }
};
struct FastAccess {
    template <class T>
    static bool read(Cpu& cpu, Segment segment, u64 offset, T& value) {
        return fast_read<T>(cpu, segment, offset, value);
    }
    template <class T>
    static bool write(Cpu& cpu, Segment segment, u64 offset, T value) {
        return fast_write<T>(cpu, segment, offset, value);
    }
};

// Picks by the address size. `Over` is a struct with `template <class Memory> static bool run(Cpu&, const Insn&)`.
template <class Over>
InsnHandler bind_memory(const Insn& insn) {
    constexpr Operation full = Over::template run<MemoryOperand>;
    switch (insn.address_size) {
        case 2:
            return chained_fast<Over::template run<FastMemoryOperand<u16>>, full>;
        case 4:
            return chained_fast<Over::template run<FastMemoryOperand<u32>>, full>;
        default:
            return chained_fast<Over::template run<FastMemoryOperand<u64>>, full>;
    }
}

// Picks the instance of a binary operation's template for the size and kinds of operands 0 (register or memory) and
// 1 (register, memory or immediate). `Form` is a struct with
//     template <class T, class Destination, class Source> static bool run(Cpu&, const Insn&);
// which makes one memory access, and changes nothing before it or when it fails.
template <class Form, class T, class Source>
struct OverDestination {
    template <class Memory>
    static bool run(Cpu& cpu, const Insn& insn) {
        return Form::template run<T, Memory, Source>(cpu, insn);
    }
};
template <class Form, class T>
struct OverSource {
    template <class Memory>
    static bool run(Cpu& cpu, const Insn& insn) {
        return Form::template run<T, RegisterOperand<0>, Memory>(cpu, insn);
    }
};
template <class Form, class T>
InsnHandler bind_binary_sized(const Insn& insn) {
    using Register0 = RegisterOperand<0>;
    using Register1 = RegisterOperand<1>;
    if (is_register(insn, 0)) {
        if (is_register(insn, 1)) return chained_pure<Form::template run<T, Register0, Register1>>;
        if (is_immediate(insn, 1)) return chained_pure<Form::template run<T, Register0, ImmediateOperand>>;
        return bind_memory<OverSource<Form, T>>(insn);
    }
    if (is_register(insn, 1)) return bind_memory<OverDestination<Form, T, Register1>>(insn);
    return bind_memory<OverDestination<Form, T, ImmediateOperand>>(insn);
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

// The same for one operand: template <class T, class Operand> static bool run(Cpu&, const Insn&).
template <class Form, class T>
struct OverOperand {
    template <class Memory>
    static bool run(Cpu& cpu, const Insn& insn) {
        return Form::template run<T, Memory>(cpu, insn);
    }
};
template <class Form, class T>
InsnHandler bind_unary_sized(const Insn& insn) {
    if (is_register(insn, 0)) return chained_pure<Form::template run<T, RegisterOperand<0>>>;
    return bind_memory<OverOperand<Form, T>>(insn);
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

// r, r/m of 16, 32 or 64 bits: template <class T, class Source> static bool run(Cpu&, const Insn&).
template <class Form, class T>
InsnHandler bind_load_sized(const Insn& insn) {
    return is_memory(insn, 1) ? bind_memory<OverOperand<Form, T>>(insn)
                              : chained_pure<Form::template run<T, RegisterOperand<1>>>;
}
template <class Form>
InsnHandler bind_load(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 2:
            return bind_load_sized<Form, u16>(insn);
        case 4:
            return bind_load_sized<Form, u32>(insn);
        default:
            return bind_load_sized<Form, u64>(insn);
    }
}

}  // namespace lodge
