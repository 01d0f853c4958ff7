// Long mode by the SDM: entries and returns, segments, canonical addresses.
#include "tests/unit/long_mode_fixture.h"

#include <doctest/doctest.h>

using namespace lodge;

namespace {

constexpr int kDb = 1, kUd = 6, kTs = 10, kNp = 11, kSs = 12, kGp = 13, kPf = 14, kAc = 17;
constexpr u64 kHole = 0x0000800000000000;  // the first address that is not canonical

}  // namespace

TEST_CASE("long mode: an interrupt pushes five words on an aligned stack") {
    Guest64 guest;
    guest.reg(kRsp) = Guest64::kStack - 3;
    CHECK(guest.run({0x0F, 0x0B}) == kUd);
    CHECK(guest.reg(kRsp) == Guest64::kStack - 16 - 40);
    CHECK(guest.frame(kUd, Guest64::ip) == Guest64::kCode);
    CHECK(guest.frame(kUd, Guest64::cs) == Guest64::kCode64);
    CHECK(guest.frame(kUd, Guest64::sp) == Guest64::kStack - 3);
    CHECK((guest.frame(kUd, Guest64::flags) & kFlagResume) != 0);
}

TEST_CASE("long mode: from ring 3 the TSS gives the stack, SS becomes null with the new RPL") {
    for (const bool wide : {true, false}) {
        Guest64 guest;
        guest.user(wide);
        CHECK(guest.run({0x0F, 0x0B}) == kUd);
        CHECK(guest.reg(kRsp) == Guest64::kInnerStack - 40);
        CHECK(guest.frame(kUd, Guest64::cs) == (wide ? Guest64::kUser64 : Guest64::kCompatUser));
        CHECK(guest.frame(kUd, Guest64::ss) == Guest64::kDataUser);
        CHECK(guest.frame(kUd, Guest64::sp) == Guest64::kUserStack);
        CHECK(guest.state().segment(Segment::ss).selector == 0);
        CHECK(guest.cpu->code64());
        CHECK(guest.state().cpl == 0);
    }
}

TEST_CASE("long mode: IST is used whatever the level") {
    Guest64 guest;
    guest.interrupt_gate(kUd, 0x8E, 1);
    CHECK(guest.run({0x0F, 0x0B}) == kUd);
    CHECK(guest.reg(kRsp) == Guest64::kIst1 - 40);
    guest.reset();
    guest.interrupt_gate(kUd, 0x8E, 1);
    guest.user();
    CHECK(guest.run({0x0F, 0x0B}) == kUd);
    CHECK(guest.reg(kRsp) == Guest64::kIst1 - 40);
}

TEST_CASE("long mode: what is wrong with a gate") {
    Guest64 guest;
    struct {
        u64 access;
        u16 selector;
        int vector;
        u64 error;
    } const kCases[] = {
        {0x8D, Guest64::kCode64, kGp, 0x40 * 8 + 2},      // no gate
        {0x8E, Guest64::kCode64, kGp, 0x40 * 8 + 2},      // DPL 0, from ring 3
        {0x6E, Guest64::kCode64, kNp, 0x40 * 8 + 2},      // not present
        {0xEE, 0, kGp, 0},                                // null
        {0xEE, 0x3F8, kGp, 0x3F8},                        // an empty descriptor
        {0xEE, 0x400, kGp, 0x400},                        // beyond the GDT
        {0xEE, Guest64::kData0, kGp, Guest64::kData0},    // data
        {0xEE, Guest64::kCompat, kGp, Guest64::kCompat},  // no 64-bit code
    };
    for (const auto& c : kCases) {
        guest.reset();
        guest.gate(Guest64::kIdt + 0x40 * 16, c.selector, Guest64::kHandlers + 0x400, c.access);
        guest.user();
        CHECK(guest.run({0xCD, 0x40}) == c.vector);
        CHECK(guest.frame(c.vector, Guest64::error_code) == c.error);
        CHECK(guest.frame(c.vector, Guest64::ip) == Guest64::kUserCode);
    }
    // The target is looked at last.
    guest.reset();
    guest.gate(Guest64::kIdt + 0x40 * 16, Guest64::kCode64, kHole, 0xEE);
    CHECK(guest.run({0xCD, 0x40}) == kGp);
    CHECK(guest.frame(kGp, Guest64::error_code) == 0);
}

