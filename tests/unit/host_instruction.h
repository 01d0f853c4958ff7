// One instruction executed twice: by the CPU that runs this test, and by lodge's handlers. For instructions of x87, MMX
// and SSE, whose host is their specification. The same bytes mean the same in 32- and 64-bit code: no prefix REX, and
// memory only as [ESI] or [RSI].
#pragma once

#include <csetjmp>
#include <csignal>
#include <cstring>
#include <memory>
#include <span>

#include "core/cpu/cpu.h"

namespace lodge {

// What FXSAVE writes.
struct alignas(16) FxImage {
    u16 control = 0x37F;
    u16 status = 0;
    u8 valid = 0;
    u8 reserved = 0;
    u16 opcode = 0;
    u64 instruction = 0;
    u64 data = 0;
    u32 mxcsr = 0x1F80;
    u32 mxcsr_mask = 0;
    u8 st[8][16] = {};  // ST(0) first
    u8 xmm[16][16] = {};
    u8 rest[96] = {};
};
static_assert(sizeof(FxImage) == 512);

// Everything that such an instruction may use.
struct MachineState {
    FxImage fx;
    u64 gpr[4] = {};                  // rAX, rCX, rDX, rBX
    u64 flags = 2;                    // the six status flags
    alignas(64) u8 memory[256] = {};  // at [rSI] of the instruction, which points to offset kOperand
    static constexpr unsigned kOperand = 64;
};

enum class Outcome { completed, float_error, protection, undefined };

// Runs instructions on the host. Catches SIGFPE, SIGSEGV and SIGILL while it does.
class HostInstruction {
  public:
    HostInstruction();
    ~HostInstruction();
    HostInstruction(const HostInstruction&) = delete;

    // `state` becomes what it is afterwards. After a signal only `fx` is, as at the fault.
    Outcome run(std::span<const u8> instruction, MachineState& state);

  private:
    u8* code_ = nullptr;
};

// Runs instructions on lodge, in flat 32-bit protected mode with everything switched on.
class GuestInstruction {
  public:
    GuestInstruction();
    ~GuestInstruction();

    // False: lodge has no such instruction. A fault is in fault() afterwards, and taken back by the next run.
    bool run(std::span<const u8> instruction, MachineState& state);
    // Without moving the state in and out; the operand lies at kOperandAddress.
    bool execute(std::span<const u8> instruction);
    const std::optional<PendingFault>& fault() const { return cpu().fault(); }

    Cpu& cpu();
    const Cpu& cpu() const;
    u8* memory();  // guest physical 0, 64 KiB
    // As the constructor leaves it.
    void reset();

    static constexpr u32 kMemory = 0x8000;
    static constexpr u32 kOperandAddress = kMemory + MachineState::kOperand;

  private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace lodge
