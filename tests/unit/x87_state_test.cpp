// What the host cannot show: faults, pending errors, the formats of the x87 state in memory.
#include <doctest/doctest.h>

#include "core/interp/x87.h"
#include "tests/unit/host_instruction.h"

namespace lodge {

namespace {

using Bytes = std::initializer_list<u8>;

bool execute(GuestInstruction& guest, Bytes bytes) {
    return guest.execute({bytes.begin(), bytes.size()});
}
bool faulted(const GuestInstruction& guest, Exception vector) {
    return guest.fault() && guest.fault()->vector == vector;
}
template <class T>
T operand(GuestInstruction& guest, unsigned offset = 0) {
    return load<T>(guest.memory() + GuestInstruction::kOperandAddress + offset);
}
template <class T>
void set_operand(GuestInstruction& guest, T value, unsigned offset = 0) {
    store<T>(guest.memory() + GuestInstruction::kOperandAddress + offset, value);
}
FpuState& fpu_of(GuestInstruction& guest) {
    return guest.cpu().state.fpu;
}

constexpr u64 kOne = u64{1} << 63;

// Two pointers that are easy to find again.
void set_pointers(FpuState& fpu) {
    fpu.instruction = 0x12345678;
    fpu.instruction_selector = 0x1B;
    fpu.data = 0x9ABCDEF0;
    fpu.data_selector = 0x23;
    fpu.opcode = 0x5A5;
}

}  // namespace

TEST_CASE("x87: #NM and #UD by CR0") {
    GuestInstruction guest;
    CpuState& state = guest.cpu().state;
    const u64 cr0 = state.cr0;
    struct {
        u64 bits;
        Bytes bytes;
        std::optional<Exception> vector;
    } const kCases[] = {
        {kCr0Em, {0xD9, 0xE8}, Exception::NM},
        {kCr0Ts, {0xD9, 0xE8}, Exception::NM},
        {kCr0Ts, {0xDB, 0xE3}, Exception::NM},                 // FNINIT
        {kCr0Ts, {0xDF, 0xE0}, Exception::NM},                 // FNSTSW AX
        {kCr0Ts, {0x9B}, Exception::NM},                       // FWAIT: MP is set
        {kCr0Em, {0x9B}, {}},                                  // FWAIT
        {kCr0Em, {0x0F, 0x77}, Exception::UD},                 // EMMS
        {kCr0Ts, {0x0F, 0x77}, Exception::NM},                 //
        {kCr0Em | kCr0Ts, {0x0F, 0x6F, 0xC1}, Exception::UD},  // MOVQ MM0, MM1
        {kCr0Em, {0x0F, 0x58, 0xC1}, Exception::UD},           // ADDPS
        {kCr0Ts, {0x0F, 0x58, 0xC1}, Exception::NM},           //
        {kCr0Ts, {0x0F, 0xAE, 0x06}, Exception::NM},           // FXSAVE
        {kCr0Em, {0x0F, 0xAE, 0x0E}, Exception::NM},           // FXRSTOR
    };
    for (const auto& c : kCases) {
        guest.reset();
        state.cr0 = cr0 | c.bits;
        guest.cpu().mode_changed();
        REQUIRE(execute(guest, c.bytes));
        if (c.vector)
            CHECK(faulted(guest, *c.vector));
        else
            CHECK(!guest.fault());
    }
    guest.reset();
    state.cr4 &= ~kCr4Osfxsr;
    REQUIRE(execute(guest, {0x0F, 0x58, 0xC1}));
    CHECK(faulted(guest, Exception::UD));
}

TEST_CASE("x87: FWAIT without MP does not look at TS") {
    GuestInstruction guest;
    CpuState& state = guest.cpu().state;
    state.cr0 = (state.cr0 & ~kCr0Mp) | kCr0Ts;
    REQUIRE(execute(guest, {0x9B}));
    CHECK(!guest.fault());
}

TEST_CASE("x87: an unmasked error waits for the next waiting instruction") {
    GuestInstruction guest;
    FpuState& fpu = fpu_of(guest);
    execute(guest, {0xDB, 0xE3});  // FNINIT
    execute(guest, {0xD9, 0xE8});  // FLD1
    execute(guest, {0xD9, 0xEE});  // FLDZ
    set_operand<u16>(guest, 0x37B);
    execute(guest, {0xD9, 0x2E});  // FLDCW: division by zero unmasked
    CHECK(!(fpu.status & x87::kSummary));
    execute(guest, {0xD8, 0xF9});  // FDIVR ST, ST(1): 1/0
    CHECK(!guest.fault());
    CHECK((fpu.status & (x87::kSummary | x87::kBusy | x87::kZeroDivide)) ==
          (x87::kSummary | x87::kBusy | x87::kZeroDivide));
    CHECK(x87::significand(x87::st(fpu, 0)) == 0);  // the operands stay
    CHECK(x87::top(fpu) == 6);
    CHECK(fpu.opcode == 0x0F9);
    CHECK(fpu.instruction == 0x1000);

    execute(guest, {0xDF, 0xE0});  // FNSTSW AX does not wait
    CHECK(!guest.fault());
    CHECK((guest.cpu().state.gpr[kRax] & 0xFFFF) == fpu.status);
    const FpuState before = fpu;
    for (const Bytes& bytes : {Bytes{0xD9, 0xE8}, Bytes{0x9B}, Bytes{0xD9, 0x2E}, Bytes{0x0F, 0x6F, 0xC1},
                               Bytes{0x0F, 0x77}, Bytes{0xD9, 0xD0}}) {
        execute(guest, bytes);
        CHECK(faulted(guest, Exception::MF));
        CHECK(std::memcmp(&fpu, &before, sizeof before) == 0);
        guest.reset();
        fpu = before;
    }
    execute(guest, {0xDB, 0xE2});  // FNCLEX
    execute(guest, {0xD9, 0xE8});
    CHECK(!guest.fault());
}

TEST_CASE("x87: with NE clear an error does not stop the program") {
    GuestInstruction guest;
    guest.cpu().state.cr0 &= ~kCr0Ne;
    fpu_of(guest).control = 0x340;
    fpu_of(guest).status = x87::kSummary | x87::kBusy | x87::kInvalid;
    fpu_of(guest).valid = 0;
    execute(guest, {0xD9, 0xE8});
    CHECK(!guest.fault());
    CHECK(x87::significand(x87::st(fpu_of(guest), 0)) == kOne);
}

TEST_CASE("x87: FLDCW unmasks what is already there") {
    GuestInstruction guest;
    FpuState& fpu = fpu_of(guest);
    fpu.control = 0x37F;
    fpu.status = x87::kPrecision;
    set_operand<u16>(guest, 0x35F);
    execute(guest, {0xD9, 0x2E});
    CHECK((fpu.status & x87::kSummary));
    set_operand<u16>(guest, 0xFFFF);
    fpu.status = 0;
    execute(guest, {0xD9, 0x2E});
    CHECK(fpu.control == 0x1F7F);
}

TEST_CASE("x87: stack overflow and underflow") {
    GuestInstruction guest;
    FpuState& fpu = fpu_of(guest);
    execute(guest, {0xDB, 0xE3});
    for (unsigned i = 0; i < 8; ++i) execute(guest, {0xD9, 0xE8});
    CHECK(fpu.valid == 0xFF);
    CHECK(!(fpu.status & x87::kStackFault));
    execute(guest, {0xD9, 0xE8});  // the ninth
    CHECK((fpu.status & (x87::kInvalid | x87::kStackFault | x87::kC1)) ==
          (x87::kInvalid | x87::kStackFault | x87::kC1));
    CHECK(x87::significand(x87::st(fpu, 0)) == x87::kIndefiniteSignificand);
    CHECK(x87::sign_and_exponent(x87::st(fpu, 0)) == x87::kIndefiniteExponent);

    execute(guest, {0xDB, 0xE3});
    execute(guest, {0xDD, 0x1E});  // FSTP m64 of an empty register
    CHECK((fpu.status & (x87::kInvalid | x87::kStackFault | x87::kC1)) == (x87::kInvalid | x87::kStackFault));
    CHECK(operand<u64>(guest) == 0xFFF8000000000000);
    CHECK(x87::top(fpu) == 1);

    execute(guest, {0xDB, 0xE3});
    fpu.control = 0x37E;  // unmasked: nothing is stored or popped
    set_operand<u64>(guest, 0x1122334455667788);
    execute(guest, {0xDD, 0x1E});
    CHECK(operand<u64>(guest) == 0x1122334455667788);
    CHECK(x87::top(fpu) == 0);
    CHECK((fpu.status & x87::kSummary));
}

TEST_CASE("x87: a store that faults changes nothing") {
    GuestInstruction guest;
    FpuState& fpu = fpu_of(guest);
    execute(guest, {0xDB, 0xE3});
    execute(guest, {0xD9, 0xEB});  // FLDPI
    const FpuState before = fpu;
    SegmentState& ds = guest.cpu().state.segment(Segment::ds);
    ds.limit = 0x8043;  // two bytes too short for m80 and m64
    ds.readable_span = ds.writable_span = ds.limit;
    for (const Bytes& bytes : {Bytes{0xDD, 0x1E}, Bytes{0xDB, 0x3E}, Bytes{0xDF, 0x3E}, Bytes{0xDF, 0x36},
                               Bytes{0xDD, 0x36}, Bytes{0xD9, 0x36}, Bytes{0xDD, 0x06}, Bytes{0xDB, 0x2E}}) {
        execute(guest, bytes);
        CHECK(faulted(guest, Exception::GP));
        CHECK(std::memcmp(&fpu, &before, sizeof before) == 0);
        guest.reset();
        fpu = before;
        ds.limit = 0x8043;
        ds.readable_span = ds.writable_span = ds.limit;
    }
    CHECK(operand<u64>(guest) == 0);
}

TEST_CASE("x87: environment in its four formats") {
    GuestInstruction guest;
    FpuState& fpu = fpu_of(guest);
    const auto prepare = [&] {
        execute(guest, {0xDB, 0xE3});
        execute(guest, {0xD9, 0xEE});  // R7 zero
        execute(guest, {0xD9, 0xE8});  // R6 valid
        execute(guest, {0xD9, 0xE8});
        x87::set_value(x87::st(fpu, 0), 0x7FFF, kOne);  // R5 infinite
        set_pointers(fpu);
    };
    constexpr u16 kTags = 0x4BFF;  // 01 00 10 11 11 11 11 11
    constexpr u16 kStatus = 5 << 11;

    SUBCASE("32-bit protected") {
        prepare();
        fpu.control = 0x37E;
        execute(guest, {0xD9, 0x36});
        const u32 kWords[] = {0xFFFF037E, 0xFFFF0000 | kStatus, 0xFFFF0000 | kTags, 0x12345678,
                              0x05A5001B, 0x9ABCDEF0,           0xFFFF0023};
        for (unsigned i = 0; i < 7; ++i) CHECK(operand<u32>(guest, 4 * i) == kWords[i]);
        CHECK(fpu.control == 0x37F);  // masked by FNSTENV
        execute(guest, {0xDB, 0xE3});
        execute(guest, {0xD9, 0x26});  // FLDENV
        CHECK(fpu.control == 0x37E);
        CHECK(fpu.status == kStatus);
        CHECK(fpu.valid == 0xE0);
        CHECK(fpu.instruction == 0x12345678);
        CHECK(fpu.instruction_selector == 0x1B);
        CHECK(fpu.data == 0x9ABCDEF0);
        CHECK(fpu.data_selector == 0x23);
        CHECK(fpu.opcode == 0x5A5);
    }
    SUBCASE("16-bit protected") {
        prepare();
        execute(guest, {0x66, 0xD9, 0x36});
        const u16 kWords[] = {0x37F, kStatus, kTags, 0x5678, 0x1B, 0xDEF0, 0x23};
        for (unsigned i = 0; i < 7; ++i) CHECK(operand<u16>(guest, 2 * i) == kWords[i]);
        execute(guest, {0xDB, 0xE3});
        execute(guest, {0x66, 0xD9, 0x26});
        CHECK(fpu.instruction == 0x5678);
        CHECK(fpu.data_selector == 0x23);
        CHECK(fpu.valid == 0xE0);
    }
    SUBCASE("real mode") {
        prepare();
        guest.cpu().state.cr0 &= ~kCr0Pe;
        guest.cpu().mode_changed();
        fpu.instruction = 0x4321;
        fpu.instruction_selector = 0xF000;
        fpu.data = 0x10;
        fpu.data_selector = 0xFFFF;  // linear 100000h: past 20 bits
        execute(guest, {0x66, 0xD9, 0x36});
        const u16 kWords[] = {0x37F, kStatus, kTags, 0x4321, 0xF5A5, 0x0000, 0x0000};
        for (unsigned i = 0; i < 7; ++i) CHECK(operand<u16>(guest, 2 * i) == kWords[i]);
        execute(guest, {0xD9, 0x36});
        const u32 kWide[] = {0xFFFF037F, 0xFFFF0000 | kStatus, 0xFFFF0000 | kTags, 0xFFFF4321,
                             0x0000F5A5, 0xFFFF0000,           0x00010000};
        for (unsigned i = 0; i < 7; ++i) CHECK(operand<u32>(guest, 4 * i) == kWide[i]);
        execute(guest, {0xDB, 0xE3});
        execute(guest, {0xD9, 0x26});
        CHECK(fpu.instruction == 0xF4321);
        CHECK(fpu.instruction_selector == 0);
        CHECK(fpu.data == 0x100000);
        CHECK(fpu.opcode == 0x5A5);
    }
    SUBCASE("FNSAVE and FRSTOR, 16-bit") {
        prepare();
        execute(guest, {0x66, 0xDD, 0x36});
        CHECK(operand<u16>(guest, 14 + 8) == 0x7FFF);       // ST(0)
        CHECK(operand<u64>(guest, 14 + 10) == kOne);        // ST(1)
        CHECK(operand<u16>(guest, 14 + 10 + 8) == 0x3FFF);  //
        CHECK(fpu.status == 0);                             // as after FNINIT
        CHECK(fpu.control == 0x37F);
        CHECK(fpu.valid == 0);
        CHECK(fpu.instruction == 0);
        execute(guest, {0x66, 0xDD, 0x26});
        CHECK(fpu.status == kStatus);
        CHECK(fpu.valid == 0xE0);
        CHECK(x87::sign_and_exponent(x87::st(fpu, 1)) == 0x3FFF);
    }
}

TEST_CASE("x87: FXSAVE and FXRSTOR") {
    GuestInstruction guest;
    FpuState& fpu = fpu_of(guest);
    execute(guest, {0xDB, 0xE3});
    execute(guest, {0xD9, 0xEE});
    execute(guest, {0xD9, 0xE8});
    set_pointers(fpu);
    fpu.mxcsr = 0x1FA0;
    for (unsigned i = 0; i < 16; ++i) store<u64>(fpu.xmm[i], 0x100 + i);
    const FpuState before = fpu;
    for (unsigned i = 0; i < 64; ++i) set_operand<u64>(guest, ~u64{0}, 8 * i);

    SUBCASE("with OSFXSR") {
        REQUIRE(execute(guest, {0x0F, 0xAE, 0x06}));
        CHECK(operand<u16>(guest, 0) == 0x37F);
        CHECK(operand<u16>(guest, 2) == 6 << 11);
        CHECK(operand<u8>(guest, 4) == 0xC0);
        CHECK(operand<u16>(guest, 6) == 0x5A5);
        CHECK(operand<u64>(guest, 8) == 0x1B12345678);
        CHECK(operand<u64>(guest, 16) == 0x239ABCDEF0);
        CHECK(operand<u32>(guest, 24) == 0x1FA0);
        CHECK(operand<u32>(guest, 28) == kMxcsrMask);
        CHECK(operand<u64>(guest, 32) == kOne);
        CHECK(operand<u64>(guest, 40) == 0x3FFF);
        CHECK(operand<u64>(guest, 160 + 7 * 16) == 0x107);
        CHECK(operand<u64>(guest, 160 + 8 * 16) == ~u64{0});  // no XMM8 in 32-bit code
        fpu = FpuState{};
        REQUIRE(execute(guest, {0x0F, 0xAE, 0x0E}));
        CHECK(guest.cpu().state.ip == 0x1003);
        CHECK(fpu.status == before.status);
        CHECK(fpu.valid == before.valid);
        CHECK(fpu.mxcsr == before.mxcsr);
        CHECK(fpu.instruction == before.instruction);
        CHECK(fpu.data_selector == before.data_selector);
        CHECK(std::memcmp(fpu.st, before.st, sizeof fpu.st) == 0);
        CHECK(std::memcmp(fpu.xmm, before.xmm, 8 * 16) == 0);
        CHECK(load<u64>(fpu.xmm[8]) == 0);
    }
    SUBCASE("without OSFXSR") {
        guest.cpu().state.cr4 &= ~kCr4Osfxsr;
        REQUIRE(execute(guest, {0x0F, 0xAE, 0x06}));
        CHECK(operand<u64>(guest, 32) == kOne);
        CHECK(operand<u64>(guest, 160) == ~u64{0});
    }
    SUBCASE("reserved bits of MXCSR") {
        REQUIRE(execute(guest, {0x0F, 0xAE, 0x06}));
        set_operand<u32>(guest, 0x10000, 24);
        REQUIRE(execute(guest, {0x0F, 0xAE, 0x0E}));
        CHECK(faulted(guest, Exception::GP));
        CHECK(std::memcmp(&fpu, &before, sizeof before) == 0);
    }
    SUBCASE("alignment") {
        guest.cpu().state.gpr[kRsi] += 8;
        REQUIRE(execute(guest, {0x0F, 0xAE, 0x06}));
        CHECK(faulted(guest, Exception::GP));
    }
    SUBCASE("64-bit form") {
        CpuState& state = guest.cpu().state;
        state.efer = kEferLma | kEferLme;
        state.segment(Segment::cs).attributes |= kSegmentLong;
        state.segment(Segment::cs).attributes &= ~kSegmentBig;
        guest.cpu().mode_changed();
        fpu.instruction = 0xFFFF800012345678;
        REQUIRE(execute(guest, {0x48, 0x0F, 0xAE, 0x06}));
        REQUIRE(!guest.fault());
        CHECK(operand<u64>(guest, 8) == 0xFFFF800012345678);
        CHECK(operand<u64>(guest, 16) == 0x9ABCDEF0);
        CHECK(operand<u64>(guest, 160 + 15 * 16) == 0x10F);
        CHECK(operand<u64>(guest, 416) == ~u64{0});
    }
}

TEST_CASE("simd: operands that must be aligned") {
    GuestInstruction guest;
    const auto at_offset = [&](u64 offset, Bytes bytes) {
        guest.reset();
        guest.cpu().state.gpr[kRsi] += offset;
        REQUIRE(execute(guest, bytes));
        return faulted(guest, Exception::GP);
    };
    CHECK(at_offset(8, {0x0F, 0x58, 0x06}));                     // ADDPS
    CHECK(at_offset(8, {0x66, 0x0F, 0x6F, 0x06}));               // MOVDQA
    CHECK(at_offset(8, {0x66, 0x0F, 0x7F, 0x06}));               //
    CHECK(at_offset(1, {0x0F, 0x2B, 0x06}));                     // MOVNTPS
    CHECK(!at_offset(1, {0xF3, 0x0F, 0x6F, 0x06}));              // MOVDQU
    CHECK(!at_offset(1, {0x0F, 0x11, 0x06}));                    // MOVUPS
    CHECK(!at_offset(1, {0xF3, 0x0F, 0x58, 0x06}));              // ADDSS
    CHECK(!at_offset(1, {0x0F, 0xFC, 0x06}));                    // PADDB MM
    CHECK(!at_offset(1, {0x66, 0x0F, 0x3A, 0x63, 0x06, 0x0C}));  // PCMPISTRI
    CHECK(!at_offset(0, {0x0F, 0x58, 0x06}));
}

TEST_CASE("simd: byte masks") {
    GuestInstruction guest;
    FpuState& fpu = fpu_of(guest);
    guest.cpu().state.gpr[kRdi] = GuestInstruction::kOperandAddress + 3;
    for (unsigned i = 0; i < 16; ++i) {
        fpu.xmm[1][i] = static_cast<u8>(0x10 + i);
        fpu.xmm[2][i] = i % 3 == 0 ? 0x80 : 0x7F;
    }
    REQUIRE(execute(guest, {0x66, 0x0F, 0xF7, 0xCA}));  // MASKMOVDQU XMM1, XMM2
    for (unsigned i = 0; i < 16; ++i) CHECK(operand<u8>(guest, 3 + i) == (i % 3 == 0 ? 0x10 + i : 0));
    std::memcpy(fpu.st[1], fpu.xmm[1], 8);
    std::memcpy(fpu.st[2], fpu.xmm[2], 8);
    guest.cpu().state.gpr[kRdi] += 32;
    REQUIRE(execute(guest, {0x0F, 0xF7, 0xCA}));  // MASKMOVQ MM1, MM2
    for (unsigned i = 0; i < 8; ++i) CHECK(operand<u8>(guest, 35 + i) == (i % 3 == 0 ? 0x10 + i : 0));
    CHECK(fpu.valid == 0xFF);
}

TEST_CASE("simd: an unmasked exception without OSXMMEXCPT is #UD") {
    GuestInstruction guest;
    FpuState& fpu = fpu_of(guest);
    guest.cpu().state.cr4 &= ~kCr4Osxmmexcpt;
    fpu.mxcsr = 0x1D80;  // division by zero unmasked
    store<u32>(fpu.xmm[0], 0x3F800000);
    REQUIRE(execute(guest, {0xF3, 0x0F, 0x5E, 0xC1}));  // DIVSS XMM0, XMM1
    CHECK(faulted(guest, Exception::UD));
    CHECK(fpu.mxcsr == 0x1D84);
    CHECK(load<u32>(fpu.xmm[0]) == 0x3F800000);
}

}  // namespace lodge