TEST_CASE("long mode: a stack pointer of the TSS that is not canonical is #SS, a short TSS #TS") {
    Guest64 guest;
    guest.put(Guest64::kTss + 4, kHole);
    guest.interrupt_gate(kSs, 0x8E, 1);
    guest.user();
    CHECK(guest.run({0xCD, 0x40}) == kSs);
    CHECK(guest.frame(kSs, Guest64::error_code) == 0);
    guest.reset();
    guest.interrupt_gate(kTs, 0x8E, 1);
    guest.user();
    guest.state().tr.limit = 0x2B;  // IST1, but not IST2
    guest.interrupt_gate(0x40, 0xEE, 2);
    CHECK(guest.run({0xCD, 0x40}) == kTs);
    CHECK(guest.frame(kTs, Guest64::error_code) == Guest64::kTssSelector);
}

TEST_CASE("long mode: canonical addresses: #SS by the stack, #GP else") {
    Guest64 guest;
    guest.reg(kRax) = guest.reg(kRbp) = kHole;
    CHECK(guest.run({0x48, 0x8B, 0x00}) == kGp);        // mov rax, [rax]
    CHECK(guest.run({0x48, 0x8B, 0x45, 0x00}) == kSs);  // mov rax, [rbp]
    guest.reset();
    guest.interrupt_gate(kSs, 0x8E, 1);
    guest.interrupt_gate(kGp, 0x8E, 1);
    guest.reg(kRsp) = kHole;
    CHECK(guest.run({0x58}) == kSs);  // pop rax
    guest.reg(kRsp) = kHole + 8;
    CHECK(guest.run({0x50}) == kSs);  // push rax
    // PUSH m64: the operand by DS, the push by SS.
    guest.reg(kRsp) = Guest64::kStack;
    guest.reg(kRax) = kHole;
    CHECK(guest.run({0xFF, 0x30}) == kGp);
    guest.reg(kRax) = Guest64::kData;
    guest.reg(kRsp) = kHole + 8;
    CHECK(guest.run({0xFF, 0x30}) == kSs);
    // An access that only ends beyond.
    guest.reg(kRsp) = Guest64::kStack;
    guest.reg(kRax) = kHole - 4;
    CHECK(guest.run({0x48, 0x8B, 0x00}) == kGp);  // though the lower part is not mapped either
    // Branches: the target is #GP at the branch.
    guest.reg(kRax) = kHole;
    CHECK(guest.run({0xFF, 0xE0}) == kGp);
    CHECK(guest.frame(kGp, Guest64::ip) == Guest64::kCode);
}

TEST_CASE("long mode: an operand that is not canonical need not be aligned") {
    Guest64 guest;
    guest.user();
    guest.cpu->set_eflags(0x202 | kFlagAlignmentCheck);
    REQUIRE(guest.cpu->set_cr0(guest.state().cr0 | kCr0Am));
    guest.reg(kRax) = kHole - 5;
    CHECK(guest.run({0x48, 0x8B, 0x00}) == kGp);
    guest.user();
    guest.cpu->set_eflags(0x202 | kFlagAlignmentCheck);
    guest.reg(kRax) = Guest64::kUserData + 1;
    CHECK(guest.run({0x48, 0x8B, 0x00}) == kAc);
}

TEST_CASE("long mode: CALL finds the stack's fault before a target that is not canonical") {
    Guest64 guest;
    guest.reg(kRax) = kHole;
    CHECK(guest.run({0xFF, 0xD0}) == kGp);
    guest.reset();
    guest.interrupt_gate(kPf, 0x8E, 1);
    guest.reg(kRax) = kHole;
    guest.reg(kRsp) = u64{1} << 30;  // not mapped
    CHECK(guest.run({0xFF, 0xD0}) == kPf);
}

