// The decoder against Capstone: length, mnemonic and operands of random instructions in all three code sizes.
// LODGE_DECODE_CASES sets the number of instructions per code size.
//
// Capstone 4.0.2 is wrong or behind in places. Three lists below say where, each entry with its reason: the prefixes
// that simple_question() straightens, the reserved encodings of kReserved that Capstone takes, kExceptions for the
// rest. Where no manual is quoted the answer was checked on a CPU (AMD Zen 5) by executing the bytes up against an
// unmapped page.
#include <capstone/capstone.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/decode/decoder.h"
#include "core/decode/disasm.h"
#include "tests/unit/random_instructions.h"

using namespace lodge;

namespace {

class Capstone {
  public:
    explicit Capstone(cs_mode mode) {
        REQUIRE(cs_open(CS_ARCH_X86, mode, &handle_) == CS_ERR_OK);
        cs_option(handle_, CS_OPT_DETAIL, CS_OPT_ON);
        insn_ = cs_malloc(handle_);
    }
    ~Capstone() {
        cs_free(insn_, 1);
        cs_close(&handle_);
    }
    Capstone(const Capstone&) = delete;
    Capstone& operator=(const Capstone&) = delete;

    // The first instruction of `bytes`, or null.
    const cs_insn* decode(std::span<const u8> bytes) {
        const u8* code = bytes.data();
        size_t size = bytes.size();
        u64 address = 0;
        return cs_disasm_iter(handle_, &code, &size, &address, insn_) ? insn_ : nullptr;
    }
    std::string name(const cs_insn& insn) const { return cs_insn_name(handle_, insn.id); }
    std::string register_name(unsigned reg) const {
        const char* name = cs_reg_name(handle_, reg);
        return name ? name : "";
    }

