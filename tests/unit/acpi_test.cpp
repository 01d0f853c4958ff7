#include "devices/acpi.h"

#include <doctest/doctest.h>

#include "tests/unit/board_fixture.h"

namespace lodge {
namespace {

struct Board : BoardFixture {
    Board() {
        acpi.config_write(Acpi::kPmBase, 4, Acpi::kFirmwareBase | 1);
        acpi.config_write(Acpi::kPmMiscellaneous, 1, 1);
    }
    u32 pm(unsigned offset, unsigned size) { return in(static_cast<u16>(Acpi::kFirmwareBase + offset), size); }
    void pm(unsigned offset, unsigned size, u32 value) {
        out(static_cast<u16>(Acpi::kFirmwareBase + offset), size, value);
    }
    bool sci() const { return interrupts.levels & 1 << 9; }

    RecordingLines interrupts;
    Acpi acpi{platform, {interrupts, 9}};
};

constexpr u64 kHalfPeriod = 2'343'484'438;  // ns, rounded up: 2^23 ticks at 3.579545 MHz

TEST_CASE("identity and registers' place") {
    Board board;
    CHECK(board.acpi.config_read(0, 4) == 0x71138086);
    CHECK(board.acpi.config_read(8, 4) == 0x06800003);
    // SeaBIOS takes a handler of SMIs for installed.
    CHECK((board.acpi.config_read(Acpi::kDeviceActivityB, 4) & 1u << 25) != 0);
    CHECK(board.pm(Acpi::kPm1Control, 2) == 0);
    board.acpi.config_write(Acpi::kPmBase, 4, 0x1001);
    CHECK(board.pm(Acpi::kPm1Control, 2) == 0xFFFF);
    CHECK(board.in(0x1004, 2) == 0);
    board.acpi.reset();
    CHECK(board.in(0x1004, 2) == 0xFFFF);
}

TEST_CASE("the timer counts at 3.579545 MHz in 24 bits") {
    Board board;
    board.advance(kNanosecondsPerSecond);
    CHECK(board.pm(Acpi::kTimer, 4) == 3'579'545);
    CHECK(board.pm(Acpi::kTimer, 2) == (3'579'545 & 0xFFFF));
    board.advance(4 * kNanosecondsPerSecond);
    CHECK(board.pm(Acpi::kTimer, 4) == (5 * 3'579'545 & 0xFFFFFF));
}

TEST_CASE("the timer's status and interrupt") {
    Board board;
    board.out(0xB2, 1, Acpi::kEnableCommand);
    board.pm(Acpi::kPm1Enable, 2, Acpi::kTimerStatus);
    board.advance(kHalfPeriod - 1000);
    CHECK(board.pm(Acpi::kPm1Status, 2) == 0);
    CHECK_FALSE(board.sci());
    board.advance(1000);
    CHECK(board.pm(Acpi::kPm1Status, 2) == Acpi::kTimerStatus);
    CHECK(board.sci());
    board.pm(Acpi::kPm1Status, 2, Acpi::kTimerStatus);
    CHECK_FALSE(board.sci());
    board.advance(kHalfPeriod);
    CHECK(board.sci());
}

TEST_CASE("ACPI mode is switched by the command port, the power button interrupts") {
    Board board;
    board.pm(Acpi::kPm1Enable, 2, Acpi::kPowerButton);
    board.acpi.press_power_button();
    board.inputs.apply_all(0);
    CHECK(board.pm(Acpi::kPm1Status, 2) == Acpi::kPowerButton);
    CHECK_FALSE(board.sci());
    board.out(0xB2, 1, Acpi::kEnableCommand);
    CHECK(board.pm(Acpi::kPm1Control, 2) == 1);
    CHECK(board.sci());
    board.pm(Acpi::kPm1Status + 1, 1, Acpi::kPowerButton >> 8);
    CHECK_FALSE(board.sci());
    board.out(0xB2, 1, Acpi::kDisableCommand);
    CHECK(board.pm(Acpi::kPm1Control, 2) == 0);
    board.out(0xB2, 2, 0x4233);
    CHECK(board.in(0xB2, 1) == 0x33);
    CHECK(board.in(0xB3, 1) == 0x42);
}

TEST_CASE("soft off") {
    Board board;
    board.pm(Acpi::kPm1Control, 2, 0x2401);
    CHECK(board.control.power_offs == 0);
    board.pm(Acpi::kPm1Control, 2, 0x2001);
    CHECK(board.control.power_offs == 1);
    CHECK(board.pm(Acpi::kPm1Control, 2) == 1);
}

TEST_CASE("nobody answers on the SMBus") {
    Board board;
    board.acpi.config_write(Acpi::kSmbusBase, 4, Acpi::kFirmwareSmbusBase | 1);
    board.acpi.config_write(Acpi::kSmbusConfiguration, 1, 1);
    board.out(0x704, 1, 0xA1);
    board.out(0x702, 1, 0x48);
    CHECK(board.in(0x702, 1) == 0x08);
    CHECK(board.in(0x700, 1) == 0x06);
    board.out(0x700, 1, 0xFF);
    CHECK(board.in(0x700, 1) == 0);
    CHECK(board.in(0x704, 1) == 0xA1);
}

TEST_CASE("state") {
    Board board;
    board.out(0xB2, 2, 0x42F1);
    board.pm(Acpi::kPm1Enable, 2, Acpi::kTimerStatus);
    board.advance(kHalfPeriod / 2);
    const auto state = test::save(board.acpi);
    Board other;
    other.advance(kHalfPeriod / 2);
    CHECK(loaded(other.acpi, state) == state);
    other.advance(kHalfPeriod);
    CHECK(other.sci());
}

}  // namespace
}  // namespace lodge
