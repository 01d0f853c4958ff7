// alu.h against plain models written from the manual, on random and on extreme values: results and defined flags.
#include "core/interp/alu.h"

#include <doctest/doctest.h>

#include <random>

using namespace lodge;

namespace {

constexpr int kRounds = 4000;

class Values {
  public:
    template <class T>
    T next() {
        const u64 raw = random_();
        switch (raw % 8) {
            case 0:
                return static_cast<T>(random_() % 4);
            case 1:
                return static_cast<T>(0 - random_() % 4);
            case 2:
                return static_cast<T>((T{1} << (8 * sizeof(T) - 1)) + random_() % 3 - 1);
            default:
                return static_cast<T>(random_());
        }
    }
    StatusFlags flags() {
        StatusFlags flags;
        flags.set_eflags(static_cast<u32>(random_()));
        return flags;
    }

  private:
    std::mt19937_64 random_{1};
};

template <class T>
constexpr unsigned kWidth = 8 * sizeof(T);
template <class T>
bool top(T value) {
    return value >> (kWidth<T> - 1);
}
template <class T>
i128 as_signed(T value) {
    return static_cast<std::make_signed_t<T>>(value);
}

u32 pick(u32 flag, bool on) {
    return on ? flag : 0;
}
template <class T>
u32 sign_zero_parity(T result) {
    return pick(kFlagSign, top(result)) | pick(kFlagZero, result == 0) |
           pick(kFlagParity, std::popcount(static_cast<u8>(result)) % 2 == 0);
}
template <class T>
u32 sum_flags(T a, T b, bool carry, T result) {
    const i128 exact = as_signed(a) + as_signed(b) + carry;
    return sign_zero_parity(result) | pick(kFlagCarry, (u128{a} + b + carry) >> kWidth<T>) |
           pick(kFlagAdjust, (a & 15) + (b & 15) + carry > 15) | pick(kFlagOverflow, exact != as_signed(result));
}
template <class T>
u32 difference_flags(T a, T b, bool borrow, T result) {
    const i128 exact = as_signed(a) - as_signed(b) - borrow;
    return sign_zero_parity(result) | pick(kFlagCarry, u128{a} < u128{b} + borrow) |
           pick(kFlagAdjust, (a & 15) < (b & 15) + borrow) | pick(kFlagOverflow, exact != as_signed(result));
}

struct Check {
    u32 mask;
    void operator()(const StatusFlags& flags, u32 expected) const {
        CHECK((flags.eflags() & mask) == (expected & mask));
        CHECK((flags.low & ~kArithmeticFlags) == 0x02);
        CHECK(flags.overflow <= 1);
    }
};
constexpr u32 kAll = kArithmeticFlags;

template <class T>
void check_additions(Values& values) {
    const T a = values.next<T>(), b = values.next<T>();
    const StatusFlags before = values.flags();
    const bool carry = before.carry();
    StatusFlags flags = before;
    T result = alu::add<T>(a, b, flags);
    CHECK(result == static_cast<T>(a + b));
    Check{kAll}(flags, sum_flags<T>(a, b, false, result));

    flags = before;
    result = alu::add_with_carry<T>(a, b, flags);
    CHECK(result == static_cast<T>(a + b + carry));
    Check{kAll}(flags, sum_flags<T>(a, b, carry, result));

    flags = before;
    result = alu::sub<T>(a, b, flags);
    CHECK(result == static_cast<T>(a - b));
    Check{kAll}(flags, difference_flags<T>(a, b, false, result));

    flags = before;
    result = alu::sub_with_borrow<T>(a, b, flags);
    CHECK(result == static_cast<T>(a - b - carry));
    Check{kAll}(flags, difference_flags<T>(a, b, carry, result));

    flags = before;
    result = alu::negate<T>(a, flags);
    CHECK(result == static_cast<T>(0 - a));
    Check{kAll}(flags, difference_flags<T>(0, a, false, result));

    flags = before;
    result = alu::increment<T>(a, flags);
    CHECK(result == static_cast<T>(a + 1));
    Check{kAll & ~kFlagCarry}(flags, sum_flags<T>(a, 1, false, result));
    CHECK(flags.carry() == carry);

    flags = before;
    result = alu::decrement<T>(a, flags);
    CHECK(result == static_cast<T>(a - 1));
    Check{kAll & ~kFlagCarry}(flags, difference_flags<T>(a, 1, false, result));
    CHECK(flags.carry() == carry);
}

template <class T>
void check_logic(Values& values) {
    const T a = values.next<T>(), b = values.next<T>();
    StatusFlags flags = values.flags();
    const Check check{kAll & ~kFlagAdjust};
    CHECK(alu::bit_and<T>(a, b, flags) == (a & b));
    check(flags, sign_zero_parity<T>(a & b));
    CHECK(alu::bit_or<T>(a, b, flags) == (a | b));
    check(flags, sign_zero_parity<T>(a | b));
    CHECK(alu::bit_xor<T>(a, b, flags) == (a ^ b));
    check(flags, sign_zero_parity<T>(a ^ b));
}

// Shifts and rotates one bit at a time: value and carry.
template <class T, class Step>
T step_by_step(T a, unsigned count, bool& carry, Step step) {
    while (count--) a = step(a, carry);
    return a;
}
constexpr auto step_shl = [](auto a, bool& carry) {
    carry = top(a);
    return static_cast<decltype(a)>(a << 1);
};
constexpr auto step_shr = [](auto a, bool& carry) {
    carry = a & 1;
    return static_cast<decltype(a)>(a >> 1);
};
constexpr auto step_sar = [](auto a, bool& carry) {
    carry = a & 1;
    return static_cast<decltype(a)>(as_signed(a) >> 1);
};
constexpr auto step_rol = [](auto a, bool& carry) {
    carry = top(a);
    return static_cast<decltype(a)>(a << 1 | carry);
};
constexpr auto step_ror = [](auto a, bool& carry) {
    using T = decltype(a);
    carry = a & 1;
    return static_cast<T>(a >> 1 | T{carry} << (kWidth<T> - 1));
};
constexpr auto step_rcl = [](auto a, bool& carry) {
    const bool in = carry;
    carry = top(a);
    return static_cast<decltype(a)>(a << 1 | in);
};
constexpr auto step_rcr = [](auto a, bool& carry) {
    using T = decltype(a);
    const bool in = carry;
    carry = a & 1;
    return static_cast<T>(a >> 1 | T{in} << (kWidth<T> - 1));
};

template <class T, class Function, class Step>
void check_shift(Values& values, bool is_rotate, Function function, Step step) {
    const T a = values.next<T>();
    const u8 raw_count = values.next<u8>();
    const unsigned count = raw_count & (sizeof(T) == 8 ? 63 : 31);
    const StatusFlags before = values.flags();
    StatusFlags flags = before;
    bool carry = before.carry();
    const T result = function(a, raw_count, flags);
    CHECK(result == step_by_step(a, count, carry, step));
    if (count == 0) return Check{kAll}(flags, before.eflags());
    const bool carry_defined = is_rotate || count <= kWidth<T>;
    u32 mask = carry_defined ? kFlagCarry : 0;
    u32 expected = pick(kFlagCarry, carry);
    const u32 rest = kFlagSign | kFlagZero | kFlagParity;
    mask |= is_rotate ? rest | kFlagAdjust : rest;
    expected |= is_rotate ? before.eflags() & (rest | kFlagAdjust) : sign_zero_parity(result);
    if (count == 1) {  // the sign changed, in the direction of the shift
        mask |= kFlagOverflow;
        expected |= pick(kFlagOverflow, top(a) != top(result));
    }
    Check{mask}(flags, expected);
}

template <class T>
void check_shifts(Values& values) {
    check_shift<T>(values, false, alu::shift_left<T>, step_shl);
    check_shift<T>(values, false, alu::shift_right<T>, step_shr);
    check_shift<T>(values, false, alu::shift_right_signed<T>, step_sar);
    check_shift<T>(values, true, alu::rotate_left<T>, step_rol);
    check_shift<T>(values, true, alu::rotate_right<T>, step_ror);
    check_shift<T>(values, true, alu::rotate_left_carry<T>, step_rcl);
    check_shift<T>(values, true, alu::rotate_right_carry<T>, step_rcr);
}

template <class T>
void check_double_shifts(Values& values) {
    const T a = values.next<T>(), fill = values.next<T>();
    const unsigned count = values.next<u8>() % kWidth<T>;
    const StatusFlags before = values.flags();
    StatusFlags flags = before;
    const u128 left = (u128{a} << kWidth<T> | fill);
    const T shld = alu::shift_left_double<T>(a, fill, static_cast<u8>(count), flags);
    CHECK(shld == static_cast<T>((left << count) >> kWidth<T>));
    if (count)
        Check{kFlagCarry | kFlagZero | kFlagSign | kFlagParity}(
            flags, sign_zero_parity(shld) | pick(kFlagCarry, a >> (kWidth<T> - count) & 1));
    flags = before;
    const u128 right = (u128{fill} << kWidth<T> | a);
    const T shrd = alu::shift_right_double<T>(a, fill, static_cast<u8>(count), flags);
    CHECK(shrd == static_cast<T>(right >> count));
    if (count)
        Check{kFlagCarry | kFlagZero | kFlagSign | kFlagParity}(
            flags, sign_zero_parity(shrd) | pick(kFlagCarry, a >> (count - 1) & 1));
    if (count == 0) Check{kAll}(flags, before.eflags());
}

template <class T>
void check_multiplication(Values& values) {
    const T a = values.next<T>(), b = values.next<T>();
    StatusFlags flags = values.flags();
    const alu::Pair<T> product = alu::multiply_wide<T>(a, b, flags);
    const u128 exact = u128{a} * b;
    CHECK(product.low == static_cast<T>(exact));
    CHECK(product.high == static_cast<T>(exact >> kWidth<T>));
    Check{kFlagCarry | kFlagOverflow}(flags, product.high ? kFlagCarry | kFlagOverflow : 0);

    const alu::Pair<T> signed_product = alu::multiply_wide_signed<T>(a, b, flags);
    const i128 signed_exact = as_signed(a) * as_signed(b);
    CHECK(signed_product.low == static_cast<T>(signed_exact));
    CHECK(signed_product.high == static_cast<T>(signed_exact >> kWidth<T>));
    const u32 lost = signed_exact == as_signed(static_cast<T>(signed_exact)) ? 0 : kFlagCarry | kFlagOverflow;
    Check{kFlagCarry | kFlagOverflow}(flags, lost);
    if constexpr (sizeof(T) > 1) {
        CHECK(alu::multiply_signed<T>(a, b, flags) == static_cast<T>(signed_exact));
        Check{kFlagCarry | kFlagOverflow}(flags, lost);
    }
}

template <class T>
void check_division(Values& values) {
    const T divisor = values.next<T>();
    alu::Pair<T> dividend{values.next<T>(), values.next<T>()};
    if (values.next<u8>() & 1) dividend.high = static_cast<T>(values.next<u8>() & 1 ? 0 : ~T{0});
    if (values.next<u8>() % 4 == 0) dividend.high = static_cast<T>(divisor >> 1);
    StatusFlags flags = values.flags();
    const u128 whole = u128{dividend.high} << kWidth<T> | dividend.low;
    const bool overflows = divisor == 0 || whole / divisor > static_cast<T>(~T{0});
    REQUIRE(alu::divide_overflows<T>(dividend, divisor) == overflows);
    if (!overflows) {
        const alu::Pair<T> result = alu::divide<T>(dividend, divisor, flags);
        CHECK(result.low == whole / divisor);
        CHECK(result.high == whole % divisor);
    }
    // -2^127 / -1 is the one quotient that i128 cannot hold.
    const unsigned unused = 128 - 2 * kWidth<T>;
    const i128 signed_whole = static_cast<i128>(whole << unused) >> unused;
    const bool extreme = signed_whole == static_cast<i128>(u128{1} << 127) && as_signed(divisor) == -1;
    const i128 limit = i128{1} << (kWidth<T> - 1);
    const bool signed_overflows = divisor == 0 || extreme || signed_whole / as_signed(divisor) >= limit ||
                                  signed_whole / as_signed(divisor) < -limit;
    REQUIRE(alu::divide_signed_overflows<T>(dividend, divisor) == signed_overflows);
    if (!signed_overflows) {
        const alu::Pair<T> result = alu::divide_signed<T>(dividend, divisor, flags);
        CHECK(as_signed(result.low) == signed_whole / as_signed(divisor));
        CHECK(as_signed(result.high) == signed_whole % as_signed(divisor));
    }
}

template <class T>
void check_bits(Values& values) {
    const T a = values.next<T>(), b = values.next<T>();
    const T bit = static_cast<T>(T{1} << (b % kWidth<T>));
    const StatusFlags before = values.flags();
    const u32 carry = pick(kFlagCarry, a & bit);
    StatusFlags flags = before;
    alu::bit_test<T>(a, b, flags);
    Check{kFlagCarry | kFlagZero}(flags, carry | (before.eflags() & kFlagZero));
    CHECK(alu::bit_test_and_set<T>(a, b, flags) == (a | bit));
    Check{kFlagCarry}(flags, carry);
    CHECK(alu::bit_test_and_reset<T>(a, b, flags) == static_cast<T>(a & ~bit));
    Check{kFlagCarry}(flags, carry);
    CHECK(alu::bit_test_and_complement<T>(a, b, flags) == (a ^ bit));
    Check{kFlagCarry}(flags, carry);
    CHECK(alu::scan_forward<T>(a, b, flags) == (b ? static_cast<T>(std::countr_zero(b)) : a));
    Check{kFlagZero}(flags, pick(kFlagZero, b == 0));
    CHECK(alu::scan_reverse<T>(a, b, flags) == (b ? static_cast<T>(kWidth<T> - 1 - std::countl_zero(b)) : a));
    Check{kFlagZero}(flags, pick(kFlagZero, b == 0));
    CHECK(alu::swap_bytes<T>(alu::swap_bytes<T>(a)) == a);
    CHECK(static_cast<u8>(alu::swap_bytes<T>(a)) == static_cast<u8>(a >> (kWidth<T> - 8)));
    CHECK(alu::gather_bits<T>(alu::deposit_bits<T>(a, b), b) ==
          static_cast<T>(a & (b == static_cast<T>(~T{0}) ? b : (T{1} << std::popcount(b)) - 1)));
    CHECK(alu::deposit_bits<T>(static_cast<T>(~T{0}), b) == b);
}

}  // namespace