  private:
    csh handle_ = 0;
    cs_insn* insn_ = nullptr;
};

// clang-format off
const std::map<std::string, std::string> kAliases = {
    {"lcall", "CALLF"}, {"ljmp", "JMPF"}, {"retf", "RETF"}, {"retfq", "RETF"}, {"iretd", "IRET"}, {"iretq", "IRET"},
    {"pushal", "PUSHA"}, {"pushaw", "PUSHA"}, {"popal", "POPA"}, {"popaw", "POPA"}, {"pushfd", "PUSHF"},
    {"pushfq", "PUSHF"}, {"popfd", "POPF"}, {"popfq", "POPF"}, {"cwde", "CBW"}, {"cdqe", "CBW"}, {"cdq", "CWD"},
    {"cqo", "CWD"}, {"movsb", "MOVS"}, {"movsw", "MOVS"}, {"movsq", "MOVS"}, {"cmpsb", "CMPS"}, {"cmpsw", "CMPS"},
    {"cmpsq", "CMPS"}, {"stosb", "STOS"}, {"stosw", "STOS"}, {"stosd", "STOS"}, {"stosq", "STOS"}, {"lodsb", "LODS"},
    {"lodsw", "LODS"}, {"lodsd", "LODS"}, {"lodsq", "LODS"}, {"scasb", "SCAS"}, {"scasw", "SCAS"}, {"scasd", "SCAS"},
    {"scasq", "SCAS"}, {"insb", "INS"}, {"insw", "INS"}, {"insd", "INS"}, {"outsb", "OUTS"}, {"outsw", "OUTS"},
    {"outsd", "OUTS"}, {"movabs", "MOV"}, {"xlatb", "XLAT"}, {"jecxz", "JCXZ"}, {"jrcxz", "JCXZ"}, {"loope", "LOOPZ"},
    {"loopne", "LOOPNZ"}, {"sal", "SHL"}, {"fcompi", "FCOMIP"}, {"fucompi", "FUCOMIP"}, {"wait", "FWAIT"},
    {"fstpnce", "FSTP"}, {"fdisi8087_nop", "FNDISI"}, {"feni8087_nop", "FNENI"}, {"fsetpm", "FNSETPM"}, {"ud2b", "UD1"},
    {"sysexitq", "SYSEXIT"}, {"sysretq", "SYSRET"}, {"fxsave64", "FXSAVE"}, {"fxrstor64", "FXRSTOR"},
    {"xsave64", "XSAVE"}, {"xrstor64", "XRSTOR"}, {"xsaveopt64", "XSAVEOPT"}, {"xsavec64", "XSAVEC"},
    {"xsaves64", "XSAVES"}, {"xrstors64", "XRSTORS"}, {"vcvtpd2psx", "VCVTPD2PS"}, {"vcvtpd2dqx", "VCVTPD2DQ"},
    {"vcvttpd2dqx", "VCVTTPD2DQ"},
};
// Conditions: the SDM's first spelling against LLVM's.
const std::map<std::string, std::string> kConditions = {
    {"ae", "NB"}, {"e", "Z"}, {"ne", "NZ"}, {"a", "NBE"}, {"ge", "NL"}, {"g", "NLE"}, {"po", "NP"}, {"pe", "P"},
};
// clang-format on

// CMPPS with its predicate in the name: "cmpltps", "vcmpneq_uqsd".
bool is_compare_alias(const std::string& name) {
    const size_t start = name.starts_with("vcmp") ? 4 : name.starts_with("cmp") ? 3 : 0;
    if (start == 0 || name.size() < start + 3) return false;
    const std::string end = name.substr(name.size() - 2);
    return end == "ps" || end == "pd" || end == "ss" || end == "sd";
}

// Capstone's (LLVM's) name to the SDM's.
std::string sdm_name(std::string name) {
    if (const auto alias = kAliases.find(name); alias != kAliases.end()) return alias->second;
    if (is_compare_alias(name)) name = (name[0] == 'v' ? "vcmp" : "cmp") + name.substr(name.size() - 2);
    for (const std::string stem : {"cmov", "set", "j"}) {
        if (!name.starts_with(stem)) continue;
        const auto condition = kConditions.find(name.substr(stem.size()));
        if (condition == kConditions.end()) continue;
        name = stem + condition->second;
        break;
    }
    std::transform(name.begin(), name.end(), name.begin(), [](char letter) {
        return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 32) : letter;
    });
    return name;
}

bool same_name(const Insn& insn, const std::string& capstone) {
    const std::string theirs = sdm_name(capstone);
    if (name_of(insn.opcode) == theirs) return true;
    if (insn.opcode == Opcode::MOVQ && theirs == "MOVD") return true;  // between general and MMX or XMM registers
    // The doubleword strings share their names with SSE2 instructions.
    if (insn.opcode == Opcode::MOVS && element_size(insn) == 4) return theirs == "MOVSD";
    return insn.opcode == Opcode::CMPS && element_size(insn) == 4 && theirs == "CMPSD";
}

// The parts of an instruction that the comparison needs to see.
struct Parts {
    std::vector<u8> legacy;  // prefixes in their order, without REX
    u8 rex = 0;              // 0: none that counts
    size_t body = 0;         // offset of the first opcode byte
    bool is_vex = false;
    bool is_escaped = false;  // 0F
    unsigned mandatory = kNoPrefix;

    bool has(u8 prefix) const { return std::find(legacy.begin(), legacy.end(), prefix) != legacy.end(); }
};

constexpr std::array<u8, 11> kLegacyPrefixes = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};

Parts take_apart(const InstructionBytes& bytes, CodeSize code_size) {
    Parts parts;
    for (; parts.body < kLongestInsn; ++parts.body) {
        const u8 byte = bytes[parts.body];
        const bool is_rex = code_size == CodeSize::bits64 && byte >> 4 == 4;
        const bool is_legacy = std::find(kLegacyPrefixes.begin(), kLegacyPrefixes.end(), byte) != kLegacyPrefixes.end();
        if (!is_rex && !is_legacy) break;
        parts.rex = is_rex ? byte : 0;
        if (is_legacy) parts.legacy.push_back(byte);
    }
    const u8 opcode = bytes[parts.body];
    parts.is_escaped = opcode == 0x0f;
    parts.is_vex = (opcode & 0xfe) == 0xc4 && (code_size == CodeSize::bits64 || bytes[parts.body + 1] >= 0xc0);
    for (u8 prefix : parts.legacy) {
        if (prefix == 0x66 && parts.mandatory == kNoPrefix) parts.mandatory = kPrefix66;
        if (prefix == 0xf3) parts.mandatory = kPrefixF3;
        if (prefix == 0xf2) parts.mandatory = kPrefixF2;
    }
    return parts;
}

