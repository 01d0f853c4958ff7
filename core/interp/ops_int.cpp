// Integer arithmetic and logic.
#include "core/interp/alu.h"
#include "core/interp/condition.h"
#include "core/interp/fast.h"

namespace lodge {

namespace {

// An ALU operation that writes its destination.
#define LODGE_ALU_FORM(Name, function)                                                              \
    struct Name {                                                                                   \
        template <class T, class Destination, class Source>                                         \
        static bool run(Cpu& cpu, const Insn& insn) {                                               \
            T source;                                                                               \
            if (!Source::template read<T>(cpu, insn, source)) return false;                         \
            return Destination::template modify<T>(                                                 \
                cpu, insn, [&](T old) { return alu::function<T>(old, source, cpu.state.status); }); \
        }                                                                                           \
    };

LODGE_ALU_FORM(op_add, add)
LODGE_ALU_FORM(op_sub, sub)
LODGE_ALU_FORM(op_adc, add_with_carry)
LODGE_ALU_FORM(op_sbb, sub_with_borrow)
LODGE_ALU_FORM(op_and, bit_and)
LODGE_ALU_FORM(op_or, bit_or)
LODGE_ALU_FORM(op_xor, bit_xor)

#undef LODGE_ALU_FORM

// One that only sets flags.
#define LODGE_COMPARE_FORM(Name, function)                                     \
    struct Name {                                                              \
        template <class T, class Destination, class Source>                    \
        static bool run(Cpu& cpu, const Insn& insn) {                          \
            T left, right;                                                     \
            if (!Source::template read<T>(cpu, insn, right)) return false;     \
            if (!Destination::template read<T>(cpu, insn, left)) return false; \
            alu::function<T>(left, right, cpu.state.status);                   \
            return true;                                                       \
        }                                                                      \
    };

LODGE_COMPARE_FORM(op_cmp, sub)
LODGE_COMPARE_FORM(op_test, bit_and)

#undef LODGE_COMPARE_FORM

#define LODGE_UNARY_FORM(Name, function)                                                                            \
    struct Name {                                                                                                   \
        template <class T, class Destination>                                                                       \
        static bool run(Cpu& cpu, const Insn& insn) {                                                               \
            return Destination::template modify<T>(cpu, insn,                                                       \
                                                   [&](T old) { return alu::function<T>(old, cpu.state.status); }); \
        }                                                                                                           \
    };

LODGE_UNARY_FORM(op_inc, increment)
LODGE_UNARY_FORM(op_dec, decrement)
LODGE_UNARY_FORM(op_neg, negate)

#undef LODGE_UNARY_FORM

struct op_not {
    template <class T, class Destination>
    static bool run(Cpu& cpu, const Insn& insn) {
        return Destination::template modify<T>(cpu, insn, [](T old) { return static_cast<T>(~old); });
    }
};

// --- Multiplication and division
//
// The flags that the SDM leaves undefined, processors fill in different ways. Here a multiplication clears SF, ZF, AF
// and PF and a division leaves all six as they were, on every host: the translator then need not put the guest's flags
// in place first.

void clear_undefined(StatusFlags& flags) {
    flags.low = static_cast<u8>((flags.low & kFlagCarry) | 0x02);
}

// rDX:rAX, or AX for bytes.
template <class T>
alu::Pair<T> get_accumulator(Cpu& cpu) {
    if constexpr (sizeof(T) == 1) return {get_gpr<u8>(cpu, kRax), get_gpr<u8>(cpu, kRax + 16)};
    return {get_gpr<T>(cpu, kRax), get_gpr<T>(cpu, kRdx)};
}
template <class T>
void set_accumulator(Cpu& cpu, alu::Pair<T> value) {
    set_gpr<T>(cpu, kRax, value.low);
    set_gpr<T>(cpu, sizeof(T) == 1 ? kRax + 16 : kRdx, value.high);
}

#define LODGE_MULTIPLY_FORM(Name, function)                                                             \
    struct Name {                                                                                       \
        template <class T, class Source>                                                                \
        static bool run(Cpu& cpu, const Insn& insn) {                                                   \
            T source;                                                                                   \
            if (!Source::template read<T>(cpu, insn, source)) return false;                             \
            set_accumulator<T>(cpu, alu::function<T>(get_gpr<T>(cpu, kRax), source, cpu.state.status)); \
            clear_undefined(cpu.state.status);                                                          \
            return true;                                                                                \
        }                                                                                               \
    };

LODGE_MULTIPLY_FORM(op_mul, multiply_wide)
LODGE_MULTIPLY_FORM(op_imul, multiply_wide_signed)

#undef LODGE_MULTIPLY_FORM

#define LODGE_DIVIDE_FORM(Name, function)                                                         \
    struct Name {                                                                                 \
        template <class T, class Source>                                                          \
        static bool run(Cpu& cpu, const Insn& insn) {                                             \
            T divisor;                                                                            \
            if (!Source::template read<T>(cpu, insn, divisor)) return false;                      \
            const alu::Pair<T> dividend = get_accumulator<T>(cpu);                                \
            if (alu::function##_overflows<T>(dividend, divisor)) return cpu.raise(Exception::DE); \
            StatusFlags undefined = cpu.state.status;                                             \
            set_accumulator<T>(cpu, alu::function<T>(dividend, divisor, undefined));              \
            return true;                                                                          \
        }                                                                                         \
    };

LODGE_DIVIDE_FORM(op_div, divide)
LODGE_DIVIDE_FORM(op_idiv, divide_signed)

#undef LODGE_DIVIDE_FORM

// They may fault after the access, so there is no fast half.
template <class Form, class T>
InsnHandler bind_division_sized(const Insn& insn) {
    return is_register(insn, 0) ? chained_pure<Form::template run<T, RegisterOperand<0>>>
                                : chained<Form::template run<T, MemoryOperand>>;
}
template <class Form>
InsnHandler bind_division(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 1:
            return bind_division_sized<Form, u8>(insn);
        case 2:
            return bind_division_sized<Form, u16>(insn);
        case 4:
            return bind_division_sized<Form, u32>(insn);
        default:
            return bind_division_sized<Form, u64>(insn);
    }
}

// IMUL r, r/m and, with an immediate, r, r/m, imm.
struct op_imul_truncated {
    template <class T, class Source>
    static bool run(Cpu& cpu, const Insn& insn) {
        T source;
        if (!Source::template read<T>(cpu, insn, source)) return false;
        const T product = alu::multiply_signed<T>(get_gpr<T>(cpu, insn.operands[0].reg), source, cpu.state.status);
        clear_undefined(cpu.state.status);
        return RegisterOperand<0>::write<T>(cpu, insn, product);
    }
};
struct op_imul_immediate {
    template <class T, class Source>
    static bool run(Cpu& cpu, const Insn& insn) {
        T source;
        if (!Source::template read<T>(cpu, insn, source)) return false;
        const T factor = static_cast<T>(insn.immediate);
        const T product = alu::multiply_signed<T>(source, factor, cpu.state.status);
        clear_undefined(cpu.state.status);
        return RegisterOperand<0>::write<T>(cpu, insn, product);
    }
};
InsnHandler bind_multiply(const Insn& insn) {
    if (insn.operands[1].kind == OperandKind::none) return bind_unary<op_imul>(insn);
    if (insn.operands[2].kind == OperandKind::none && !is_immediate(insn, 1)) return bind_load<op_imul_truncated>(insn);
    return bind_load<op_imul_immediate>(insn);
}

// CBW, CWDE, CDQE and CWD, CDQ, CQO.
template <class Narrow, class Wide>
bool op_cbw(Cpu& cpu, const Insn&) {
    set_gpr<Wide>(cpu, kRax, static_cast<Wide>(static_cast<std::make_signed_t<Narrow>>(get_gpr<Narrow>(cpu, kRax))));
    return true;
}
template <class T>
bool op_cwd(Cpu& cpu, const Insn&) {
    set_gpr<T>(cpu, kRdx, static_cast<T>(static_cast<std::make_signed_t<T>>(get_gpr<T>(cpu, kRax)) < 0 ? ~T{0} : 0));
    return true;
}
InsnHandler bind_cbw(const Insn& insn) {
    switch (insn.operand_size) {
        case 2:
            return chained_pure<op_cbw<u8, u16>>;
        case 4:
            return chained_pure<op_cbw<u16, u32>>;
        default:
            return chained_pure<op_cbw<u32, u64>>;
    }
}
InsnHandler bind_cwd(const Insn& insn) {
    switch (insn.operand_size) {
        case 2:
            return chained_pure<op_cwd<u16>>;
        case 4:
            return chained_pure<op_cwd<u32>>;
        default:
            return chained_pure<op_cwd<u64>>;
    }
}

// --- Decimal adjustment

bool op_aaa(Cpu& cpu, const Insn&) {
    set_gpr<u16>(cpu, kRax, alu::ascii_adjust_add(get_gpr<u16>(cpu, kRax), cpu.state.status));
    return true;
}
bool op_aas(Cpu& cpu, const Insn&) {
    set_gpr<u16>(cpu, kRax, alu::ascii_adjust_subtract(get_gpr<u16>(cpu, kRax), cpu.state.status));
    return true;
}
bool op_aam(Cpu& cpu, const Insn& insn) {
    const u8 base = static_cast<u8>(insn.immediate);
    if (base == 0) return cpu.raise(Exception::DE);
    set_gpr<u16>(cpu, kRax, alu::ascii_adjust_multiply(get_gpr<u8>(cpu, kRax), base, cpu.state.status));
    return true;
}
bool op_aad(Cpu& cpu, const Insn& insn) {
    const u8 base = static_cast<u8>(insn.immediate);
    set_gpr<u16>(cpu, kRax, alu::ascii_adjust_divide(get_gpr<u16>(cpu, kRax), base, cpu.state.status));
    return true;
}
bool op_daa(Cpu& cpu, const Insn&) {
    set_gpr<u8>(cpu, kRax, alu::decimal_adjust_add(get_gpr<u8>(cpu, kRax), cpu.state.status));
    return true;
}
bool op_das(Cpu& cpu, const Insn&) {
    set_gpr<u8>(cpu, kRax, alu::decimal_adjust_subtract(get_gpr<u8>(cpu, kRax), cpu.state.status));
    return true;
}

// --- Exchange with arithmetic

struct op_xadd {
    template <class T, class Destination, class Source>
    static bool run(Cpu& cpu, const Insn& insn) {
        T source, before;
        Source::template read<T>(cpu, insn, source);
        const auto change = [&](T old) {
            before = old;
            return alu::add<T>(old, source, cpu.state.status);
        };
        if constexpr (std::is_same_v<Destination, MemoryOperand>) {
            return Destination::template modify<T>(cpu, insn, change) && Source::template write<T>(cpu, insn, before);
        } else {
            // With twice the same register the sum is what stays (SDM vol. 2, "XADD").
            T old;
            Destination::template read<T>(cpu, insn, old);
            const T sum = change(old);
            return Source::template write<T>(cpu, insn, before) && Destination::template write<T>(cpu, insn, sum);
        }
    }
};

// A memory destination is written in either case (SDM vol. 2, "CMPXCHG"); a register only when the comparison succeeds,
// which shows in the upper half of a 32-bit one (measured on AMD Zen 5).
struct op_cmpxchg {
    template <class T, class Destination, class Source>
    static bool run(Cpu& cpu, const Insn& insn) {
        T source, before;
        Source::template read<T>(cpu, insn, source);
        const T expected = get_gpr<T>(cpu, kRax);
        const auto change = [&](T old) {
            before = old;
            alu::sub<T>(expected, old, cpu.state.status);
            return old == expected ? source : old;
        };
        if constexpr (std::is_same_v<Destination, MemoryOperand>) {
            if (!Destination::template modify<T>(cpu, insn, change)) return false;
        } else {
            T old;
            Destination::template read<T>(cpu, insn, old);
            change(old);
            if (before == expected) Destination::template write<T>(cpu, insn, source);
        }
        if (before != expected) set_gpr<T>(cpu, kRax, before);
        return true;
    }
};

// r/m, r: no other forms exist.
template <class Form, class T>
InsnHandler bind_exchange_sized(const Insn& insn) {
    if (is_register(insn, 0)) return chained_pure<Form::template run<T, RegisterOperand<0>, RegisterOperand<1>>>;
    return chained<Form::template run<T, MemoryOperand, RegisterOperand<1>>>;
}
template <class Form>
InsnHandler bind_exchange(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 1:
            return bind_exchange_sized<Form, u8>(insn);
        case 2:
            return bind_exchange_sized<Form, u16>(insn);
        case 4:
            return bind_exchange_sized<Form, u32>(insn);
        default:
            return bind_exchange_sized<Form, u64>(insn);
    }
}

// CMPXCHG8B of u32, CMPXCHG16B of u64.
template <class T, class Double>
bool op_cmpxchg_pair(Cpu& cpu, const Insn& insn) {
    const u64 address = effective_address(cpu, insn);
    if (sizeof(Double) == 16 && ((cpu.state.segment(insn.segment).base + address) & 15)) return cpu.raise_gp();
    const auto join = [&](u8 low, u8 high) {
        return static_cast<Double>(static_cast<Double>(get_gpr<T>(cpu, high)) << alu::kBits<T> | get_gpr<T>(cpu, low));
    };
    const Double expected = join(kRax, kRdx), replacement = join(kRbx, kRcx);
    Double before;
    const bool done = cpu.modify<Double>(insn.segment, address, [&](Double old) {
        before = old;
        return old == expected ? replacement : old;
    });
    if (!done) return false;
    cpu.state.status.set_zero(before == expected);
    if (before != expected) {
        set_gpr<T>(cpu, kRax, static_cast<T>(before));
        set_gpr<T>(cpu, kRdx, static_cast<T>(before >> alu::kBits<T>));
    }
    return true;
}

// --- Flags

template <unsigned Code, class Destination>
bool op_setcc(Cpu& cpu, const Insn& insn) {
    return Destination::template write<u8>(cpu, insn, condition<Code>(cpu.state.status));
}
template <class Sequence>
struct Setcc;
template <unsigned... Code>
struct Setcc<std::integer_sequence<unsigned, Code...>> {
    static constexpr InsnHandler to_register[] = {chained_pure<op_setcc<Code, RegisterOperand<0>>>...};
    static constexpr InsnHandler to_memory[] = {chained<op_setcc<Code, MemoryOperand>>...};
};
InsnHandler bind_setcc(const Insn& insn, unsigned code) {
    using Handlers = Setcc<std::make_integer_sequence<unsigned, 16>>;
    return is_register(insn, 0) ? Handlers::to_register[code] : Handlers::to_memory[code];
}

bool op_lahf(Cpu& cpu, const Insn&) {
    set_gpr<u8>(cpu, kRax + 16, cpu.state.status.low);
    return true;
}
bool op_sahf(Cpu& cpu, const Insn&) {
    cpu.state.status.low = static_cast<u8>((get_gpr<u8>(cpu, kRax + 16) & kArithmeticFlags) | 0x02);
    return true;
}
// Not in the SDM; APM vol. 3 lists the opcode D6 as reserved. AL = CF ? FFh : 0 on every CPU.
bool op_salc(Cpu& cpu, const Insn&) {
    set_gpr<u8>(cpu, kRax, cpu.state.status.carry() ? 0xFF : 0);
    return true;
}
bool op_clc(Cpu& cpu, const Insn&) {
    cpu.state.status.set_carry(false);
    return true;
}
bool op_stc(Cpu& cpu, const Insn&) {
    cpu.state.status.set_carry(true);
    return true;
}
bool op_cmc(Cpu& cpu, const Insn&) {
    cpu.state.status.low ^= kFlagCarry;
    return true;
}
bool op_cld(Cpu& cpu, const Insn&) {
    cpu.state.system_flags &= ~kFlagDirection;
    return true;
}
bool op_std(Cpu& cpu, const Insn&) {
    cpu.state.system_flags |= kFlagDirection;
    return true;
}

}  // namespace

