#include "devices/uart.h"

#include <doctest/doctest.h>

#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

namespace {

struct Fixture : TestBoard {
    Fixture() {
        REQUIRE(uart.attach(ports, 0x3F8).ok());
        uart.reset();
        out(0x3FB, 0x83);  // 115200 baud, 8N1
        out(0x3F8, 0x01);
        out(0x3F9, 0x00);
        out(0x3FB, 0x03);
        out(0x3FC, 0x0B);  // OUT2 connects the interrupt
    }
    void type(const std::string& text) { post(uart.input_source(), {text.begin(), text.end()}); }
    u8 identity() { return in(0x3FA) & 0x0F; }
    bool ready() { return in(0x3FD) & 0x01; }

    Uart uart{scheduler, inputs, &port, IrqLine(lines, 4), log, "com1"};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "uart: bytes written reach the host; THRE comes back and interrupts") {
    CHECK((in(0x3FD) & 0x60) == 0x60);
    out(0x3F9, 0x02);
    CHECK(lines.level(4));  // enabling asks at once: the transmitter is empty
    CHECK(identity() == 0x02);
    CHECK_FALSE(lines.level(4));
    CHECK(identity() == 0x01);
    out(0x3F8, 'h');
    out(0x3F8, 'i');
    CHECK(port.text == "hi");
    CHECK((in(0x3FD) & 0x60) == 0x00);
    CHECK_FALSE(lines.level(4));
    advance(100'000);
    CHECK((in(0x3FD) & 0x60) == 0x60);
    CHECK(lines.level(4));
}

TEST_CASE_FIXTURE(Fixture, "uart: without FIFO each byte interrupts and none is lost") {
    out(0x3F9, 0x01);
    type("abc");
    std::string got;
    for (int i = 0; i < 10; ++i) {
        if (lines.level(4)) {
            CHECK(identity() == 0x04);
            CHECK(ready());
            got += static_cast<char>(in(0x3F8));
            CHECK_FALSE(lines.level(4));
        }
        advance(100'000);
    }
    CHECK(got == "abc");
    CHECK_FALSE(ready());
}

TEST_CASE_FIXTURE(Fixture, "uart: FIFO trigger level and time-out") {
    out(0x3FA, 0x81);  // FIFOs on, trigger at 8
    out(0x3F9, 0x01);
    type("0123456");
    advance(7 * 86'806);
    CHECK_FALSE(lines.level(4));
    advance(4 * 86'806);
    CHECK(lines.level(4));
    CHECK((in(0x3FA) & 0xCF) == 0xCC);
    CHECK(in(0x3F8) == '0');
    CHECK_FALSE(lines.level(4));
    type("78");
    advance(2 * 86'806);
    CHECK(identity() == 0x04);
}

TEST_CASE_FIXTURE(Fixture, "uart: pasted text waits until the guest reads") {
    out(0x3FA, 0x01);
    std::string text;
    for (int i = 0; i < 3000; ++i) text += static_cast<char>('a' + i % 26);
    type(text);
    std::string got;
    for (int i = 0; i < 1000; ++i) {
        advance(1'000'000);
        while (ready()) got += static_cast<char>(in(0x3F8));
    }
    CHECK(got == text);
}

TEST_CASE_FIXTURE(Fixture, "uart: the backlog is bounded") {
    for (int i = 0; i < 20; ++i) type(std::string(10'000, 'x'));
    CHECK(save(uart).size() < Uart::kBacklog + 4096);
}

TEST_CASE_FIXTURE(Fixture, "uart: loopback connects transmitter to receiver and modem lines") {
    out(0x3FC, 0x1A);  // loopback, RTS and OUT2
    out(0x3F8, 0x42);
    CHECK(port.text.empty());
    CHECK(ready());
    CHECK(in(0x3F8) == 0x42);
    CHECK((in(0x3FE) & 0xF0) == 0x90);
    out(0x3FC, 0x10);
    CHECK((in(0x3FE) & 0xFF) == 0x09);  // CTS and DCD went away
    out(0x3F8, 1);
    out(0x3F8, 2);
    CHECK((in(0x3FD) & 0x03) == 0x03);  // overrun
    CHECK(in(0x3F8) == 2);
    CHECK((in(0x3FD) & 0x03) == 0x00);
}

TEST_CASE_FIXTURE(Fixture, "uart: priorities of interrupts") {
    out(0x3FC, 0x18);
    in(0x3FE);
    out(0x3F9, 0x0F);
    out(0x3FC, 0x1A);
    out(0x3F8, 1);
    out(0x3F8, 2);
    advance(10'000);
    CHECK(identity() == 0x06);
    in(0x3FD);
    CHECK(identity() == 0x04);
    in(0x3F8);
    CHECK(identity() == 0x02);
    CHECK(identity() == 0x00);
    in(0x3FE);
    CHECK(identity() == 0x01);
}

TEST_CASE_FIXTURE(Fixture, "uart: registers read back") {
    out(0x3FF, 0xA5);
    CHECK(in(0x3FF) == 0xA5);
    out(0x3FB, 0x9B);
    CHECK(in(0x3F8) == 0x01);
    CHECK(in(0x3FB) == 0x9B);
    out(0x3FB, 0x03);
    out(0x3F9, 0xFF);
    CHECK(in(0x3F9) == 0x0F);
    CHECK((in(0x3FE) & 0xF0) == 0xB0);
}

TEST_CASE_FIXTURE(Fixture, "uart: save, load, save; the copy goes on reading") {
    out(0x3FA, 0xC1);
    type(std::string(100, 'q'));
    out(0x3F8, 'x');
    TestBoard second;
    Uart other(second.scheduler, second.inputs, &second.port, IrqLine(second.lines, 4), second.log, "com1");
    CHECK(same_after_load(uart, other));
    REQUIRE(other.attach(second.ports, 0x3F8).ok());
    second.advance(100'000'000);
    unsigned got = 0;
    for (int i = 0; i < 1000; ++i) {
        if (second.in(0x3FD) & 1) {
            CHECK(second.in(0x3F8) == 'q');
            ++got;
        }
        second.advance(100'000);
    }
    CHECK(got == 100);
}
