#include "devices/pit.h"

#include <doctest/doctest.h>

#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

namespace {

// Guest time at which tick `n` of the PIT's clock has come.
u64 time_of(u64 tick) {
    return static_cast<u64>((u128{tick} * kNanosecondsPerSecond + Pit::kHertz - 1) / Pit::kHertz);
}

struct Fixture : TestBoard {
    Fixture() {
        REQUIRE(pit.attach(ports).ok());
        go_to(1000);
    }
    void go_to(u64 tick) { advance(time_of(tick) - clock.now()); }
    void program(unsigned channel, unsigned mode, u16 count, bool bcd = false) {
        out(0x43, static_cast<u8>(channel << 6 | 0x30 | mode << 1 | (bcd ? 1 : 0)));
        out(static_cast<u16>(0x40 + channel), static_cast<u8>(count));
        out(static_cast<u16>(0x40 + channel), static_cast<u8>(count >> 8));
    }
    unsigned count(unsigned channel) {
        out(0x43, static_cast<u8>(channel << 6));
        const u16 port = static_cast<u16>(0x40 + channel);
        const unsigned low = in(port);
        return low | static_cast<unsigned>(in(port)) << 8;
    }
    u8 status(unsigned channel) {
        out(0x43, static_cast<u8>(0xE0 | 2 << channel));
        return in(static_cast<u16>(0x40 + channel));
    }
    bool out2() { return in(0x61) & 0x20; }

