#include "devices/fw_cfg.h"

#include <doctest/doctest.h>

#include "tests/unit/board_fixture.h"

namespace lodge {
namespace {

struct Board : BoardFixture {
    Board() {
        memory->map(0, kMiB, 0, true);
        fw_cfg.add_file("etc/first", {1, 2, 3});
        fw_cfg.add_file("etc/second", {4, 5});
    }
    void select(u16 key) { out(0x510, 2, key); }
    u8 next() { return static_cast<u8>(in(0x511, 1)); }
    // Runs a transfer whose descriptor is at 1000h; returns what became of its control word.
    u32 dma(u32 control, u32 length, u64 address) {
        u8 descriptor[16];
        store_big_endian(descriptor, control);
        store_big_endian(descriptor + 4, length);
        store_big_endian(descriptor + 8, address);
        memory->write(0x1000, descriptor);
        out(0x514, 4, 0);
        u8 low[4];
        store_big_endian(low, u32{0x1000});
        out(0x518, 4, load<u32>(low));
        memory->read(0x1000, descriptor);
        return load_big_endian<u32>(descriptor);
    }
    FwCfg fw_cfg{platform};
};

constexpr u32 kRead = 2, kSkip = 4, kSelect = 8, kWrite = 16;

TEST_CASE("signature, id and DMA signature") {
    Board board;
    board.select(FwCfg::kSignature);
    for (char letter : std::string("QEMU")) CHECK(board.next() == letter);
    CHECK(board.next() == 0);
    board.select(FwCfg::kId);
    CHECK(board.next() == 3);
    CHECK(board.in(0x514, 4) == 0x554D4551);
    CHECK(board.in(0x518, 4) == 0x47464320);
}

TEST_CASE("the directory names the files") {
    Board board;
    board.select(FwCfg::kFileDirectory);
    std::vector<u8> directory;
    for (unsigned i = 0; i < 4 + 2 * 64; ++i) directory.push_back(board.next());
    CHECK(load_big_endian<u32>(&directory[0]) == 2);
    CHECK(load_big_endian<u32>(&directory[4]) == 3);
    CHECK(load_big_endian<u16>(&directory[8]) == FwCfg::kFirstFile);
    CHECK(std::string(reinterpret_cast<char*>(&directory[12])) == "etc/first");
    CHECK(load_big_endian<u16>(&directory[72]) == FwCfg::kFirstFile + 1);
    board.select(FwCfg::kFirstFile + 1);
    CHECK(board.next() == 4);
    CHECK(board.next() == 5);
    CHECK(board.next() == 0);
    board.select(0x7777);
    CHECK(board.next() == 0);
}

TEST_CASE("DMA selects, skips, reads and pads") {
    Board board;
    CHECK(board.dma(FwCfg::kFirstFile << 16 | kSelect | kRead, 2, 0x2000) == 0);
    CHECK(board.memory->read_value<u16>(0x2000) == 0x0201);
    CHECK(board.dma(kRead, 4, 0x2000) == 0);
    CHECK(board.memory->read_value<u32>(0x2000) == 0x00000003);
    CHECK(board.dma(FwCfg::kFirstFile << 16 | kSelect, 0, 0) == 0);
    CHECK(board.dma(kSkip, 1, 0) == 0);
    CHECK(board.dma(kRead, 1, 0x2000) == 0);
    CHECK(board.memory->read_value<u8>(0x2000) == 2);
    CHECK(board.dma(kRead, 0xFFFFFFFF, 0x2000) == 1);
    CHECK(board.dma(kWrite, 1, 0x2000) == 1);
    CHECK(board.dma(kSkip, 0xFFFFFFFF, 0) == 0);
}

TEST_CASE("state") {
    Board board;
    board.select(FwCfg::kFirstFile);
    board.next();
    board.out(0x514, 4, 0x11223344);
    const auto state = test::save(board.fw_cfg);
    Board other;
    CHECK(loaded(other.fw_cfg, state) == state);
    CHECK(other.next() == 2);
}

}  // namespace
}  // namespace lodge
