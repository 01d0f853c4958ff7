// The rows of opcodes.inc as data: what its columns mean, in the form that decoder.cpp looks up.
// All of it happens at compile time, so a row with a word that does not exist does not build.
#pragma once

#include <array>
#include <string_view>

#include "core/decode/opcode.h"

namespace lodge {

enum class OpcodeMap : u8 { one, x0F, x0F38, x0F3A, vex0F, vex0F38, vex0F3A };
constexpr size_t kOpcodeMapCount = 7;

// Mandatory prefix classes, numbered as VEX.pp.
constexpr unsigned kNoPrefix = 0, kPrefix66 = 1, kPrefixF3 = 2, kPrefixF2 = 3;

// Where an operand is: the first letter of its code in opcodes.inc, in words.
enum class OperandPlace : u8 {
    none,
    reg_gpr,             // G
    rm_gpr,              // E, M
    rm_gpr_only,         // R
    vvvv_gpr,            // B
    opcode_gpr,          // Z
    rm_vsib,             // X
    moffs,               // O
    string,              // Y
    reg_mmx,             // P
    rm_mmx,              // Q
    reg_xmm,             // V
    rm_xmm,              // W
    vvvv_xmm,            // H
    immediate_xmm,       // L
    reg_segment,         // S
    reg_control,         // C
    reg_debug,           // D
    reg_test,            // T
    opcode_segment,      // Zs
    unsigned_immediate,  // I
    signed_immediate,    // N
    relative,            // J
    far,                 // A
    accumulator,         // AL, AX
    cl,
    dx,
    st0,
    st_rm,  // STi
    one,
};

struct OperandSpec {
    OperandPlace place = OperandPlace::none;
    char size = 'n';         // size letter of opcodes.inc, as a register
    char memory_size = 'n';  // and as memory
};

struct Encoding {
    OpcodeMap map{};
    Opcode opcode{};
    u8 first = 0, last = 0;  // opcode bytes
    // What it answers to: bit n of a mask is set if value n does.
    u8 prefixes = 0b1111;  // mandatory prefix class
    u8 modes = 0b11;       // 0: 16- and 32-bit code, 1: 64-bit code
    u8 wide = 0b11;        // REX.W or VEX.W
    u8 lengths = 0b11;     // VEX.L
    u8 rex_b = 0b11;
    bool wide_only_in_64 = false;  // W counts as 0 outside 64-bit code
    bool register_form = true, memory_form = true;
    u8 regs = 0xff;  // ModRM.reg
    u8 rms = 0xff;   // ModRM.rm of the register form
    bool has_modrm = false;
    bool mod_ignored = false;  // MOV CR and the like: r/m is a register whatever mod says (SDM vol. 2, "MOV")
    bool has_vsib = false;
    bool has_vvvv = false;
    bool default_64 = false;
    bool force_64 = false;
    OperandSpec operands[4];