TEST_CASE("alu: additions and subtractions") {
    Values values;
    for (int i = 0; i < kRounds; ++i) {
        check_additions<u8>(values);
        check_additions<u16>(values);
        check_additions<u32>(values);
        check_additions<u64>(values);
    }
}

TEST_CASE("alu: logic") {
    Values values;
    for (int i = 0; i < kRounds; ++i) {
        check_logic<u8>(values);
        check_logic<u16>(values);
        check_logic<u32>(values);
        check_logic<u64>(values);
    }
}

TEST_CASE("alu: shifts and rotates") {
    Values values;
    for (int i = 0; i < kRounds; ++i) {
        check_shifts<u8>(values);
        check_shifts<u16>(values);
        check_shifts<u32>(values);
        check_shifts<u64>(values);
        check_double_shifts<u16>(values);
        check_double_shifts<u32>(values);
        check_double_shifts<u64>(values);
    }
}

TEST_CASE("alu: multiplication and division") {
    Values values;
    for (int i = 0; i < kRounds; ++i) {
        check_multiplication<u8>(values);
        check_multiplication<u16>(values);
        check_multiplication<u32>(values);
        check_multiplication<u64>(values);
        check_division<u8>(values);
        check_division<u16>(values);
        check_division<u32>(values);
        check_division<u64>(values);
    }
}

