#include "devices/dma.h"

#include <doctest/doctest.h>

#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

namespace {

struct Fixture : TestBoard {
    Fixture() {
        memory->map(0, 1 * kMiB, 0, true);
        REQUIRE(dma.attach(ports).ok());
        dma.reset();
        out(0xD6, 0xC0);  // channel 4 cascades
        out(0xD4, 0x00);
    }
    // Channel 2 as a floppy controller uses it.
    void program2(u8 mode, u32 address, u16 count) {
        out(0x0A, 0x06);
        out(0x0C, 0x00);
        out(0x0B, mode);
        out(0x04, static_cast<u8>(address));
        out(0x04, static_cast<u8>(address >> 8));
        out(0x81, static_cast<u8>(address >> 16));
        out(0x05, static_cast<u8>(count));
        out(0x05, static_cast<u8>(count >> 8));
        out(0x0A, 0x02);
    }

    DmaController dma{*memory, log};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "dma: a device writes memory until the terminal count") {
    program2(0x46, 0x12340, 511);
    auto& channel = dma.channel(2);
    CHECK(channel.granted());
    CHECK(channel.direction() == DmaChannel::Direction::to_memory);
    std::vector<u8> data(400, 0x5A);
    auto moved = channel.to_memory(data);
    CHECK(moved.bytes == 400);
    CHECK_FALSE(moved.terminal_count);
    moved = channel.to_memory(data);
    CHECK(moved.bytes == 112);
    CHECK(moved.terminal_count);
    CHECK(memory->read_value<u8>(0x12340 + 511) == 0x5A);
    CHECK(memory->read_value<u8>(0x12340 + 512) == 0x00);
    CHECK_FALSE(channel.granted());  // masked by TC
    CHECK(in(0x08) == 0x04);
    CHECK(in(0x08) == 0x00);
    CHECK(channel.to_memory(data).bytes == 0);
}

TEST_CASE_FIXTURE(Fixture, "dma: a device reads memory; auto-initialise starts over") {
    memory->write_value<u32>(0x20000, 0x44332211);
    program2(0x5A, 0x20000, 3);
    std::vector<u8> data(4);
    for (int i = 0; i < 3; ++i) {
        const auto moved = dma.channel(2).from_memory(data);
        CHECK(moved.bytes == 4);
        CHECK(moved.terminal_count);
        CHECK(load<u32>(data.data()) == 0x44332211);
    }
    CHECK(dma.channel(2).to_memory(data).bytes == 0);  // the other direction
}

TEST_CASE_FIXTURE(Fixture, "dma: verify counts without moving, addresses wrap within 64 KiB") {
    program2(0x42, 0x1FFFE, 3);
    std::vector<u8> data(4, 0xEE);
    CHECK(dma.channel(2).to_memory(data).terminal_count);
    CHECK(memory->read_value<u8>(0x1FFFE) == 0);
    program2(0x46, 0x1FFFE, 3);
    CHECK(dma.channel(2).to_memory(data).terminal_count);
    CHECK(memory->read_value<u16>(0x1FFFE) == 0xEEEE);
    CHECK(memory->read_value<u16>(0x10000) == 0xEEEE);
    program2(0x66, 0x10001, 3);  // downwards
    std::vector<u8> counting = {1, 2, 3, 4};
    CHECK(dma.channel(2).to_memory(counting).bytes == 4);
    CHECK(memory->read_value<u8>(0x10001) == 1);
    CHECK(memory->read_value<u8>(0x1FFFE) == 4);
}

TEST_CASE_FIXTURE(Fixture, "dma: 16-bit channels count words") {
    out(0xD4, 0x05);
    out(0xD8, 0x00);
    out(0xD6, 0x45);
    out(0xC4, 0x00);
    out(0xC4, 0x08);  // word address 0x0800
    out(0x8B, 0x03);  // bit 0 does not count
    out(0xC6, 0x01);
    out(0xC6, 0x00);
    out(0xD4, 0x01);
    std::vector<u8> data = {1, 2, 3, 4, 5};
    const auto moved = dma.channel(5).to_memory(data);
    CHECK(moved.bytes == 4);
    CHECK(moved.terminal_count);
    CHECK(memory->read_value<u32>(0x21000) == 0x04030201);
}

TEST_CASE_FIXTURE(Fixture, "dma: registers read back; requests show; masks and master clear") {
    program2(0x46, 0x1234, 0x0ABC);
    out(0x0C, 0x00);
    CHECK(in(0x04) == 0x34);
    CHECK(in(0x04) == 0x12);
    CHECK(in(0x05) == 0xBC);
    CHECK(in(0x05) == 0x0A);
    dma.channel(2).request(true);
    CHECK(in(0x08) == 0x40);
    CHECK((in(0x0F) & 0x0F) == 0x0B);
    out(0x0F, 0x0F);
    CHECK_FALSE(dma.channel(2).granted());
    out(0x0E, 0x00);
    CHECK(dma.channel(2).granted());
    out(0x08, 0x04);  // controller disabled
    CHECK_FALSE(dma.channel(2).granted());
    out(0x0D, 0x00);
    out(0x0A, 0x02);
    CHECK(dma.channel(2).granted());
    out(0xDA, 0x00);  // the second chip masks its cascade
    CHECK_FALSE(dma.channel(2).granted());
    CHECK_FALSE(dma.channel(4).granted());
    CHECK(in(0x81) == 0x00);
    out(0x80, 0x42);
    CHECK(in(0x80) == 0x42);
}

TEST_CASE_FIXTURE(Fixture, "dma: save, load, save") {
    program2(0x46, 0x12345, 100);
    TestBoard second;
    DmaController other{*second.memory, second.log};
    CHECK(same_after_load(dma, other));
}
