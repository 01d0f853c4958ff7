#include "core/decode/disasm.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace lodge {
namespace {

constexpr std::string_view kByteNames[20] = {"al",   "cl",   "dl",   "bl",   "spl",  "bpl",  "sil", "dil", "r8b", "r9b",
                                             "r10b", "r11b", "r12b", "r13b", "r14b", "r15b", "ah",  "ch",  "dh",  "bh"};
constexpr std::string_view kWordNames[8] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
constexpr std::string_view kSegmentNames[6] = {"es", "cs", "ss", "ds", "fs", "gs"};

std::string hex(u64 value) {
    std::array<char, 16> digits;
    const auto end = std::to_chars(digits.begin(), digits.end(), value, 16).ptr;
    return "0x" + std::string(digits.begin(), end);
}

std::string signed_hex(i64 value) {
    return value < 0 ? "-" + hex(0 - static_cast<u64>(value)) : hex(static_cast<u64>(value));
}

std::string numbered(std::string_view stem, u8 number, std::string_view end = "") {
    return std::string(stem) + std::to_string(number) + std::string(end);
}

std::string general_name(u8 reg, u8 size) {
    if (size == 1) return std::string(reg < 20 ? kByteNames[reg] : "?");
    if (reg > 15) return "?";
    if (reg >= 8) return numbered("r", reg, size == 2 ? "w" : size == 4 ? "d" : "");
    return (size == 2 ? "" : size == 4 ? "e" : "r") + std::string(kWordNames[reg]);
}

std::string_view size_name(u8 size) {
    switch (size) {
        case 1:
            return "byte ptr ";
        case 2:
            return "word ptr ";
        case 4:
            return "dword ptr ";
        case 6:
            return "fword ptr ";
        case 8:
            return "qword ptr ";
        case 10:
            return "tbyte ptr ";
        case 16:
            return "xmmword ptr ";
        case 32:
            return "ymmword ptr ";
        default:
            return "";
    }
}

u64 low_bytes(u64 value, u8 size) {
    return size >= 8 ? value : value & ((u64{1} << (8 * size)) - 1);
}

// Gathers have a vector register as index.
bool has_vector_index(const Insn& insn) {
    const auto name = name_of(insn.opcode);
    return name.starts_with("VPGATHER") || name.starts_with("VGATHER");
}

std::string address_text(const Insn& insn) {
    std::string text;
    if (insn.base == kBlockIp)
        text = insn.address_size == 8 ? "rip" : "eip";
    else if (insn.base != kNoRegister)
        text = general_name(insn.base, insn.address_size);
    if (insn.index != kNoRegister) {
        if (!text.empty()) text += "+";
        text += has_vector_index(insn) ? numbered(insn.vector_size == 32 ? "ymm" : "xmm", insn.index)
                                       : general_name(insn.index, insn.address_size);
        if (insn.scale) text += numbered("*", static_cast<u8>(1 << (insn.scale & 3)));
    }
    if (text.empty()) return hex(low_bytes(static_cast<u64>(insn.displacement), insn.address_size));
    if (insn.displacement > 0) text += "+";
    return insn.displacement ? text + signed_hex(insn.displacement) : text;
}

std::string memory_text(const Insn& insn, u8 size) {
    std::string text(size_name(size));
    const auto segment = static_cast<size_t>(insn.segment);
    if (insn.prefixes & kPrefixSegment && segment < 6) text += std::string(kSegmentNames[segment]) + ":";
    return text + "[" + address_text(insn) + "]";
}

// Relative targets wrap at the instruction pointer's size.
std::string target_text(const Insn& insn, u64 address) {
    return hex(low_bytes(address + insn.length + insn.immediate, insn.operand_size));
}

std::string operand_text(const Insn& insn, size_t index, u64 address) {
    const Operand& operand = insn.operands[index];
    switch (operand.kind) {
        case OperandKind::memory:
            return memory_text(insn, operand.size);
        case OperandKind::immediate: {
            const bool is_second = index > 0 && insn.operands[index - 1].kind == OperandKind::immediate;
            return hex(is_second ? insn.immediate2
                                 : low_bytes(insn.immediate, std::max(operand.size, insn.operand_size)));
        }
        case OperandKind::relative:
            return target_text(insn, address);
        case OperandKind::far:
            return hex(insn.immediate2) + ":" + hex(insn.immediate);
        default:
            return register_name(operand.kind, operand.reg, operand.size);
    }
}

std::string_view prefix_text(const Insn& insn) {
    if (insn.prefixes & kPrefixLock) return "lock ";
    if (insn.prefixes & kPrefixRepne) return "repne ";
    if (insn.prefixes & kPrefixRep) return "rep ";
    return "";
}

char size_letter(u8 size) {
    return size == 1 ? 'b' : size == 2 ? 'w' : size == 4 ? 'd' : 'q';
}

// The SDM's names for the sizes that Opcode does not tell apart.
std::string sized_name(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::CBW:
            return insn.operand_size == 2 ? "cbw" : insn.operand_size == 4 ? "cwde" : "cdqe";
        case Opcode::CWD:
            return insn.operand_size == 2 ? "cwd" : insn.operand_size == 4 ? "cdq" : "cqo";
        case Opcode::JCXZ:
            return insn.address_size == 2 ? "jcxz" : insn.address_size == 4 ? "jecxz" : "jrcxz";
        case Opcode::CALLF:
            return "call far";
        case Opcode::JMPF:
            return "jmp far";
        default:
            break;
    }
    std::string name(name_of(insn.opcode));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char letter) { return static_cast<char>(letter | 0x20); });
    const bool is_string = insn.operands[0].kind == OperandKind::none && insn.operands[0].size != 0;
    return is_string ? name + size_letter(element_size(insn)) : name;
}

}  // namespace

std::string register_name(OperandKind kind, u8 reg, u8 size) {
    switch (kind) {
        case OperandKind::gpr:
            return general_name(reg, size);
        case OperandKind::segment:
            return std::string(reg < 6 ? kSegmentNames[reg] : "?");
        case OperandKind::control:
            return numbered("cr", reg);
        case OperandKind::debug:
            return numbered("dr", reg);
        case OperandKind::test:
            return numbered("tr", reg);
        case OperandKind::st:
            return numbered("st(", reg, ")");
        case OperandKind::mmx:
            return numbered("mm", reg);
        case OperandKind::xmm:
            return numbered(size == 32 ? "ymm" : "xmm", reg);
        default:
            return "?";
    }
}

std::string disassemble(const Insn& insn, u64 address) {
    std::string text = std::string(prefix_text(insn)) + sized_name(insn);
    for (size_t i = 0; i < 4 && insn.operands[i].kind != OperandKind::none; ++i)
        text += (i ? ", " : " ") + operand_text(insn, i, address);
    return text;
}

}  // namespace lodge