// What Capstone is asked instead of the bytes themselves.
struct Question {
    std::vector<u8> bytes;
    CodeSize code_size;
    int shorter = 0;  // by how many bytes than the original
    bool without_address_size = false;
};

// The row of an opcode after 0F, in 32-bit code. Slow and plain, where the decoder is neither.
const Encoding* find_row(const u8* body, unsigned prefix) {
    const bool long_form = body[1] == 0x38 || body[1] == 0x3a;
    const OpcodeMap map = body[1] == 0x38 ? OpcodeMap::x0F38 : body[1] == 0x3a ? OpcodeMap::x0F3A : OpcodeMap::x0F;
    const u8 opcode = body[long_form ? 2 : 1], modrm = body[long_form ? 3 : 2];
    for (const Encoding& row : kEncodings)
        if (row.opcode != Opcode::INVALID && row.map == map && opcode >= row.first && opcode <= row.last &&
            row.answers_to(prefix, false, false, false, false) && row.answers_to_modrm(modrm))
            return &row;
    return nullptr;
}

// Capstone gets several rules of prefixes wrong, which say nothing about the rest of an instruction. It is therefore
// asked about the same instruction with its prefixes made simple; the rules themselves are tested in decode_test.cpp.
//   - 66, F2 and F3 only count directly in front of the opcode, and 66 also where F2 or F3 must win (SDM vol. 2, 2.1.1:
//     prefix groups have no order; checked on a CPU): each effective prefix is written once, in a fixed order.
//   - LOCK is accepted in places where it is #UD (SDM vol. 2, "LOCK"), and refused in none: it is left out.
//   - ES, CS, SS, DS overrides in 64-bit code are taken for effective (SDM vol. 1, 3.4.2.1: ignored): left out.
//   - 67 together with REX.W is taken for 66: 67 is left out then, but of MOV moffs, which has no ModRM.
//   - 66 together with REX.W has an effect outside 0F (SDM vol. 2, 2.2.1.2: REX.W outranks it): 66 is left out.
//   - 66 makes near branches in 64-bit code take 16-bit displacements. AMD's CPUs do that, Intel's ignore 66 (SDM
//     vol. 2, "CALL", "JMP", "Jcc": only rel32 exists), and so does lodge: 66 is left out there.
//   - Mandatory prefixes are not seen in 16-bit code. It is asked as 32-bit code then, with 67 inverted and 66 too
//   where
//     it is no mandatory prefix.
Question simple_question(const InstructionBytes& bytes, CodeSize code_size, const Parts& parts) {
    Question question{{}, code_size};
    const bool code64 = code_size == CodeSize::bits64;
    bool size66 = parts.has(0x66), address67 = parts.has(0x67);
    const u8 opcode = bytes[parts.body], next = bytes[parts.body + 1];
    const bool is_branch = (opcode & 0xfe) == 0xe8 || (opcode & 0xfe) == 0xc2 || (parts.is_escaped && next >> 4 == 8);
    if (code64 && is_branch) size66 = false;
    if (parts.rex & 8 && !parts.is_escaped) size66 = false;
    if (parts.rex & 8 && address67 && (opcode & 0xfc) != 0xa0) {
        address67 = false;
        question.without_address_size = true;
    }
    if (code_size == CodeSize::bits16 && parts.is_escaped && parts.mandatory != kNoPrefix) {
        const Encoding* row = find_row(bytes.data() + parts.body, parts.mandatory);
        if (!row || row->prefixes != 0b1111) {
            question.code_size = CodeSize::bits32;
            address67 = !address67;
            if (parts.mandatory != kPrefix66 || (row && !row->owns_prefix())) size66 = !size66;
        }
    }
    u8 segment = 0;
    for (u8 prefix : parts.legacy)
        if (prefix >> 1 == 0x32 || (!code64 && (prefix & 0xe7) == 0x26)) segment = prefix;
    const u8 repeat = parts.mandatory == kPrefixF3 ? 0xf3 : parts.mandatory == kPrefixF2 ? 0xf2 : 0;
    if (segment) question.bytes.push_back(segment);
    if (address67) question.bytes.push_back(0x67);
    if (repeat && !parts.is_escaped) question.bytes.push_back(repeat);
    if (size66) question.bytes.push_back(0x66);
    if (repeat && parts.is_escaped) question.bytes.push_back(repeat);
    if (parts.rex) question.bytes.push_back(parts.rex);
    question.shorter = static_cast<int>(parts.body) - static_cast<int>(question.bytes.size());
    question.bytes.insert(question.bytes.end(), bytes.begin() + static_cast<long>(parts.body), bytes.end());
    question.bytes.resize(kLongestInsn);
    return question;
}