TEST_CASE("long mode: alignment of far calls' frames") {
    Guest64 guest;
    guest.user();
    REQUIRE(guest.cpu->set_cr0(guest.state().cr0 | kCr0Am));
    guest.cpu->set_eflags(0x202 | kFlagAlignmentCheck);
    guest.put(Guest64::kUserData, Guest64::kUserCode + 0x800 + (u64{Guest64::kUser64} << 32));
    guest.reg(kRax) = Guest64::kUserData;
    guest.reg(kRsp) = Guest64::kUserStack - 2;
    CHECK(guest.run({0xFF, 0x18}) == kAc);
    guest.user();
    guest.cpu->set_eflags(0x202 | kFlagAlignmentCheck);
    guest.reg(kRax) = Guest64::kUserData;
    CHECK(guest.run({0xFF, 0x18}) == Guest64::kNone);
    CHECK(guest.state().ip == Guest64::kUserCode + 0x800);
}

TEST_CASE("long mode: a repetition that faults at its first element changes no register") {
    Guest64 guest;
    guest.reg(kRdi) = u64{0xABCD} << 32 | 1u << 30;
    guest.reg(kRcx) = u64{0xABCD} << 32 | 5;
    CHECK(guest.run({0x67, 0xF3, 0xAA}) == kPf);  // rep stosb by EDI, ECX
    CHECK(guest.reg(kRdi) == (u64{0xABCD} << 32 | 1u << 30));
    CHECK(guest.reg(kRcx) == (u64{0xABCD} << 32 | 5));
}

TEST_CASE("long mode: a repeated INS or OUTS needs the port even for no element") {
    for (const u8 opcode : {0x6C, 0x6E}) {
        Guest64 guest;
        guest.user();
        guest.reg(kRcx) = 0;
        CHECK(guest.run({0xF3, opcode}) == kGp);
    }
}

TEST_CASE("long mode: an x87 store that an unmasked exception prevents still needs its memory") {
    Guest64 guest;
    FpuState& fpu = guest.state().fpu;
    fpu.control = 0x37E;  // invalid operations are not masked; the stack is empty
    guest.reg(kRax) = 1u << 30;
    CHECK(guest.run({0xD9, 0x18}) == kPf);  // fstp dword [rax]
    CHECK((fpu.status & 1) == 0);
    guest.reset();
    fpu.control = 0x37E;
    guest.put(Guest64::kData, 0x1122334455667788);
    guest.reg(kRax) = Guest64::kData;
    CHECK(guest.run({0xD9, 0x18}) == Guest64::kNone);
    CHECK((fpu.status & 1) == 1);
    CHECK(guest.get(Guest64::kData) == 0x1122334455667788);
}

TEST_CASE("long mode: IRET to ring 3 of either width") {
    constexpr u64 kFlags = 0x3246;  // IOPL 3, IF, ZF, PF and the bit that is always set
    for (const bool wide : {true, false}) {
        Guest64 guest;
        const u64 frame[] = {Guest64::kUserCode, wide ? Guest64::kUser64 : Guest64::kCompatUser, kFlags,
                             Guest64::kUserStack, Guest64::kDataUser};
        guest.reg(kRsp) = Guest64::kStack - sizeof frame;
        for (unsigned i = 0; i < 5; ++i) guest.put(guest.reg(kRsp) + i * 8, frame[i]);
        CHECK(guest.run({0x48, 0xCF}) == Guest64::kNone);
        CHECK(guest.state().cpl == 3);
        CHECK(guest.cpu->code64() == wide);
        CHECK(guest.state().ip == Guest64::kUserCode);
        CHECK(guest.reg(kRsp) == Guest64::kUserStack);
        CHECK((guest.cpu->eflags() | 2) == kFlags);
        CHECK(guest.state().segment(Segment::ss).selector == Guest64::kDataUser);
    }
}

