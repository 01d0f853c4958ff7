#include "devices/ps2.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "devices/scan_codes.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

namespace {

using Bytes = std::vector<u8>;

struct Fixture : TestBoard {
    Fixture() {
        REQUIRE(ps2.attach(ports).ok());
        ps2.reset();
        out(0x64, 0x60);
        out(0x60, 0x47);
    }
    void key(Bytes set1) { post(ps2.keyboard_source(), std::move(set1)); }
    void move(i16 dx, i16 dy, i8 wheel, u8 buttons) {
        post(ps2.mouse_source(), {static_cast<u8>(dx), static_cast<u8>(dx >> 8), static_cast<u8>(dy),
                                  static_cast<u8>(dy >> 8), static_cast<u8>(wheel), buttons});
    }
    void to_mouse(u8 value) {
        out(0x64, 0xD4);
        out(0x60, value);
    }
    // All that comes within a while.
    Bytes drain() {
        Bytes bytes;
        for (int i = 0; i < 200; ++i) {
            advance(50'000);
            if (in(0x64) & 0x01) bytes.push_back(in(0x60));
        }
        return bytes;
    }

    A20Gate gate{cpu};
    Ps2 ps2{scheduler, inputs, IrqLine(lines, 1), IrqLine(lines, 12), gate, control, log};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "ps2: self-tests, command byte and memory of the controller") {
    out(0x64, 0xAA);
    CHECK(in(0x60) == 0x55);
    CHECK((in(0x64) & 0x04) != 0);
    out(0x64, 0xAB);
    CHECK(in(0x60) == 0x00);
    out(0x64, 0xA9);
    CHECK(in(0x60) == 0x00);
    out(0x64, 0x20);
    CHECK(in(0x60) == 0x47);
    out(0x64, 0x65);
    out(0x60, 0x99);
    out(0x64, 0x25);
    CHECK(in(0x60) == 0x99);
    out(0x64, 0xA7);
    out(0x64, 0x20);
    CHECK(in(0x60) == 0x67);
}

TEST_CASE_FIXTURE(Fixture, "ps2: keys come translated to set 1 and raise IRQ 1") {
    key({0x1E, 0x9E, 0xE0, 0x48, 0xE0, 0xC8});
    advance(50'000);
    CHECK(lines.level(1));
    CHECK((in(0x64) & 0x21) == 0x01);
    CHECK(drain() == Bytes{0x1E, 0x9E, 0xE0, 0x48, 0xE0, 0xC8});
    CHECK(lines.rises[1] == 6);
    CHECK_FALSE(lines.level(1));
}

TEST_CASE_FIXTURE(Fixture, "ps2: every key of set 1 survives the way through set 2") {
    for (unsigned code = 1; code < 0x59; ++code) {
        if (code == 0x55) continue;
        CHECK(translate_set2(set1_to_set2(static_cast<u8>(code))) == code);
    }
    key({0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5});
    CHECK(drain() == Bytes{0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5});
}

TEST_CASE_FIXTURE(Fixture, "ps2: without translation sets 1, 2 and 3") {
    out(0x64, 0x60);
    out(0x60, 0x07);
    key({0x1E, 0x9E, 0xE0, 0x48, 0xE0, 0xC8});
    CHECK(drain() == Bytes{0x1C, 0xF0, 0x1C, 0xE0, 0x75, 0xE0, 0xF0, 0x75});
    out(0x60, 0xF0);
    CHECK(drain() == Bytes{0xFA});
    out(0x60, 0x03);
    CHECK(drain() == Bytes{0xFA});
    key({0x1E, 0x9E, 0x2A, 0xAA, 0xE0, 0x48, 0xE0, 0xC8});
    CHECK(drain() == Bytes{0x1C, 0x12, 0xF0, 0x12, 0x63});
    out(0x60, 0xF8);  // all keys make/break
    CHECK(drain() == Bytes{0xFA});
    key({0xE0, 0x48, 0xE0, 0xC8});
    CHECK(drain() == Bytes{0x63, 0xF0, 0x63});
    out(0x60, 0xF0);
    out(0x60, 0x00);
    CHECK(drain() == Bytes{0xFA, 0xFA, 0x03});
    out(0x60, 0xF0);
    out(0x60, 0x01);
    drain();
    key({0x1E, 0x9E});
    CHECK(drain() == Bytes{0x1E, 0x9E});
}

TEST_CASE_FIXTURE(Fixture, "ps2: keyboard commands") {
    out(0x60, 0xFF);
    CHECK(drain() == Bytes{0xFA, 0xAA});
    out(0x60, 0xF2);
    CHECK(drain() == Bytes{0xFA, 0xAB, 0x41});  // 83h after translation
    out(0x60, 0xEE);
    CHECK(drain() == Bytes{0xEE});
    out(0x60, 0xED);
    CHECK(drain() == Bytes{0xFA});
    out(0x60, 0x05);
    CHECK(drain() == Bytes{0xFA});
    CHECK(ps2.keyboard().leds() == 5);
    out(0x60, 0xF3);
    out(0x60, 0x20);
    CHECK(drain() == Bytes{0xFA, 0xFA});
    out(0x60, 0x55);
    CHECK(drain() == Bytes{0xFE});
    out(0x60, 0xFE);
    CHECK(drain() == Bytes{0xFE});
    out(0x60, 0xF5);
    CHECK(drain() == Bytes{0xFA});
    key({0x1E});
    CHECK(drain().empty());
    out(0x60, 0xF4);
    CHECK(drain() == Bytes{0xFA});
    key({0x1E});
    CHECK(drain() == Bytes{0x1E});
}

TEST_CASE_FIXTURE(Fixture, "ps2: pasted keys wait, too many end in an overrun code") {
    Bytes keys;
    for (int i = 0; i < 60; ++i) keys.insert(keys.end(), {0x1E, 0x9E});
    key(keys);
    CHECK(drain() == keys);
    for (int i = 0; i < 100; ++i) key(keys);
    Bytes all;
    for (int i = 0; i < 60; ++i) {
        const auto some = drain();
        all.insert(all.end(), some.begin(), some.end());
    }
    CHECK(all.size() > 4000);
    CHECK(std::count(all.begin(), all.end(), 0xFF) == 1);
}

TEST_CASE_FIXTURE(Fixture, "ps2: a disabled interface holds its bytes") {
    out(0x64, 0xAD);
    key({0x1E});
    CHECK(drain().empty());
    out(0x64, 0xAE);
    CHECK(drain() == Bytes{0x1E});
}

TEST_CASE_FIXTURE(Fixture, "ps2: a standard mouse") {
    to_mouse(0xFF);
    CHECK(drain() == Bytes{0xFA, 0xAA, 0x00});
    CHECK(lines.rises[12] == 3);
    to_mouse(0xF2);
    CHECK(drain() == Bytes{0xFA, 0x00});
    move(5, 5, 0, 0);
    CHECK(drain().empty());  // not enabled yet
    to_mouse(0xF4);
    CHECK(drain() == Bytes{0xFA});
    move(5, 3, 0, 1);
    advance(50'000);
    CHECK((in(0x64) & 0x21) == 0x21);
    CHECK(drain() == Bytes{0x29, 0x05, 0xFD});
    move(-300, 0, 0, 0);
    CHECK(drain() == Bytes{0x18, 0x81, 0x00, 0x18, 0x81, 0x00, 0x18, 0xD2, 0x00});
    to_mouse(0xE9);
    CHECK(drain() == Bytes{0xFA, 0x20, 0x02, 0x64});
}

TEST_CASE_FIXTURE(Fixture, "ps2: the knocks for wheel and side buttons") {
    const auto knock = [&](u8 a, u8 b, u8 c) {
        for (u8 rate : {a, b, c}) {
            to_mouse(0xF3);
            to_mouse(rate);
        }
        drain();
        to_mouse(0xF2);
        return drain();
    };
    CHECK(knock(200, 200, 80) == Bytes{0xFA, 0x00});
    CHECK(knock(200, 100, 80) == Bytes{0xFA, 0x03});
    to_mouse(0xF4);
    drain();
    move(0, 0, -1, 0);
    CHECK(drain() == Bytes{0x08, 0x00, 0x00, 0xFF});
    CHECK(knock(200, 200, 80) == Bytes{0xFA, 0x04});
    move(0, 0, 1, 0x18);
    CHECK(drain() == Bytes{0x08, 0x00, 0x00, 0x31});
}

TEST_CASE_FIXTURE(Fixture, "ps2: mouse remote, wrap, resolution and resend") {
    to_mouse(0xF0);
    drain();
    move(1, -1, 0, 2);
    CHECK(drain().empty());
    to_mouse(0xEB);
    CHECK(drain() == Bytes{0xFA, 0x0A, 0x01, 0x01});
    to_mouse(0xEA);
    to_mouse(0xEE);
    CHECK(drain() == Bytes{0xFA, 0xFA});
    to_mouse(0x12);
    CHECK(drain() == Bytes{0x12});
    to_mouse(0xEC);
    CHECK(drain() == Bytes{0xFA});
    to_mouse(0xE8);
    to_mouse(0x09);
    CHECK(drain() == Bytes{0xFA, 0xFE});
    to_mouse(0xE1);
    CHECK(drain() == Bytes{0xFE});
}

TEST_CASE_FIXTURE(Fixture, "ps2: loopback writes, output port, A20 and reset") {
    out(0x64, 0xD2);
    out(0x60, 0x33);
    CHECK(lines.level(1));
    CHECK(in(0x60) == 0x33);
    out(0x64, 0xD3);
    out(0x60, 0x44);
    CHECK(lines.level(12));
    CHECK((in(0x64) & 0x20) != 0);
    CHECK(in(0x60) == 0x44);
    CHECK(cpu.a20);
    out(0x64, 0xD1);
    out(0x60, 0xDD);
    CHECK_FALSE(cpu.a20);
    out(0x64, 0xDF);
    CHECK(cpu.a20);
    out(0x64, 0xD0);
    CHECK((in(0x60) & 0x03) == 0x03);
    out(0x64, 0xF0);
    CHECK(control.resets == 1);
    out(0x64, 0xFE);
    CHECK(control.resets == 2);
    out(0x64, 0xFF);
    CHECK(control.resets == 2);
}

TEST_CASE_FIXTURE(Fixture, "ps2: save, load, save") {
    to_mouse(0xF4);
    key({0x1E, 0x9E, 0xE0, 0x48});
    move(100, 200, 0, 1);
    TestBoard second;
    A20Gate second_gate(second.cpu);
    Ps2 other(second.scheduler, second.inputs, IrqLine(second.lines, 1), IrqLine(second.lines, 12), second_gate,
              second.control, second.log);
    CHECK(same_after_load(ps2, other));
    CHECK(second.cpu.a20);
}