    constexpr bool answers_to(unsigned prefix, bool code64, bool w, bool l, bool b) const {
        if (wide_only_in_64 && !code64) w = false;
        return prefixes >> prefix & 1 && modes >> code64 & 1 && wide >> w & 1 && lengths >> l & 1 && rex_b >> b & 1;
    }
    constexpr bool answers_to_modrm(u8 modrm) const {
        if (!has_modrm) return true;
        if (!(regs >> (modrm >> 3 & 7) & 1)) return false;
        return modrm < 0xc0 ? memory_form : register_form && rms >> (modrm & 7) & 1;
    }
    // Whether the prefix class is part of the opcode rather than a modifier.
    constexpr bool owns_prefix() const {
        return prefixes == 1 << kPrefix66 || prefixes == 1 << kPrefixF3 || prefixes == 1 << kPrefixF2;
    }
};

namespace detail {

consteval u8 hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return static_cast<u8>(digit - '0');
    if (digit >= 'A' && digit <= 'F') return static_cast<u8>(digit - 'A' + 10);
    throw "not a hexadecimal digit";
}
consteval u8 hex_byte(std::string_view text) {
    return static_cast<u8>(hex_digit(text.at(0)) << 4 | hex_digit(text.at(1)));
}

// Takes the first word off `text`.
consteval std::string_view next_word(std::string_view& text) {
    const size_t end = text.find(' ');
    const std::string_view word = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    return word;
}

consteval void parse_prefixes(Encoding& row, std::string_view text) {
    if (text.empty()) return;
    row.prefixes = 0;
    while (!text.empty()) {
        const auto word = next_word(text);
        if (word == "NP")
            row.prefixes |= 1 << kNoPrefix;
        else if (word == "66")
            row.prefixes |= 1 << kPrefix66;
        else if (word == "F3")
            row.prefixes |= 1 << kPrefixF3;
        else if (word == "F2")
            row.prefixes |= 1 << kPrefixF2;
        else
            throw "unknown prefix";
    }
}

consteval void parse_opcode(Encoding& row, std::string_view text) {
    row.first = hex_byte(text);
    row.last = text.size() > 2 ? hex_byte(text.substr(4)) : row.first;
    if (row.last < row.first) throw "opcode range runs backwards";
}

consteval u8 parse_reg_range(std::string_view text) {
    const unsigned low = hex_digit(text.at(0));
    const unsigned high = text.size() > 1 ? hex_digit(text.at(3)) : low;
    if (high > 7 || low > high) throw "ModRM.reg out of range";
    return static_cast<u8>((2u << high) - (1u << low));
}

consteval void parse_form(Encoding& row, std::string_view text) {
    if (text.empty()) return;
    row.has_modrm = true;
    if (text[0] == '=') {
        const u8 modrm = hex_byte(text.substr(1));
        if (modrm < 0xc0) throw "= needs a register form";
        row.memory_form = false;
        row.regs = static_cast<u8>(1u << (modrm >> 3 & 7));
        row.rms = static_cast<u8>(1u << (modrm & 7));
        return;
    }
    if (text[0] == 'm') row.register_form = false;
    if (text[0] == 'r') row.memory_form = false;
    const size_t slash = text.find('/');
    if (slash != std::string_view::npos)
        row.regs = parse_reg_range(text.substr(slash + 1));
    else if (text != "m" && text != "r")
        throw "unknown form";
}

consteval void parse_properties(Encoding& row, std::string_view text) {
    while (!text.empty()) {
        const auto word = next_word(text);
        if (word == "I64")
            row.modes = 0b01;
        else if (word == "O64")
            row.modes = 0b10;
        else if (word == "D64")
            row.default_64 = true;
        else if (word == "F64")
            row.force_64 = true;
        else if (word == "W0" || word == "G0")
            row.wide = 0b01;
        else if (word == "W1" || word == "G1")
            row.wide = 0b10;
        else if (word == "L0")
            row.lengths = 0b01;
        else if (word == "L1")
            row.lengths = 0b10;
        else if (word == "B0")
            row.rex_b = 0b01;
        else if (word == "B1")
            row.rex_b = 0b10;
        else if (word != "alias")
            throw "unknown property";
        if (word[0] == 'G') row.wide_only_in_64 = true;
    }
}

consteval OperandPlace parse_place(std::string_view word) {
    if (word == "AL" || word == "AXw" || word == "AXv" || word == "AXz") return OperandPlace::accumulator;
    if (word == "CL") return OperandPlace::cl;
    if (word == "DX") return OperandPlace::dx;
    if (word == "ST0") return OperandPlace::st0;
    if (word == "STi") return OperandPlace::st_rm;
    if (word == "1") return OperandPlace::one;
    if (word == "Zs") return OperandPlace::opcode_segment;
    switch (word[0]) {
        case 'G':
            return OperandPlace::reg_gpr;
        case 'E':
        case 'M':
            return OperandPlace::rm_gpr;
        case 'R':
            return OperandPlace::rm_gpr_only;
        case 'B':
            return OperandPlace::vvvv_gpr;
        case 'Z':
            return OperandPlace::opcode_gpr;
        case 'X':
            return OperandPlace::rm_vsib;
        case 'O':
            return OperandPlace::moffs;
        case 'Y':
            return OperandPlace::string;
        case 'P':
            return OperandPlace::reg_mmx;
        case 'Q':
            return OperandPlace::rm_mmx;
        case 'V':
            return OperandPlace::reg_xmm;
        case 'W':
            return OperandPlace::rm_xmm;
        case 'H':
            return OperandPlace::vvvv_xmm;
        case 'L':
            return OperandPlace::immediate_xmm;
        case 'S':
            return OperandPlace::reg_segment;
        case 'C':
            return OperandPlace::reg_control;
        case 'D':
            return OperandPlace::reg_debug;
        case 'T':
            return OperandPlace::reg_test;
        case 'I':
            return OperandPlace::unsigned_immediate;
        case 'N':
            return OperandPlace::signed_immediate;
        case 'J':
            return OperandPlace::relative;
        case 'A':
            return OperandPlace::far;
        default:
            throw "unknown operand";
    }
}

constexpr bool uses_modrm(OperandPlace place) {
    switch (place) {
        case OperandPlace::reg_gpr:
        case OperandPlace::rm_gpr:
        case OperandPlace::rm_gpr_only:
        case OperandPlace::rm_vsib:
        case OperandPlace::reg_mmx:
        case OperandPlace::rm_mmx:
        case OperandPlace::reg_xmm:
        case OperandPlace::rm_xmm:
        case OperandPlace::reg_segment:
        case OperandPlace::reg_control:
        case OperandPlace::reg_debug:
        case OperandPlace::reg_test:
            return true;
        default:
            return false;
    }
}

consteval OperandSpec parse_operand(std::string_view word) {
    OperandSpec spec;
    spec.place = parse_place(word);
    constexpr std::string_view kSizes = "bwdqotnvzycxhfepasES";
    switch (spec.place) {
        case OperandPlace::accumulator:
            spec.size = word == "AL" ? 'b' : word[2];
            return spec;
        case OperandPlace::cl:
        case OperandPlace::one:
            spec.size = 'b';
            return spec;
        case OperandPlace::dx:
        case OperandPlace::opcode_segment:
            spec.size = 'w';
            return spec;
        case OperandPlace::st0:
        case OperandPlace::st_rm:
            spec.size = 't';
            return spec;
        default:
            break;
    }
    spec.size = word.at(1);
    spec.memory_size = word.size() > 2 ? word[2] : spec.size;
    if (kSizes.find(spec.size) == std::string_view::npos || kSizes.find(spec.memory_size) == std::string_view::npos)
        throw "unknown size";
    return spec;
}

consteval void parse_operands(Encoding& row, std::string_view text) {
    size_t count = 0;
    while (!text.empty()) {
        const auto word = next_word(text);
        const OperandSpec spec = parse_operand(word);
        row.operands[count++] = spec;
        if (uses_modrm(spec.place)) row.has_modrm = true;
        if (word[0] == 'M' || word[0] == 'X') row.register_form = false;
        if (spec.place == OperandPlace::rm_gpr_only) row.mod_ignored = true;
        if (spec.place == OperandPlace::rm_vsib) row.has_vsib = true;
        if (spec.place == OperandPlace::vvvv_gpr || spec.place == OperandPlace::vvvv_xmm) row.has_vvvv = true;
    }
    if (!row.register_form && !row.memory_form) throw "no ModRM is left";
}

consteval Encoding make_encoding(OpcodeMap map, std::string_view prefixes, std::string_view opcode,
                                 std::string_view form, Opcode name, std::string_view operands,
                                 std::string_view properties) {
    Encoding row;
    row.map = map;
    row.opcode = name;
    parse_prefixes(row, prefixes);
    parse_opcode(row, opcode);
    parse_form(row, form);
    parse_operands(row, operands);
    parse_properties(row, properties);
    return row;
}

}  // namespace detail

// Row 0 answers to nothing: it stands for "no such instruction".
inline constexpr auto kEncodings = std::to_array<Encoding>({
    Encoding{},
#define ENCODING(map, prefix, opcode, form, name, operands, properties) \
    detail::make_encoding(OpcodeMap::map, prefix, opcode, form, Opcode::name, operands, properties),
#include "core/decode/opcodes.inc"
#undef ENCODING
});

}  // namespace lodge
