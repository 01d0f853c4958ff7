#include "core/interp/simd_unmasked.h"

namespace lodge::simd {

namespace {

struct Outcome {
    u64 value = 0;
    u32 flags = 0;
};

#define LODGE_SCALAR(instruction)                                                                          \
    asm volatile("ldmxcsr %[control]\n\t" instruction " %[b], %[a]\n\tstmxcsr %[after]\n\tldmxcsr %[host]" \
                 : [a] "+x"(a), [after] "=m"(after)                                                        \
                 : [b] "x"(b), [control] "m"(control), [host] "m"(host))

Outcome run_scalar(Step step, unsigned size, u32 control, u64 first, u64 second) {
    __m128i a = _mm_cvtsi64_si128(static_cast<i64>(first)), b = _mm_cvtsi64_si128(static_cast<i64>(second));
    const u32 host = kHostMxcsr;
    u32 after;
    const bool wide = size == 8;
    switch (step) {
        case Step::add:
            if (wide)
                LODGE_SCALAR("addsd");
            else
                LODGE_SCALAR("addss");
            break;
        case Step::subtract:
            if (wide)
                LODGE_SCALAR("subsd");
            else
                LODGE_SCALAR("subss");
            break;
        case Step::multiply:
            if (wide)
                LODGE_SCALAR("mulsd");
            else
                LODGE_SCALAR("mulss");
            break;
        case Step::divide:
            if (wide)
                LODGE_SCALAR("divsd");
            else
                LODGE_SCALAR("divss");
            break;
        default:
            LODGE_SCALAR("cvtsd2ss");
            break;
    }
    return {static_cast<u64>(_mm_cvtsi128_si64(a)), after & kMxcsrFlags};
}
#undef LODGE_SCALAR

#define LODGE_WIDE(first, second, instruction)                                                               \
    asm volatile("fnclex\n\tfldcw %[control]\n\t" first " %[a]\n\t" second " %[b]\n\tfnclex\n\t" instruction \
                 "\n\tfnstsw %%ax\n\tfnclex\n\tfstp %%st(0)\n\tfldcw %[host]"                                \
                 : "=&a"(status)                                                                             \
                 : [a] "m"(a), [b] "m"(b), [control] "m"(control), [host] "m"(host)                          \
                 : "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)")
#define LODGE_WIDE_BY_SIZE(instruction)          \
    if (size == 8)                               \
        LODGE_WIDE("fldl", "fldl", instruction); \
    else                                         \
        LODGE_WIDE("flds", "flds", instruction)

// Whether the result is inexact at 24 bits (single precision) or 53, whatever its exponent.
bool is_inexact(Step step, unsigned size, u32 mxcsr, u64 a, u64 b) {
    constexpr u16 kAllMasked = 0x7F, kDouble = 0x200, kPrecision = 0x20;
    constexpr u64 kOne = 0x3FF0000000000000;
    const u16 host = 0x37F;
    const bool narrows = step == Step::narrow;
    const auto rounding = static_cast<u16>((mxcsr >> 13 & 3) << 10);
    const u16 control = static_cast<u16>(kAllMasked | rounding | (size == 8 && !narrows ? kDouble : 0));
    u16 status = 0;
    if (narrows) a = kOne;
    switch (step) {
        case Step::add:
            LODGE_WIDE_BY_SIZE("faddp");
            break;
        case Step::subtract:
            LODGE_WIDE_BY_SIZE("fsubrp %%st, %%st(1)");
            break;
        case Step::divide:
            LODGE_WIDE_BY_SIZE("fdivrp %%st, %%st(1)");
            break;
        default:  // narrowing is a multiplication by one
            LODGE_WIDE_BY_SIZE("fmulp");
            break;
    }
    return status & kPrecision;
}
#undef LODGE_WIDE_BY_SIZE
#undef LODGE_WIDE

Outcome run_element(Step step, unsigned size, u32 mxcsr, u64 a, u64 b) {
    const u32 unmasked = ~(mxcsr >> 7) & kMxcsrFlags;
    u32 control = (mxcsr | kMxcsrMasks) & ~kMxcsrFlags;
    if (unmasked & kMxcsrUnderflow) control &= ~kMxcsrFlushToZero;
    Outcome outcome = run_scalar(step, size, control, a, b);
    // See run_carefully().
    if (unmasked & kMxcsrUnderflow)
        outcome.flags |= run_scalar(step, size, control | kMxcsrFlushToZero, a, b).flags & kMxcsrUnderflow;
    if (outcome.flags & unmasked & (kMxcsrOverflow | kMxcsrUnderflow)) {
        outcome.flags &= ~kMxcsrPrecision;
        if (is_inexact(step, size, mxcsr, a, b)) outcome.flags |= kMxcsrPrecision;
    }
    return outcome;
}

u64 element_of(__m128i vector, unsigned size, unsigned index) {
    u8 bytes[16];
    store(bytes, vector);
    return size == 8 ? load<u64>(bytes + index * 8) : load<u32>(bytes + index * 4);
}

}  // namespace

u32 element_flags(const Elements& elements, u32 mxcsr, __m128i a, __m128i b) {
    u32 flags = 0;
    const unsigned half = elements.count / 2u;
    for (unsigned i = 0; i < elements.count; ++i) {
        u64 first = element_of(a, elements.size, i), second = element_of(b, elements.size, i);
        if (elements.horizontal) {
            const __m128i from = i < half ? a : b;
            first = element_of(from, elements.size, i % half * 2);
            second = element_of(from, elements.size, i % half * 2 + 1);
        }
        flags |= run_element(i % 2 ? elements.odd : elements.even, elements.size, mxcsr, first, second).flags;
    }
    return flags;
}

u32 reported(u32 flags, u32 mxcsr) {
    return flags & ~(mxcsr >> 7) & kMxcsrBeforeComputing ? flags & kMxcsrBeforeComputing : flags;
}

u32 dot_product_flags(unsigned size, u32 mxcsr, __m128i a, __m128i b) {
    const u32 unmasked = ~(mxcsr >> 7) & kMxcsrFlags;
    const unsigned count = 16 / size;
    u64 terms[4];
    u32 flags = 0;
    for (unsigned i = 0; i < count; ++i) {
        const Outcome product =
            run_element(Step::multiply, size, mxcsr, element_of(a, size, i), element_of(b, size, i));
        terms[i] = product.value;
        flags |= product.flags;
    }
    flags = reported(flags, mxcsr);
    for (unsigned left = count; left > 1 && !(flags & unmasked); left /= 2) {
        u32 step_flags = 0;
        for (unsigned i = 0; i < left / 2; ++i) {
            const Outcome sum = run_element(Step::add, size, mxcsr, terms[2 * i], terms[2 * i + 1]);
            terms[i] = sum.value;
            step_flags |= sum.flags;
        }
        flags |= reported(step_flags, mxcsr);
    }
    return flags;
}

}  // namespace lodge::simd