TEST_CASE("long mode: what is wrong with an IRET frame") {
    Guest64 guest;
    struct {
        u64 ip, cs, ss;
        int vector;
        u64 error;
    } const kCases[] = {
        {Guest64::kUserCode, 0, Guest64::kDataUser, kGp, 0},
        {Guest64::kUserCode, 3, Guest64::kDataUser, kGp, 0},
        {Guest64::kUserCode, Guest64::kDataUser, Guest64::kDataUser, kGp, 0x20},
        {Guest64::kUserCode, Guest64::kUser64, 0, kGp, 0},  // ring 3 needs a stack segment
        {Guest64::kUserCode, Guest64::kUser64, 3, kGp, 0},  //
        {Guest64::kUserCode, Guest64::kUser64, 0x10, kGp, 0x10},
        {Guest64::kUserCode, Guest64::kUser64, 0x20, kGp, 0x20},  // RPL 0
        {kHole, Guest64::kUser64, Guest64::kDataUser, kGp, 0},
        {u64{1} << 32, Guest64::kCompatUser, Guest64::kDataUser, kGp, 0},
        {kHole, Guest64::kDataUser, Guest64::kDataUser, kGp, 0},   // before CS
        {u64{1} << 32, Guest64::kCompatUser, 0x10, kGp, 0x10},     // SS before the limit
        {Guest64::kCode, Guest64::kCode64, 0, Guest64::kNone, 0},  // the same level, a null SS
        {Guest64::kCode, Guest64::kCompat, 0, kGp, 0},             // not towards compatibility mode
    };
    for (const auto& c : kCases) {
        guest.reset();
        const u64 frame[] = {c.ip, c.cs, 0x2, Guest64::kStack, c.ss};
        guest.reg(kRsp) = Guest64::kStack - 0x100;
        for (unsigned i = 0; i < 5; ++i) guest.put(guest.reg(kRsp) + i * 8, frame[i]);
        CHECK(guest.run({0x48, 0xCF}) == c.vector);
        if (c.vector == Guest64::kNone) continue;
        CHECK(guest.frame(c.vector, Guest64::error_code) == c.error);
        CHECK(guest.frame(c.vector, Guest64::ip) == Guest64::kCode);
    }
    guest.reset();
    guest.cpu->set_eflags(kFlagNestedTask);
    CHECK(guest.run({0x48, 0xCF}) == kGp);
}

TEST_CASE("long mode: SYSCALL and SYSRET") {
    Guest64 guest;
    guest.cpu->write_msr(0xC0000082, Guest64::kCode);
    guest.cpu->write_msr(0xC0000084, kFlagInterrupt | kFlagDirection | kFlagAlignmentCheck);
    guest.user(true, 0x40646);
    CHECK(guest.run({0x0F, 0x05}) == Guest64::kNone);
    const CpuState& state = guest.state();
    CHECK(state.ip == Guest64::kCode);
    CHECK(guest.reg(kRcx) == Guest64::kUserCode + 2);
    CHECK(guest.reg(11) == 0x40646);
    CHECK((guest.cpu->eflags() | 2) == 0x46);
    CHECK(state.cpl == 0);
    CHECK(guest.cpu->code64());
    CHECK(state.segment(Segment::cs).selector == 0x08);
    CHECK(state.segment(Segment::ss).selector == 0x10);
    CHECK(guest.reg(kRsp) == Guest64::kUserStack);

    guest.reg(11) = ~u64{0};
    CHECK(guest.run({0x48, 0x0F, 0x07}) == Guest64::kNone);
    CHECK(state.segment(Segment::cs).selector == Guest64::kUser64);
    CHECK(state.segment(Segment::ss).selector == Guest64::kDataUser);
    CHECK((guest.cpu->eflags() & (kFlagResume | kFlagVirtual8086)) == 0);
    CHECK((guest.cpu->eflags() & kFlagIopl) == kFlagIopl);

    guest.reset();
    guest.reg(kRcx) = kHole;
    CHECK(guest.run({0x48, 0x0F, 0x07}) == kGp);
    CHECK(guest.frame(kGp, Guest64::cs) == Guest64::kCode64);
    guest.reset();
    guest.user();
    CHECK(guest.run({0x48, 0x0F, 0x07}) == kGp);
    guest.reset();
    guest.user(false);
    CHECK(guest.run({0x0F, 0x05}) == kUd);  // 64-bit code only
    guest.reset();
    guest.cpu->set_efer(kEferLme | kEferNxe);
    CHECK(guest.run({0x0F, 0x05}) == kUd);
}