TEST_CASE("alu: bits") {
    Values values;
    for (int i = 0; i < kRounds; ++i) {
        check_bits<u16>(values);
        check_bits<u32>(values);
        check_bits<u64>(values);
    }
}

TEST_CASE("alu: decimal adjustment adds and subtracts packed digits") {
    for (unsigned a = 0; a < 100; ++a) {
        for (unsigned b = 0; b < 100; ++b) {
            const auto packed = [](unsigned n) { return static_cast<u8>(n / 10 << 4 | n % 10); };
            StatusFlags flags;
            u8 sum = alu::add<u8>(packed(a), packed(b), flags);
            sum = alu::decimal_adjust_add(sum, flags);
            CHECK(sum == packed((a + b) % 100));
            CHECK(flags.carry() == (a + b > 99));
            u8 difference = alu::sub<u8>(packed(a), packed(b), flags);
            difference = alu::decimal_adjust_subtract(difference, flags);
            CHECK(difference == packed((a + 100 - b) % 100));
            CHECK(flags.carry() == (a < b));
        }
    }
}

TEST_CASE("alu: CRC-32C of the check string") {
    // The catalogued check value of CRC-32/ISCSI (RFC 3720, appendix B.4 gives others of the same polynomial).
    u32 crc = ~0u;
    for (const char c : std::string_view("123456789")) crc = alu::crc32c<u8>(crc, static_cast<u8>(c));
    CHECK(~crc == 0xE3069283u);
    u32 by_parts = alu::crc32c<u32>(~0u, load<u32>("1234"));
    by_parts = alu::crc32c<u16>(by_parts, load<u16>("56"));
    by_parts = alu::crc32c<u16>(by_parts, load<u16>("78"));
    CHECK(~alu::crc32c<u8>(by_parts, '9') == 0xE3069283u);
    CHECK(~alu::crc32c<u8>(alu::crc32c<u64>(~0u, load<u64>("12345678")), '9') == 0xE3069283u);
}