// Reserved encodings: #UD, but Capstone does not look at the field. Each entry turns the bytes into what Capstone takes
// them for, or leaves them alone.
struct Reserved {
    const char* reason;
    void (*neutralise)(InstructionBytes&, const Parts&);
};

void drop_mandatory_prefixes(InstructionBytes& bytes, const Parts& parts) {
    for (size_t i = 0; i < parts.body; ++i)
        if (bytes[i] == 0x66 || bytes[i] >= 0xf2 || (parts.is_vex && bytes[i] == parts.rex)) bytes[i] = 0x3e;
}
void keep_only_66(InstructionBytes& bytes, const Parts& parts) {
    for (size_t i = 0; i < parts.body; ++i)
        if (bytes[i] >= 0xf2) bytes[i] = 0x66;
}
// The last VEX byte: W vvvv L pp; W is not there in the two-byte form.
u8& vex_tail(InstructionBytes& bytes, const Parts& parts) {
    return bytes[parts.body + (bytes[parts.body] == 0xc4 ? 2 : 1)];
}

const Reserved kReserved[] = {
    {"66, F2, F3 where they select no instruction (SDM vol. 2, 2.1.1: reserved), and before VEX (2.3.2 to 2.3.4)",
     drop_mandatory_prefixes},
    {"F2, F3 where they select no instruction but 66 does", keep_only_66},
    {"VEX.W of instructions defined for one value of it (their pages: W0 or W1 instead of WIG)",
     [](InstructionBytes& bytes, const Parts& parts) {
         if (parts.is_vex && bytes[parts.body] == 0xc4) vex_tail(bytes, parts) ^= 0x80;
     }},
    {"VEX.L of instructions defined for one value of it (their pages: 128, LZ or 256 instead of LIG)",
     [](InstructionBytes& bytes, const Parts& parts) {
         if (parts.is_vex) vex_tail(bytes, parts) ^= 4;
     }},
    {"VEX.vvvv that is no operand must be 1111b (SDM vol. 2, 2.3.5.6)",
     [](InstructionBytes& bytes, const Parts& parts) {
         if (parts.is_vex) vex_tail(bytes, parts) |= 0x78;
     }},
};

struct Answer {
    const Insn* insn;      // null: we refuse it
    std::string capstone;  // empty: they refuse it
    const Parts& parts;
    const u8* body;  // the opcode bytes
    const Question& question;
};

// What remains of Capstone's differences, by name.
struct Exception {
    const char* reason;
    bool (*applies)(const Answer&);
};