TEST_CASE("long mode: SWAPGS and the bases of FS and GS") {
    Guest64 guest;
    guest.cpu->write_msr(0xC0000101, 0x1234);
    guest.cpu->write_msr(0xC0000102, 0x5678);
    CHECK(guest.run({0x0F, 0x01, 0xF8}) == Guest64::kNone);
    CHECK(guest.state().segment(Segment::gs).base == 0x5678);
    guest.reg(kRax) = 0;
    CHECK(guest.run({0xF3, 0x48, 0x0F, 0xAE, 0xC0}) == kUd);  // RDFSBASE: CR4.FSGSBASE is clear
    REQUIRE(guest.cpu->set_cr4(guest.state().cr4 | kCr4Fsgsbase));
    guest.user();
    guest.reg(kRax) = 0xFFFF800000000000;
    CHECK(guest.run({0xF3, 0x48, 0x0F, 0xAE, 0xD0}) == Guest64::kNone);  // WRFSBASE RAX
    CHECK(guest.run({0xF3, 0x0F, 0xAE, 0xC3}) == Guest64::kNone);        // RDFSBASE EBX
    CHECK(guest.reg(kRbx) == 0);
    guest.reg(kRax) = kHole;
    CHECK(guest.run({0xF3, 0x48, 0x0F, 0xAE, 0xD8}) == kGp);  // WRGSBASE
    guest.reset();
    guest.user();
    CHECK(guest.run({0x0F, 0x01, 0xF8}) == kGp);
    guest.reset();
    guest.compatibility();
    CHECK(guest.run({0x0F, 0x01, 0xF8}) == kUd);
    // A null selector clears the base, as on Intel's CPUs.
    guest.reset();
    guest.cpu->write_msr(0xC0000100, 0x1234);
    guest.reg(kRax) = 0;
    CHECK(guest.run({0x8E, 0xE0}) == Guest64::kNone);
    CHECK(guest.state().segment(Segment::fs).base == 0);
}

TEST_CASE("long mode: LLDT and LTR read sixteen bytes") {
    Guest64 guest;
    const auto load = [&](u8 modrm, u64 selector) {
        guest.reg(kRax) = selector;
        return guest.run({0x0F, 0x00, modrm});
    };
    constexpr u8 kLldt = 0xD0, kLtr = 0xD8;
    guest.wide_descriptor(Guest64::kGdt + Guest64::kLdt, 0xFFFF800000012345, 0xFF, 0x82);
    CHECK(load(kLldt, Guest64::kLdt) == Guest64::kNone);
    CHECK(guest.state().ldtr.base == 0xFFFF800000012345);
    guest.wide_descriptor(Guest64::kGdt + Guest64::kLdt, kHole, 0xFF, 0x82);
    CHECK(load(kLldt, Guest64::kLdt) == kGp);
    CHECK(guest.frame(kGp, Guest64::error_code) == Guest64::kLdt);
    guest.wide_descriptor(Guest64::kGdt + 0x3F8, Guest64::kData, 0xFF, 0x82);  // its second half is outside
    CHECK(load(kLldt, 0x3F8) == kGp);
    guest.wide_descriptor(Guest64::kGdt + Guest64::kFree, Guest64::kTss, 0x67, 0x81);  // a TSS of 16 bits
    CHECK(load(kLtr, Guest64::kFree) == kGp);
    guest.wide_descriptor(Guest64::kGdt + Guest64::kFree, Guest64::kTss, 0x67, 0x89);
    guest.put(Guest64::kGdt + Guest64::kFree + 8, u64{0x09} << 40);  // the upper half looks like a descriptor
    CHECK(load(kLtr, Guest64::kFree) == kGp);
    guest.put(Guest64::kGdt + Guest64::kFree + 8, 0);
    CHECK(load(kLtr, Guest64::kFree) == Guest64::kNone);
    CHECK((guest.get(Guest64::kGdt + Guest64::kFree) >> 40 & 0xFF) == 0x8B);
    CHECK(load(kLtr, Guest64::kFree) == kGp);  // busy
}

