// The decoder against Capstone: length, mnemonic, operands of random instructions in all three code sizes.
//
// Instructions come half from the rows of opcodes.inc (so that every row is tried), half from bare random bytes (so that
// what the table lacks is noticed too). LODGE_DECODE_CASES sets the number of instructions per code size.
#include <capstone/capstone.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "core/decode/decoder.h"
#include "core/decode/disasm.h"
#include "tests/unit/random_instructions.h"

using namespace lodge;

namespace {

class Capstone {
  public:
    explicit Capstone(CodeSize code_size) {
        const cs_mode mode = code_size == CodeSize::bits16   ? CS_MODE_16
                             : code_size == CodeSize::bits32 ? CS_MODE_32
                                                             : CS_MODE_64;
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

// Capstone's (LLVM's) name to the SDM's, where they differ by more than case.
std::string sdm_name(std::string name) {
    static const std::map<std::string, std::string> kAliases = {
        {"lcall", "CALLF"},    {"ljmp", "JMPF"},      {"retf", "RETF"},      {"retfq", "RETF"},     {"iretd", "IRET"},
        {"iretq", "IRET"},     {"pushal", "PUSHA"},   {"pushaw", "PUSHA"},   {"popal", "POPA"},     {"popaw", "POPA"},
        {"pushfd", "PUSHF"},   {"pushfq", "PUSHF"},   {"popfd", "POPF"},     {"popfq", "POPF"},     {"cwde", "CBW"},
        {"cdqe", "CBW"},       {"cdq", "CWD"},        {"cqo", "CWD"},        {"movsb", "MOVS"},     {"movsw", "MOVS"},
        {"movsq", "MOVS"},     {"cmpsb", "CMPS"},     {"cmpsw", "CMPS"},     {"cmpsq", "CMPS"},     {"stosb", "STOS"},
        {"stosw", "STOS"},     {"stosd", "STOS"},     {"stosq", "STOS"},     {"lodsb", "LODS"},     {"lodsw", "LODS"},
        {"lodsd", "LODS"},     {"lodsq", "LODS"},     {"scasb", "SCAS"},     {"scasw", "SCAS"},     {"scasd", "SCAS"},
        {"scasq", "SCAS"},     {"insb", "INS"},       {"insw", "INS"},       {"insd", "INS"},       {"outsb", "OUTS"},
        {"outsw", "OUTS"},     {"outsd", "OUTS"},     {"movabs", "MOV"},     {"xlatb", "XLAT"},     {"jecxz", "JCXZ"},
        {"jrcxz", "JCXZ"},     {"loope", "LOOPZ"},    {"loopne", "LOOPNZ"},  {"sal", "SHL"},        {"fcompi", "FCOMIP"},
        {"fucompi", "FUCOMIP"}, {"wait", "FWAIT"},     {"fstpnce", "FSTP"},   {"fdisi8087_nop", "FNDISI"},
        {"feni8087_nop", "FNENI"}, {"fsetpm", "FNSETPM"}, {"ud2b", "UD1"}, {"sysexitq", "SYSEXIT"}, {"sysretq", "SYSRET"},
        {"fxsave64", "FXSAVE"}, {"fxrstor64", "FXRSTOR"}, {"xsave64", "XSAVE"}, {"xrstor64", "XRSTOR"}, {"xsaveopt64", "XSAVEOPT"},
        {"xsavec64", "XSAVEC"}, {"xsaves64", "XSAVES"}, {"xrstors64", "XRSTORS"},
    };
    if (const auto alias = kAliases.find(name); alias != kAliases.end()) return alias->second;
    // Conditions: the SDM's first spelling against LLVM's.
    static const std::map<std::string, std::string> kConditions = {{"ae", "NB"}, {"e", "Z"},   {"ne", "NZ"}, {"a", "NBE"},
                                                                   {"ge", "NL"}, {"g", "NLE"}, {"po", "NP"}, {"pe", "P"}};
    for (const std::string stem : {"cmov", "set", "j"}) {
        if (!name.starts_with(stem)) continue;
        if (const auto condition = kConditions.find(name.substr(stem.size())); condition != kConditions.end()) {
            name = stem + condition->second;
            break;
        }
    }
    std::transform(name.begin(), name.end(), name.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
    return name;
}

bool same_name(const Insn& insn, const std::string& capstone) {
    const std::string theirs = sdm_name(capstone);
    const std::string_view ours = name_of(insn.opcode);
    if (ours == theirs) return true;
    // The doubleword strings share their name with SSE2 instructions.
    if (insn.opcode == Opcode::MOVS && element_size(insn) == 4) return theirs == "MOVSD";
    if (insn.opcode == Opcode::CMPS && element_size(insn) == 4) return theirs == "CMPSD";
    return false;
}

std::string hex_text(std::span<const u8> bytes) {
    std::string text;
    for (u8 byte : bytes) {
        char digits[4];
        std::snprintf(digits, sizeof digits, "%02x ", byte);
        text += digits;
    }
    return text;
}

struct Verdict {
    std::string kind;  // empty: they agree
    std::string ours, theirs;
};

Verdict compare(Capstone& capstone, const InstructionBytes& bytes, CodeSize code_size) {
    Insn insn;
    const DecodeStatus status = decode(std::span(bytes).first(kLongestInsn), code_size, insn);
    const cs_insn* other = capstone.decode(std::span(bytes).first(kLongestInsn));
    const std::string ours = status == DecodeStatus::ok ? disassemble(insn, 0) : "-";
    const std::string theirs = other ? std::string(other->mnemonic) + " " + other->op_str : "-";
    if (status != DecodeStatus::ok) {
        if (!other) return {};
        return {"we refuse " + capstone.name(*other), ours, theirs};
    }
    const std::string name(name_of(insn.opcode));
    if (!other) return {"they refuse " + name, ours, theirs};
    if (!same_name(insn, capstone.name(*other))) return {"name " + name + " / " + capstone.name(*other), ours, theirs};
    if (insn.length != other->size) return {"length " + name, ours + " " + std::to_string(insn.length), theirs + " " + std::to_string(other->size)};
    return {};
}

size_t case_count() {
    const char* text = std::getenv("LODGE_DECODE_CASES");
    return text ? std::strtoull(text, nullptr, 10) : 300'000;
}

void cross_check(CodeSize code_size, u64 seed) {
    Capstone capstone(code_size);
    RandomInstructions generator(seed);
    struct Difference {
        size_t count = 0;
        std::string example;
    };
    std::map<std::string, Difference> differences;
    const size_t count = case_count();
    for (size_t i = 0; i < count; ++i) {
        const InstructionBytes bytes = generator.next(code_size);
        const Verdict verdict = compare(capstone, bytes, code_size);
        if (verdict.kind.empty()) continue;
        Difference& difference = differences[verdict.kind];
        if (difference.count++ == 0) difference.example = hex_text(bytes) + "| " + verdict.ours + " | " + verdict.theirs;
    }
    for (const auto& [kind, difference] : differences) MESSAGE(kind << " x" << difference.count << ": " << difference.example);
    CHECK(differences.empty());
}

}  // namespace

TEST_CASE("16-bit code decodes as Capstone decodes it") { cross_check(CodeSize::bits16, 16); }
TEST_CASE("32-bit code decodes as Capstone decodes it") { cross_check(CodeSize::bits32, 32); }
TEST_CASE("64-bit code decodes as Capstone decodes it") { cross_check(CodeSize::bits64, 64); }