bool is_opcode(const Answer& answer, std::initializer_list<Opcode> opcodes) {
    return answer.insn && std::find(opcodes.begin(), opcodes.end(), answer.insn->opcode) != opcodes.end();
}
bool they_refuse(const Answer& answer, std::initializer_list<Opcode> opcodes) {
    return answer.capstone.empty() && is_opcode(answer, opcodes);
}
bool is_0f(const Answer& answer, u8 opcode) {
    return answer.body[0] == 0x0f && answer.body[1] == opcode;
}

const Exception kExceptions[] = {
    {"EVEX and mask instructions, XOP, FMA4, 3DNow!, SGX, PKU, PCOMMIT, VIA's are not in our table",
     [](const Answer& answer) {
         if (answer.insn) return false;
         static constexpr std::array kNames = {"encls", "enclu", "pcommit", "rdpkru", "wrpkru"};
         if (std::find(kNames.begin(), kNames.end(), answer.capstone) != kNames.end()) return true;
         const u8 first = answer.body[0], second = answer.body[1];
         if (first == 0x62 || first == 0x8f || answer.capstone.starts_with("k")) return true;
         if (answer.parts.is_vex && (answer.capstone.starts_with("vf") || answer.capstone.starts_with("vpermil2")))
             return true;
         return first == 0x0f && (second == 0x0f || second == 0xa6 || second == 0xa7);
     }},
    {"UD0 and UD1 have a ModRM byte (SDM vol. 2, \"UD\")",
     [](const Answer& answer) {
         return is_opcode(answer, {Opcode::UD0, Opcode::UD1});
     }},
    {"newer than Capstone 4: WBNOINVD, RDPID, CLZERO, and CLWB under REX.W",
     [](const Answer& answer) {
         return is_opcode(answer, {Opcode::WBNOINVD, Opcode::RDPID, Opcode::CLZERO, Opcode::CLWB});
     }},
    {"fences whatever r/m is (SDM vol. 2, \"LFENCE\": bits 2:0 of ModRM are ignored)",
     [](const Answer& answer) {
         return they_refuse(answer, {Opcode::LFENCE, Opcode::MFENCE, Opcode::SFENCE});
     }},
    {"0F 0D of memory is a prefetch whatever reg is (APM vol. 3, \"PREFETCH\")",
     [](const Answer& answer) {
         return they_refuse(answer, {Opcode::PREFETCH, Opcode::PREFETCHWT1});
     }},
    {"0F 18 to 0F 1F are no-operations where nothing else is defined (SDM vol. 2, appendix A, table A-3)",
     [](const Answer& answer) {
         return they_refuse(answer, {Opcode::NOP}) ||
                (is_opcode(answer, {Opcode::NOP}) && answer.capstone.starts_with("endbr"));
     }},
    {"VBROADCASTI128 is missing", [](const Answer& answer) { return they_refuse(answer, {Opcode::VBROADCASTI128}); }},
    {"486 test registers are missing", [](const Answer& answer) { return they_refuse(answer, {Opcode::MOV_TR}); }},
    {"control and debug registers that do not exist are #UD (SDM vol. 2, \"MOV-Move to/from Control Registers\")",
     [](const Answer& answer) {
         return !answer.insn && answer.body[0] == 0x0f && answer.body[1] >= 0x20 && answer.body[1] <= 0x23;
     }},
    {"MOV CS, r/m is #UD, REX.R of a segment register is ignored (SDM vol. 2, \"MOV\")",
     [](const Answer& answer) {
         return answer.body[0] == 0x8e || (answer.body[0] == 0x8c && they_refuse(answer, {Opcode::MOV_SEG}));
     }},
    {"F3 90 is PAUSE also with 66, under REX.W and in 16-bit code",
     [](const Answer& answer) { return is_opcode(answer, {Opcode::PAUSE}); }},
    {"VPINSRQ and VPEXTRQ exist in 64-bit code only (their pages)",
     [](const Answer& answer) {
         return !answer.insn && (answer.capstone == "vpinsrq" || answer.capstone == "vpextrq");
     }},
    {"EXTRQ with immediates is /0 (APM vol. 4, \"EXTRQ\")",
     [](const Answer& answer) { return !answer.insn && answer.capstone == "extrq"; }},
    {"SWAPGS exists in 64-bit code only (SDM vol. 2, \"SWAPGS\")",
     [](const Answer& answer) { return !answer.insn && is_0f(answer, 0x01) && answer.body[2] == 0xf8; }},
    {"MOVSXD without REX.W has a 32-bit destination, 16-bit with 66 (SDM vol. 2, \"MOVSX/MOVSXD\")",
     [](const Answer& answer) { return is_opcode(answer, {Opcode::MOVSXD}) && !(answer.parts.rex & 8); }},
    {"F3 0F 7E is MOVQ between XMM registers also under REX.W (SDM vol. 2, \"MOVQ\")",
     [](const Answer& answer) {
         return is_0f(answer, 0x7e) && answer.parts.mandatory == kPrefixF3 && answer.parts.rex & 8;
     }},
    {"bit 7 of a register in an immediate is ignored outside 64-bit code (SDM vol. 2, 2.3.5.6 ff., \"VBLENDVPD\")",
     [](const Answer& answer) {
         return is_opcode(answer, {Opcode::VBLENDVPS, Opcode::VBLENDVPD, Opcode::VPBLENDVB}) &&
                answer.insn->code_size != CodeSize::bits64;
     }},
    {"gathers need a SIB byte and three different registers (SDM vol. 2, \"VPGATHERDD\")",
     [](const Answer& answer) { return !answer.insn && answer.capstone.find("gather") != std::string::npos; }},
};