TEST_CASE("long mode: LAR and LSL know the types of long mode") {
    Guest64 guest;
    const auto zero_flag = [&](u8 opcode, u16 selector) {
        guest.reg(kRax) = selector;
        REQUIRE(guest.run({0x0F, opcode, 0xD8}) == Guest64::kNone);
        return guest.state().status.zero();
    };
    constexpr u8 kLar = 0x02, kLsl = 0x03;
    CHECK(zero_flag(kLar, Guest64::kTssSelector));
    CHECK(zero_flag(kLsl, Guest64::kTssSelector));
    CHECK(guest.reg(kRbx) == 0x67);
    guest.wide_descriptor(Guest64::kGdt + Guest64::kFree, 0, 0, 0x81);
    CHECK(!zero_flag(kLar, Guest64::kFree));
    CHECK(!zero_flag(kLsl, Guest64::kFree));
    guest.gate(Guest64::kGdt + Guest64::kGate, Guest64::kCode64, 0, 0x8C);
    CHECK(zero_flag(kLar, Guest64::kGate));
    CHECK(!zero_flag(kLsl, Guest64::kGate));
    CHECK(!zero_flag(kLar, 0));
    CHECK(!zero_flag(kLar, 0x400));
}

TEST_CASE("long mode: call gates lead to 64-bit code") {
    Guest64 guest;
    const auto call = [&](u16 selector) {  // CALL m16:32
        guest.put(Guest64::kUserData, u64{selector} << 32);
        guest.reg(kRax) = Guest64::kUserData;
        return guest.run({0xFF, 0x18});
    };
    guest.gate(Guest64::kGdt + Guest64::kGate, Guest64::kCode64, Guest64::kCode + 0x80, 0xEC);
    guest.user();
    CHECK(call(Guest64::kGate) == Guest64::kNone);
    CHECK(guest.state().cpl == 0);
    CHECK(guest.state().ip == Guest64::kCode + 0x80);
    CHECK(guest.reg(kRsp) == Guest64::kInnerStack - 32);
    CHECK(guest.get(guest.reg(kRsp)) == Guest64::kUserCode + 2);
    CHECK(guest.get(guest.reg(kRsp) + 8) == Guest64::kUser64);
    CHECK(guest.get(guest.reg(kRsp) + 16) == Guest64::kUserStack);
    CHECK(guest.get(guest.reg(kRsp) + 24) == Guest64::kDataUser);
    // And back: RETF of 64 bits.
    CHECK(guest.run({0x48, 0xCB}) == Guest64::kNone);
    CHECK(guest.state().cpl == 3);
    CHECK(guest.state().ip == Guest64::kUserCode + 2);
    CHECK(guest.reg(kRsp) == Guest64::kUserStack);

    struct {
        u64 low_access;
        u16 selector;
        u64 target;
        int vector;
        u64 error;
    } const kCases[] = {
        {0x8C, Guest64::kCode64, Guest64::kCode, kGp, Guest64::kGate},
        {0x6C, Guest64::kCode64, Guest64::kCode, kNp, Guest64::kGate},
        {0xE4, Guest64::kCode64, Guest64::kCode, kGp, Guest64::kGate},  // of 16 bits
        {0xEC, 0, Guest64::kCode, kGp, 0},
        {0xEC, Guest64::kCompat, Guest64::kCode, kGp, Guest64::kCompat},
        {0xEC, Guest64::kData0, Guest64::kCode, kGp, Guest64::kData0},
        {0xEC, Guest64::kCode64, kHole, kGp, 0},
    };
    for (const auto& c : kCases) {
        guest.reset();
        guest.gate(Guest64::kGdt + Guest64::kGate, c.selector, c.target, c.low_access);
        guest.user();
        CHECK(call(Guest64::kGate) == c.vector);
        CHECK(guest.frame(c.vector, Guest64::error_code) == c.error);
    }
    guest.reset();
    guest.gate(Guest64::kGdt + Guest64::kGate, Guest64::kCode64, Guest64::kCode, 0xEC);
    guest.put(Guest64::kGdt + Guest64::kGate + 8, u64{0x0C} << 40);
    guest.user();
    CHECK(call(Guest64::kGate) == kGp);
    // No task switches.
    guest.reset();
    CHECK(call(Guest64::kTssSelector) == kGp);
}

