// The flags of SSE arithmetic when an overflow or underflow is not masked (SDM vol. 1, 4.9.1.4 and 4.9.1.5): PE is then
// that of the result rounded to the format's precision with an unbounded exponent. The x87 has that rounding for both
// formats, with an exponent wide enough for any one operation.
#pragma once

#include "core/interp/simd.h"

namespace lodge::simd {

// MXCSR (SDM vol. 1, 10.2.3). The flags' masks are seven bits above the flags.
constexpr u32 kMxcsrFlags = 0x3F, kMxcsrMasks = 0x1F80, kMxcsrFlushToZero = 0x8000;
constexpr u32 kMxcsrOverflow = 0x08, kMxcsrUnderflow = 0x10, kMxcsrPrecision = 0x20;
constexpr u32 kMxcsrBeforeComputing = 0x07;  // IE, DE, ZE
constexpr u32 kHostMxcsr = 0x1F80;           // what C++ code expects

enum class Step : u8 { add, subtract, multiply, divide, narrow };

// The operations on single elements that an instruction consists of.
struct Elements {
    Step even = Step::add, odd = Step::add;
    u8 size = 0;  // of an operand's element: 4 or 8
    u8 count = 0;
    bool horizontal = false;  // element by its neighbour, first those of the destination
};
// Of a kernel of simd_host.h; count 0: it knows neither overflow nor underflow.
template <class Kernel>
constexpr Elements kElementsOf = {};

// `mxcsr` is the guest's. `a` is the destination, `b` the source; of Step::narrow only `b` counts.
u32 element_flags(const Elements& elements, u32 mxcsr, __m128i a, __m128i b);

// An unmasked error found before computing keeps every element from being computed: no other flags then.
u32 reported(u32 flags, u32 mxcsr);

// The flags of DPPS (size 4) and DPPD (8), whose operands have zeros where nothing is to be multiplied: products, then
// sums of neighbours, then the sum of those. An unmasked exception ends it (SDM vol. 2, "DPPS"); what is found before
// computing hides the step's other flags.
u32 dot_product_flags(unsigned size, u32 mxcsr, __m128i a, __m128i b);

}  // namespace lodge::simd
