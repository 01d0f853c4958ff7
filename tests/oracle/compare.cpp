#include "tests/oracle/compare.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "tests/oracle/exclusions.h"

namespace lodge::oracle {
namespace {

constexpr const char* kRegisterNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, pattern);
    std::vsnprintf(text, sizeof text, pattern, arguments);
    va_end(arguments);
    return text;
}

using Wide = unsigned long long;

bool is_flag_comparison(Opcode opcode) {
    return opcode == Opcode::FCOMI || opcode == Opcode::FCOMIP || opcode == Opcode::FUCOMI || opcode == Opcode::FUCOMIP;
}

// Flags that are left undefined by what has been executed of a run.
u32 undefined_in_run(const OracleCase& made, u64 ip) {
    const bool branches = std::any_of(made.run.begin(), made.run.end(),
                                      [](const Insn& insn) { return insn.operands[0].kind == OperandKind::relative; });
    u32 undefined = 0;
    u64 at = made.before.ip;
    for (const Insn& insn : made.run) {
        if (at == ip && !branches) break;
        const OpcodeFacts& facts = lodge::facts(insn.opcode);
        if (!branches && !facts.may_keep_flags) undefined &= ~facts.flags_written;
        undefined |= facts.flags_undefined;
        at += insn.length;
    }
    return undefined;
}

// The instruction that faulted, or the only one.
Opcode opcode_at(const OracleCase& made, u64 ip) {
    u64 at = made.before.ip;
    for (const Insn& insn : made.run) {
        if (at == ip) return insn.opcode;
        at += insn.length;
    }
    return made.insn.opcode;
}

// At the top of the address space of 32-bit code, segments and pages end together, and at the top of the lower half of
// 64-bit code's, canonical addresses and pages; which is found first depends on the pieces that an access is made in.
bool ends_at_top(const OracleCase& made, const OracleOutcome& guest, const OracleOutcome& host) {
    constexpr u32 kTop = 0u - 512;
    if (!guest.fault || !host.fault || guest.state.ip != host.state.ip) return false;
    const Opcode opcode = opcode_at(made, host.state.ip);
    const bool of_ten_bytes = is_one_of(opcode, {Opcode::FLD, Opcode::FSTP, Opcode::FBLD, Opcode::FBSTP});
    if (!of_ten_bytes && !in_pieces(opcode)) return false;
    const auto is_top = [&](u64 linear) {  // of a segment with base 0 or of FS
        constexpr u64 kLowerHalf = u64{1} << 47;
        if (made.code64) return linear + 512 > kLowerHalf && linear < kLowerHalf;
        return static_cast<u32>(linear) > kTop || static_cast<u32>(linear - kWindow) > kTop;
    };
    return (made.accessed && is_top(*made.accessed)) || (host.fault->vector == 14 && is_top(host.fault->address));
}

// How many instructions have completed, where their addresses tell; without a branch.
std::optional<u64> completed(const OracleCase& made, u64 ip) {
    const auto may_branch = [](const Insn& insn) {
        return is_near_branch(insn.opcode) ||
               is_one_of(insn.opcode, {Opcode::JMPF, Opcode::CALLF, Opcode::RETF, Opcode::IRET});
    };
    if (may_branch(made.insn) || std::any_of(made.run.begin(), made.run.end(), may_branch)) return std::nullopt;
    if (made.run.empty()) return ip == made.before.ip ? 0 : 1;
    u64 count = 0, at = made.before.ip;
    for (const Insn& insn : made.run) {
        if (at == ip) break;
        at += insn.length;
        ++count;
    }
    return count;
}

// A stray access to what only the host has.
bool met_the_host(const OracleOutcome& guest) {
    constexpr u64 kMargin = 512;
    return guest.fault && guest.fault->vector == 14 && guest.fault->address + kMargin > kControl &&
           guest.fault->address < kControl + kControlSize;
}

u32 compared_flags(const OracleCase& made, const OracleState& host, bool faulted) {
    // A repetition that faults keeps its flags with Intel (SDM vol. 2, "REP"); AMD's are of the last comparison.
    const Opcode opcode = opcode_at(made, host.ip);
    const bool compares = opcode == Opcode::SCAS || opcode == Opcode::CMPS;
    if (compares && faulted) return 0;
    // An invalid operation that is not masked: Intel's leave the flags alone (SDM vol. 2, "FCOMI"), AMD's do not.
    const bool invalid = host.fpu.status & ~made.before.fpu.control & 1;
    if (is_flag_comparison(opcode) && invalid) return 0;
    const u32 flags = kArithmeticFlags | kFlagDirection | kFlagAlignmentCheck | kFlagNestedTask;
    return flags & ~(made.run.empty() ? facts(opcode).flags_undefined : undefined_in_run(made, host.ip));
}

