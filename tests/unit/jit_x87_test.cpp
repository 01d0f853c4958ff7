// x87 on the translator against the interpreter: random sequences from random states, mixed with MMX and SSE, with
// operands that cross pages, fault, or may not be written.
#include "tests/unit/jit_fpu_fixture.h"

using namespace lodge;

namespace {

constexpr unsigned kCases = 5000;

bool is_plain_x87(const Insn& insn) {
    return jit::is_x87(insn.opcode);
}
bool is_any_fpu(const Insn& insn) {
    const bool whole = insn.opcode == Opcode::FXSAVE || insn.opcode == Opcode::FXRSTOR;
    return whole || (jit::fpu_parts(insn) && !insn.vector_size);
}

}  // namespace

TEST_CASE("random x87 instructions leave the same state on both engines") {
    for (const CodeSize size : {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64}) {
        FpuTwins twins(2, size, is_plain_x87);
        for (unsigned i = 0; i < kCases; ++i) REQUIRE(twins.run_case());
        CHECK(twins.counters().refused_blocks == 0);
        CHECK(twins.counters().translated_blocks > kCases / 2);
    }
}

TEST_CASE("x87, MMX and SSE mixed leave the same state on both engines") {
    for (const CodeSize size : {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64}) {
        FpuTwins twins(3, size, is_any_fpu);
        for (unsigned i = 0; i < kCases; ++i) REQUIRE(twins.run_case());
        CHECK(twins.counters().refused_blocks == 0);
    }
}
