// Moves, loads of addresses and far pointers, the stack.
#include "core/interp/alu.h"
#include "core/interp/condition.h"
#include "core/interp/stack.h"

namespace lodge {

namespace {

struct op_mov {
    template <class T, class Destination, class Source>
    static bool run(Cpu& cpu, const Insn& insn) {
        T value;
        return Source::template read<T>(cpu, insn, value) && Destination::template write<T>(cpu, insn, value);
    }
};

struct op_movbe {
    template <class T, class Destination, class Source>
    static bool run(Cpu& cpu, const Insn& insn) {
        T value;
        if (!Source::template read<T>(cpu, insn, value)) return false;
        if constexpr (sizeof(T) > 1) value = alu::swap_bytes<T>(value);
        return Destination::template write<T>(cpu, insn, value);
    }
};

// MOVZX, MOVSX, MOVSXD: From is what is read, as an unsigned or signed type.
template <class From, class To, class Source>
bool op_extend(Cpu& cpu, const Insn& insn) {
    std::make_unsigned_t<From> value;
    if (!Source::template read<std::make_unsigned_t<From>>(cpu, insn, value)) return false;
    return RegisterOperand<0>::write<To>(cpu, insn, static_cast<To>(static_cast<From>(value)));
}
template <class From, class To>
struct ExtendOver {
    template <class Memory>
    static bool run(Cpu& cpu, const Insn& insn) {
        return op_extend<From, To, Memory>(cpu, insn);
    }
};
template <class From, class To>
InsnHandler bind_extend_from(const Insn& insn) {
    return is_memory(insn, 1) ? bind_memory<ExtendOver<From, To>>(insn)
                              : chained_pure<op_extend<From, To, RegisterOperand<1>>>;
}
template <class From>
InsnHandler bind_extend_to(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 2:
            return bind_extend_from<From, u16>(insn);
        case 4:
            return bind_extend_from<From, u32>(insn);
        default:
            return bind_extend_from<From, u64>(insn);
    }
}
template <class Byte, class Word, class Dword>
InsnHandler bind_extend(const Insn& insn) {
    switch (insn.operands[1].size) {
        case 1:
            return bind_extend_to<Byte>(insn);
        case 2:
            return bind_extend_to<Word>(insn);
        default:
            return bind_extend_to<Dword>(insn);
    }
}

// The source is read whatever the condition; a 32-bit destination loses its upper half either way.
template <unsigned Code, class T, class Source>
bool op_cmov(Cpu& cpu, const Insn& insn) {
    T value;
    if (!Source::template read<T>(cpu, insn, value)) return false;
    const T old = get_gpr<T>(cpu, insn.operands[0].reg);
    return RegisterOperand<0>::write<T>(cpu, insn, condition<Code>(cpu.state.status) ? value : old);
}
template <class Sequence>
struct Cmov;
template <unsigned... Code>
struct Cmov<std::integer_sequence<unsigned, Code...>> {
    template <class T>
    static InsnHandler bind(const Insn& insn, unsigned code) {
        static constexpr InsnHandler from_register[] = {chained_pure<op_cmov<Code, T, RegisterOperand<1>>>...};
        static constexpr InsnHandler from_memory[] = {chained<op_cmov<Code, T, MemoryOperand>>...};
        return is_memory(insn, 1) ? from_memory[code] : from_register[code];
    }
};
InsnHandler bind_cmov(const Insn& insn, unsigned code) {
    using Handlers = Cmov<std::make_integer_sequence<unsigned, 16>>;
    switch (insn.operands[0].size) {
        case 2:
            return Handlers::bind<u16>(insn, code);
        case 4:
            return Handlers::bind<u32>(insn, code);
        default:
            return Handlers::bind<u64>(insn, code);
    }
}

template <unsigned N>
struct op_xchg_memory {  // the memory operand is the other one than N
    template <class T>
    static bool run(Cpu& cpu, const Insn& insn) {
        const T mine = get_gpr<T>(cpu, insn.operands[N].reg);
        T before;
        const auto swap = [&](T old) {
            before = old;
            return mine;
        };
        return MemoryOperand::modify<T>(cpu, insn, swap) && RegisterOperand<N>::template write<T>(cpu, insn, before);
    }
};
struct op_xchg_registers {
    template <class T>
    static bool run(Cpu& cpu, const Insn& insn) {
        const T first = get_gpr<T>(cpu, insn.operands[0].reg);
        set_gpr<T>(cpu, insn.operands[0].reg, get_gpr<T>(cpu, insn.operands[1].reg));
        set_gpr<T>(cpu, insn.operands[1].reg, first);
        return true;
    }
};
template <class Form>
InsnHandler bind_by_size(unsigned size) {
    switch (size) {
        case 1:
            return chained<Form::template run<u8>>;
        case 2:
            return chained<Form::template run<u16>>;
        case 4:
            return chained<Form::template run<u32>>;
        default:
            return chained<Form::template run<u64>>;
    }
}
InsnHandler bind_xchg(const Insn& insn) {
    const unsigned size = insn.operands[0].size;
    if (is_memory(insn, 0)) return bind_by_size<op_xchg_memory<1>>(size);
    if (is_memory(insn, 1)) return bind_by_size<op_xchg_memory<0>>(size);
    return bind_by_size<op_xchg_registers>(size);
}

template <class T>
bool op_lea(Cpu& cpu, const Insn& insn) {
    return RegisterOperand<0>::write<T>(cpu, insn, static_cast<T>(effective_address(cpu, insn)));
}
// 32-bit arithmetic of a 32-bit address needs no mask.
bool op_lea_plain(Cpu& cpu, const Insn& insn) {
    const u64* gpr = cpu.state.gpr;
    return RegisterOperand<0>::write<u32>(cpu, insn,
                                          static_cast<u32>(gpr[insn.base]) +
                                              (static_cast<u32>(gpr[insn.index]) << insn.scale) +
                                              static_cast<u32>(insn.displacement));
}
InsnHandler bind_lea(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 2:
            return chained_pure<op_lea<u16>>;
        case 4:
            return insn.address_size >= 4 ? chained_pure<op_lea_plain> : chained_pure<op_lea<u32>>;
        default:
            return chained_pure<op_lea<u64>>;
    }
}

