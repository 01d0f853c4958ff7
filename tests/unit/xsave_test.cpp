// XSAVE and its kin: SDM vol. 1, chapter 13.
#include <doctest/doctest.h>

#include "tests/unit/long_mode_fixture.h"

using namespace lodge;

namespace {

constexpr int kUd = 6, kNm = 7, kGp = 13;
constexpr u64 kArea = Guest64::kData, kPresentAt = kArea + 512, kCompactAt = kArea + 520;

struct XsaveGuest : Guest64 {
    XsaveGuest() {
        cpu->set_cr4(state().cr4 | kCr4Osxsave);
        cpu->set_xcr0(3);
        for (u64 at = 0; at < 1024; at += 8) put(kArea + at, 0);
        FpuState& fpu = state().fpu;
        fpu.control = 0x37F;
        for (unsigned i = 0; i < 16; ++i) std::memset(fpu.xmm[i], static_cast<int>(0x10 + i), 16);
        for (unsigned i = 0; i < 8; ++i) std::memset(fpu.st[i], static_cast<int>(0xA0 + i), 10);
        fpu.valid = 0x81;
        fpu.mxcsr = 0x1F81;
    }
    int execute(u8 modrm, u64 mask, bool compact = false, u64 address = kArea) {
        reg(kRbx) = address;
        reg(kRax) = mask & 0xFFFFFFFF;
        reg(kRdx) = mask >> 32;
        return run({0x48, 0x0F, static_cast<u8>(compact ? 0xC7 : 0xAE), modrm});
    }
    int xsave(u64 mask) { return execute(0x23, mask); }
    int xsaveopt(u64 mask) { return execute(0x33, mask); }
    int xsavec(u64 mask) { return execute(0x23, mask, true); }
    int xrstor(u64 mask) { return execute(0x2B, mask); }
    u64 xmm(unsigned n) { return load<u64>(state().fpu.xmm[n]); }
};

}  // namespace

TEST_CASE("xsave: there and back, by component") {
    XsaveGuest guest;
    CHECK(guest.xsave(~u64{0}) == Guest64::kNone);
    CHECK(guest.get(kPresentAt) == 3);
    CHECK(guest.get(kCompactAt) == 0);
    CHECK(guest.get(kArea + 160) == 0x1010101010101010);
    CHECK(guest.get(kArea + 400) == 0x1F1F1F1F1F1F1F1F);
    const FpuState saved = guest.state().fpu;
    FpuState& fpu = guest.state().fpu;
    std::memset(fpu.xmm, 0, sizeof fpu.xmm);
    std::memset(fpu.st, 0, sizeof fpu.st);
    fpu.valid = 0;
    fpu.mxcsr = 0x1F80;
    CHECK(guest.xrstor(2) == Guest64::kNone);
    CHECK(std::memcmp(fpu.xmm, saved.xmm, sizeof fpu.xmm) == 0);
    CHECK(fpu.mxcsr == 0x1F81);
    CHECK(fpu.valid == 0);
    CHECK(guest.xrstor(1) == Guest64::kNone);
    CHECK(fpu.valid == saved.valid);
    CHECK(std::memcmp(fpu.st, saved.st, sizeof fpu.st) == 0);
}

TEST_CASE("xsave: only what is asked for is written; XSTATE_BV keeps the rest") {
    XsaveGuest guest;
    guest.put(kPresentAt, 1);
    guest.put(kArea, 0x1122334455667788);
    CHECK(guest.xsaveopt(2) == Guest64::kNone);
    CHECK(guest.get(kPresentAt) == 3);
    CHECK(guest.get(kArea) == 0x1122334455667788);
    CHECK(guest.get(kArea + 24) == (u64{0xFFFF} << 32 | 0x1F81));
    CHECK(guest.xsavec(1) == Guest64::kNone);
    CHECK(guest.get(kPresentAt) == 1);
    CHECK(guest.get(kCompactAt) == (u64{1} << 63 | 1));
    CHECK((guest.get(kArea) & 0xFFFF) == 0x37F);
}

TEST_CASE("xsave: XRSTOR initialises what XSTATE_BV leaves out") {
    XsaveGuest guest;
    FpuState& fpu = guest.state().fpu;
    guest.put(kArea + 24, 0x1FA0);
    CHECK(guest.xrstor(3) == Guest64::kNone);
    CHECK(guest.xmm(15) == 0);
    CHECK(fpu.control == 0x37F);
    CHECK(fpu.valid == 0);
    CHECK(fpu.mxcsr == 0x1FA0);  // the standard form loads it all the same
    guest.put(kCompactAt, u64{1} << 63 | 3);
    guest.put(kArea + 24, ~u64{0});
    CHECK(guest.xrstor(3) == Guest64::kNone);
    CHECK(fpu.mxcsr == 0x1F80);  // the compacted form does not
}

TEST_CASE("xsave: faults") {
    XsaveGuest guest;
    CHECK(guest.execute(0x23, 3, false, kArea + 32) == kGp);
    struct {
        u64 present, compact, reserved, mxcsr;
        int vector;
    } const kCases[] = {
        {4, 0, 0, 0x1F80, kGp},
        {3, 3, 0, 0x1F80, kGp},
        {3, u64{1} << 63 | 1, 0, 0x1F80, kGp},
        {3, u64{1} << 63 | 7, 0, 0x1F80, kGp},
        {3, 0, 1, 0x1F80, kGp},
        {3, 0, 0, 0x10000, kGp},
        {0, 0, 0, 0x10000, kGp},
        {3, u64{1} << 63 | 3, 0, 0x1F80, Guest64::kNone},
    };
    for (const auto& c : kCases) {
        guest.put(kPresentAt, c.present);
        guest.put(kCompactAt, c.compact);
        guest.put(kPresentAt + 16, c.reserved);
        guest.put(kArea + 24, c.mxcsr);
        CHECK(guest.xrstor(3) == c.vector);
    }
    guest.state().cr0 |= kCr0Ts;
    CHECK(guest.xsave(3) == kNm);
    guest.cpu->set_cr4(guest.state().cr4 & ~kCr4Osxsave);
    CHECK(guest.xsave(3) == kUd);
    CHECK(guest.run({0x0F, 0x01, 0xD0}) == kUd);
}

TEST_CASE("xsave: XCR0") {
    XsaveGuest guest;
    const auto xsetbv = [&](u64 index, u64 value) {
        guest.reg(kRcx) = index;
        guest.reg(kRax) = value & 0xFFFFFFFF;
        guest.reg(kRdx) = value >> 32;
        return guest.run({0x0F, 0x01, 0xD1});
    };
    const auto xgetbv = [&](u64 index) {
        guest.reg(kRcx) = index;
        return guest.run({0x0F, 0x01, 0xD0});
    };
    CHECK(xsetbv(0, 1) == Guest64::kNone);
    CHECK(xgetbv(0) == Guest64::kNone);
    CHECK(guest.reg(kRax) == 1);
    CHECK(guest.reg(kRdx) == 0);
    CHECK(xsetbv(0, 3) == Guest64::kNone);
    CHECK(xgetbv(1) == Guest64::kNone);
    CHECK(guest.reg(kRax) == 3);
    CHECK(xgetbv(2) == kGp);
    CHECK(xsetbv(1, 3) == kGp);
    CHECK(xsetbv(0, 2) == kGp);
    CHECK(xsetbv(0, 7) == kGp);
    CHECK(xsetbv(0, u64{1} << 63 | 1) == kGp);
    guest.user();
    CHECK(xgetbv(0) == Guest64::kNone);
    CHECK(xsetbv(0, 3) == kGp);
}
