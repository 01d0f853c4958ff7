// MMX and SSE on the translator against the interpreter: random sequences from random states, with operands that cross
// pages, fault, or may not be written.
#include "tests/unit/jit_fpu_fixture.h"

using namespace lodge;

namespace {

constexpr unsigned kCases = 5000;

bool is_simd(const Insn& insn) {
    return !jit::is_x87(insn.opcode) && jit::fpu_parts(insn) && !insn.vector_size;
}

}  // namespace

TEST_CASE("random MMX and SSE instructions leave the same state on both engines") {
    for (const CodeSize size : {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64}) {
        FpuTwins twins(1, size, is_simd);
        for (unsigned i = 0; i < kCases; ++i) REQUIRE(twins.run_case());
        CHECK(twins.counters().refused_blocks == 0);
        CHECK(twins.counters().translated_blocks > kCases / 2);
    }
}
