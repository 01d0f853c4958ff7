// Random instructions: half from the rows of opcodes.inc, so that every row is met, a quarter any byte of any
// map, a quarter bare random bytes.
#pragma once

#include <array>
#include <random>

#include "core/decode/encoding.h"
#include "core/decode/insn.h"

namespace lodge {

// More bytes than any instruction has; what follows the instruction is random too.
using InstructionBytes = std::array<u8, 24>;

class RandomInstructions {
  public:
    explicit RandomInstructions(u64 seed) : random_(seed) {}

    InstructionBytes next(CodeSize code_size) {
        InstructionBytes bytes;
        for (u8& byte : bytes) byte = static_cast<u8>(random_());
        at_ = 0;
        add_prefixes(bytes, code_size);
        switch (random_() & 3) {
            case 0:
                break;
            case 1:
                add_escape(bytes, code_size);
                break;
            default:
                add_row(bytes, code_size);
                break;
        }
        return bytes;
    }

  private:
    void put(InstructionBytes& bytes, unsigned byte) { bytes[at_++] = static_cast<u8>(byte); }

    void add_prefixes(InstructionBytes& bytes, CodeSize code_size) {
        static constexpr u8 kPrefixes[] = {0x66, 0x66, 0x66, 0x67, 0xf2, 0xf3, 0xf0,
                                           0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65};
        while (random_() % 3 == 0 && at_ < 4) put(bytes, kPrefixes[random_() % std::size(kPrefixes)]);
    }

    // Any byte of any map.
    void add_escape(InstructionBytes& bytes, CodeSize code_size) {
        Encoding row;
        row.map = static_cast<OpcodeMap>(random_() % kOpcodeMapCount);
        const unsigned prefix = random_() & 3;
        if (row.map >= OpcodeMap::vex0F) {
            at_ = 0;
            add_vex(bytes, row, prefix);
        } else {
            add_legacy(bytes, row, prefix, code_size);
        }
    }

    void add_row(InstructionBytes& bytes, CodeSize code_size) {
        const Encoding& row = kEncodings[1 + random_() % (kEncodings.size() - 1)];
        const unsigned opcode = row.first + random_() % (row.last - row.first + 1u);
        unsigned prefix = random_() & 3;
        while (!(row.prefixes >> prefix & 1)) prefix = (prefix + 1) & 3;
        if (random_() % 8) at_ = 0;
        if (row.map >= OpcodeMap::vex0F)
            add_vex(bytes, row, prefix);
        else
            add_legacy(bytes, row, prefix, code_size);
        put(bytes, opcode);
        while (!row.answers_to_modrm(bytes[at_])) bytes[at_] = static_cast<u8>(random_());
    }

    void add_legacy(InstructionBytes& bytes, const Encoding& row, unsigned prefix, CodeSize code_size) {
        if (prefix && (row.owns_prefix() || random_() & 1))
            put(bytes, prefix == kPrefix66 ? 0x66 : prefix == kPrefixF3 ? 0xf3 : 0xf2);
        if (code_size == CodeSize::bits64 && random_() & 1) put(bytes, 0x40 | (random_() & 15));
        if (row.map != OpcodeMap::one) put(bytes, 0x0f);
        if (row.map == OpcodeMap::x0F38) put(bytes, 0x38);
        if (row.map == OpcodeMap::x0F3A) put(bytes, 0x3a);
    }

    void add_vex(InstructionBytes& bytes, const Encoding& row, unsigned prefix) {
        const unsigned map = static_cast<unsigned>(row.map) - static_cast<unsigned>(OpcodeMap::vex0F) + 1;
        const unsigned wide = row.wide == 0b11 ? random_() & 1 : row.wide >> 1;
        const unsigned length = row.lengths == 0b11 ? random_() & 1 : row.lengths >> 1;
        const unsigned vvvv = row.has_vvvv || random_() % 8 == 0 ? random_() & 15 : 15;
        if (map == 1 && !wide && random_() & 1) {
            put(bytes, 0xc5);
            put(bytes, (random_() & 0x80) | vvvv << 3 | length << 2 | prefix);
        } else {
            put(bytes, 0xc4);
            put(bytes, (random_() & 0xe0) | map);
            put(bytes, wide << 7 | vvvv << 3 | length << 2 | prefix);
        }
    }

    std::mt19937_64 random_;
    size_t at_ = 0;
};

}  // namespace lodge
