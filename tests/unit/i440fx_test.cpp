#include "devices/i440fx.h"

#include <doctest/doctest.h>

#include "tests/unit/board_fixture.h"

namespace lodge {
namespace {

struct Board : BoardFixture {
    explicit Board(u64 ram = 8 * kMiB) : BoardFixture(PcLayout{ram}.backing_bytes()), layout{ram} {
        const auto backing = memory->backing();
        for (u64 at = 0; at < PcLayout::kBiosSize; ++at) backing[layout.bios() + at] = 0xB0;
        for (u64 at = 0; at < PcLayout::kEmptySize; ++at) backing[layout.empty() + at] = 0xFF;
        bridge = std::make_unique<I440fx>(platform, layout);
    }
    void pam(unsigned index, u8 value) { bridge->config_write(I440fx::kPam0 + index, 1, value); }
    u8 peek(u64 at) { return memory->read_value<u8>(at); }
    void poke(u64 at, u8 value) { memory->write_value<u8>(at, value); }

    PcLayout layout;
    std::unique_ptr<I440fx> bridge;
};

TEST_CASE("identity") {
    Board board;
    CHECK(board.bridge->config_read(0, 4) == 0x12378086);
    CHECK(board.bridge->config_read(8, 4) == 0x06000002);
    CHECK(board.bridge->config_read(0x2C, 4) == 0x11001AF4);
}

TEST_CASE("memory at reset") {
    Board board;
    board.poke(0x1000, 1);
    CHECK(board.peek(0x1000) == 1);
    board.poke(0x7FFFFF, 2);
    CHECK(board.peek(0x7FFFFF) == 2);
    CHECK(board.peek(0x800000) == 0xFF);
    CHECK_FALSE(board.memory->is_backed(0xA0000));
    CHECK_FALSE(board.memory->is_backed(0xC0000));
    CHECK(board.peek(0xFFFFFFF0) == 0xB0);
    CHECK(board.peek(0xE0000) == 0xB0);
    board.poke(0xFFFF0, 3);
    CHECK(board.peek(0xFFFF0) == 0xB0);
}

TEST_CASE("the four states of a segment") {
    Board board;
    for (const u64 at : {u64{0xF8000}, u64{0xE4000}, u64{0xC8000}}) {
        const unsigned index = at == 0xF8000 ? 0 : static_cast<unsigned>(1 + (at - 0xC0000) / 0x8000);
        const unsigned shift = at == 0xF8000 || (at & 0x4000) ? 4 : 0;
        const u8 rom = at >= 0xE0000 ? 0xB0 : 0xFF;
        board.pam(index, static_cast<u8>(I440fx::kPamWrite << shift));
        board.poke(at, 0x11);
        CHECK(board.peek(at) == rom);
        board.pam(index, static_cast<u8>(I440fx::kPamRead << shift));
        CHECK(board.peek(at) == 0x11);
        board.poke(at, 0x22);
        CHECK(board.peek(at) == 0x11);
        board.pam(index, static_cast<u8>((I440fx::kPamRead | I440fx::kPamWrite) << shift));
        board.poke(at, 0x33);
        CHECK(board.peek(at) == 0x33);
        board.bridge->reset();
        CHECK(board.peek(at) == rom);
    }
}

TEST_CASE("SMRAM can be opened until it is locked") {
    Board board;
    board.bridge->config_write(I440fx::kSmram, 1, 0x4A);
    board.poke(0xA0000, 5);
    CHECK(board.peek(0xA0000) == 5);
    board.bridge->config_write(I440fx::kSmram, 1, 0x5A);
    CHECK_FALSE(board.memory->is_backed(0xA0000));
    CHECK(board.bridge->config_read(I440fx::kSmram, 1) == 0x1A);
    board.bridge->config_write(I440fx::kSmram, 1, 0x4A);
    CHECK(board.bridge->config_read(I440fx::kSmram, 1) == 0x1A);
    board.bridge->reset();
    CHECK(board.bridge->config_read(I440fx::kSmram, 1) == 0x02);
}

TEST_CASE("layout: RAM over 3 GiB goes above 4 GiB") {
    const PcLayout layout{5 * kGiB};
    CHECK(layout.low() == 3 * kGiB);
    CHECK(layout.high() == 2 * kGiB);
    CHECK(layout.backing_bytes() % kPageSize == 0);
    CHECK_FALSE(PcLayout::make(0).ok());
    CHECK_FALSE(PcLayout::make(kMiB + 4096).ok());
    CHECK(PcLayout::make(512 * kMiB).ok());
    Board board(4 * kGiB);
    board.poke(4 * kGiB + 5, 0x77);
    CHECK(board.memory->backing()[3 * kGiB + 5] == 0x77);
}

TEST_CASE("a saved bridge loads with its mappings") {
    Board board;
    board.pam(0, 0x30);
    board.bridge->config_write(I440fx::kSmram, 1, 0x4A);
    const auto state = test::save(*board.bridge);
    Board other;
    CHECK(loaded(*other.bridge, state) == state);
    other.poke(0xF0000, 9);
    CHECK(other.peek(0xF0000) == 9);
    CHECK(other.memory->is_backed(0xA0000));
}

}  // namespace
}  // namespace lodge
