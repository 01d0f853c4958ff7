// Shifts, rotates and bits.
#include "core/interp/alu.h"
#include "core/interp/fast.h"

namespace lodge {

namespace {

// The count: CL or an immediate.
u8 shift_count(Cpu& cpu, const Insn& insn, unsigned operand) {
    return is_register(insn, operand) ? get_gpr<u8>(cpu, kRcx) : static_cast<u8>(insn.immediate);
}

// The memory operand is written even when the count is 0, as the host does; flags then stay.
#define LODGE_SHIFT_FORM(Name, function)                                                           \
    struct Name {                                                                                  \
        template <class T, class Destination>                                                      \
        static bool run(Cpu& cpu, const Insn& insn) {                                              \
            const u8 count = shift_count(cpu, insn, 1);                                            \
            return Destination::template modify<T>(                                                \
                cpu, insn, [&](T old) { return alu::function<T>(old, count, cpu.state.status); }); \
        }                                                                                          \
    };

LODGE_SHIFT_FORM(op_rol, rotate_left)
LODGE_SHIFT_FORM(op_ror, rotate_right)
LODGE_SHIFT_FORM(op_rcl, rotate_left_carry)
LODGE_SHIFT_FORM(op_rcr, rotate_right_carry)
LODGE_SHIFT_FORM(op_shl, shift_left)
LODGE_SHIFT_FORM(op_shr, shift_right)
LODGE_SHIFT_FORM(op_sar, shift_right_signed)

#undef LODGE_SHIFT_FORM

#define LODGE_DOUBLE_SHIFT_FORM(Name, function)                                                          \
    struct Name {                                                                                        \
        template <class T, class Destination>                                                            \
        static bool run(Cpu& cpu, const Insn& insn) {                                                    \
            const u8 count = shift_count(cpu, insn, 2);                                                  \
            const T fill = get_gpr<T>(cpu, insn.operands[1].reg);                                        \
            return Destination::template modify<T>(                                                      \
                cpu, insn, [&](T old) { return alu::function<T>(old, fill, count, cpu.state.status); }); \
        }                                                                                                \
    };

LODGE_DOUBLE_SHIFT_FORM(op_shld, shift_left_double)
LODGE_DOUBLE_SHIFT_FORM(op_shrd, shift_right_double)

#undef LODGE_DOUBLE_SHIFT_FORM

// The forms of one operand that have no byte size.
template <class Form>
InsnHandler bind_unary_wide(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 2:
            return bind_unary_sized<Form, u16>(insn);
        case 4:
            return bind_unary_sized<Form, u32>(insn);
        default:
            return bind_unary_sized<Form, u64>(insn);
    }
}

// --- Bit tests

// Their memory address depends on the bit's number: no fast half.
template <class Form, class T>
InsnHandler bind_bit_sized(const Insn& insn) {
    return is_register(insn, 0) ? chained_pure<Form::template run<T, RegisterOperand<0>>>
                                : chained<Form::template run<T, MemoryOperand>>;
}
template <class Form>
InsnHandler bind_bit(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 2:
            return bind_bit_sized<Form, u16>(insn);
        case 4:
            return bind_bit_sized<Form, u32>(insn);
        default:
            return bind_bit_sized<Form, u64>(insn);
    }
}

template <class T>
T bit_number(Cpu& cpu, const Insn& insn) {
    return is_register(insn, 1) ? get_gpr<T>(cpu, insn.operands[1].reg) : static_cast<T>(insn.immediate);
}
// With memory and a register the bit's number is signed and reaches beyond the operand; an immediate does not
// (SDM vol. 1, 3.1.1.9 "Bit(BitBase, BitOffset)").
template <class T>
u64 bit_address(Cpu& cpu, const Insn& insn, T number) {
    const u64 address = effective_address(cpu, insn);
    if (!is_register(insn, 1)) return address;
    const i64 elements = static_cast<i64>(static_cast<std::make_signed_t<T>>(number)) >> (alu::kBits<T> == 16   ? 4
                                                                                          : alu::kBits<T> == 32 ? 5
                                                                                                                : 6);
    return (address + static_cast<u64>(elements) * sizeof(T)) & size_mask(insn.address_size);
}

