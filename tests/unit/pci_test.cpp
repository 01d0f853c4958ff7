#include "devices/pci.h"

#include <doctest/doctest.h>

#include "tests/unit/board_fixture.h"

namespace lodge {
namespace {

struct Function final : PciDevice {
    Function(const Platform& platform, std::string name, u8 pin = 1)
        : PciDevice(platform, std::move(name),
                    {.vendor = 0x8086, .device = 0x1234, .revision = 7, .class_code = 0x010203, .interrupt_pin = pin}) {
        add_io_bar(
            0, 16, [this](u64 offset, unsigned) { return 0x40 + offset; },
            [this](u64 offset, unsigned, u64 value) { written = offset << 32 | value; });
        add_memory_bar(
            1, 4096, [](u64 offset, unsigned) { return 0x80 + offset; }, [](u64, unsigned, u64) {});
        add_backed_bar(2, 0x10000, kMiB);
        add_rom(0x10000, 2 * kMiB);
        set_config(0x40, 0x12345678, 4);
        set_writable(0x40, 0x0000FF00, 4);
        set_config(0x44, 0xFF, 1);
        set_write_1_to_clear(0x44, 0x0F, 1);
    }
    void pin(bool level) { set_intx(level); }
    u64 written = 0;
};

struct Board : BoardFixture {
    u32 read(unsigned device, unsigned function, unsigned offset, unsigned size = 4) {
        out(0xCF8, 4, 0x80000000 | device << 11 | function << 8 | (offset & 0xFC));
        return in(static_cast<u16>(0xCFC + (offset & 3)), size);
    }
    void write(unsigned device, unsigned function, unsigned offset, unsigned size, u32 value) {
        out(0xCF8, 4, 0x80000000 | device << 11 | function << 8 | (offset & 0xFC));
        out(static_cast<u16>(0xCFC + (offset & 3)), size, value);
    }
    RecordingLines pirq;
    PciBus bus{platform, pirq};
};

TEST_CASE("configuration mechanism 1") {
    Board board;
    Function function(board.platform, "function");
    board.bus.add(function, 3, 0);
    CHECK(board.read(3, 0, 0) == 0x12348086);
    CHECK(board.read(3, 0, 2, 2) == 0x1234);
    CHECK(board.read(3, 0, 8) == 0x01020307);
    CHECK(board.read(3, 0, 0x0B, 1) == 0x01);
    CHECK(board.read(3, 1, 0) == 0xFFFFFFFF);
    CHECK(board.read(4, 0, 0, 2) == 0xFFFF);
    // The address register: reserved bits read 0, without the enable bit nobody answers, other buses are empty.
    board.out(0xCF8, 4, 0xFFFFFFFF);
    CHECK(board.in(0xCF8, 4) == 0x80FFFFFC);
    board.out(0xCF8, 4, 3 << 11);
    CHECK(board.in(0xCFC, 4) == 0xFFFFFFFF);
    board.out(0xCF8, 4, 0x80010000 | 3 << 11);
    CHECK(board.in(0xCFC, 4) == 0xFFFFFFFF);
    // Bytes are not the address register's.
    board.out(0xCF8, 1, 0x55);
    CHECK(board.in(0xCF8, 1) == 0xFF);
}

TEST_CASE("write masks and bits cleared by writing 1") {
    Board board;
    Function function(board.platform, "function");
    board.bus.add(function, 3, 0);
    board.write(3, 0, 0x40, 4, 0xFFFFFFFF);
    CHECK(board.read(3, 0, 0x40) == 0x1234FF78);
    board.write(3, 0, 0x41, 1, 0x5A);
    CHECK(board.read(3, 0, 0x40) == 0x12345A78);
    board.write(3, 0, 0x44, 1, 0x33);
    CHECK(board.read(3, 0, 0x44, 1) == 0xFC);
    board.write(3, 0, 0, 4, 0);
    CHECK(board.read(3, 0, 0) == 0x12348086);
    function.reset();
    CHECK(board.read(3, 0, 0x40) == 0x12345678);
}

TEST_CASE("sizing and moving of BARs") {
    Board board;
    Function function(board.platform, "function");
    board.bus.add(function, 3, 0);
    board.write(3, 0, kPciCommand, 2, kPciCommandIo | kPciCommandMemory);
    board.write(3, 0, kPciBar0, 4, 0xFFFFFFFF);
    CHECK(board.read(3, 0, kPciBar0) == 0xFFFFFFF1);
    board.write(3, 0, kPciBar0 + 8, 4, 0xFFFFFFFF);
    CHECK(board.read(3, 0, kPciBar0 + 8) == 0xFFFF0008);
    board.write(3, 0, kPciRom, 4, 0xFFFFFFFE);
    CHECK(board.read(3, 0, kPciRom) == 0xFFFF0000);

    board.write(3, 0, kPciBar0, 4, 0xC000);
    CHECK(function.bar_mapped(0));
    CHECK(board.in(0xC005, 1) == 0x45);
    board.out(0xC004, 2, 0x1234);
    CHECK(function.written == (u64{4} << 32 | 0x1234));
    board.write(3, 0, kPciBar0, 4, 0xC100);
    CHECK(board.in(0xC005, 1) == 0xFF);
    CHECK(board.in(0xC105, 1) == 0x45);
    board.write(3, 0, kPciCommand, 2, kPciCommandMemory);
    CHECK(board.in(0xC105, 1) == 0xFF);

    board.write(3, 0, kPciBar0 + 4, 4, 0xFEB00000);
    CHECK(board.memory->read_value<u32>(0xFEB00010) == 0x90);
    board.write(3, 0, kPciBar0 + 8, 4, 0xFD000000);
    board.memory->write_value<u32>(0xFD000004, 0xCAFE);
    CHECK(load<u32>(board.memory->backing().data() + kMiB + 4) == 0xCAFE);
    // The ROM needs its own enable bit, and ignores writes.
    board.write(3, 0, kPciRom, 4, 0xFEB10000);
    CHECK_FALSE(board.memory->is_backed(0xFEB10000));
    board.write(3, 0, kPciRom, 4, 0xFEB10001);
    CHECK(board.memory->is_backed(0xFEB10000));
    board.memory->write_value<u32>(0xFEB10000, 1);
    CHECK(board.memory->read_value<u32>(0xFEB10000) == 0);
    function.reset();
    CHECK_FALSE(board.memory->is_backed(0xFEB10000));
    CHECK_FALSE(board.memory->is_backed(0xFD000000));
    CHECK(board.memory->read_value<u32>(0xFEB00010) == 0xFFFFFFFF);
}

TEST_CASE("a BAR over something else stays unreachable until there is room") {
    Board board;
    board.memory->map(0, kMiB, 0, true);
    Function first(board.platform, "first");
    Function second(board.platform, "second");
    board.bus.add(first, 3, 0);
    board.bus.add(second, 4, 0);
    for (unsigned device : {3, 4}) board.write(device, 0, kPciCommand, 2, kPciCommandIo | kPciCommandMemory);
    board.write(3, 0, kPciBar0, 4, 0xC000);
    board.write(4, 0, kPciBar0, 4, 0xC000);
    CHECK(first.bar_mapped(0));
    CHECK_FALSE(second.bar_mapped(0));
    board.write(3, 0, kPciBar0, 4, 0xC100);
    CHECK(second.bar_mapped(0));
    // RAM and the bus's own ports cannot be covered.
    board.write(3, 0, kPciBar0, 4, 0xCF0);
    CHECK_FALSE(first.bar_mapped(0));
    board.write(3, 0, kPciBar0 + 8, 4, 0x10000);
    CHECK_FALSE(first.bar_mapped(2));
    CHECK(board.memory->backing_page_of(0x10000) == 0x10);
}

TEST_CASE("interrupt pins rotate over the PIRQs, shared and disabled") {
    Board board;
    Function first(board.platform, "first", 1);
    Function second(board.platform, "second", 2);
    board.bus.add(first, 5, 0);
    board.bus.add(second, 4, 0);
    first.pin(true);
    CHECK(board.pirq.levels == 0b0001);
    CHECK(board.read(5, 0, kPciStatus, 2) == kPciStatusInterrupt);
    second.pin(true);
    first.pin(false);
    CHECK(board.pirq.levels == 0b0001);
    board.write(4, 0, kPciCommand, 2, kPciCommandNoInterrupt);
    CHECK(board.pirq.levels == 0);
    board.write(4, 0, kPciCommand, 2, 0);
    CHECK(board.pirq.levels == 0b0001);
    second.reset();
    CHECK(board.pirq.levels == 0);
    CHECK(PciBus::pirq_of(1, 1) == 0);
    CHECK(PciBus::pirq_of(2, 1) == 1);
    CHECK(PciBus::pirq_of(0, 1) == 3);
}

TEST_CASE("the reset control register lies within the address register") {
    Board board;
    u8 control = 0;
    board.bus.set_reset_control([&] { return control; }, [&](u8 value) { control = value; });
    board.out(0xCF9, 1, 6);
    CHECK(control == 6);
    CHECK(board.in(0xCF9, 1) == 6);
    board.out(0xCF8, 4, 0x80001234);
    CHECK(control == 6);
}

TEST_CASE("a saved bus loads with its mappings") {
    Board board;
    Function function(board.platform, "function");
    board.bus.add(function, 3, 0);
    board.write(3, 0, kPciCommand, 2, kPciCommandIo | kPciCommandMemory);
    board.write(3, 0, kPciBar0, 4, 0xC000);
    board.write(3, 0, kPciBar0 + 8, 4, 0xFD000000);
    function.pin(true);
    const auto bus_state = test::save(board.bus);
    const auto function_state = test::save(function);

    Board other;
    Function copy(other.platform, "function");
    other.bus.add(copy, 3, 0);
    CHECK(loaded(other.bus, bus_state) == bus_state);
    CHECK(loaded(copy, function_state) == function_state);
    CHECK(other.in(0xC005, 1) == 0x45);
    CHECK(other.memory->is_backed(0xFD000000));
    CHECK(copy.intx());
}

}  // namespace
}  // namespace lodge
