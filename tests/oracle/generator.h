// Cases drawn from the rows of the decoder's table.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "core/decode/decoder.h"
#include "core/decode/encoding.h"
#include "tests/oracle/oracle_case.h"
#include "tests/random_values.h"

namespace lodge::oracle {

// What 32-bit code finds in FS.
struct Fs32 {
    u16 selector = 0;
    u64 base = 0;
};

class Generator {
  public:
    // `only`: a mnemonic, or empty. `runs`: how many cases of a hundred are to be of several instructions.
    Generator(u64 seed, Fs32 fs32, bool bits32, bool bits64, std::string_view only, unsigned runs);
    // Everything about the case is decided by `number` and the seed.
    OracleCase make(u64 number);
    // What the data starts from.
    void fill(u64 number, std::span<u8> data);
    // Rows that can come up, 32- and 64-bit code.
    const std::vector<unsigned>& rows(bool code64) const { return rows_[code64]; }
    // Writes what the case needs in memory beside random bytes: stack contents of RET, MXCSR of LDMXCSR.
    void prepare_data(const OracleCase& made, std::span<u8> data);

  private:
    // An instruction in the making.
    struct Draft {
        const Encoding* row = nullptr;
        bool code64 = false, in_run = false;
        std::vector<u8> bytes;
        bool wide = false, rex = false;
        u8 rex_bits = 0;
        size_t opcode_at = 0;
        size_t displacement_at = 0;
        unsigned displacement_size = 0;
    };
    bool try_make(OracleCase& made, unsigned row);
    DecodeStatus draw_bytes(Draft& draft, Insn& insn);
    // generator_run.cpp
    bool try_make_run(OracleCase& made);
    bool draw_for_run(OracleCase& made, bool is_last, u32& undefined);
    void draw_run_state(OracleCase& made);
    void aim_in_run(const OracleCase& made, Draft& draft, Insn& insn);
    void join_branches(OracleCase& made);
    void draw_prefixes(Draft& draft);
    void draw_modrm(Draft& draft);
    void draw_state(OracleCase& made);
    void draw_fpu(FxImage& fpu);
    void aim(OracleCase& made, Draft& draft);
    void aim_memory(OracleCase& made, Draft& draft);
    void aim_implicit(OracleCase& made);
    static void set_displacement(u8* bytes, const Draft& draft, Insn& insn, u64 displacement);
    void keep_off_own_code(OracleCase& made);
    bool settle(OracleCase& made);
    u64 draw_ip();
    void cut(OracleCase& made);
    void seed(u64 number) { random_.seed(seed_, number); }
    u64 value() { return random_integer(random_); }
    u16 selector();
    u64 float_bits(unsigned exponent_bits, unsigned fraction_bits) {
        return random_float(random_, exponent_bits, fraction_bits);
    }
    u64 address(u64 size);
    bool chance(unsigned percent) { return random_.chance(percent); }

    u64 seed_;
    Random random_;
    Fs32 fs32_;
    unsigned runs_;
    std::vector<unsigned> rows_[2];
};

}  // namespace lodge::oracle
