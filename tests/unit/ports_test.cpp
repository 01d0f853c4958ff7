// The chips of one port each: debug_port, exit_port, port92.
#include <doctest/doctest.h>

#include "devices/debug_port.h"
#include "devices/exit_port.h"
#include "devices/port92.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

TEST_CASE("debug_port: writes reach the host, reads say it is there") {
    TestBoard board;
    DebugPort debug(board.port, board.log, "debug_e9");
    REQUIRE(debug.attach(board.ports, 0xE9).ok());
    for (char c : std::string("hello")) board.out(0xE9, static_cast<u8>(c));
    CHECK(board.port.text == "hello");
    CHECK(board.in(0xE9) == 0xE9);
    DebugPort other(board.port, board.log, "debug_e9");
    CHECK(same_after_load(debug, other));
}

TEST_CASE("exit_port: the status is odd and has eight bits of the value") {
    TestBoard board;
    ExitPort exit(board.control, board.log);
    REQUIRE(exit.attach(board.ports, 0xF4).ok());
    board.out(0xF4, 16);
    CHECK(board.control.exit_status == 33);
    board.ports.write(0xF4, 4, 0x12345600);
    CHECK(board.control.exit_status == 1);
    board.ports.write(0xF4, 2, 0x00FF);
    CHECK(board.control.exit_status == 511);
    CHECK(board.in(0xF4) == 0);
    ExitPort other(board.control, board.log);
    CHECK(same_after_load(exit, other));
}

TEST_CASE("port92: A20 is open while anything opens it; a rising bit 0 resets") {
    TestBoard board;
    A20Gate gate(board.cpu);
    Port92 port(gate, board.control, board.log);
    REQUIRE(port.attach(board.ports).ok());
    port.reset();
    CHECK_FALSE(board.cpu.a20);
    board.out(0x92, 0x02);
    CHECK(board.cpu.a20);
    gate.set(A20Gate::kKeyboardController, true);
    board.out(0x92, 0x00);
    CHECK(board.cpu.a20);
    gate.set(A20Gate::kKeyboardController, false);
    CHECK_FALSE(board.cpu.a20);
    board.out(0x92, 0x01);
    board.out(0x92, 0x01);
    CHECK(board.control.resets == 1);
    CHECK(board.in(0x92) == 0x01);
    TestBoard second;
    A20Gate second_gate(second.cpu);
    Port92 other(second_gate, second.control, second.log);
    CHECK(same_after_load(port, other));
}
