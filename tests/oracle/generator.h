// Cases drawn from the rows of the decoder's table.
#pragma once

#include <random>
#include <span>
#include <string>
#include <string_view>

#include "tests/oracle/oracle_case.h"

namespace lodge::oracle {

// What 32-bit code finds in FS.
struct Fs32 {
    u16 selector = 0;
    u64 base = 0;
};

// Why cases of this row are not drawn in this kind of code; empty when they are.
std::string_view reason_not_to_draw(unsigned row, bool code64);

class Generator {
  public:
    // `only`: a mnemonic, or empty.
    Generator(u64 seed, Fs32 fs32, bool bits32, bool bits64, std::string_view only);
    // Everything about the case is decided by `number` and the seed.
    OracleCase make(u64 number);
    // What the data starts from.
    void fill(u64 number, std::span<u8> data);
    // Rows that can come up, 32- and 64-bit code.
    const std::vector<unsigned>& rows(bool code64) const { return rows_[code64]; }
    // Writes what the case needs in memory beside random bytes: stack contents of RET, MXCSR of LDMXCSR.
    void prepare_data(const OracleCase& made, std::span<u8> data);

  private:
    struct Draft;
    bool try_make(OracleCase& made, unsigned row);
    void draw_prefixes(Draft& draft);
    void draw_modrm(Draft& draft);
    void draw_state(OracleCase& made);
    void draw_fpu(FxImage& fpu);
    void aim(OracleCase& made, Draft& draft);
    void aim_memory(OracleCase& made, Draft& draft);
    void aim_implicit(OracleCase& made);
    void keep_off_own_code(OracleCase& made);
    bool settle(OracleCase& made);
    u64 value();
    u64 float_bits(unsigned exponent_bits, unsigned fraction_bits);
    u64 address(u64 size);
    bool chance(unsigned percent) { return random_() % 100 < percent; }

    u64 seed_;
    std::mt19937_64 random_;
    Fs32 fs32_;
    std::vector<unsigned> rows_[2];
};

}  // namespace lodge::oracle