InsnHandler bind_integer(const Insn& insn) {
    if (const unsigned code = condition_index(insn.opcode, Opcode::SETO); code < 16) return bind_setcc(insn, code);
    switch (insn.opcode) {
        case Opcode::ADD:
            return bind_binary<op_add>(insn);
        case Opcode::SUB:
            return bind_binary<op_sub>(insn);
        case Opcode::ADC:
            return bind_binary<op_adc>(insn);
        case Opcode::SBB:
            return bind_binary<op_sbb>(insn);
        case Opcode::AND:
            return bind_binary<op_and>(insn);
        case Opcode::OR:
            return bind_binary<op_or>(insn);
        case Opcode::XOR:
            return bind_binary<op_xor>(insn);
        case Opcode::CMP:
            return bind_binary<op_cmp>(insn);
        case Opcode::TEST:
            return bind_binary<op_test>(insn);
        case Opcode::INC:
            return bind_unary<op_inc>(insn);
        case Opcode::DEC:
            return bind_unary<op_dec>(insn);
        case Opcode::NEG:
            return bind_unary<op_neg>(insn);
        case Opcode::NOT:
            return bind_unary<op_not>(insn);
        case Opcode::MUL:
            return bind_unary<op_mul>(insn);
        case Opcode::IMUL:
            return bind_multiply(insn);
        case Opcode::DIV:
            return bind_division<op_div>(insn);
        case Opcode::IDIV:
            return bind_division<op_idiv>(insn);
        case Opcode::CBW:
            return bind_cbw(insn);
        case Opcode::CWD:
            return bind_cwd(insn);
        case Opcode::AAA:
            return chained_pure<op_aaa>;
        case Opcode::AAS:
            return chained_pure<op_aas>;
        case Opcode::AAM:
            return chained_pure<op_aam>;
        case Opcode::AAD:
            return chained_pure<op_aad>;
        case Opcode::DAA:
            return chained_pure<op_daa>;
        case Opcode::DAS:
            return chained_pure<op_das>;
        case Opcode::XADD:
            return bind_exchange<op_xadd>(insn);
        case Opcode::CMPXCHG:
            return bind_exchange<op_cmpxchg>(insn);
        case Opcode::CMPXCHG8B:
            return chained<op_cmpxchg_pair<u32, u64>>;
        case Opcode::CMPXCHG16B:
            return chained<op_cmpxchg_pair<u64, u128>>;
        case Opcode::LAHF:
            return chained_pure<op_lahf>;
        case Opcode::SAHF:
            return chained_pure<op_sahf>;
        case Opcode::SALC:
            return chained_pure<op_salc>;
        case Opcode::CLC:
            return chained_pure<op_clc>;
        case Opcode::STC:
            return chained_pure<op_stc>;
        case Opcode::CMC:
            return chained_pure<op_cmc>;
        case Opcode::CLD:
            return chained_pure<op_cld>;
        case Opcode::STD:
            return chained_pure<op_std>;
        default:
            return nullptr;
    }
}

}  // namespace lodge
