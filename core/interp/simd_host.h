// SSE arithmetic by the host under the guest's MXCSR: values and flags are exact by construction.
//
// The host's exceptions stay masked; an exception that the guest has unmasked is found in the flags afterwards, and
// then the destination is not written. Two ways to run an instruction (a kernel):
//   plain    the guest's control bits are those that C++ code runs with anyway; the host's flags are not cleared first
//   careful  under the guest's rounding, FZ and DAZ, from clean flags
//
// With an unmasked overflow or underflow, PE tells whether the result would be inexact if its exponent were unbounded,
// which no masked run tells: simd_unmasked.h has that.
#pragma once

#include "core/interp/simd_unmasked.h"

namespace lodge::simd {

// `a` is the destination, `b` the source.
#define LODGE_SSE_KERNEL(name, text, A, a_constraint, B, b_constraint, ...)                                          \
    struct name {                                                                                                    \
        using Destination = A;                                                                                       \
        using Source = B;                                                                                            \
        static A plain(A a, B b, u32& after) {                                                                       \
            asm volatile(text "\n\tstmxcsr %[after]"                                                                 \
                         : [a] a_constraint(a), [after] "=m"(after)                                                  \
                         : [b] b_constraint(b) __VA_OPT__(, ) __VA_ARGS__                                            \
                         : "rax", "cc", "mm0", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)"); \
            return a;                                                                                                \
        }                                                                                                            \
        static A careful(A a, B b, u32 control, u32& after) {                                                        \
            const u32 host = kHostMxcsr;                                                                             \
            asm volatile("ldmxcsr %[control]\n\t" text "\n\tstmxcsr %[after]\n\tldmxcsr %[host]"                     \
                         : [a] a_constraint(a), [after] "=m"(after)                                                  \
                         : [b] b_constraint(b), [control] "m"(control), [host] "m"(host)__VA_OPT__(, ) __VA_ARGS__   \
                         : "rax", "cc", "mm0", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)"); \
            return a;                                                                                                \
        }                                                                                                            \
    };

#define LODGE_SSE_XMM(name, text, ...) LODGE_SSE_KERNEL(name, text, __m128i, "+x", __m128i, "x", __VA_ARGS__)

// Adds flags to the guest's, and #XM for those that it does not mask (SDM vol. 1, 11.5.2). False: it was raised.
bool set_flags(Cpu& cpu, u32 flags);
inline bool report_flags(Cpu& cpu, u32 flags) {
    return set_flags(cpu, reported(flags, cpu.state.fpu.mxcsr));
}

template <class Kernel>
bool run_carefully(Cpu& cpu, typename Kernel::Destination a, typename Kernel::Source b,
                   typename Kernel::Destination& result) {
    const u32 mxcsr = cpu.state.fpu.mxcsr;
    const bool underflow_masked = mxcsr & kMxcsrUnderflow << 7;
    u32 control = (mxcsr | kMxcsrMasks) & ~kMxcsrFlags, after;
    if (!underflow_masked) control &= ~kMxcsrFlushToZero;
    result = Kernel::careful(a, b, control, after);
    u32 flags = after & kMxcsrFlags;
    if (!underflow_masked) {
        // Unmasked, a tiny result is an underflow even when exact; masked it is only with FZ (SDM vol. 1, 4.9.1.5).
        Kernel::careful(a, b, control | kMxcsrFlushToZero, after);
        flags |= after & kMxcsrUnderflow;
    }
    if constexpr (kElementsOf<Kernel>.count != 0)
        if (flags & ~(mxcsr >> 7) & (kMxcsrOverflow | kMxcsrUnderflow))
            flags = element_flags(kElementsOf<Kernel>, mxcsr, a, b);
    return report_flags(cpu, flags);
}

// False: an unmasked exception was raised.
template <class Kernel>
inline bool run_on_host(Cpu& cpu, typename Kernel::Destination a, typename Kernel::Source b,
                        typename Kernel::Destination& result) {
    const u32 mxcsr = cpu.state.fpu.mxcsr;
    if ((mxcsr & ~kMxcsrFlags) == kHostMxcsr) [[likely]] {
        u32 after;
        result = Kernel::plain(a, b, after);
        // Flags that the guest has already are as good as new ones. Others may be left over from earlier: look again.
        if (!(after & ~mxcsr & kMxcsrFlags)) [[likely]]
            return true;
    }
    return run_carefully<Kernel>(cpu, a, b, result);
}

// XMM register with XMM register or memory.
template <class Kernel, class Source>
bool op_float(Cpu& cpu, const Insn& insn) {
    if (!enter_sse(cpu)) return false;
    __m128i source, result;
    if (!Source::read(cpu, insn, 1, source)) return false;
    const unsigned d = insn.operands[0].reg;
    if (!run_on_host<Kernel>(cpu, get_xmm(cpu.state.fpu, d), source, result)) return false;
    set_xmm(cpu.state.fpu, d, result);
    return true;
}
template <class Kernel>
InsnHandler bind_float_kernel(const Insn& insn) {
    if (is_memory(insn, 1)) return chained<op_float<Kernel, XmmMemory>>;
    return chained_pure<op_float<Kernel, XmmRegister>>;
}

}  // namespace lodge::simd
