#include "devices/pic.h"

#include <doctest/doctest.h>

#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

namespace {

struct Fixture : TestBoard {
    Fixture() {
        pic.connect(IrqLine(lines, 0));
        REQUIRE(pic.attach(ports).ok());
        pic.reset();
        initialise(0x01, 0x01);
    }
    void initialise(u8 master_icw4, u8 slave_icw4, u8 icw1 = 0x11) {
        out(0x20, icw1);
        out(0x21, 0x08);
        out(0x21, 0x04);
        out(0x21, master_icw4);
        out(0xA0, icw1);
        out(0xA1, 0x70);
        out(0xA1, 0x02);
        out(0xA1, slave_icw4);
    }
    bool asks() const { return lines.level(0); }
    unsigned vector() { return *pic.acknowledge(); }

    PicPair pic{log};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "pic: an edge asks once, until EOI nothing lower gets through") {
    pic.set_irq(1, true);
    CHECK(asks());
    CHECK(vector() == 0x09);
    CHECK_FALSE(asks());
    pic.set_irq(3, true);
    CHECK_FALSE(asks());
    pic.set_irq(0, true);
    CHECK(asks());
    CHECK(vector() == 0x08);
    out(0x20, 0x20);
    CHECK_FALSE(asks());
    out(0x20, 0x20);
    CHECK(asks());
    CHECK(vector() == 0x0B);
    out(0x20, 0x20);
    CHECK_FALSE(asks());
}

TEST_CASE_FIXTURE(Fixture, "pic: the slave comes through pin 2 with its own vector") {
    pic.set_irq(14, true);
    CHECK(asks());
    CHECK(vector() == 0x76);
    out(0x20, 0x0B);
    CHECK(in(0x20) == 0x04);
    out(0xA0, 0x0B);
    CHECK(in(0xA0) == 0x40);
    pic.set_irq(8, true);
    CHECK_FALSE(asks());  // pin 2 is in service
    out(0xA0, 0x20);
    out(0x20, 0x20);
    CHECK(asks());
    CHECK(vector() == 0x70);
}

TEST_CASE_FIXTURE(Fixture, "pic: special fully nested mode lets the slave nest") {
    initialise(0x11, 0x01);
    pic.set_irq(14, true);
    CHECK(vector() == 0x76);
    pic.set_irq(8, true);
    CHECK(asks());
    CHECK(vector() == 0x70);
}

TEST_CASE_FIXTURE(Fixture, "pic: a request that goes away is spurious") {
    pic.set_irq(5, true);
    pic.set_irq(5, false);
    CHECK_FALSE(asks());
    CHECK(vector() == 0x0F);
    out(0x20, 0x0B);
    CHECK(in(0x20) == 0);  // nothing in service
    pic.set_irq(10, true);
    out(0xA1, 0x04);  // masked between INT and INTA
    CHECK_FALSE(asks());
}

TEST_CASE_FIXTURE(Fixture, "pic: level-triggered pins by ELCR ask again after EOI") {
    out(0x4D0, 0xFF);
    out(0x4D1, 0xFF);
    CHECK(in(0x4D0) == 0xF8);
    CHECK(in(0x4D1) == 0xDE);
    pic.set_irq(11, true);
    CHECK(vector() == 0x73);
    out(0xA0, 0x20);
    out(0x20, 0x20);
    CHECK(asks());
    pic.set_irq(11, false);
    CHECK_FALSE(asks());
}

TEST_CASE_FIXTURE(Fixture, "pic: mask, IRR and IMR read back") {
    out(0x21, 0xFE);
    pic.set_irq(4, true);
    CHECK_FALSE(asks());
    CHECK(in(0x21) == 0xFE);
    out(0x20, 0x0A);
    CHECK(in(0x20) == 0x10);
    out(0x21, 0x00);
    CHECK(asks());
}

TEST_CASE_FIXTURE(Fixture, "pic: rotation and set priority") {
    out(0x20, 0xC4);  // pin 4 is lowest, pin 5 highest
    pic.set_irq(1, true);
    pic.set_irq(5, true);
    CHECK(vector() == 0x0D);
    out(0x20, 0xA0);  // rotate on non-specific EOI: pin 5 lowest
    CHECK(vector() == 0x09);
    pic.set_irq(5, false);
    pic.set_irq(5, true);
    CHECK_FALSE(asks());
    pic.set_irq(6, true);
    CHECK(asks());
    CHECK(vector() == 0x0E);
}

TEST_CASE_FIXTURE(Fixture, "pic: special mask mode lets lower requests through") {
    pic.set_irq(1, true);
    CHECK(vector() == 0x09);
    pic.set_irq(6, true);
    CHECK_FALSE(asks());
    out(0x21, 0x02);
    out(0x20, 0x68);
    CHECK(asks());
    CHECK(vector() == 0x0E);
}

TEST_CASE_FIXTURE(Fixture, "pic: automatic EOI and poll") {
    initialise(0x03, 0x03);
    pic.set_irq(3, true);
    CHECK(vector() == 0x0B);
    pic.set_irq(4, true);
    CHECK(asks());
    out(0x20, 0x0C);
    CHECK(in(0x20) == 0x84);
    CHECK_FALSE(asks());
    out(0x20, 0x0C);
    CHECK(in(0x20) == 0x00);
    // The slave still asks after an automatic EOI: its pin must be an edge again.
    pic.set_irq(8, true);
    pic.set_irq(9, true);
    CHECK(vector() == 0x70);
    CHECK(asks());
    CHECK(vector() == 0x71);
}

TEST_CASE_FIXTURE(Fixture, "pic: save, load, save") {
    pic.set_irq(9, true);
    pic.acknowledge();
    PicPair other{log};
    CHECK(same_after_load(pic, other));
}