struct op_bt {
    template <class T, class Destination>
    static bool run(Cpu& cpu, const Insn& insn) {
        const T number = bit_number<T>(cpu, insn);
        T value;
        if constexpr (std::is_same_v<Destination, MemoryOperand>) {
            if (!cpu.read<T>(insn.segment, bit_address<T>(cpu, insn, number), value)) return false;
        } else {
            Destination::template read<T>(cpu, insn, value);
        }
        alu::bit_test<T>(value, number, cpu.state.status);
        return true;
    }
};

#define LODGE_BIT_FORM(Name, function)                                                                  \
    struct Name {                                                                                       \
        template <class T, class Destination>                                                           \
        static bool run(Cpu& cpu, const Insn& insn) {                                                   \
            const T number = bit_number<T>(cpu, insn);                                                  \
            const auto change = [&](T old) { return alu::function<T>(old, number, cpu.state.status); }; \
            if constexpr (std::is_same_v<Destination, MemoryOperand>)                                   \
                return cpu.modify<T>(insn.segment, bit_address<T>(cpu, insn, number), change);          \
            else                                                                                        \
                return Destination::template modify<T>(cpu, insn, change);                              \
        }                                                                                               \
    };

LODGE_BIT_FORM(op_bts, bit_test_and_set)
LODGE_BIT_FORM(op_btr, bit_test_and_reset)
LODGE_BIT_FORM(op_btc, bit_test_and_complement)

#undef LODGE_BIT_FORM

// --- r, r/m

// A zero source leaves the whole register alone, the upper half of a 32-bit one included (APM vol. 3, "BSF").
#define LODGE_SCAN_FORM(Name, function)                                       \
    struct Name {                                                             \
        template <class T, class Source>                                      \
        static bool run(Cpu& cpu, const Insn& insn) {                         \
            T source;                                                         \
            if (!Source::template read<T>(cpu, insn, source)) return false;   \
            const T old = get_gpr<T>(cpu, insn.operands[0].reg);              \
            const T result = alu::function<T>(old, source, cpu.state.status); \
            if (source) set_gpr<T>(cpu, insn.operands[0].reg, result);        \
            return true;                                                      \
        }                                                                     \
    };

LODGE_SCAN_FORM(op_bsf, scan_forward)
LODGE_SCAN_FORM(op_bsr, scan_reverse)

#undef LODGE_SCAN_FORM

#define LODGE_COUNT_FORM(Name, function)                                                                \
    struct Name {                                                                                       \
        template <class T, class Source>                                                                \
        static bool run(Cpu& cpu, const Insn& insn) {                                                   \
            T source;                                                                                   \
            if (!Source::template read<T>(cpu, insn, source)) return false;                             \
            return RegisterOperand<0>::write<T>(cpu, insn, alu::function<T>(source, cpu.state.status)); \
        }                                                                                               \
    };

LODGE_COUNT_FORM(op_popcnt, population_count)
LODGE_COUNT_FORM(op_lzcnt, count_leading_zeros)
LODGE_COUNT_FORM(op_tzcnt, count_trailing_zeros)
LODGE_COUNT_FORM(op_blsi, isolate_lowest_bit)
LODGE_COUNT_FORM(op_blsmsk, mask_to_lowest_bit)
LODGE_COUNT_FORM(op_blsr, reset_lowest_bit)

#undef LODGE_COUNT_FORM

// ADCX and ADOX.
struct op_adcx {
    template <class T, class Source>
    static bool run(Cpu& cpu, const Insn& insn) {
        T source;
        if (!Source::template read<T>(cpu, insn, source)) return false;
        StatusFlags& flags = cpu.state.status;
        bool carry;
        RegisterOperand<0>::modify<T>(cpu, insn,
                                      [&](T old) { return alu::add_with<T>(old, source, flags.carry(), carry); });
        flags.set_carry(carry);
        return true;
    }
};
struct op_adox {
    template <class T, class Source>
    static bool run(Cpu& cpu, const Insn& insn) {
        T source;
        if (!Source::template read<T>(cpu, insn, source)) return false;
        StatusFlags& flags = cpu.state.status;
        bool carry;
        RegisterOperand<0>::modify<T>(cpu, insn,
                                      [&](T old) { return alu::add_with<T>(old, source, flags.overflow, carry); });
        flags.overflow = carry;
        return true;
    }
};

