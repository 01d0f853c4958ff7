// Near branches. The target is checked before anything is written, so that a faulting branch changes nothing.
#include "core/interp/condition.h"
#include "core/interp/stack.h"

namespace lodge {

namespace {

// T is the operand size: it cuts the target (SDM vol. 2, "JMP", "Jcc", "CALL"). u64 only in 64-bit code. With
// FastAccess a bad target is left to the full half of the instruction.
template <class T, class Access = FullAccess>
inline bool branch_to(Cpu& cpu, u64 target) {
    target = static_cast<T>(target);
    const bool inside = sizeof(T) == 8 ? static_cast<u64>(static_cast<i64>(target << 16) >> 16) == target
                                       : target <= cpu.state.segment(Segment::cs).limit;
    if (!inside) [[unlikely]] {
        if constexpr (std::is_same_v<Access, FullAccess>)
            return cpu.branch_to(target);
        else
            return false;
    }
    cpu.state.ip = target;
    return true;
}
template <class T, class Access = FullAccess>
inline bool branch_relative(Cpu& cpu, const Insn& insn) {
    return branch_to<T, Access>(cpu, next_ip(cpu, insn) + insn.immediate);
}
inline bool fall_through(Cpu& cpu, const Insn& insn) {
    cpu.state.ip = next_ip(cpu, insn);
    return true;
}

struct op_jmp_relative {
    template <class T, class Access>
    static bool run(Cpu& cpu, const Insn& insn) {
        return branch_relative<T, Access>(cpu, insn);
    }
};

template <unsigned Code>
struct op_jcc {
    template <class T, class Access>
    static bool run(Cpu& cpu, const Insn& insn) {
        return condition<Code>(cpu.state.status) ? branch_relative<T, Access>(cpu, insn) : fall_through(cpu, insn);
    }
};

template <class Source>
struct op_jmp_indirect {
    template <class T>
    static bool run(Cpu& cpu, const Insn& insn) {
        T target;
        return Source::template read<T>(cpu, insn, target) && branch_to<T>(cpu, target);
    }
};

struct op_call_relative {
    template <class T, class Access>
    static bool run(Cpu& cpu, const Insn& insn) {
        return branch_relative<T, Access>(cpu, insn) && push<T, Access>(cpu, insn, static_cast<T>(next_ip(cpu, insn)));
    }
};

// A target that is not canonical is found last, after the stack's faults; one outside a segment comes first (SDM vol.
// 2, "CALL"; verified on hardware).
template <class T>
bool can_push(Cpu& cpu, u64 target) {
    if (sizeof(T) != 8 || Cpu::canonical(target)) [[likely]]
        return true;
    return cpu.probe_write(Segment::ss, (cpu.state.gpr[kRsp] - sizeof(T)) & cpu.stack_mask(), sizeof(T));
}

template <class Source>
struct op_call_indirect {
    template <class T>
    static bool run(Cpu& cpu, const Insn& insn) {
        T target;
        return Source::template read<T>(cpu, insn, target) && can_push<T>(cpu, target) && branch_to<T>(cpu, target) &&
               push<T>(cpu, insn, static_cast<T>(next_ip(cpu, insn)));
    }
};

// rSP moves only when the target is good.
struct op_ret {
    template <class T, class Access>
    static bool run(Cpu& cpu, const Insn& insn) {
        const u64 before = cpu.state.gpr[kRsp];
        T target;
        if (!pop<T, Access>(cpu, insn, target)) return false;
        if (branch_to<T, Access>(cpu, target)) [[likely]]
            return true;
        cpu.state.gpr[kRsp] = before;
        return false;
    }
};
struct op_ret_immediate {
    template <class T, class Access>
    static bool run(Cpu& cpu, const Insn& insn) {
        if (!op_ret::run<T, Access>(cpu, insn)) return false;
        cpu.set_stack_pointer(cpu.state.gpr[kRsp] + static_cast<u16>(insn.immediate));
        return true;
    }
};

// --- LOOP and JCXZ: the address size says which counter.

template <class T, class Counter>
bool op_jcxz(Cpu& cpu, const Insn& insn) {
    return get_gpr<Counter>(cpu, kRcx) == 0 ? branch_relative<T>(cpu, insn) : fall_through(cpu, insn);
}

enum class LoopKind : u8 { plain, while_zero, while_not_zero };

template <LoopKind kind, class T, class Counter>
bool op_loop(Cpu& cpu, const Insn& insn) {
    const Counter count = static_cast<Counter>(get_gpr<Counter>(cpu, kRcx) - 1);
    bool taken = count != 0;
    if (kind == LoopKind::while_zero) taken = taken && cpu.state.status.zero();
    if (kind == LoopKind::while_not_zero) taken = taken && !cpu.state.status.zero();
    if (!(taken ? branch_relative<T>(cpu, insn) : fall_through(cpu, insn))) return false;
    set_gpr<Counter>(cpu, kRcx, count);
    return true;
}

template <LoopKind kind>
struct op_loop_by_counter {
    template <class T>
    static bool run(Cpu& cpu, const Insn& insn) {
        switch (insn.address_size) {
            case 2:
                return op_loop<kind, T, u16>(cpu, insn);
            case 4:
                return op_loop<kind, T, u32>(cpu, insn);
            default:
                return op_loop<kind, T, u64>(cpu, insn);
        }
    }
};
struct op_jcxz_by_counter {
    template <class T>
    static bool run(Cpu& cpu, const Insn& insn) {
        switch (insn.address_size) {
            case 2:
                return op_jcxz<T, u16>(cpu, insn);
            case 4:
                return op_jcxz<T, u32>(cpu, insn);
            default:
                return op_jcxz<T, u64>(cpu, insn);
        }
    }
};

template <class Form>
InsnHandler bind_branch_form(const Insn& insn) {
    switch (insn.operand_size) {
        case 2:
            return ending<Form::template run<u16>>;
        case 4:
            return ending<Form::template run<u32>>;
        default:
            return ending<Form::template run<u64>>;
    }
}

// Forms whose one access is to the stack, or that make none.
template <class Form>
InsnHandler bind_branch_fast(const Insn& insn) {
    switch (insn.operand_size) {
        case 2:
            return ending_fast<Form::template run<u16, FastAccess>, Form::template run<u16, FullAccess>>;
        case 4:
            return ending_fast<Form::template run<u32, FastAccess>, Form::template run<u32, FullAccess>>;
        default:
            return ending_fast<Form::template run<u64, FastAccess>, Form::template run<u64, FullAccess>>;
    }
}

template <class Sequence>
struct Jcc;
template <unsigned... Code>
struct Jcc<std::integer_sequence<unsigned, Code...>> {
    static InsnHandler bind(const Insn& insn, unsigned code) {
        static constexpr InsnHandler (*binders[])(const Insn&) = {bind_branch_fast<op_jcc<Code>>...};
        return binders[code](insn);
    }
};

template <class Relative, template <class> class Indirect>
InsnHandler bind_jump(const Insn& insn) {
    if (is_register(insn, 0)) return bind_branch_form<Indirect<RegisterOperand<0>>>(insn);
    if (is_memory(insn, 0)) return bind_branch_form<Indirect<MemoryOperand>>(insn);
    return bind_branch_fast<Relative>(insn);
}

}  // namespace

InsnHandler bind_branch(const Insn& insn) {
    if (const unsigned code = condition_index(insn.opcode, Opcode::JO); code < 16)
        return Jcc<std::make_integer_sequence<unsigned, 16>>::bind(insn, code);
    switch (insn.opcode) {
        case Opcode::JMP:
            return bind_jump<op_jmp_relative, op_jmp_indirect>(insn);
        case Opcode::CALL:
            return bind_jump<op_call_relative, op_call_indirect>(insn);
        case Opcode::RET:
            return is_immediate(insn, 0) ? bind_branch_fast<op_ret_immediate>(insn) : bind_branch_fast<op_ret>(insn);
        case Opcode::LOOP:
            return bind_branch_form<op_loop_by_counter<LoopKind::plain>>(insn);
        case Opcode::LOOPZ:
            return bind_branch_form<op_loop_by_counter<LoopKind::while_zero>>(insn);
        case Opcode::LOOPNZ:
            return bind_branch_form<op_loop_by_counter<LoopKind::while_not_zero>>(insn);
        case Opcode::JCXZ:
            return bind_branch_form<op_jcxz_by_counter>(insn);
        default:
            return nullptr;
    }
}

}  // namespace lodge
