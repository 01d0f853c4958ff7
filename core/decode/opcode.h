// The mnemonics, and what holds for each whatever its encoding. Both are built from mnemonics.inc; the encodings are
// the rows of opcodes.inc.
#pragma once

#include <array>
#include <string_view>

#include "core/base/types.h"

namespace lodge {

// SDM spelling. Families that assemblers give other names too are spelt JB, JNB, JZ, JNZ, JBE, JNBE, JP, JNP, JL, JNL,
// JLE, JNLE; one name serves all operand sizes of CBW (CWDE, CDQE), CWD (CDQ, CQO), PUSHA, PUSHF, IRET and strings.
//   near and far      CALL, JMP, RET are near; CALLF, JMPF, RETF far
//   MOVS, CMPS        the string instructions; MOVSD and CMPSD are the SSE2 ones
//   MOV_SEG and so on moves to and from segment, control, debug and test registers: named MOV, other rules
enum class Opcode : u16 {
    INVALID,
#define MNEMONIC(name, ...) name,
#include "core/decode/mnemonics.inc"
#undef MNEMONIC
    count,
};

constexpr size_t kOpcodeCount = static_cast<size_t>(Opcode::count);

// What CPUID (or being a 486) must promise before an instruction exists. SDM vol. 2 "CPUID"; APM vol. 3 appendix D.
enum class CpuFeature : u8 {
    base486,  // everything up to the 486, the x87 apart
    fpu,
    tsc,
    msr,
    cx8,
    sep,
    cmov,
    mmx,
    clflush,
    fxsr,
    sse,
    sse2,  // 1.EDX
    sse3,
    pclmulqdq,
    monitor,
    vmx,
    smx,
    ssse3,
    fma,
    cx16,
    sse41,
    sse42,
    movbe,
    popcnt,
    aes,
    xsave,
    avx,  // 1.ECX
    f16c,
    rdrand,
    fsgsbase,
    bmi1,
    avx2,
    bmi2,
    invpcid,
    rtm,
    rdseed,
    adx,
    smap,
    clflushopt,
    clwb,
    sha,
    prefetchwt1,
    rdpid,  // 7.0
    xsaveopt,
    xsavec,
    xsaves,  // D.1.EAX
    lm,
    syscall,
    rdtscp,
    lzcnt,
    svm,
    sse4a,
    prefetchw,
    amd3dnow,  // 80000001
    clzero,
    wbnoinvd,  // 80000008.EBX
    count,
};

// EFLAGS bits. SDM vol. 1, 3.4.3.
constexpr u32 kFlagCarry = 1u << 0;
constexpr u32 kFlagParity = 1u << 2;
constexpr u32 kFlagAdjust = 1u << 4;
constexpr u32 kFlagZero = 1u << 6;
constexpr u32 kFlagSign = 1u << 7;
constexpr u32 kFlagTrap = 1u << 8;
constexpr u32 kFlagInterrupt = 1u << 9;
constexpr u32 kFlagDirection = 1u << 10;
constexpr u32 kFlagOverflow = 1u << 11;
constexpr u32 kFlagIopl = 3u << 12;
constexpr u32 kFlagNestedTask = 1u << 14;
constexpr u32 kFlagResume = 1u << 16;
constexpr u32 kFlagVirtual8086 = 1u << 17;
constexpr u32 kFlagAlignmentCheck = 1u << 18;
constexpr u32 kFlagVirtualInterrupts = 3u << 19;  // VIF and VIP
constexpr u32 kArithmeticFlags = kFlagCarry | kFlagParity | kFlagAdjust | kFlagZero | kFlagSign | kFlagOverflow;

// How an instruction uses one of its explicit operands.
enum class Access : u8 { none, read, write, read_write };

struct OpcodeFacts {
    u32 flags_read = 0;       // EFLAGS masks
    u32 flags_written = 0;    // set, cleared or computed
    u32 flags_undefined = 0;  // left undefined by the SDM; not in flags_written
    CpuFeature feature = CpuFeature::base486;
    bool can_fault = false;       // by itself, beyond what its memory access can raise
    bool ends_block = false;      // nothing may be executed after it without looking at the CPU's state again
    bool privileged = false;      // #GP(0) unless CPL is 0
    bool iopl_sensitive = false;  // rules depend on IOPL
    bool lockable = false;        // LOCK is permitted with a memory destination
    bool may_keep_flags = false;  // flags_written may also stay as they were, e.g. shift count 0
    bool wider_is_later = false;  // see required_feature() in insn.h
    u8 operand_count = 0;         // explicit operands of the form that has most
    Access access[4] = {};        // by operand in Intel order; see operand_access() in insn.h for exceptions
};

namespace detail {

consteval u32 flags_of(std::string_view letters) {
    u32 mask = 0;
    for (char letter : letters) {
        switch (letter) {
            case 'C':
                mask |= kFlagCarry;
                break;
            case 'P':
                mask |= kFlagParity;
                break;
            case 'A':
                mask |= kFlagAdjust;
                break;
            case 'Z':
                mask |= kFlagZero;
                break;
            case 'S':
                mask |= kFlagSign;
                break;
            case 'T':
                mask |= kFlagTrap;
                break;
            case 'I':
                mask |= kFlagInterrupt;
                break;
            case 'D':
                mask |= kFlagDirection;
                break;
            case 'O':
                mask |= kFlagOverflow;
                break;
            case 'L':
                mask |= kFlagIopl;
                break;
            case 'N':
                mask |= kFlagNestedTask;
                break;
            case 'R':
                mask |= kFlagResume;
                break;
            case 'V':
                mask |= kFlagVirtual8086;
                break;
            case 'K':
                mask |= kFlagAlignmentCheck;
                break;
            case 'W':
                mask |= kFlagVirtualInterrupts;
                break;
            default:
                throw "unknown flag letter";
        }
    }
    return mask;
}

consteval OpcodeFacts make_facts(CpuFeature feature, std::string_view access, std::string_view read,
                                 std::string_view written, std::string_view undefined, std::string_view traits) {
    OpcodeFacts facts;
    facts.feature = feature;
    facts.flags_read = flags_of(read);
    facts.flags_written = flags_of(written);
    facts.flags_undefined = flags_of(undefined);
    if (facts.flags_written & facts.flags_undefined) throw "a flag is both written and undefined";
    size_t operand = 0;
    for (char letter : access) {
        switch (letter) {
            case 'R':
                facts.access[operand++] = Access::read;
                break;
            case 'W':
                facts.access[operand++] = Access::write;
                break;
            case 'X':
                facts.access[operand++] = Access::read_write;
                break;
            case 'N':
                facts.access[operand++] = Access::none;
                break;
            default:
                throw "unknown access letter";
        }
    }
    facts.operand_count = static_cast<u8>(operand);
    for (char letter : traits) {
        switch (letter) {
            case 'F':
                facts.can_fault = true;
                break;
            case 'E':
                facts.ends_block = true;
                break;
            case 'P':
                facts.privileged = true;
                break;
            case 'I':
                facts.iopl_sensitive = true;
                break;
            case 'L':
                facts.lockable = true;
                break;
            case 'K':
                facts.may_keep_flags = true;
                break;
            case 'W':
                facts.wider_is_later = true;
                break;
            default:
                throw "unknown trait letter";
        }
    }
    return facts;
}

inline constexpr std::array<OpcodeFacts, kOpcodeCount> kFacts = {{
    OpcodeFacts{},
#define MNEMONIC(name, feature, ...) make_facts(CpuFeature::feature, __VA_ARGS__),
#include "core/decode/mnemonics.inc"
#undef MNEMONIC
}};

inline constexpr std::array<std::string_view, kOpcodeCount> kNames = {{
    "INVALID",
#define MNEMONIC(name, ...) std::string_view(#name).substr(0, std::string_view(#name).find('_')),
#include "core/decode/mnemonics.inc"
#undef MNEMONIC
}};

}  // namespace detail

constexpr const OpcodeFacts& facts(Opcode opcode) {
    return detail::kFacts[static_cast<size_t>(opcode)];
}

// SDM spelling, upper case. INVALID for Opcode{}.
constexpr std::string_view name_of(Opcode opcode) {
    return detail::kNames[static_cast<size_t>(opcode)];
}

}  // namespace lodge