std::string bytes_of(const u8* bytes, unsigned count) {
    std::string text;
    for (unsigned i = count; i-- > 0;) text += format("%02X", bytes[i]);
    return text;
}

void compare_fpu(const OracleCase& made, const FxImage& guest, const FxImage& host, std::string& text) {
    const auto note = [&](const char* what, u32 ours, u32 theirs) {
        if (ours != theirs) text += format("    %s: lodge %#x, host %#x\n", what, ours, theirs);
    };
    note("x87 control", guest.control, host.control);
    note("x87 status", guest.status, host.status);
    note("x87 valid", guest.valid, host.valid);
    note("mxcsr", guest.mxcsr, host.mxcsr);
    for (unsigned i = 0; i < 8; ++i)
        if (std::memcmp(guest.st[i], host.st[i], 10))
            text += format("    st%u: lodge %s, host %s\n", i, bytes_of(guest.st[i], 10).c_str(),
                           bytes_of(host.st[i], 10).c_str());
    for (unsigned i = 0; i < (made.code64 ? 16 : 8); ++i)
        if (std::memcmp(guest.xmm[i], host.xmm[i], 16))
            text += format("    xmm%u: lodge %s, host %s\n", i, bytes_of(guest.xmm[i], 16).c_str(),
                           bytes_of(host.xmm[i], 16).c_str());
}

bool has_error(u8 vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

}  // namespace

void forgive_memory(const OracleCase& made, bool faulted, std::span<const u8> host, std::span<u8> guest) {
    const auto copy_from = [&](u64 address, unsigned size) {
        for (unsigned i = 0; i < size; ++i)
            if (const u64 at = address + i - kData; at < guest.size()) guest[at] = host[at];
    };
    if (made.insn.opcode == Opcode::PUSHA && faulted) {
        const unsigned size = 8u * made.insn.operand_size;
        copy_from(made.before.gpr[4] - size, size);
    }
    if (!made.accessed) return;
    const auto copy = [&](unsigned offset, unsigned size) { copy_from(*made.accessed + offset, size); };
    switch (made.insn.opcode) {
        case Opcode::FNSTENV:
        case Opcode::FNSAVE:
            if (made.insn.operand_size == 2)
                copy(6, 8);
            else
                copy(12, 16);
            break;
        case Opcode::FXSAVE:
            copy(6, 18);
            copy(28, 4);
            break;
        default:
            break;
    }
}

