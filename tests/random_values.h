// Random numbers, and those values among them that matter to instructions more often than chance would have it: for the
// random instructions of tests/insn, tests/oracle and tests/lockstep.
#pragma once

#include "core/base/types.h"

namespace lodge {

// Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014): seeded for each case, so seeding has
// to cost nothing.
class Random {
  public:
    using result_type = u64;
    static constexpr u64 min() { return 0; }
    static constexpr u64 max() { return ~u64{0}; }
    void seed(u64 seed) { state_ = seed; }
    // Neighbouring numbers give sequences that do not overlap.
    void seed(u64 seed, u64 number) {
        state_ = seed;
        const u64 start = (*this)();
        state_ = start ^ number;
        state_ = (*this)();
    }
    u64 operator()() {
        u64 mixed = state_ += 0x9E3779B97F4A7C15;
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB;
        return mixed ^ mixed >> 31;
    }
    u64 below(u64 bound) { return (*this)() % bound; }
    bool chance(unsigned percent) { return below(100) < percent; }

  private:
    u64 state_ = 0;
};

// An integer: small ones, powers of two and the ends of the range are frequent.
template <class Source>
u64 random_integer(Source& random) {
    const u64 raw = random();
    switch (raw % 8) {
        case 0:
            return random() % 4;
        case 1:
            return 0 - random() % 4;
        case 2:
            return (u64{1} << (random() % 64)) - (raw >> 8 & 1);
        case 3:  // the extremes of a width, repeated
            return (raw >> 8 & 1 ? 0x7F7F7F7F7F7F7F7F : 0x8080808080808080) ^ (raw >> 9 & 1 ? random() % 256 : 0);
        case 4:
            return static_cast<u64>(static_cast<i32>(random()));
        default:
            return random();
    }
}

// A number of the IEEE format, with the classes that matter about as frequent as normal ones.
template <class Source>
u64 random_float(Source& random, unsigned exponent_bits, unsigned fraction_bits) {
    const u64 most = (u64{1} << exponent_bits) - 1, bias = most >> 1;
    const u64 fraction_mask = (u64{1} << fraction_bits) - 1;
    const u64 raw = random();
    u64 exponent = 0, fraction = random() & fraction_mask;
    switch (raw % 16) {
        case 0:
            fraction = 0;
            break;
        case 1:  // denormal
            break;
        case 2:  // infinity
            exponent = most;
            fraction = 0;
            break;
        case 3:  // NaN
            exponent = most;
            fraction |= u64{1} << (fraction_bits - 1);
            break;
        case 4:  // signalling
            exponent = most;
            fraction = (fraction & (fraction_mask >> 1)) | 1;
            break;
        case 5:  // small whole numbers
            exponent = bias + (raw >> 8) % 5;
            fraction &= fraction_mask << (fraction_bits - 3) & fraction_mask;
            break;
        case 6:  // about the range of integers
            exponent = bias + (raw >> 8) % 70;
            break;
        case 7:  // at the ends of the range
            exponent = raw >> 8 & 1 ? 1 + (raw >> 9) % 3 : most - 1 - (raw >> 9) % 3;
            break;
        case 8:
            exponent = bias - (raw >> 8) % 30;
            break;
        case 9:
            exponent = (raw >> 8) % (most + 1);
            fraction = fraction >> 63 % fraction_bits ? fraction_mask : 0;
            break;
        default:
            exponent = (raw >> 8) % (most + 1);
            if (raw % 16 > 12) exponent = bias + exponent % 9 - 4;
            break;
    }
    return (raw >> 63) << (exponent_bits + fraction_bits) | exponent << fraction_bits | fraction;
}

// 16 bytes at `to`: integers, or numbers of one of the floating-point formats.
template <class Source>
void random_operand(Source& random, u8* to) {
    u64 low = random_integer(random), high = random_integer(random);
    switch (random() % 8) {
        case 0:
            low = random_float(random, 11, 52), high = random_float(random, 11, 52);
            break;
        case 1:
            low = random_float(random, 8, 23) | random_float(random, 8, 23) << 32;
            high = random_float(random, 8, 23) | random_float(random, 8, 23) << 32;
            break;
        case 2: {  // extended precision, with the integer bit mostly right
            const u64 number_bits = random_float(random, 15, 48);
            high = (high & ~u64{0xFFFF}) | number_bits >> 48;
            low = number_bits << 15 | (random() & 0x7FFF);
            if ((number_bits >> 48 & 0x7FFF) != 0) low |= u64{1} << 63;
            break;
        }
        default:
            break;
    }
    store<u64>(to, low);
    store<u64>(to + 8, high);
}

}  // namespace lodge
