// x87 arithmetic by the host's own x87, which is the same unit: values, flags, C1 and rounding are exact by
// construction. (The transcendental instructions then round as this host's family does; no standard binds them.)
//
// A kernel is one instruction with its operands: a, b (80-bit numbers that become ST(0) and ST(1)), m (memory, read or
// written), result and second (what ST(0) and ST(1) hold afterwards). It returns the status word. Three ways to run it:
//   plain       the guest's control word is the one that the host has anyway, and masks every exception
//   controlled  under another control word that masks every exception
//   careful     under any control word, from clean flags. The instruction may raise an unmasked exception: nothing
//               that waits for exceptions is executed from there to FNCLEX, so the host never sees SIGFPE.
// Neither guest control words nor values on the stack are left behind. Exception flags are, by the first two: clearing
// them costs as much as the arithmetic. run_on_host() allows for that.
#pragma once

#include "core/interp/x87.h"

namespace lodge::x87 {

// What C++ code expects (System V ABI, AMD64 supplement, 3.2.1); it is also what FNINIT leaves.
constexpr u16 kHostControl = kInitialControl;

struct HostOperands {
    const u8* a = nullptr;
    const u8* b = nullptr;
    void* m = nullptr;
    u8* result = nullptr;
    u8* second = nullptr;
};

#define LODGE_X87_ASM(text)                                                                                       \
    asm volatile(text                                                                                             \
                 : "=&a"(status)                                                                                  \
                 : [a] "r"(on.a), [b] "r"(on.b), [m] "r"(on.m), [result] "r"(on.result), [second] "r"(on.second), \
                   [control] "m"(control), [host] "m"(kHostControl)                                               \
                 : "memory", "cc", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)")

// `body` ends with the instruction; `store` takes results off the stack; `cleanup` empties it after a masked run.
#define LODGE_X87_KERNEL(name, body, store, cleanup)                                                                   \
    struct name {                                                                                                      \
        static u16 plain(const HostOperands& on) {                                                                     \
            u16 status;                                                                                                \
            const u16 control = kHostControl;                                                                          \
            LODGE_X87_ASM(body "\n\tfnstsw %%ax\n\t" store "\n\t" cleanup);                                            \
            return status;                                                                                             \
        }                                                                                                              \
        static u16 controlled(const HostOperands& on, u16 control) {                                                   \
            u16 status;                                                                                                \
            LODGE_X87_ASM("fldcw %[control]\n\t" body "\n\tfnstsw %%ax\n\t" store "\n\t" cleanup "\n\tfldcw %[host]"); \
            return status;                                                                                             \
        }                                                                                                              \
        static u16 careful(const HostOperands& on, u16 control) {                                                      \
            u16 status;                                                                                                \
            LODGE_X87_ASM("fnclex\n\tfldcw %[control]\n\t" body "\n\tfnstsw %%ax\n\tfnclex\n\t" store "\n\tfninit");   \
            return status;                                                                                             \
        }                                                                                                              \
    };

// The usual shapes.
#define LODGE_X87_UNARY(name, instruction) \
    LODGE_X87_KERNEL(name, "fldt (%[a])\n\t" instruction, "fstpt (%[result])", "")
#define LODGE_X87_BINARY(name, instruction) \
    LODGE_X87_KERNEL(name, "fldt (%[b])\n\tfldt (%[a])\n\t" instruction, "fstpt (%[result])", "fstp %%st(0)")
#define LODGE_X87_WITH_MEMORY(name, instruction) LODGE_X87_UNARY(name, instruction " (%[m])")
#define LODGE_X87_COMPARE(name, instruction) \
    LODGE_X87_KERNEL(name, "fldt (%[b])\n\tfldt (%[a])\n\t" instruction, "", "fstp %%st(0)\n\tfstp %%st(0)")
#define LODGE_X87_COMPARE_ONE(name, instruction) \
    LODGE_X87_KERNEL(name, "fldt (%[a])\n\t" instruction, "", "fstp %%st(0)")
#define LODGE_X87_LOAD(name, instruction) LODGE_X87_KERNEL(name, instruction, "fstpt (%[result])", "")
#define LODGE_X87_STORE(name, instruction) LODGE_X87_COMPARE_ONE(name, instruction " (%[m])")
#define LODGE_X87_STORE_AND_POP(name, instruction) \
    LODGE_X87_KERNEL(name, "fldt (%[a])\n\t" instruction " (%[m])", "", "")

// Runs a kernel under the guest's control word. `result` must not lie on an operand.
template <class Kernel>
inline u16 run_on_host(const FpuState& fpu, const HostOperands& on) {
    if ((fpu.control & kExceptions) == kExceptions) [[likely]] {
        const u16 status = fpu.control == kHostControl ? Kernel::plain(on) : Kernel::controlled(on, fpu.control);
        // Flags that the guest has already are as good as new ones. Others may be left over from earlier: look again.
        if (!(status & ~fpu.status & kExceptions)) [[likely]]
            return status;
    }
    return Kernel::careful(on, fpu.control);
}

}  // namespace lodge::x87
