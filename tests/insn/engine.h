// What a test is run on, and the state before and after.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>

#include "core/base/types.h"

namespace lodge {

struct InsnState {
    std::array<u64, 16> gpr{};
    u64 ip = 0;
    u32 eflags = 0x202;
    std::array<std::array<u8, 16>, 8> xmm{};
    std::array<std::array<u8, 10>, 8> st{};  // ST(0) first
    u16 fcw = 0x37F;
    u16 fsw = 0;
    u8 valid = 0;  // FXSAVE's abridged tag: bit n for physical register n
    u32 mxcsr = 0x1F80;
};

struct InsnFault {
    u8 vector = 0;
    u32 error = 0;
    bool operator==(const InsnFault&) const = default;
};

struct InsnOutcome {
    bool timed_out = false;  // the end was not reached
    std::optional<InsnFault> fault;
    InsnState state;
};

// One at a time may exist. Memory is that of test_memory.h and keeps its contents between runs.
class InsnEngine {
  public:
    virtual ~InsnEngine() = default;
    // Tests write here before a run and read afterwards; address is within a region.
    virtual u8* memory(u64 address) = 0;
    // Runs from state.ip until `end` or a fault. code64: in 64-bit code instead of 32-bit.
    virtual InsnOutcome run(const InsnState& state, u64 end, bool code64) = 0;
};

std::unique_ptr<InsnEngine> make_interpreter_engine();
// Null with a reason on stderr when this host cannot run it.
std::unique_ptr<InsnEngine> make_host_engine();

}  // namespace lodge
