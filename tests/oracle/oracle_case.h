// One case: code, the state it starts from, and what came of it on the host or on the interpreter.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "core/decode/insn.h"

namespace lodge::oracle {

// Linear addresses, on both sides alike and below 4 GiB so that 32-bit code reaches them. Around them lies nothing.
// The window is 64 KiB, so that FS with its base there makes it reachable with 16-bit addresses.
constexpr u64 kWindow = 0x10000000;
constexpr u64 kData = kWindow + 0x4000, kDataSize = 0x2000;  // readable and writable
constexpr u64 kReadOnly = kData + kDataSize, kReadOnlySize = 0x1000;
constexpr u64 kCode = kWindow + 0x20000, kCodeSize = 0x2000;  // readable and executable, HLT wherever no case lies
constexpr u8 kFiller = 0xF4;                                  // HLT: in user mode #GP(0) where a branch has landed

// Where the host's way into and out of a case lies. Whoever comes here has changed the host's side alone.
constexpr u64 kControl = 0x1A6B0000, kControlSize = 0x2000;

// FXSAVE image of 64-bit code (SDM vol. 1, table 10-2).
struct alignas(16) FxImage {
    u16 control, status;
    u8 valid, reserved;
    u16 opcode;
    u64 instruction, data;
    u32 mxcsr, mxcsr_mask;
    u8 st[8][16];
    u8 xmm[16][16];
    u8 rest[96];
};
static_assert(sizeof(FxImage) == 512);

struct OracleState {
    std::array<u64, 16> gpr{};
    u64 ip = 0;
    u32 flags = 0x202;
    u16 code_selector = 0;           // after
    std::array<u16, 4> selectors{};  // DS, ES, FS, GS
    u64 fs_base = 0, gs_base = 0;    // compared in 64-bit code
    FxImage fpu{};
};

struct OracleFault {
    u8 vector = 0;
    u32 error = 0;
    u64 address = 0;  // of #PF: CR2
    bool operator==(const OracleFault&) const = default;
};

struct OracleOutcome {
    OracleState state;
    std::optional<OracleFault> fault;
    u64 retired = 0;  // instructions, by lodge's count
};

struct OracleCase {
    bool code64 = false;
    unsigned row = 0;  // of opcodes.inc; 0: a run, or no instruction
    Insn insn;
    std::vector<Insn> run;  // several instructions; `insn` is then none
    std::vector<u8> bytes;
    OracleState before;           // ip: where the bytes lie
    std::optional<u64> accessed;  // linear address of the explicit memory operand
    u64 end() const { return before.ip + bytes.size(); }
};

}  // namespace lodge::oracle