bool op_xlat(Cpu& cpu, const Insn& insn) {
    const u64 offset = (cpu.state.gpr[kRbx] + get_gpr<u8>(cpu, kRax)) & size_mask(insn.address_size);
    u8 value;
    if (!cpu.read<u8>(insn.segment, offset, value)) return false;
    set_gpr<u8>(cpu, kRax, value);
    return true;
}

// --- Segment registers

// MOV Sreg, r/m16. After a load of SS one instruction runs without interrupts (SDM vol. 3, 6.8.3).
bool load_segment_register(Cpu& cpu, u8 number, u16 selector) {
    const Segment segment = static_cast<Segment>(number);
    if (segment == Segment::cs) return cpu.raise_ud();
    if (!cpu.load_segment(segment, selector)) return false;
    if (segment == Segment::ss) cpu.request_attention(kAttentionShadow | kAttentionNewStack);
    return true;
}
template <class Source>
bool op_mov_to_segment(Cpu& cpu, const Insn& insn) {
    u16 selector;
    return Source::template read<u16>(cpu, insn, selector) &&
           load_segment_register(cpu, insn.operands[0].reg, selector);
}
bool op_mov_segment_to_memory(Cpu& cpu, const Insn& insn) {
    return MemoryOperand::write<u16>(cpu, insn, cpu.state.segments[insn.operands[1].reg].selector);
}
// To a wider register the selector is zero-extended.
template <class T>
bool op_mov_segment_to_register(Cpu& cpu, const Insn& insn) {
    return RegisterOperand<0>::write<T>(cpu, insn, cpu.state.segments[insn.operands[1].reg].selector);
}
InsnHandler bind_mov_segment(const Insn& insn) {
    if (insn.operands[0].kind == OperandKind::segment)
        return is_memory(insn, 1) ? chained<op_mov_to_segment<MemoryOperand>>
                                  : chained<op_mov_to_segment<RegisterOperand<1>>>;
    if (is_memory(insn, 0)) return chained<op_mov_segment_to_memory>;
    switch (insn.operands[0].size) {
        case 2:
            return chained_pure<op_mov_segment_to_register<u16>>;
        case 4:
            return chained_pure<op_mov_segment_to_register<u32>>;
        default:
            return chained_pure<op_mov_segment_to_register<u64>>;
    }
}

// LDS, LES, LFS, LGS, LSS: the offset, then the selector.
template <Segment segment, class T>
bool op_load_far_pointer(Cpu& cpu, const Insn& insn) {
    const u64 address = effective_address(cpu, insn);
    T offset;
    u16 selector;
    if (!cpu.read<T>(insn.segment, address, offset)) return false;
    if (!cpu.read<u16>(insn.segment, (address + sizeof(T)) & size_mask(insn.address_size), selector)) return false;
    return cpu.load_segment(segment, selector) && RegisterOperand<0>::write<T>(cpu, insn, offset);
}
template <Segment segment>
InsnHandler bind_load_far_pointer(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 2:
            return chained<op_load_far_pointer<segment, u16>>;
        case 4:
            return chained<op_load_far_pointer<segment, u32>>;
        default:
            return chained<op_load_far_pointer<segment, u64>>;
    }
}

