// Random instructions of the decoder's table for code of any size, mostly such that a program can live with them:
// memory operands lead through the registers that hold pointers, and these registers are not written.
#pragma once

#include <vector>

#include "core/cpu/cpu_model.h"
#include "core/decode/encoding.h"
#include "core/decode/insn.h"
#include "tests/random_values.h"

namespace lodge::lockstep {

// What kinds of instruction a program consists of, as weights.
struct Flavour {
    unsigned integer = 50, moves = 30, stack = 3, strings = 3, control = 4, x87 = 12, simd = 30, later = 1;
};

struct Surroundings {
    CodeSize code_size = CodeSize::bits32;
    std::vector<u8> pointers;  // registers that hold addresses of data
    u32 kept = 0;              // registers, one bit each, not to be written
    u64 data_offset = 0;       // what offset data lies at in DS; for absolute addresses
    u64 data_size = 0;
    bool supervisor = false;
};

class InstructionMaker {
  public:
    InstructionMaker(Random& random, const CpuModel& model, const Flavour& flavour, bool code64);

    // One instruction at `ip`. What it keeps from being drawn is in `around`.
    std::vector<u8> make(const Surroundings& around, u64 ip, Insn& insn);

  private:
    struct Draft {
        const Encoding* row = nullptr;
        std::vector<u8> legacy;  // prefixes
        bool rex = false;
        u8 rex_bits = 0;
        u8 modrm = 0, sib = 0;
        bool has_sib = false;
        unsigned displacement_size = 0;
        i64 displacement = 0;
        bool is_absolute = false;
    };
    const Encoding& draw_row();
    void draw_prefixes(Draft& draft, const Surroundings& around);
    void draw_modrm(Draft& draft, const Surroundings& around);
    void draw_address16(Draft& draft, const Surroundings& around, unsigned reg);
    void draw_address32(Draft& draft, const Surroundings& around, unsigned reg);
    bool try_make(const Surroundings& around, u64 ip, std::vector<u8>& bytes, Insn& insn);
    bool is_wanted(const Insn& insn, const Surroundings& around);
    bool writes_kept(const Insn& insn, u32 kept) const;

    Random& random_;
    const CpuModel& model_;
    std::vector<unsigned> rows_[8];
    unsigned weights_[8];
    unsigned total_ = 0;
    bool code64_;
};

}  // namespace lodge::lockstep