// CRC32: the source has its own size, the checksum is in the low half of the destination, whose upper half is cleared.
struct op_crc32 {
    template <class T, class Source>
    static bool run(Cpu& cpu, const Insn& insn) {
        T source;
        if (!Source::template read<T>(cpu, insn, source)) return false;
        const u8 reg = insn.operands[0].reg;
        set_gpr<u32>(cpu, reg, alu::crc32c<T>(get_gpr<u32>(cpu, reg), source));
        return true;
    }
};
template <class T>
InsnHandler bind_crc32_sized(const Insn& insn) {
    return is_memory(insn, 1) ? chained<op_crc32::run<T, MemoryOperand>>
                              : chained_pure<op_crc32::run<T, RegisterOperand<1>>>;
}
InsnHandler bind_crc32(const Insn& insn) {
    switch (insn.operands[1].size) {
        case 1:
            return bind_crc32_sized<u8>(insn);
        case 2:
            return bind_crc32_sized<u16>(insn);
        case 4:
            return bind_crc32_sized<u32>(insn);
        default:
            return bind_crc32_sized<u64>(insn);
    }
}

bool op_bswap_word(Cpu& cpu, const Insn& insn) {
    return RegisterOperand<0>::modify<u16>(cpu, insn, [](u16 old) { return alu::bswap_word(old); });
}
template <class T>
bool op_bswap(Cpu& cpu, const Insn& insn) {
    return RegisterOperand<0>::modify<T>(cpu, insn, [](T old) { return alu::swap_bytes<T>(old); });
}
InsnHandler bind_bswap(const Insn& insn) {
    switch (insn.operands[0].size) {
        case 2:
            return chained_pure<op_bswap_word>;
        case 4:
            return chained_pure<op_bswap<u32>>;
        default:
            return chained_pure<op_bswap<u64>>;
    }
}

// --- BMI: three operands, one of them r/m, of 32 or 64 bits. `Place` is which of the sources is r/m (operand number).

template <class T, unsigned N>
bool read_operand(Cpu& cpu, const Insn& insn, T& value) {
    if (is_memory(insn, N)) return MemoryOperand::read<T>(cpu, insn, value);
    if (is_immediate(insn, N)) return ImmediateOperand::read<T>(cpu, insn, value);
    return RegisterOperand<N>::template read<T>(cpu, insn, value);
}

// function(first source, second source, flags) -> result
template <class Function, class T>
bool op_bmi(Cpu& cpu, const Insn& insn) {
    T first, second;
    if (!read_operand<T, 1>(cpu, insn, first) || !read_operand<T, 2>(cpu, insn, second)) return false;
    return RegisterOperand<0>::write<T>(cpu, insn, Function::template apply<T>(first, second, cpu.state.status));
}

#define LODGE_BMI_FUNCTION(Name, expression)           \
    struct Name {                                      \
        template <class T>                             \
        static T apply(T a, T b, StatusFlags& flags) { \
            return static_cast<T>(expression);         \
        }                                              \
    };
LODGE_BMI_FUNCTION(op_andn, alu::and_not<T>(a, b, flags))
LODGE_BMI_FUNCTION(op_bextr, alu::extract_bits<T>(a, b, flags))
LODGE_BMI_FUNCTION(op_bzhi, alu::zero_high_bits<T>(a, b, flags))
LODGE_BMI_FUNCTION(op_pdep, alu::deposit_bits<T>(a, b))
LODGE_BMI_FUNCTION(op_pext, alu::gather_bits<T>(a, b))
LODGE_BMI_FUNCTION(op_rorx, std::rotr(a, static_cast<int>(b&(alu::kBits<T> - 1))))
LODGE_BMI_FUNCTION(op_sarx, static_cast<std::make_signed_t<T>>(a) >> (b & (alu::kBits<T> - 1)))
LODGE_BMI_FUNCTION(op_shlx, a << (b & (alu::kBits<T> - 1)))
LODGE_BMI_FUNCTION(op_shrx, a >> (b & (alu::kBits<T> - 1)))
#undef LODGE_BMI_FUNCTION