u64 low_bytes(u64 value, unsigned size) {
    return size >= 8 ? value : value & ((u64{1} << (8 * size)) - 1);
}

// Compares the explicit operands. What Capstone prints of implicit ones differs by instruction, so those without
// explicit operands of ours are passed over, and Capstone may name more registers than we have operands.
class OperandComparison {
  public:
    OperandComparison(const Capstone& capstone, const Insn& insn, const cs_insn& other, const Question& question)
        : capstone_(capstone), insn_(insn), other_(other), question_(question) {}

    // Empty if they agree.
    std::string difference() const {
        const cs_x86& theirs = other_.detail->x86;
        size_t next = 0;
        for (size_t i = 0; i < 4 && insn_.operands[i].kind != OperandKind::none; ++i) {
            size_t candidate = next;
            while (candidate < theirs.op_count && !same(i, theirs.operands[candidate])) ++candidate;
            if (candidate < theirs.op_count)
                next = candidate + 1;
            else if (!may_lack(i))
                return "operand " + std::to_string(i);
        }
        return {};
    }

  private:
    // ST(0) is implied; compare predicates are in the name; AAM's and AAD's 0A is left out; far pointers come in
    // parts; LSL's source register is 32-bit under REX.W too.
    bool may_lack(size_t index) const {
        const Operand& operand = insn_.operands[index];
        const auto name = name_of(insn_.opcode);
        if (operand.kind == OperandKind::st) return operand.reg == 0;
        if (insn_.opcode == Opcode::LSL) return operand.kind == OperandKind::gpr;
        if (insn_.opcode == Opcode::AAM || insn_.opcode == Opcode::AAD) return insn_.immediate == 10;
        if (operand.kind == OperandKind::immediate && (name.starts_with("CMP") || name.starts_with("VCMP")))
            return true;
        return operand.kind == OperandKind::far;
    }