TEST_CASE("long mode: far transfers to compatibility mode and back") {
    Guest64 guest;
    guest.reg(kRsp) = Guest64::kStack - 16;
    guest.put(guest.reg(kRsp), Guest64::kCode);
    guest.put(guest.reg(kRsp) + 8, Guest64::kCompat);
    guest.reg(kRbx) = ~u64{0};
    CHECK(guest.run({0x48, 0xCB}) == Guest64::kNone);
    CHECK(guest.cpu->long_mode());
    CHECK(!guest.cpu->code64());
    CHECK(guest.run({0x67, 0x8B, 0xC3}) == Guest64::kNone);  // mov eax, ebx in 32-bit code
    CHECK(guest.reg(kRax) == 0xFFFFFFFF);
    guest.put(Guest64::kCode + 0x20, 0);
    CHECK(guest.run({0xEA, 0x40, 0x00, 0x01, 0x00, Guest64::kCode64, 0x00}) == Guest64::kNone);
    CHECK(guest.cpu->code64());
    CHECK(guest.state().ip == Guest64::kCode + 0x40);
    // A code segment that is both.
    guest.descriptor(Guest64::kFree, 0x00609A0000000000);
    guest.put(Guest64::kData, u64{Guest64::kFree} << 32);
    guest.reg(kRax) = Guest64::kData;
    CHECK(guest.run({0xFF, 0x28}) == kGp);
    CHECK(guest.frame(kGp, Guest64::error_code) == Guest64::kFree);
}

TEST_CASE("long mode: a null SS in 64-bit code below ring 3") {
    Guest64 guest;
    guest.reg(kRax) = 0;
    CHECK(guest.run({0x8E, 0xD0, 0x90}, 2) == Guest64::kNone);
    CHECK(guest.run({0x50}) == Guest64::kNone);
    guest.reg(kRax) = 3;
    CHECK(guest.run({0x8E, 0xD0}) == kGp);
    guest.reset();
    guest.user();
    guest.reg(kRax) = 3;
    CHECK(guest.run({0x8E, 0xD0}) == kGp);
    guest.reset();
    guest.compatibility();
    guest.reg(kRax) = 0;
    CHECK(guest.run({0x8E, 0xD0}) == kGp);
}

TEST_CASE("long mode: TF traps after SYSCALL's target is reached, with RF clear in traps") {
    Guest64 guest;
    guest.cpu->set_eflags(kFlagTrap);
    CHECK(guest.run({0x90, 0x90}, 2) == kDb);
    CHECK(guest.frame(kDb, Guest64::ip) == Guest64::kCode + 1);
    CHECK((guest.frame(kDb, Guest64::flags) & kFlagResume) == 0);
}
