#include "devices/cmos.h"

#include <doctest/doctest.h>

#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

namespace {

constexpr u64 kSecond = kNanosecondsPerSecond;

// The virtual clock starts at 2026-01-01 00:00 UTC, a Thursday.
struct Fixture : TestBoard {
    Fixture() { REQUIRE(cmos.attach(ports).ok()); }
    u8 get(u8 index) {
        out(0x70, index);
        return in(0x71);
    }
    void set(u8 index, u8 value) {
        out(0x70, index);
        out(0x71, value);
    }

    Cmos cmos{scheduler, IrqLine(lines, 8), log};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "cmos: the time of day comes from the guest clock") {
    advance((13 * 3600 + 5 * 60 + 9) * kSecond);
    CHECK(get(0x04) == 0x13);
    CHECK(get(0x02) == 0x05);
    CHECK(get(0x00) == 0x09);
    CHECK(get(0x06) == 5);
    CHECK(get(0x07) == 0x01);
    CHECK(get(0x08) == 0x01);
    CHECK(get(0x09) == 0x26);
    CHECK(get(0x32) == 0x20);
    CHECK(get(0x0D) == 0x80);
}

TEST_CASE_FIXTURE(Fixture, "cmos: binary and 12-hour forms") {
    set(0x0B, 0x84);  // SET, binary, 12 hours
    set(0x04, 0x80 | 11);
    set(0x02, 59);
    set(0x00, 59);
    set(0x07, 28);
    set(0x08, 2);
    set(0x09, 28);
    set(0x32, 20);
    set(0x06, 2);
    advance(5 * kSecond);
    CHECK(get(0x00) == 59);  // SET holds the time
    set(0x0B, 0x04);
    advance(kSecond);
    CHECK(get(0x00) == 0);
    CHECK(get(0x04) == 12);  // midnight
    CHECK(get(0x07) == 29);  // 2028 is a leap year
    CHECK(get(0x08) == 2);
    CHECK(get(0x06) == 3);
    advance(86400 * kSecond);
    CHECK(get(0x07) == 1);
    CHECK(get(0x08) == 3);
}

TEST_CASE_FIXTURE(Fixture, "cmos: UIP goes up before the update and the update flag comes with it") {
    get(0x0C);
    CHECK((get(0x0A) & 0x80) == 0);
    advance(kSecond - 2'228'001);
    CHECK((get(0x0A) & 0x80) == 0);
    advance(1);
    CHECK((get(0x0A) & 0x80) != 0);
    CHECK(get(0x00) == 0x00);
    advance(2'228'000);
    CHECK((get(0x0A) & 0x80) == 0);
    CHECK(get(0x00) == 0x01);
    CHECK((get(0x0C) & 0x10) != 0);
    CHECK((get(0x0C) & 0x10) == 0);
}

TEST_CASE_FIXTURE(Fixture, "cmos: the update interrupt") {
    get(0x0C);
    set(0x0B, 0x12);
    advance(kSecond);
    CHECK(lines.level(8));
    CHECK((get(0x0C) & 0x90) == 0x90);
    CHECK_FALSE(lines.level(8));
    advance(3 * kSecond);
    CHECK(lines.rises[8] == 2);  // it stays up until C is read
}

TEST_CASE_FIXTURE(Fixture, "cmos: the periodic interrupt at 1024 Hz") {
    set(0x0A, 0x26);
    set(0x0B, 0x42);
    get(0x0C);
    unsigned count = 0;
    for (int i = 0; i < 10'000; ++i) {
        advance(100'000);
        if (lines.level(8)) {
            ++count;
            CHECK((get(0x0C) & 0xC0) == 0xC0);
        }
    }
    CHECK(count >= 1023);
    CHECK(count <= 1024);
}

TEST_CASE_FIXTURE(Fixture, "cmos: the alarm, with and without wild cards") {
    set(0x01, 0x30);
    set(0x03, 0x01);
    set(0x05, 0x00);
    get(0x0C);
    set(0x0B, 0x22);
    advance(89 * kSecond);
    CHECK_FALSE(lines.level(8));
    advance(kSecond);
    CHECK(lines.level(8));
    CHECK((get(0x0C) & 0xA0) == 0xA0);
    set(0x03, 0xFF);
    set(0x05, 0xC0);
    advance(60 * kSecond);
    CHECK((get(0x0C) & 0xA0) == 0xA0);
}

TEST_CASE_FIXTURE(Fixture, "cmos: memory, extended bank, NMI mask") {
    cmos.set(0x34, 0x12);
    CHECK(get(0x34) == 0x12);
    set(0x8F, 0x05);
    CHECK(cmos.nmi_masked());
    CHECK(cmos.get(0x0F) == 0x05);
    out(0x72, 0x20);
    out(0x73, 0x77);
    CHECK(cmos.get(0xA0) == 0x77);
    CHECK(get(0x20) == 0x00);
    CHECK_FALSE(cmos.nmi_masked());
    CHECK(in(0x73) == 0x77);
    CHECK(in(0x70) == 0xFF);
}

TEST_CASE_FIXTURE(Fixture, "cmos: reset turns interrupts off and keeps the rest") {
    set(0x0B, 0x72);
    cmos.set(0x40, 0x99);
    advance(kSecond);
    CHECK(lines.level(8));
    cmos.reset();
    CHECK_FALSE(lines.level(8));
    CHECK(get(0x0B) == 0x02);
    CHECK(get(0x40) == 0x99);
}

TEST_CASE_FIXTURE(Fixture, "cmos: releasing the divider's reset gives half a second to the first update") {
    set(0x0A, 0x76);
    advance(10 * kSecond);
    CHECK(get(0x00) == 0x00);
    set(0x0A, 0x26);
    advance(kSecond / 2 - 1);
    CHECK(get(0x00) == 0x00);
    advance(1);
    CHECK(get(0x00) == 0x01);
}

TEST_CASE_FIXTURE(Fixture, "cmos: nonsense in the date does no harm") {
    for (unsigned index = 0; index < 10; ++index) set(static_cast<u8>(index), 0xFF);
    set(0x32, 0xFF);
    advance(400 * 86400 * kSecond);
    get(0x00);
    CHECK(get(0x08) <= 0x12);
}

TEST_CASE_FIXTURE(Fixture, "cmos: save, load, save") {
    set(0x0B, 0x72);
    advance(3 * kSecond);
    TestBoard second;
    Cmos other{second.scheduler, IrqLine(second.lines, 8), second.log};
    CHECK(same_after_load(cmos, other));
}