    bool same(size_t index, const cs_x86_op& theirs) const {
        const Operand& operand = insn_.operands[index];
        switch (operand.kind) {
            case OperandKind::memory:
                return theirs.type == X86_OP_MEM && same_memory(theirs.mem);
            case OperandKind::immediate:
                return theirs.type == X86_OP_IMM && same_immediate(index, theirs.imm);
            case OperandKind::relative:
                return theirs.type == X86_OP_IMM &&
                       low_bytes(static_cast<u64>(theirs.imm) - other_.size, relative_size()) ==
                           low_bytes(insn_.immediate, relative_size());
            case OperandKind::far:
                return theirs.type == X86_OP_IMM && static_cast<u64>(theirs.imm) == insn_.immediate2;
            default:
                return theirs.type == X86_OP_REG &&
                       capstone_.register_name(theirs.reg) == register_name(operand.kind, operand.reg, operand.size);
        }
    }
    // Capstone also wraps targets to 16 bits in all of 16-bit code, and in 32-bit code for 67.
    unsigned relative_size() const {
        if (insn_.code_size == CodeSize::bits64) return 8;
        return insn_.code_size == CodeSize::bits16 || insn_.prefixes & kPrefixAddressSize ? 2 : insn_.operand_size;
    }

    bool same_immediate(size_t index, i64 theirs) const {
        const bool is_second = index > 0 && insn_.operands[index - 1].kind == OperandKind::immediate;
        const u64 value = is_second ? insn_.immediate2 : insn_.immediate;
        const unsigned size = insn_.operands[index].size;
        const bool is_extended = value != low_bytes(value, size);
        return low_bytes(value, is_extended ? insn_.operand_size : size) ==
               low_bytes(static_cast<u64>(theirs), is_extended ? insn_.operand_size : size);
    }

    bool same_memory(const x86_op_mem& theirs) const {
        const u8 size = insn_.address_size;
        if (low_bytes(static_cast<u64>(theirs.disp), size) != low_bytes(static_cast<u64>(insn_.displacement), size))
            return false;
        if (insn_.prefixes & kPrefixSegment &&
            capstone_.register_name(theirs.segment) !=
                register_name(OperandKind::segment, static_cast<u8>(insn_.segment), 2))
            return false;
        if (question_.without_address_size) return true;  // then its registers are 64-bit ones
        if (insn_.index != kNoRegister && theirs.scale != 1 << insn_.scale) return false;
        return same_register(insn_.base, theirs.base) && same_index(theirs.index);
    }
    bool same_register(u8 ours, unsigned theirs) const {
        const std::string name = capstone_.register_name(theirs);
        if (ours == kNoRegister) return name.empty();
        if (ours == kBlockIp) return name == "rip" || name == "eip";
        return name == register_name(OperandKind::gpr, ours, insn_.address_size);
    }
    bool same_index(unsigned theirs) const {
        const std::string name = capstone_.register_name(theirs);
        if (name.starts_with("xmm") || name.starts_with("ymm")) return name.substr(3) == std::to_string(insn_.index);
        if (insn_.index == kNoRegister) return name.empty() || name == "riz" || name == "eiz";
        return same_register(insn_.index, theirs);
    }

    const Capstone& capstone_;
    const Insn& insn_;
    const cs_insn& other_;
    const Question& question_;
};

class Comparison {
  public:
    // Empty: they agree, or differ in a way listed above.
    std::string compare(const InstructionBytes& bytes, CodeSize code_size, std::string& detail) {
        const Parts parts = take_apart(bytes, code_size);
        const Question question = simple_question(bytes, code_size, parts);
        Insn insn;
        const DecodeStatus status = decode_without_lock(bytes, parts, code_size, insn);
        if (status == DecodeStatus::too_long || insn.length > kLongestInsn) return {};
        Capstone& capstone = capstones_[question.code_size == CodeSize::bits16   ? 0
                                        : question.code_size == CodeSize::bits32 ? 1
                                                                                 : 2];
        const cs_insn* other = capstone.decode(question.bytes);
        const bool accepted = status == DecodeStatus::ok;
        if (!accepted && !other) return {};
        const Answer answer{accepted ? &insn : nullptr, other ? capstone.name(*other) : "", parts,
                            bytes.data() + parts.body, question};
        for (const Exception& exception : kExceptions)
            if (exception.applies(answer)) return {};
        detail = (accepted ? disassemble(insn, 0) : "-") + " | " +
                 (other ? std::string(other->mnemonic) + " " + other->op_str : "-");
        if (!accepted)
            return is_reserved(bytes, parts, code_size, answer.capstone) ? "" : "we refuse " + answer.capstone;
        const std::string name(name_of(insn.opcode));
        if (!other) return "they refuse " + name;
        if (!same_name(insn, answer.capstone)) return "name " + name + " / " + answer.capstone;
        if (insn.length != other->size + question.shorter)
            return "length " + name + " " + std::to_string(insn.length) + " / " +
                   std::to_string(other->size + question.shorter);
        const std::string operands = OperandComparison(capstone, insn, *other, question).difference();
        return operands.empty() ? "" : "operands " + name + " " + operands;
    }

