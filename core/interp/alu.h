// Integer arithmetic with its flags, as pure functions: operands in, value out, StatusFlags updated.
//
// The host is an x86-64 and has the same instructions, so each function is that instruction between giving the host
// the guest's flags and taking them back: exact by construction, undefined and untouched flags included (they come out
// as this host's CPU leaves them). What the host may lack, or has no 64-bit encoding for, is written out.
#pragma once

#include "core/cpu/state.h"

namespace lodge::alu {

// LAHF and SETO put the flags where StatusFlags has them: AH = SF ZF 0 AF 0 PF 1 CF, AL = OF.
#define LODGE_TAKE_FLAGS "lahf\n\tseto %%al"
// The way back: 1 + 127 overflows a signed byte, 0 + 127 does not; SAHF leaves OF alone.
#define LODGE_GIVE_FLAGS "addb $127, %%al\n\tsahf\n\t"

inline void put_flags(StatusFlags& flags, u16 ax) {
    store<u16>(&flags, ax);
}
inline u16 get_flags(const StatusFlags& flags) {
    return load<u16>(&flags);
}

template <class T>
constexpr unsigned kBits = 8 * sizeof(T);

// Flags are written whole.
#define LODGE_BINARY(name, instruction)                                                        \
    template <class T>                                                                         \
    inline T name(T a, T b, StatusFlags& flags) {                                              \
        u16 ax;                                                                                \
        asm(instruction " %2, %0\n\t" LODGE_TAKE_FLAGS : "+q"(a), "=&a"(ax) : "qm"(b) : "cc"); \
        put_flags(flags, ax);                                                                  \
        return a;                                                                              \
    }

LODGE_BINARY(add, "add")
LODGE_BINARY(sub, "sub")
LODGE_BINARY(bit_and, "and")
LODGE_BINARY(bit_or, "or")
LODGE_BINARY(bit_xor, "xor")

#undef LODGE_BINARY

// Flags go in and come out.
#define LODGE_BINARY_WITH_FLAGS(name, instruction)                                                             \
    template <class T>                                                                                         \
    inline T name(T a, T b, StatusFlags& flags) {                                                              \
        u16 ax = get_flags(flags);                                                                             \
        asm(LODGE_GIVE_FLAGS instruction " %2, %0\n\t" LODGE_TAKE_FLAGS : "+q"(a), "+&a"(ax) : "q"(b) : "cc"); \
        put_flags(flags, ax);                                                                                  \
        return a;                                                                                              \
    }

LODGE_BINARY_WITH_FLAGS(add_with_carry, "adc")
LODGE_BINARY_WITH_FLAGS(sub_with_borrow, "sbb")
// 16, 32 and 64 bits only, from here on.
LODGE_BINARY_WITH_FLAGS(multiply_signed, "imul")
LODGE_BINARY_WITH_FLAGS(bit_test, "bt")  // the bit's number modulo the width
LODGE_BINARY_WITH_FLAGS(bit_test_and_set, "bts")
LODGE_BINARY_WITH_FLAGS(bit_test_and_reset, "btr")
LODGE_BINARY_WITH_FLAGS(bit_test_and_complement, "btc")
LODGE_BINARY_WITH_FLAGS(scan_forward, "bsf")  // a zero source leaves `a`
LODGE_BINARY_WITH_FLAGS(scan_reverse, "bsr")

#undef LODGE_BINARY_WITH_FLAGS

#define LODGE_UNARY(name, instruction)                                                              \
    template <class T>                                                                              \
    inline T name(T a, StatusFlags& flags) {                                                        \
        u16 ax = get_flags(flags);                                                                  \
        asm(LODGE_GIVE_FLAGS instruction " %0\n\t" LODGE_TAKE_FLAGS : "+q"(a), "+&a"(ax) : : "cc"); \
        put_flags(flags, ax);                                                                       \
        return a;                                                                                   \
    }

LODGE_UNARY(increment, "inc")
LODGE_UNARY(decrement, "dec")
LODGE_UNARY(negate, "neg")

#undef LODGE_UNARY

// Shifts and rotates: the host masks the count to 5 bits (6 for u64), rotates through carry modulo 9 or 17, and leaves
// the flags alone when the masked count is 0 (SDM vol. 2, "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR").
#define LODGE_SHIFT(name, instruction)                                                                               \
    template <class T>                                                                                               \
    inline T name(T a, u8 count, StatusFlags& flags) {                                                               \
        u16 ax = get_flags(flags);                                                                                   \
        asm(LODGE_GIVE_FLAGS instruction " %%cl, %0\n\t" LODGE_TAKE_FLAGS : "+q"(a), "+&a"(ax) : "c"(count) : "cc"); \
        put_flags(flags, ax);                                                                                        \
        return a;                                                                                                    \
    }

LODGE_SHIFT(shift_left, "shl")
LODGE_SHIFT(shift_right, "shr")
LODGE_SHIFT(shift_right_signed, "sar")
LODGE_SHIFT(rotate_left, "rol")
LODGE_SHIFT(rotate_right, "ror")
LODGE_SHIFT(rotate_left_carry, "rcl")
LODGE_SHIFT(rotate_right_carry, "rcr")

#undef LODGE_SHIFT

// SHLD and SHRD: 16, 32 and 64 bits. A count above 16 with 16 bits is undefined: what the host does.
#define LODGE_DOUBLE_SHIFT(name, instruction)                                 \
    template <class T>                                                        \
    inline T name(T a, T fill, u8 count, StatusFlags& flags) {                \
        u16 ax = get_flags(flags);                                            \
        asm(LODGE_GIVE_FLAGS instruction " %%cl, %3, %0\n\t" LODGE_TAKE_FLAGS \
            : "+r"(a), "+&a"(ax)                                              \
            : "c"(count), "r"(fill)                                           \
            : "cc");                                                          \
        put_flags(flags, ax);                                                 \
        return a;                                                             \
    }

LODGE_DOUBLE_SHIFT(shift_left_double, "shld")
LODGE_DOUBLE_SHIFT(shift_right_double, "shrd")

#undef LODGE_DOUBLE_SHIFT

// What MUL leaves and DIV takes and leaves: high:low are rDX:rAX (AH:AL for bytes).
template <class T>
struct Pair {
    T low, high;
};

#define LODGE_WIDE_MULTIPLY(Type, instruction, accumulator)                                      \
    {                                                                                            \
        Type low = a, high;                                                                      \
        asm(LODGE_GIVE_FLAGS "mov %0, " accumulator "\n\t" instruction " %3\n\tmov " accumulator \
                             ", %0\n\t" LODGE_TAKE_FLAGS                                         \
            : "+&r"(low), "=&d"(high), "+&a"(ax)                                                 \
            : "r"(b)                                                                             \
            : "cc");                                                                             \
        put_flags(flags, ax);                                                                    \
        return {low, high};                                                                      \
    }
#define LODGE_WIDE_MULTIPLY_FUNCTION(name, instruction)                                                      \
    template <class T>                                                                                       \
    inline Pair<T> name(T a, T b, StatusFlags& flags) {                                                      \
        u16 ax = get_flags(flags);                                                                           \
        if constexpr (sizeof(T) == 1) {                                                                      \
            u16 product;                                                                                     \
            asm(LODGE_GIVE_FLAGS "movb %2, %%al\n\t" instruction " %3\n\tmovw %%ax, %0\n\t" LODGE_TAKE_FLAGS \
                : "=&r"(product), "+&a"(ax)                                                                  \
                : "q"(a), "q"(b)                                                                             \
                : "cc");                                                                                     \
            put_flags(flags, ax);                                                                            \
            return {static_cast<T>(product), static_cast<T>(product >> 8)};                                  \
        } else if constexpr (sizeof(T) == 2)                                                                 \
            LODGE_WIDE_MULTIPLY(u16, instruction, "%%ax")                                                    \
        else if constexpr (sizeof(T) == 4)                                                                   \
            LODGE_WIDE_MULTIPLY(u32, instruction, "%%eax")                                                   \
        else                                                                                                 \
            LODGE_WIDE_MULTIPLY(u64, instruction, "%%rax")                                                   \
    }

LODGE_WIDE_MULTIPLY_FUNCTION(multiply_wide, "mul")
LODGE_WIDE_MULTIPLY_FUNCTION(multiply_wide_signed, "imul")

#undef LODGE_WIDE_MULTIPLY_FUNCTION
#undef LODGE_WIDE_MULTIPLY

// The quotient would not fit (or the divisor is 0): #DE. SDM vol. 2, "DIV", "IDIV".
template <class T>
constexpr bool divide_overflows(Pair<T> dividend, T divisor) {
    return dividend.high >= divisor;
}
// |quotient| may be 2^(n-1) - 1, or 2^(n-1) when it is negative; and |n| / |d| <= m just when |n| < |d| * (m + 1).
template <class T>
constexpr bool divide_signed_overflows(Pair<T> dividend, T divisor) {
    const u128 top = u128{1} << (2 * kBits<T> - 1);
    const u128 raw = u128{dividend.high} << kBits<T> | dividend.low;
    const bool negative = raw & top, divisor_negative = divisor >> (kBits<T> - 1);
    const u128 magnitude = negative ? (~raw + 1) & (top | (top - 1)) : raw;
    const T divisor_magnitude = divisor_negative ? static_cast<T>(~divisor + 1) : divisor;
    const u128 bound = (u128{1} << (kBits<T> - 1)) + (negative != divisor_negative);
    return magnitude >= bound * divisor_magnitude;
}

// Only when it does not overflow. Quotient in `low`, remainder in `high`.
#define LODGE_DIVIDE(Type, instruction, accumulator)                                             \
    {                                                                                            \
        Type low = dividend.low, high = dividend.high;                                           \
        asm(LODGE_GIVE_FLAGS "mov %0, " accumulator "\n\t" instruction " %3\n\tmov " accumulator \
                             ", %0\n\t" LODGE_TAKE_FLAGS                                         \
            : "+&r"(low), "+&d"(high), "+&a"(ax)                                                 \
            : "r"(divisor)                                                                       \
            : "cc");                                                                             \
        put_flags(flags, ax);                                                                    \
        return {low, high};                                                                      \
    }
#define LODGE_DIVIDE_FUNCTION(name, instruction)                                                             \
    template <class T>                                                                                       \
    inline Pair<T> name(Pair<T> dividend, T divisor, StatusFlags& flags) {                                   \
        u16 ax = get_flags(flags);                                                                           \
        if constexpr (sizeof(T) == 1) {                                                                      \
            u16 value = static_cast<u16>(dividend.high << 8 | dividend.low);                                 \
            asm(LODGE_GIVE_FLAGS "movw %0, %%ax\n\t" instruction " %2\n\tmovw %%ax, %0\n\t" LODGE_TAKE_FLAGS \
                : "+&r"(value), "+&a"(ax)                                                                    \
                : "q"(divisor)                                                                               \
                : "cc");                                                                                     \
            put_flags(flags, ax);                                                                            \
            return {static_cast<T>(value), static_cast<T>(value >> 8)};                                      \
        } else if constexpr (sizeof(T) == 2)                                                                 \
            LODGE_DIVIDE(u16, instruction, "%%ax")                                                           \
        else if constexpr (sizeof(T) == 4)                                                                   \
            LODGE_DIVIDE(u32, instruction, "%%eax")                                                          \
        else                                                                                                 \
            LODGE_DIVIDE(u64, instruction, "%%rax")                                                          \
    }

LODGE_DIVIDE_FUNCTION(divide, "div")
LODGE_DIVIDE_FUNCTION(divide_signed, "idiv")

#undef LODGE_DIVIDE_FUNCTION
#undef LODGE_DIVIDE

template <class T>
inline T swap_bytes(T a) {
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(a);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(a);
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(a);
}
// BSWAP of a 16-bit register is undefined: what the host does. The bytes are "bswap %ax", which assemblers refuse.
inline u16 bswap_word(u16 a) {
    asm(".byte 0x66, 0x0F, 0xC8" : "+a"(a));
    return a;
}

// --- Decimal adjustment: not in 64-bit mode, so written out (SDM vol. 2, "AAA" to "DAS"). ax is AH:AL. Each is an
// addition or subtraction whose flags stay, undefined ones included (measured on AMD Zen 5), but for CF and AF.

inline void set_carry_and_adjust(StatusFlags& flags, bool carry, bool adjust) {
    flags.low = static_cast<u8>((flags.low & ~(kFlagCarry | kFlagAdjust)) | (carry ? kFlagCarry : 0) |
                                (adjust ? kFlagAdjust : 0));
}
inline u16 ascii_adjust_add(u16 ax, StatusFlags& flags) {
    const bool adjust = (ax & 0x0F) > 9 || flags.adjust();
    ax = add<u16>(ax, adjust ? 0x106 : 0, flags);
    set_carry_and_adjust(flags, adjust, adjust);
    return ax & 0xFF0F;
}
inline u16 ascii_adjust_subtract(u16 ax, StatusFlags& flags) {
    const bool adjust = (ax & 0x0F) > 9 || flags.adjust();
    ax = sub<u16>(ax, adjust ? 0x106 : 0, flags);
    set_carry_and_adjust(flags, adjust, adjust);
    return ax & 0xFF0F;
}
// base is not 0.
inline u16 ascii_adjust_multiply(u8 al, u8 base, StatusFlags& flags) {
    const u8 low = bit_or<u8>(al % base, 0, flags);
    set_carry_and_adjust(flags, false, false);
    return static_cast<u16>((al / base) << 8 | low);
}
inline u16 ascii_adjust_divide(u16 ax, u8 base, StatusFlags& flags) {
    return add<u8>(static_cast<u8>(ax), static_cast<u8>((ax >> 8) * base), flags);
}
inline u8 decimal_adjust_add(u8 al, StatusFlags& flags) {
    const bool low = (al & 0x0F) > 9 || flags.adjust();
    const bool high = al > 0x99 || flags.carry();
    al = add<u8>(al, static_cast<u8>((low ? 0x06 : 0) + (high ? 0x60 : 0)), flags);
    set_carry_and_adjust(flags, high, low);
    return al;
}
inline u8 decimal_adjust_subtract(u8 al, StatusFlags& flags) {
    const bool low = (al & 0x0F) > 9 || flags.adjust();
    const bool high = al > 0x99 || flags.carry();
    const bool borrow = high || (low && al < 6);
    al = sub<u8>(al, static_cast<u8>((low ? 0x06 : 0) + (high ? 0x60 : 0)), flags);
    set_carry_and_adjust(flags, borrow, low);
    return al;
}

// --- Instructions that the host may lack. Flags that the SDM leaves undefined are as AMD Zen 5 leaves them, but for
// BEXTR's.

template <class T>
inline T population_count(T a, StatusFlags& flags) {
    flags.overflow = 0;
    flags.low = a ? 0x02 : 0x02 | kFlagZero;
    return static_cast<T>(std::popcount(a));
}
inline void set_count_flags(StatusFlags& flags, bool source_is_zero, bool result_is_zero) {
    flags.low = static_cast<u8>(0x02 | (source_is_zero ? kFlagCarry : 0) | (result_is_zero ? kFlagZero : 0));
}
template <class T>
inline T count_trailing_zeros(T a, StatusFlags& flags) {
    const T result = static_cast<T>(std::countr_zero(a));
    set_count_flags(flags, a == 0, result == 0);
    return result;
}
template <class T>
inline T count_leading_zeros(T a, StatusFlags& flags) {
    const T result = static_cast<T>(std::countl_zero(a));
    set_count_flags(flags, a == 0, result == 0);
    return result;
}
// BMI results: flags as of a logical operation, but CF.
template <class T>
inline T bit_manipulation_result(T result, bool carry, StatusFlags& flags) {
    bit_or<T>(result, result, flags);
    flags.set_carry(carry);
    return result;
}
template <class T>
inline T and_not(T a, T b, StatusFlags& flags) {
    return bit_manipulation_result<T>(static_cast<T>(~a & b), false, flags);
}
template <class T>
inline T isolate_lowest_bit(T a, StatusFlags& flags) {
    return bit_manipulation_result<T>(static_cast<T>(a & (0 - a)), a != 0, flags);
}
template <class T>
inline T mask_to_lowest_bit(T a, StatusFlags& flags) {
    return bit_manipulation_result<T>(static_cast<T>(a ^ (a - 1)), a == 0, flags);
}
template <class T>
inline T reset_lowest_bit(T a, StatusFlags& flags) {
    return bit_manipulation_result<T>(static_cast<T>(a & (a - 1)), a == 0, flags);
}
// control: start in bits 7:0, length in bits 15:8.
template <class T>
inline T extract_bits(T a, T control, StatusFlags& flags) {
    const unsigned start = control & 0xFF, length = (control >> 8) & 0xFF;
    T result = start < kBits<T> ? static_cast<T>(a >> start) : T{0};
    if (length < kBits<T>) result = static_cast<T>(result & ((T{1} << length) - 1));
    return bit_manipulation_result<T>(result, false, flags);
}
template <class T>
inline T zero_high_bits(T a, T index, StatusFlags& flags) {
    const unsigned first = index & 0xFF;
    const T result = first < kBits<T> ? static_cast<T>(a & ((T{1} << first) - 1)) : a;
    return bit_manipulation_result<T>(result, first >= kBits<T>, flags);
}
template <class T>
inline T deposit_bits(T a, T mask) {
    T result = 0;
    for (; mask; mask = static_cast<T>(mask & (mask - 1)), a = static_cast<T>(a >> 1))
        if (a & 1) result = static_cast<T>(result | (mask & (0 - mask)));
    return result;
}
template <class T>
inline T gather_bits(T a, T mask) {
    T result = 0;
    for (T to = 1; mask; mask = static_cast<T>(mask & (mask - 1)), to = static_cast<T>(to << 1))
        if (a & mask & (0 - mask)) result = static_cast<T>(result | to);
    return result;
}
// ADCX and ADOX: an addition whose carry is one flag and which leaves the others.
template <class T>
inline T add_with(T a, T b, bool carry_in, bool& carry_out) {
    const u128 sum = u128{a} + b + carry_in;
    carry_out = (sum >> kBits<T>)&1;
    return static_cast<T>(sum);
}
// CRC-32C, bit-reflected polynomial 11EDC6F41h (SDM vol. 2, "CRC32").
template <class T>
inline u32 crc32c(u32 crc, T data) {
    u64 rest = data ^ u64 { crc };
    u64 beyond = sizeof(T) < 4 ? crc >> (8 * (sizeof(T) & 3)) : 0;
    if constexpr (sizeof(T) < 4) rest &= (u64{1} << kBits<T>)-1;
    for (unsigned i = 0; i < kBits<T>; ++i) rest = (rest >> 1) ^ (rest & 1 ? 0x82F63B78u : 0);
    return static_cast<u32>(rest ^ beyond);
}

}  // namespace lodge::alu