    Pit pit{scheduler, IrqLine(lines, 0), log};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "pit: mode 2 interrupts at the exact rate without drift") {
    program(0, 2, 11932);
    const unsigned before = lines.rises[0];
    advance(10 * kNanosecondsPerSecond);
    CHECK(lines.rises[0] - before == 10 * Pit::kHertz / 11932);
}

TEST_CASE_FIXTURE(Fixture, "pit: mode 3 is a square wave of the full count") {
    program(0, 3, 0);
    const unsigned before = lines.rises[0];
    advance(60 * kNanosecondsPerSecond);
    CHECK(lines.rises[0] - before == 60 * Pit::kHertz / 65536);
}

TEST_CASE_FIXTURE(Fixture, "pit: late events merge into one edge and the phase is kept") {
    program(0, 2, 1000);
    const unsigned before = lines.rises[0];
    stall(time_of(1000 + 1 + 5500) - clock.now());
    CHECK(lines.rises[0] - before == 1);
    go_to(1000 + 1 + 6000);
    CHECK(lines.rises[0] - before == 2);
}

TEST_CASE_FIXTURE(Fixture, "pit: mode 0 counts down once and raises OUT") {
    out(0x61, 0x01);
    program(2, 0, 100);
    CHECK_FALSE(out2());
    go_to(1000 + 1 + 40);
    CHECK(count(2) == 60);
    go_to(1000 + 1 + 99);
    CHECK_FALSE(out2());
    go_to(1000 + 1 + 100);
    CHECK(out2());
    CHECK(count(2) == 0);
    go_to(1000 + 1 + 101);
    CHECK(count(2) == 0xFFFF);
}

TEST_CASE_FIXTURE(Fixture, "pit: mode 0 of channel 0 raises its line") {
    program(0, 0, 50);
    CHECK_FALSE(lines.level(0));
    go_to(1100);
    CHECK(lines.level(0));
    CHECK(lines.rises[0] >= 1);
}

TEST_CASE_FIXTURE(Fixture, "pit: the gate of channel 2 suspends mode 0 and triggers mode 1") {
    out(0x61, 0x01);
    program(2, 0, 100);
    go_to(1000 + 1 + 10);
    out(0x61, 0x00);
    go_to(2000);
    CHECK(count(2) == 90);
    out(0x61, 0x01);
    go_to(2000 + 90);
    CHECK(out2());

    out(0x61, 0x00);
    program(2, 1, 20);
    CHECK(out2());
    out(0x61, 0x01);
    go_to(2090 + 5);
    CHECK_FALSE(out2());
    go_to(2090 + 1 + 20);
    CHECK(out2());
}

TEST_CASE_FIXTURE(Fixture, "pit: mode 2 and 3 outputs and counts") {
    out(0x61, 0x01);
    program(2, 2, 10);
    go_to(1001);
    CHECK(count(2) == 10);
    go_to(1001 + 9);
    CHECK(count(2) == 1);
    CHECK_FALSE(out2());
    go_to(1001 + 10);
    CHECK(count(2) == 10);
    CHECK(out2());
    program(2, 3, 7);  // four ticks high, three low
    go_to(1011 + 1);
    CHECK(out2());
    CHECK(count(2) == 6);
    go_to(1011 + 1 + 3);
    CHECK(out2());
    go_to(1011 + 1 + 4);
    CHECK_FALSE(out2());
    CHECK(count(2) == 6);
    go_to(1011 + 1 + 7);
    CHECK(out2());
}

TEST_CASE_FIXTURE(Fixture, "pit: a new count waits for the end of the period") {
    out(0x61, 0x01);
    program(2, 2, 10);
    go_to(1003);
    out(0x42, 20);
    out(0x42, 0);
    CHECK((status(2) & 0x40) != 0);  // null count
    go_to(1001 + 9);
    CHECK(count(2) == 1);
    go_to(1001 + 10);
    CHECK(count(2) == 20);
    CHECK((status(2) & 0x40) == 0);
}

TEST_CASE_FIXTURE(Fixture, "pit: modes 4 and 5 strobe for one tick") {
    out(0x61, 0x01);
    program(2, 4, 10);
    go_to(1001 + 9);
    CHECK(out2());
    go_to(1001 + 10);
    CHECK_FALSE(out2());
    go_to(1001 + 11);
    CHECK(out2());
    program(2, 5, 10);
    out(0x61, 0x00);
    out(0x61, 0x01);
    go_to(1012 + 1 + 10);
    CHECK_FALSE(out2());
    go_to(1012 + 1 + 11);
    CHECK(out2());
    program(0, 4, 10);
    const unsigned before = lines.rises[0];
    go_to(2000);
    CHECK(lines.rises[0] - before == 1);
}

TEST_CASE_FIXTURE(Fixture, "pit: BCD, latches and read-back") {
    out(0x61, 0x01);
    program(2, 2, 0x1000, true);
    go_to(1001 + 1);
    CHECK(count(2) == 0x0999);
    CHECK(status(2) == 0xB5);
    // Status and count latched together: status first, then the count as it was.
    out(0x43, 0xC8);
    go_to(1001 + 500);
    CHECK(in(0x42) == 0xB5);
    CHECK(in(0x42) == 0x99);
    CHECK(in(0x42) == 0x09);
    CHECK(in(0x43) == 0xFF);
}

TEST_CASE_FIXTURE(Fixture, "pit: one-byte access modes") {
    out(0x61, 0x01);
    out(0x43, 0x90);  // channel 2, low byte only, mode 0
    out(0x42, 200);
    go_to(1001 + 50);
    CHECK(in(0x42) == 150);
    CHECK(in(0x42) == 150);
    out(0x43, 0xA0);  // high byte only
    out(0x42, 2);
    go_to(1051 + 1 + 256);
    CHECK(in(0x42) == 1);
}

TEST_CASE_FIXTURE(Fixture, "pit: the refresh bit of port 61h toggles every 15 microseconds") {
    unsigned toggles = 0;
    bool last = in(0x61) & 0x10;
    for (int i = 0; i < 1000; ++i) {
        advance(1000);
        const bool now = in(0x61) & 0x10;
        toggles += now != last;
        last = now;
    }
    CHECK(toggles >= 66);
    CHECK(toggles <= 67);
}

TEST_CASE_FIXTURE(Fixture, "pit: save, load, save; the copy goes on as the original") {
    program(0, 3, 1234);
    out(0x61, 0x01);
    program(2, 2, 777);
    advance(1'000'000);
    TestBoard second;
    second.advance(clock.now());
    Pit other{second.scheduler, IrqLine(second.lines, 0), second.log};
    CHECK(same_after_load(pit, other));
    const unsigned before = lines.rises[0];
    const unsigned other_before = second.lines.rises[0];
    advance(100'000'000);
    second.advance(100'000'000);
    CHECK(lines.rises[0] - before == 97);
    CHECK(second.lines.rises[0] - other_before == 97);
}
