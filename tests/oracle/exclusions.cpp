#include "tests/oracle/exclusions.h"

#include "core/decode/encoding.h"
#include "tests/oracle/models.h"

namespace lodge::oracle {
namespace {

struct Exclusion {
    std::string_view reason;
    std::initializer_list<Opcode> opcodes;
};

using enum Opcode;
const Exclusion kExclusions[] = {
    {"a system call of the host", {SYSCALL}},
    {"Intel's only in long mode (APM vol. 3, \"SYSENTER\")", {SYSENTER, SYSEXIT}},
    {"its result is time or chance, or tells of the machine",
     {RDTSC, RDTSCP, RDPMC, RDRAND, RDSEED, CPUID, RDPID, XGETBV, XTEST}},
    {"the host's kernel answers in its place (UMIP)", {SGDT, SIDT, SLDT, STR, SMSW}},
    {"leaves the host's virtual machine, or belongs to a hypervisor",
     {VMCALL, VMMCALL, VMRUN,   VMLOAD,  VMSAVE, STGI,    CLGI,   SKINIT,  INVLPGA, VMLAUNCH, VMRESUME,
      VMXOFF, VMFUNC,  VMCLEAR, VMPTRLD, VMXON,  VMPTRST, VMREAD, VMWRITE, INVEPT,  INVVPID,  GETSEC}},
    {"depends on what the host's kernel has enabled, saves what the host has of state",
     {XSAVE, XRSTOR, XSAVEOPT, XSAVEC, XSAVES, XRSTORS, XSETBV, MONITOR, MWAIT}},
    {"a hypervisor under the host may give its trap the wrong address", {INT1}},
    {"3DNow!: no longer on this host", {FEMMS}},
    {"transactional memory: not on this host or not in any model", {XBEGIN, XABORT, XEND}},
};

// FSTP ST(i) as D9 D8+i.
bool is_unlisted_fstp(const Encoding& row) {
    return row.opcode == FSTP && row.first == 0xD9 && !row.memory_form;
}

}  // namespace

bool is_near_branch(Opcode opcode) {
    return opcode >= JO && opcode <= RET;
}

bool is_sha(Opcode opcode) {
    return is_one_of(opcode, {SHA1NEXTE, SHA1MSG1, SHA1MSG2, SHA1RNDS4, SHA256RNDS2, SHA256MSG1, SHA256MSG2});
}

std::string_view reason_not_to_draw(unsigned number, bool code64) {
    const Encoding& row = kEncodings[number];
    if (!(row.modes >> code64 & 1) || (!code64 && (row.wide == 0b10 || row.rex_b == 0b10)))
        return "not in this kind of code";
    if (row.map >= OpcodeMap::vex0F) return "VEX: AVX, BMI and their like are in no CPU model of this build";
    if (row.opcode == CALLF && code64) return "AMD's makes the pushes by the rules of the code segment that it goes to";
    if (row.opcode == SYSRET && !code64) return "#UD outside 64-bit code with Intel's, #GP with AMD's";
    for (const Exclusion& exclusion : kExclusions)
        if (is_one_of(row.opcode, exclusion.opcodes)) return exclusion.reason;
    if (is_unlisted_fstp(row)) return "in no manual: it copies empty registers without an exception";
    const CpuFeature feature = facts(row.opcode).feature;
    const bool optional = row.opcode == TZCNT || row.opcode == LZCNT;  // else BSF, BSR
    if (!optional && !has_feature(guest_model(), feature)) return "in no CPU model of this build";
    if (!optional && !has_feature(host_model(), feature)) return "not on this host";
    return {};
}

bool means_different_things(const Insn& insn) {
    const bool wide = insn.prefixes & kPrefixRexW;
    const bool code64 = insn.code_size == CodeSize::bits64;
    // A near branch with 66 in 64-bit code: Intel ignores the prefix, AMD does not (SDM vol. 2, "JMP"; APM vol. 3,
    // same).
    if (code64 && is_near_branch(insn.opcode) && (insn.prefixes & kPrefixOperandSize)) return true;
    // LOOPZ and LOOPNZ with F2 or F3, whose use there is reserved: AMD's takes the condition from the prefix.
    const bool repeated = insn.prefixes & (kPrefixRep | kPrefixRepne);
    if ((insn.opcode == LOOPZ || insn.opcode == LOOPNZ) && repeated) return true;
    // Far pointers with an offset of 8 bytes are Intel's only (APM vol. 3, "LFS", "JMP (Far)").
    if (is_one_of(insn.opcode, {LSS, LFS, LGS, JMPF, CALLF}) && wide) return true;
    // MOVSXD r16, m16 is Intel's only; AMD's reads four bytes (SDM and APM, "MOVSXD").
    if (insn.opcode == MOVSXD && insn.operand_size == 2 && insn.has_memory()) return true;
    return false;
}

bool has_length_of_its_own(Opcode opcode) {
    return is_one_of(opcode, {UD0, UD1, MOV_TR}) || is_near_branch(opcode);
}

bool may_be_in_run(const Insn& insn) {
    static constexpr std::initializer_list<Opcode> kAlone = {
        // An address of code on the stack; what the sides have behind the case differs.
        CALL,
        // See compare.cpp and Generator::settle().
        FCOMI, FCOMIP, FUCOMI, FUCOMIP, LDMXCSR, PUSHA, POPA,
        // They want selectors whose descriptors both sides know.
        MOV_SEG, POP_SEG, LDS, LES, LFS, LGS, LSS, LAR, LSL, VERR, VERW, JMPF, CALLF, RETF, IRET};
    const Opcode opcode = insn.opcode;
    if (in_pieces(opcode) || is_one_of(opcode, kAlone)) return false;
    if (opcode == INT) return insn.immediate != 0x80;  // a system call
    if (is_near_branch(opcode)) return insn.operands[0].kind == OperandKind::relative && insn.operand_size != 2;
    return !(is_sha(opcode) && insn.has_memory());
}

bool in_pieces(Opcode opcode) {
    switch (opcode) {
        case Opcode::FNSTENV:
        case Opcode::FNSAVE:
        case Opcode::FLDENV:
        case Opcode::FRSTOR:
        case Opcode::FXSAVE:
        case Opcode::FXRSTOR:
        case Opcode::MASKMOVQ:
        case Opcode::MASKMOVDQU:
        case Opcode::RETF:
        case Opcode::PUSHA:
            return true;
        default:
            return false;
    }
}

}  // namespace lodge::oracle