  private:
    static DecodeStatus decode_without_lock(const InstructionBytes& bytes, const Parts& parts, CodeSize code_size,
                                            Insn& insn) {
        InstructionBytes copy{};
        auto end = std::remove_copy(parts.legacy.begin(), parts.legacy.end(), copy.begin(), u8{0xf0});
        if (parts.rex) *end++ = parts.rex;
        const auto removed = static_cast<long>(parts.body) - (end - copy.begin());
        std::copy(bytes.begin() + static_cast<long>(parts.body), bytes.end(), end);
        const DecodeStatus status = decode(copy, code_size, insn);
        insn.length += static_cast<u8>(removed);
        return status;
    }

    // Whether some of kReserved together lead to what Capstone says.
    static bool is_reserved(const InstructionBytes& bytes, const Parts& parts, CodeSize code_size,
                            const std::string& name) {
        for (unsigned chosen = 1; chosen < 1u << std::size(kReserved); ++chosen) {
            InstructionBytes candidate = bytes;
            for (size_t i = 0; i < std::size(kReserved); ++i)
                if (chosen >> i & 1) kReserved[i].neutralise(candidate, parts);
            Insn insn;
            const DecodeStatus status =
                decode_without_lock(candidate, take_apart(candidate, code_size), code_size, insn);
            if (status == DecodeStatus::too_long) return true;  // Capstone was not asked all prefixes
            if (status == DecodeStatus::ok && same_name(insn, name)) return true;
        }
        return false;
    }

    Capstone capstones_[3] = {Capstone(CS_MODE_16), Capstone(CS_MODE_32), Capstone(CS_MODE_64)};
};

std::string hex_text(std::span<const u8> bytes) {
    std::string text;
    for (u8 byte : bytes) {
        char digits[4];
        std::snprintf(digits, sizeof digits, "%02x ", byte);
        text += digits;
    }
    return text;
}

size_t case_count() {
    const char* text = std::getenv("LODGE_DECODE_CASES");
    return text ? std::strtoull(text, nullptr, 10) : 100'000;
}

void cross_check(CodeSize code_size, u64 seed) {
    struct Difference {
        size_t count = 0;
        std::string example;
    };
    std::map<std::string, Difference> differences;
    Comparison comparison;
    RandomInstructions generator(seed);
    const size_t count = case_count();
    for (size_t i = 0; i < count; ++i) {
        const InstructionBytes bytes = generator.next(code_size);
        std::string detail;
        const std::string kind = comparison.compare(bytes, code_size, detail);
        if (kind.empty()) continue;
        Difference& difference = differences[kind];
        if (difference.count++ == 0)
            difference.example = hex_text(std::span(bytes).first(kLongestInsn)) + "| " + detail;
    }
    for (const auto& [kind, difference] : differences)
        MESSAGE(kind << " x" << difference.count << ": " << difference.example);
    CHECK(differences.empty());
}

}  // namespace

TEST_CASE("16-bit code decodes as Capstone decodes it") {
    cross_check(CodeSize::bits16, 16);
}
TEST_CASE("32-bit code decodes as Capstone decodes it") {
    cross_check(CodeSize::bits32, 32);
}
TEST_CASE("64-bit code decodes as Capstone decodes it") {
    cross_check(CodeSize::bits64, 64);
}