template <class Function>
InsnHandler bind_bmi(const Insn& insn) {
    return insn.operands[0].size == 8 ? chained<op_bmi<Function, u64>> : chained<op_bmi<Function, u32>>;
}

// MULX high, low, r/m: the other factor is rDX. With one register for both, the high half stays.
template <class T>
bool op_mulx(Cpu& cpu, const Insn& insn) {
    T source;
    if (!read_operand<T, 2>(cpu, insn, source)) return false;
    const u128 product = u128{get_gpr<T>(cpu, kRdx)} * source;
    set_gpr<T>(cpu, insn.operands[1].reg, static_cast<T>(product));
    set_gpr<T>(cpu, insn.operands[0].reg, static_cast<T>(product >> alu::kBits<T>));
    return true;
}

InsnHandler bind_bits(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::BT:
            return bind_bit<op_bt>(insn);
        case Opcode::BTS:
            return bind_bit<op_bts>(insn);
        case Opcode::BTR:
            return bind_bit<op_btr>(insn);
        case Opcode::BTC:
            return bind_bit<op_btc>(insn);
        case Opcode::BSF:
            return bind_load<op_bsf>(insn);
        case Opcode::BSR:
            return bind_load<op_bsr>(insn);
        case Opcode::BSWAP:
            return bind_bswap(insn);
        case Opcode::POPCNT:
            return bind_load<op_popcnt>(insn);
        case Opcode::LZCNT:
            return bind_load<op_lzcnt>(insn);
        case Opcode::TZCNT:
            return bind_load<op_tzcnt>(insn);
        case Opcode::BLSI:
            return bind_load<op_blsi>(insn);
        case Opcode::BLSMSK:
            return bind_load<op_blsmsk>(insn);
        case Opcode::BLSR:
            return bind_load<op_blsr>(insn);
        case Opcode::ADCX:
            return bind_load<op_adcx>(insn);
        case Opcode::ADOX:
            return bind_load<op_adox>(insn);
        case Opcode::CRC32:
            return bind_crc32(insn);
        case Opcode::ANDN:
            return bind_bmi<op_andn>(insn);
        case Opcode::BEXTR:
            return bind_bmi<op_bextr>(insn);
        case Opcode::BZHI:
            return bind_bmi<op_bzhi>(insn);
        case Opcode::PDEP:
            return bind_bmi<op_pdep>(insn);
        case Opcode::PEXT:
            return bind_bmi<op_pext>(insn);
        case Opcode::RORX:
            return bind_bmi<op_rorx>(insn);
        case Opcode::SARX:
            return bind_bmi<op_sarx>(insn);
        case Opcode::SHLX:
            return bind_bmi<op_shlx>(insn);
        case Opcode::SHRX:
            return bind_bmi<op_shrx>(insn);
        case Opcode::MULX:
            return insn.operands[0].size == 8 ? chained<op_mulx<u64>> : chained<op_mulx<u32>>;
        default:
            return nullptr;
    }
}

}  // namespace

InsnHandler bind_shift(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::ROL:
            return bind_unary<op_rol>(insn);
        case Opcode::ROR:
            return bind_unary<op_ror>(insn);
        case Opcode::RCL:
            return bind_unary<op_rcl>(insn);
        case Opcode::RCR:
            return bind_unary<op_rcr>(insn);
        case Opcode::SHL:
            return bind_unary<op_shl>(insn);
        case Opcode::SHR:
            return bind_unary<op_shr>(insn);
        case Opcode::SAR:
            return bind_unary<op_sar>(insn);
        case Opcode::SHLD:
            return bind_unary_wide<op_shld>(insn);
        case Opcode::SHRD:
            return bind_unary_wide<op_shrd>(insn);
        default:
            return bind_bits(insn);
    }
}

}  // namespace lodge