// --- PUSH and POP

struct op_push_register {
    template <class T, class Access>
    static bool run(Cpu& cpu, const Insn& insn) {
        return push<T, Access>(cpu, insn, get_gpr<T>(cpu, insn.operands[0].reg));
    }
};
struct op_push_memory {
    template <class T>
    static bool run(Cpu& cpu, const Insn& insn) {
        T value;
        return MemoryOperand::read<T>(cpu, insn, value) && push<T>(cpu, insn, value);
    }
};
// In 64-bit code a four-byte immediate is sign-extended.
struct op_push_immediate {
    template <class T, class Access>
    static bool run(Cpu& cpu, const Insn& insn) {
        const u64 value =
            insn.operands[0].size == 4 ? static_cast<u64>(static_cast<i32>(insn.immediate)) : insn.immediate;
        return push<T, Access>(cpu, insn, static_cast<T>(value));
    }
};
struct op_push_segment {
    template <class T>
    static bool run(Cpu& cpu, const Insn& insn) {
        return push<T>(cpu, insn, cpu.state.segments[insn.operands[0].reg].selector);
    }
};
struct op_pop_register {
    template <class T, class Access>
    static bool run(Cpu& cpu, const Insn& insn) {
        T value;
        return pop<T, Access>(cpu, insn, value) && RegisterOperand<0>::write<T>(cpu, insn, value);
    }
};
// An address made with rSP is made with the incremented one (SDM vol. 2, "POP").
struct op_pop_memory {
    template <class T>
    static bool run(Cpu& cpu, const Insn& insn) {
        const u64 before = cpu.state.gpr[kRsp];
        T value;
        if (!pop<T>(cpu, insn, value)) return false;
        if (MemoryOperand::write<T>(cpu, insn, value)) return true;
        cpu.state.gpr[kRsp] = before;
        return false;
    }
};
// rSP is incremented by the width that the old SS gives it, and only when the segment could be loaded.
struct op_pop_segment {
    template <class T>
    static bool run(Cpu& cpu, const Insn& insn) {
        const u64 before = cpu.state.gpr[kRsp];
        T value;
        if (!pop<T>(cpu, insn, value)) return false;
        if (load_segment_register(cpu, insn.operands[0].reg, static_cast<u16>(value))) return true;
        cpu.state.gpr[kRsp] = before;
        return false;
    }
};
template <class Form>
InsnHandler bind_stack(const Insn& insn) {
    switch (insn.operand_size) {
        case 2:
            return chained<Form::template run<u16>>;
        case 4:
            return chained<Form::template run<u32>>;
        default:
            return chained<Form::template run<u64>>;
    }
}
// With no access but that to the stack.
template <class Form>
InsnHandler bind_stack_fast(const Insn& insn) {
    switch (insn.operand_size) {
        case 2:
            return chained_fast<Form::template run<u16, FastAccess>, Form::template run<u16, FullAccess>>;
        case 4:
            return chained_fast<Form::template run<u32, FastAccess>, Form::template run<u32, FullAccess>>;
        default:
            return chained_fast<Form::template run<u64, FastAccess>, Form::template run<u64, FullAccess>>;
    }
}
InsnHandler bind_push(const Insn& insn) {
    if (is_register(insn, 0)) return bind_stack_fast<op_push_register>(insn);
    return is_memory(insn, 0) ? bind_stack<op_push_memory>(insn) : bind_stack_fast<op_push_immediate>(insn);
}
InsnHandler bind_pop(const Insn& insn) {
    return is_register(insn, 0) ? bind_stack_fast<op_pop_register>(insn) : bind_stack<op_pop_memory>(insn);
}

// --- PUSHA, POPA, ENTER, LEAVE

// All eight places are checked before the first is written.
template <class T>
bool op_pusha(Cpu& cpu, const Insn&) {
    const u64 mask = cpu.stack_mask(), top = cpu.stack_pointer();
    for (unsigned i = 1; i <= 8; ++i)
        if (!cpu.probe_write(Segment::ss, (top - i * sizeof(T)) & mask, sizeof(T))) return false;
    for (u8 reg = 0; reg < 8; ++reg)
        if (!cpu.write<T>(Segment::ss, (top - (reg + 1) * sizeof(T)) & mask, get_gpr<T>(cpu, reg))) return false;
    cpu.set_stack_pointer(top - 8 * sizeof(T));
    return true;
}
template <class T>
bool op_popa(Cpu& cpu, const Insn&) {
    const u64 mask = cpu.stack_mask(), top = cpu.stack_pointer();
    T values[8];
    for (unsigned i = 0; i < 8; ++i)
        if (!cpu.read<T>(Segment::ss, (top + i * sizeof(T)) & mask, values[7 - i])) return false;
    for (u8 reg = 0; reg < 8; ++reg)
        if (reg != kRsp) set_gpr<T>(cpu, reg, values[reg]);
    cpu.set_stack_pointer(top + 8 * sizeof(T));
    return true;
}