std::string differences(const OracleCase& made, const OracleOutcome& guest, const OracleOutcome& host) {
    // AMD's have a bit of MXCSR that Intel's reserve (APM vol. 1, "Misaligned Exception Mask").
    constexpr u32 kMisalignedMask = 0x20000;
    if (host.state.fpu.mxcsr & kMisalignedMask) return {};
    std::string text;
    const auto note = [&](const char* what, u64 ours, u64 theirs) {
        if (ours != theirs) text += format("    %s: lodge %#llx, host %#llx\n", what, Wide{ours}, Wide{theirs});
    };
    const auto fault_of = [](const OracleOutcome& outcome) {
        return outcome.fault ? 0x100u + outcome.fault->vector : 0u;
    };
    if (ends_at_top(made, guest, host) || met_the_host(guest)) return {};
    note("fault (100h + vector)", fault_of(guest), fault_of(host));
    if (host.fault && !guest.fault)
        text += format("    host's error code %#x, cr2 %#llx\n", host.fault->error, Wide{host.fault->address});
    if (guest.fault && host.fault) {
        // Linux tells of a protection violation wherever the address is the kernel's.
        constexpr u64 kTopOfUsers = 0x7FFFFFFFF000;  // Linux arch/x86: TASK_SIZE_MAX
        const bool page_fault = host.fault->vector == 14;
        const bool kernel_address = page_fault && host.fault->address >= kTopOfUsers;
        const u32 ignored = kernel_address || (page_fault && in_pieces(made.insn.opcode)) ? 1 : 0;
        if (has_error(host.fault->vector))
            note("error code", guest.fault->error & ~ignored, host.fault->error & ~ignored);
        if (host.fault->vector == 14 && !in_pieces(made.insn.opcode))
            note("cr2", guest.fault->address, host.fault->address);
    }
    // A fault leaves the state as it was before (SDM vol. 3, 6.5 "Exception Classifications"); AMD's POPA has by then
    // loaded some registers.
    const bool popped_some = host.fault && made.insn.opcode == Opcode::POPA;
    // The upper halves do not survive compatibility mode (SDM vol. 1, 3.4.1.1).
    constexpr u16 kCode64 = 0x33;
    const u64 mask = host.state.code_selector == kCode64 ? ~u64{0} : popped_some ? 0 : 0xFFFFFFFF;
    for (unsigned i = 0; i < (made.code64 ? 16 : 8); ++i)
        note(kRegisterNames[i], guest.state.gpr[i] & mask, host.state.gpr[i] & mask);
    note("ip", guest.state.ip, host.state.ip);
    if (const auto count = completed(made, host.state.ip)) note("retired", guest.retired, *count);
    note("cs", guest.state.code_selector, host.state.code_selector);
    const u32 flags = compared_flags(made, host.state, host.fault.has_value());
    note("flags", guest.state.flags & flags, host.state.flags & flags);
    static constexpr const char* kSelectors[] = {"ds", "es", "fs", "gs"};
    // When the host's kernel switches tasks, a null selector loses its RPL.
    const auto selector_of = [](const OracleOutcome& outcome, unsigned i) {
        const u16 selector = outcome.state.selectors[i];
        return selector <= 3 ? 0 : selector;
    };
    for (unsigned i = 0; i < 4; ++i) note(kSelectors[i], selector_of(guest, i), selector_of(host, i));
    if (made.code64) {
        note("fs base", guest.state.fs_base, host.state.fs_base);
        note("gs base", guest.state.gs_base, host.state.gs_base);
    }
    if (host.fault && made.insn.opcode == Opcode::MASKMOVQ) return text;  // AMD's goes to MMX mode first
    compare_fpu(made, guest.state.fpu, host.state.fpu, text);
    return text;
}

std::string memory_differences(std::span<const u8> guest, std::span<const u8> host) {
    if (std::memcmp(guest.data(), host.data(), guest.size()) == 0) return {};
    std::string text;
    unsigned shown = 0;
    for (size_t i = 0; i < guest.size() && shown < 8; ++i) {
        if (guest[i] == host[i]) continue;
        text += format("    memory %#llx: lodge %02X, host %02X\n", Wide{kData + i}, guest[i], host[i]);
        ++shown;
    }
    return text;
}

std::string name_of(const OracleCase& made) {
    if (made.run.empty()) return std::string(name_of(made.insn.opcode));
    std::string text;
    for (const Insn& insn : made.run) {
        if (!text.empty()) text += '+';
        text += name_of(insn.opcode);
    }
    return text;
}

std::string describe(const OracleCase& made) {
    std::string text = format("%s, %d-bit, row %u:", name_of(made).c_str(), made.code64 ? 64 : 32, made.row);
    for (const u8 byte : made.bytes) text += format(" %02X", byte);
    text += "\n    ";
    const OracleState& state = made.before;
    for (unsigned i = 0; i < (made.code64 ? 16 : 8); ++i)
        text += format("%s %llx ", kRegisterNames[i], Wide{state.gpr[i]});
    text += format("\n    ip %llx flags %x fcw %x fsw %x valid %x mxcsr %x fs %llx gs %llx", Wide{state.ip},
                   state.flags, state.fpu.control, state.fpu.status, state.fpu.valid, state.fpu.mxcsr,
                   Wide{state.fs_base}, Wide{state.gs_base});
    if (made.accessed) text += format(" at %llx", Wide{*made.accessed});
    text += '\n';
    for (const Operand& operand : made.insn.operands) {
        if (operand.kind == OperandKind::xmm)
            text += format("    xmm%u %s\n", operand.reg, bytes_of(state.fpu.xmm[operand.reg], 16).c_str());
        if (operand.kind == OperandKind::mmx)
            text += format("    mm%u %s\n", operand.reg,
                           bytes_of(state.fpu.st[(operand.reg - (state.fpu.status >> 11)) & 7], 8).c_str());
    }
    const bool is_x87 = made.insn.opcode >= Opcode::FLD && made.insn.opcode <= Opcode::FRSTOR;
    for (unsigned i = 0; (is_x87 || !made.run.empty()) && i < 8; ++i)
        text += format("    st%u %s\n", i, bytes_of(state.fpu.st[i], 10).c_str());
    return text;
}

}  // namespace lodge::oracle
