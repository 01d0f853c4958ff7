// The architectural state of one CPU, laid out for the translator: plain data at fixed offsets.
#pragma once

#include <cstddef>

#include "core/base/types.h"
#include "core/decode/insn.h"

namespace lodge {

enum : u8 { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi };

// EFLAGS bits beside those of core/decode/opcode.h (SDM vol. 1, 3.4.3).
constexpr u32 kFlagVirtualInterrupt = 1u << 19;
constexpr u32 kFlagVirtualInterruptPending = 1u << 20;
constexpr u32 kFlagId = 1u << 21;

// The six status flags as LAHF and SETO leave them in AH and AL: the host computes them, and the translator takes them
// from and to host flags, without conversion.
struct StatusFlags {
    u8 overflow = 0;  // 0 or 1
    u8 low = 0x02;    // EFLAGS bits 7:0: SF ZF 0 AF 0 PF 1 CF

    bool carry() const { return low & kFlagCarry; }
    bool parity() const { return low & kFlagParity; }
    bool adjust() const { return low & kFlagAdjust; }
    bool zero() const { return low & kFlagZero; }
    bool sign() const { return low & kFlagSign; }
    void set_carry(bool on) { low = static_cast<u8>((low & ~kFlagCarry) | (on ? kFlagCarry : 0)); }
    void set_zero(bool on) { low = static_cast<u8>((low & ~kFlagZero) | (on ? kFlagZero : 0)); }

    u32 eflags() const { return low | (overflow ? kFlagOverflow : 0u); }
    void set_eflags(u32 value) {
        low = static_cast<u8>((value & kArithmeticFlags & 0xFF) | 0x02);
        overflow = (value & kFlagOverflow) != 0;
    }
};

// A segment register with its hidden part.
struct SegmentState {
    u64 base = 0;             // as accesses use it: zero for ES, CS, SS, DS in 64-bit mode
    u64 descriptor_base = 0;  // as it was loaded
    // Fast checks: an access at offset o of n bytes is allowed without a closer look when, as signed numbers,
    // o + n - 1 <= span. -1: always look closer (unusable, expand-down, not readable/writable).
    i64 readable_span = -1;
    i64 writable_span = -1;
    u32 limit = 0;       // bytes - 1, granularity applied
    u32 attributes = 0;  // see kSegment... below
    u16 selector = 0;
    u16 reserved[3] = {};
};

// Attributes are the descriptor's bits 40..47 and 52..55 (second dword 8..15, 20..23), moved to 0..7 and 12..15.
constexpr u32 kSegmentType = 0x0F;
constexpr u32 kSegmentAccessed = 0x01;
constexpr u32 kSegmentWritable = 0x02;    // data
constexpr u32 kSegmentReadable = 0x02;    // code
constexpr u32 kSegmentExpandDown = 0x04;  // data
constexpr u32 kSegmentConforming = 0x04;  // code
constexpr u32 kSegmentCode = 0x08;
constexpr u32 kSegmentNotSystem = 0x10;
constexpr u32 kSegmentDplShift = 5;
constexpr u32 kSegmentPresent = 0x80;
constexpr u32 kSegmentLong = 0x2000;
constexpr u32 kSegmentBig = 0x4000;
constexpr u32 kSegmentGranular = 0x8000;
constexpr u32 kSegmentUnusable = 0x10000;  // a null selector was loaded

struct TableRegister {
    u64 base = 0;
    u32 limit = 0xFFFF;
    u32 reserved = 0;
};

// x87, MMX and SSE state. x87 registers are held by physical number (R0..R7): ST(i) is st[(top + i) & 7], MMn is the
// low 8 bytes of st[n].
struct alignas(16) FpuState {
    u8 st[8][16] = {};  // 10 bytes used
    u8 xmm[16][16] = {};
    u8 ymm_high[16][16] = {};  // not reachable before AVX
    u16 control = 0x40;        // after RESET; FNINIT gives 37Fh
    u16 status = 0;            // with TOP in bits 13:11
    u8 valid = 0;              // bit n set: physical register n is not empty (FXSAVE's abridged tag, but physical)
    u8 reserved = 0;
    u16 opcode = 0;       // last instruction: low 11 bits
    u64 instruction = 0;  // last instruction's offset
    u64 data = 0;         // last operand's offset
    u16 instruction_selector = 0;
    u16 data_selector = 0;
    u32 mxcsr = 0x1F80;
};

constexpr u32 kMxcsrMask = 0xFFFF;

// What the translator's code (jit/) keeps beside the state, to reach it through the same register. Not part of a saved
// state: it means something only while translated code runs.
struct EngineState {
    i64 remaining = 0;     // instructions of the budget not yet charged
    u64 flag_operand = 0;  // from which the flags can be had again (jit/flag_recipe.h)
    u64 page_ip = 0;  // IP of the first byte of the page that the running block lies in; modulo 2^32 but in 64-bit code
    u64 epoch = 0;    // what links between pages were made for: generation and mode
    u64 jump_cache = 0;  // address of the table of indirect targets
    u64 engine = 0;      // the Translator
    u64 host_stack = 0;  // rSP to return to
    u8 sse_loaded = 0;   // the host's XMM registers and MXCSR are the guest's
    u8 x87_loaded = 0;   // the host's x87 is the guest's
    // FpuState's selectors are out of date: that of the last instruction if `x87_code` is not 0, that of the last
    // operand if `x87_data` is not: it lay in the segment register whose number is one less.
    u8 x87_code = 0;
    u8 x87_data = 0;
    u16 reserved[2] = {};
    u64 scratch[2] = {};
};

struct CpuState {
    // Registers 0..15; [kNoRegister] is always zero; [kBlockIp] is the IP of the block being run.
    u64 gpr[18] = {};
    u64 ip = 0;  // of the next instruction; exact between blocks and when a fault is delivered
    StatusFlags status;
    u32 system_flags = 0;  // EFLAGS without the status flags and without the fixed bit 1
    EngineState engine;
    SegmentState segments[6];
    SegmentState ldtr, tr;
    TableRegister gdtr, idtr;
    u64 cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
    u64 efer = 0;
    u64 dr[8] = {};
    u64 retired = 0;               // instructions, at the start of the block being run
    u64 linear_mask = 0xFFFFFFFF;  // ~0 in 64-bit mode
    u8 cpl = 0;
    bool halted = false;
    FpuState fpu;