// SDM vol. 2, "ENTER". Registers change only at the end; what a faulting ENTER may have written lies below rSP.
template <class T>
bool op_enter(Cpu& cpu, const Insn& insn) {
    const u64 mask = cpu.stack_mask();
    const unsigned level = insn.immediate2 & 31;
    u64 stack = cpu.stack_pointer();
    u64 frame = cpu.state.gpr[kRbp];
    const auto push_here = [&](T value) {
        stack = (stack - sizeof(T)) & mask;
        return cpu.write<T>(Segment::ss, stack, value);
    };
    if (!push_here(static_cast<T>(frame))) return false;
    // All of rSP: on a 16-bit stack a 32-bit frame pointer takes ESP's upper half too (verified on hardware).
    const u64 new_frame = replace_bits(cpu.state.gpr[kRsp], mask, stack);
    for (unsigned i = 1; i < level; ++i) {
        frame = (frame - sizeof(T)) & mask;
        T saved;
        if (!cpu.read<T>(Segment::ss, frame, saved) || !push_here(saved)) return false;
    }
    if (level > 0 && !push_here(static_cast<T>(new_frame))) return false;
    stack = (stack - static_cast<u16>(insn.immediate)) & mask;
    if (!cpu.probe_write(Segment::ss, stack, sizeof(T))) return false;
    set_gpr<T>(cpu, kRbp, static_cast<T>(new_frame));
    cpu.set_stack_pointer(stack);
    return true;
}
template <class T>
bool op_leave(Cpu& cpu, const Insn&) {
    const u64 frame = cpu.state.gpr[kRbp] & cpu.stack_mask();
    T value;
    if (!cpu.read<T>(Segment::ss, frame, value)) return false;
    cpu.set_stack_pointer(frame + sizeof(T));
    set_gpr<T>(cpu, kRbp, value);
    return true;
}

}  // namespace

// `bind_stack` takes forms; these are plain functions of the operand size.
#define LODGE_BY_OPERAND_SIZE(operation)                \
    (insn.operand_size == 2   ? chained<operation<u16>> \
     : insn.operand_size == 4 ? chained<operation<u32>> \
                              : chained<operation<u64>>)

InsnHandler bind_move(const Insn& insn) {
    if (const unsigned code = condition_index(insn.opcode, Opcode::CMOVO); code < 16) return bind_cmov(insn, code);
    switch (insn.opcode) {
        case Opcode::MOV:
        case Opcode::MOVNTI:
            return bind_binary<op_mov>(insn);
        case Opcode::MOVBE:
            return bind_binary<op_movbe>(insn);
        case Opcode::MOVZX:
            return bind_extend<u8, u16, u32>(insn);
        case Opcode::MOVSX:
        case Opcode::MOVSXD:
            return bind_extend<i8, i16, i32>(insn);
        case Opcode::MOV_SEG:
            return bind_mov_segment(insn);
        case Opcode::XCHG:
            return bind_xchg(insn);
        case Opcode::LEA:
            return bind_lea(insn);
        case Opcode::XLAT:
            return chained<op_xlat>;
        case Opcode::LDS:
            return bind_load_far_pointer<Segment::ds>(insn);
        case Opcode::LES:
            return bind_load_far_pointer<Segment::es>(insn);
        case Opcode::LFS:
            return bind_load_far_pointer<Segment::fs>(insn);
        case Opcode::LGS:
            return bind_load_far_pointer<Segment::gs>(insn);
        case Opcode::LSS:
            return bind_load_far_pointer<Segment::ss>(insn);
        case Opcode::PUSH:
            return bind_push(insn);
        case Opcode::POP:
            return bind_pop(insn);
        case Opcode::PUSH_SEG:
            return bind_stack<op_push_segment>(insn);
        case Opcode::POP_SEG:
            return bind_stack<op_pop_segment>(insn);
        case Opcode::PUSHA:
            return LODGE_BY_OPERAND_SIZE(op_pusha);
        case Opcode::POPA:
            return LODGE_BY_OPERAND_SIZE(op_popa);
        case Opcode::ENTER:
            return LODGE_BY_OPERAND_SIZE(op_enter);
        case Opcode::LEAVE:
            return LODGE_BY_OPERAND_SIZE(op_leave);
        default:
            return nullptr;
    }
}

#undef LODGE_BY_OPERAND_SIZE

}  // namespace lodge
