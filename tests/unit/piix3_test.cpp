#include "devices/piix3.h"

#include <doctest/doctest.h>

#include "tests/unit/board_fixture.h"

namespace lodge {
namespace {

struct Board : BoardFixture {
    RecordingLines interrupts;
    Piix3 bridge{platform, interrupts};
};

TEST_CASE("identity and power-on values") {
    Board board;
    CHECK(board.bridge.config_read(0, 4) == 0x70008086);
    CHECK(board.bridge.config_read(kPciClass, 2) == 0x0100);
    CHECK(board.bridge.config_read(kPciHeaderType, 1) == 0x80);
    CHECK(board.bridge.config_read(Piix3::kPirqRoute, 4) == 0x80808080);
}

TEST_CASE("PIRQs are routed, joined and moved") {
    Board board;
    board.bridge.set_irq(0, true);
    CHECK(board.interrupts.levels == 0);
    board.bridge.config_write(Piix3::kPirqRoute, 4, 0x0A0B0B0A);
    CHECK(board.interrupts.levels == 1 << 10);
    board.bridge.set_irq(3, true);
    board.bridge.set_irq(0, false);
    CHECK(board.interrupts.levels == 1 << 10);
    board.bridge.config_write(Piix3::kPirqRoute + 3, 1, 0x05);
    CHECK(board.interrupts.levels == 1 << 5);
    board.bridge.config_write(Piix3::kPirqRoute + 3, 1, 0x85);
    CHECK(board.interrupts.levels == 0);
}

TEST_CASE("reset control resets on the rising edge of RCPU") {
    Board board;
    board.bridge.write_reset_control(0x02);
    CHECK(board.control.resets == 0);
    board.bridge.write_reset_control(0x06);
    CHECK(board.control.resets == 1);
    board.bridge.write_reset_control(0x06);
    CHECK(board.control.resets == 1);
    board.bridge.reset();
    CHECK(board.bridge.read_reset_control() == 0);
    board.bridge.write_reset_control(0x04);
    CHECK(board.cpu.inits == 1);
}

TEST_CASE("state") {
    Board board;
    board.bridge.config_write(Piix3::kPirqRoute, 4, 0x0A0B0B0A);
    board.bridge.set_irq(1, true);
    board.bridge.write_reset_control(0x02);
    const auto state = test::save(board.bridge);
    Board other;
    CHECK(loaded(other.bridge, state) == state);
    other.bridge.set_irq(1, false);
    CHECK(other.interrupts.levels == 0);
}

}  // namespace
}  // namespace lodge