    SegmentState& segment(Segment which) { return segments[static_cast<u8>(which)]; }
    const SegmentState& segment(Segment which) const { return segments[static_cast<u8>(which)]; }
};

// CR0, DR7, CR4 and EFER (SDM vol. 3, 2.5, 17.2.4 and 2.2.1).
constexpr u64 kCr0Pe = 1u << 0, kCr0Mp = 1u << 1, kCr0Em = 1u << 2, kCr0Ts = 1u << 3, kCr0Et = 1u << 4,
              kCr0Ne = 1u << 5, kCr0Wp = 1u << 16, kCr0Am = 1u << 18, kCr0Nw = 1u << 29, kCr0Cd = 1u << 30,
              kCr0Pg = 1u << 31;
constexpr u64 kDr7GeneralDetect = 1u << 13;
constexpr u64 kCr4Vme = 1u << 0, kCr4Pvi = 1u << 1, kCr4Tsd = 1u << 2, kCr4De = 1u << 3, kCr4Pse = 1u << 4,
              kCr4Pae = 1u << 5, kCr4Mce = 1u << 6, kCr4Pge = 1u << 7, kCr4Pce = 1u << 8, kCr4Osfxsr = 1u << 9,
              kCr4Osxmmexcpt = 1u << 10, kCr4Umip = 1u << 11, kCr4Fsgsbase = 1u << 16, kCr4Pcide = 1u << 17,
              kCr4Osxsave = 1u << 18, kCr4Smep = 1u << 20, kCr4Smap = 1u << 21;
constexpr u64 kEferSce = 1u << 0, kEferLme = 1u << 8, kEferLma = 1u << 10, kEferNxe = 1u << 11;

}  // namespace lodge
