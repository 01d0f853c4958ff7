#include "devices/atapi_cdrom.h"

#include <doctest/doctest.h>

#include "tests/unit/ide_fixture.h"

using namespace lodge;
using ide_test::Board;
using test::MemoryDisk;

namespace {

constexpr u16 kBase = 0x170;
constexpr u16 kControl = 0x376;
constexpr u8 kIdle = kIdeReady | kIdeSeekComplete;
constexpr u8 kData = kIdle | kIdeDataRequest;
constexpr u8 kFailed = kIdle | kIdeErrorBit;
constexpr u32 kTable = 0x1000;

// A board with a disk as the primary master and a CD-ROM drive as the secondary master, with 200 numbered blocks.
struct Fixture {
    explicit Fixture(bool loaded = true)
        : slot(parts.inputs, parts.log, "cdrom2", loaded ? disc(200) : nullptr),
          board({&disk, nullptr, nullptr, nullptr}, ClockMode::virtual_time, {nullptr, nullptr, &slot, nullptr}) {}

    static std::unique_ptr<MemoryDisk> disc(u64 blocks) {
        auto made = std::make_unique<MemoryDisk>(blocks * 4);
        made->number_sectors(0, blocks * 4);
        made->write_protected = true;
        return made;
    }
    u8 wait() {
        for (int i = 0; i < 1000 && (board.in(kControl)&kIdeBusy); ++i) board.advance(1'000'000);
        return board.in(kControl);
    }
    bool irq() const { return board.lines.level(15); }
    u8 reason() { return board.in(kBase + 2); }
    u16 byte_count() { return static_cast<u16>(board.in(kBase + 4) | board.in(kBase + 5) << 8); }
    // The PACKET command up to the packet's last word.
    void packet(std::vector<u8> cdb, u16 limit = 0xFFFE, bool dma = false) {
        cdb.resize(12);
        board.out(kBase + 6, 0xA0);
        board.out(kBase + 1, dma ? 1 : 0);
        board.out(kBase + 4, static_cast<u8>(limit));
        board.out(kBase + 5, static_cast<u8>(limit >> 8));
        board.out(kBase + 7, 0xA0);
        REQUIRE(board.in(kControl) == kData);
        CHECK(reason() == 0x01);
        CHECK_FALSE(irq());
        for (size_t i = 0; i < 12; i += 2) board.out16(kBase, load<u16>(&cdb[i]));
    }
    // All data by PIO; the status is left for the caller.
    std::vector<u8> read(std::vector<u8> cdb, u16 limit = 0xFFFE) {
        std::vector<u8> data;
        packet(std::move(cdb), limit);
        while (wait() & kIdeDataRequest) {
            CHECK(irq());
            CHECK(reason() == 0x02);
            board.in(kBase + 7);
            const u16 count = byte_count();
            for (u16 i = 0; i < count; i = static_cast<u16>(i + 2)) {
                data.resize(data.size() + 2);
                store(&data[data.size() - 2], board.in16(kBase));
            }
            if (count % 2) data.pop_back();
        }
        CHECK(irq());
        CHECK(reason() == 0x03);
        return data;
    }
    u8 status() { return board.in(kBase + 7); }
    void attentions_away() {
        for (int i = 0; i < 3; ++i) {
            read({0x00});
            status();
        }
    }

    struct Parts {
        InputQueue inputs;
        Log log;
    } parts;
    MemoryDisk disk{1000};
    MediumSlot slot;
    Board board;
};

u64 number_in(const std::vector<u8>& data, size_t block = 0) {
    return load<u64>(&data[block * 2048]);
}

}  // namespace

TEST_CASE("atapi: the signature, and commands for disks that show it") {
    Fixture pc;
    const auto signature = [&] {
        return std::vector<u8>{pc.board.in(kBase + 2), pc.board.in(kBase + 3), pc.board.in(kBase + 4),
                               pc.board.in(kBase + 5)};
    };
    const std::vector<u8> kSignature{1, 1, 0x14, 0xEB};
    pc.board.out(kBase + 6, 0xA0);
    CHECK(pc.status() == 0);
    CHECK(signature() == kSignature);
    pc.board.out(kBase + 5, 0);
    pc.board.out(kBase + 7, 0xEC);
    CHECK(pc.status() == kFailed);
    CHECK(pc.board.in(kBase + 1) == kIdeAborted);
    CHECK(signature() == kSignature);
    for (const u8 code : {0x00, 0x25, 0xC8, 0xE7, 0xB0}) {
        pc.board.out(kBase + 7, code);
        CHECK(pc.status() == kFailed);
    }
    pc.board.out(kBase + 7, 0x90);
    CHECK(pc.status() == 0);
    CHECK(signature() == kSignature);
    pc.board.out(kControl, 4);
    CHECK(pc.board.in(kControl) == kIdeBusy);
    pc.board.out(kControl, 0);
    CHECK(pc.board.in(kControl) == 0);
    CHECK(signature() == kSignature);
    // A missing slave beside it has zeros in all registers, and takes no value.
    pc.board.out(kBase + 6, 0xB0);
    pc.board.out(kBase + 2, 0x55);
    CHECK(signature() == std::vector<u8>{0, 0, 0, 0});
    CHECK(pc.status() == 0);
    pc.board.out(kBase + 6, 0xA0);
}

TEST_CASE("atapi: identify packet device, transfer modes, power") {
    Fixture pc;
    pc.board.out(kBase + 6, 0xA0);
    pc.board.out(kBase + 1, 3);
    pc.board.out(kBase + 2, 0x44);
    pc.board.out(kBase + 7, 0xEF);
    CHECK(pc.status() == kIdle);
    pc.board.out(kBase + 2, 0x46);
    pc.board.out(kBase + 7, 0xEF);
    CHECK(pc.status() == kFailed);
    pc.board.out(kBase + 7, 0xA1);
    CHECK(pc.irq());
    REQUIRE(pc.status() == kData);
    std::vector<u16> words(256);
    for (u16& word : words) word = pc.board.in16(kBase);
    CHECK(pc.status() == kIdle);
    CHECK(words[0] == 0x85C0);
    CHECK((words[49] & 0x0300) == 0x0300);
    CHECK(words[88] == 0x103F);
    CHECK(words[82] == 0x4218);
    pc.board.out(kBase + 7, 0xE5);
    CHECK(pc.reason() == 0xFF);
    pc.board.out(kBase + 7, 0xE6);
    CHECK(pc.status() == kIdle);
    pc.board.out(kBase + 7, 0xA1);
    CHECK(pc.status() == kIdle);
    pc.board.out(kBase + 7, 0x08);
    pc.board.out(kBase + 7, 0xA1);
    CHECK(pc.status() == kData);
}

TEST_CASE("atapi: sense after power-on, then blocks by PIO") {
    Fixture pc;
    pc.read({0x00});
    CHECK(pc.status() == kFailed);
    CHECK_FALSE(pc.irq());
    CHECK(pc.board.in(kBase + 1) == 0x64);
    const auto sense = pc.read({0x03, 0, 0, 0, 18});
    CHECK(pc.status() == kIdle);
    CHECK(sense.size() == 18);
    CHECK(sense[2] == 0x06);
    CHECK(sense[12] == 0x29);
    pc.read({0x00});
    CHECK(pc.status() == kIdle);
    const auto data = pc.read({0x28, 0, 0, 0, 0, 20, 0, 0, 40, 0});
    CHECK(pc.status() == kIdle);
    REQUIRE(data.size() == 40 * 2048);
    for (u64 block = 0; block < 40; ++block) CHECK(number_in(data, block) == (20 + block) * 4);
    CHECK(pc.read({0x28, 0, 0, 0, 0, 150, 0, 0, 100, 0}).empty());
    CHECK(pc.status() == kFailed);
    CHECK(pc.board.in(kBase + 1) == 0x54);
}

TEST_CASE("atapi: blocks are no larger than the byte count limit") {
    Fixture pc;
    pc.attentions_away();
    for (const u16 limit : {2048, 2000, 3333, 0, 0xFFFF, 12}) {
        const auto data = pc.read({0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0}, limit);
        CHECK(data.size() == 4096);
        CHECK(number_in(data, 1) == 8 * 4);
    }
    pc.packet({0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0}, 3001);
    CHECK(pc.wait() == kData);
    CHECK(pc.byte_count() == 3000);
    pc.board.out(kBase + 7, 0x08);
    CHECK(pc.board.in(kControl) == 0);
    // An odd number of bytes is told as it is, and padded.
    CHECK(pc.read({0x12, 0, 0, 0, 35}).size() == 35);
    CHECK(pc.status() == kIdle);
}

TEST_CASE("atapi: by DMA, in pieces") {
    Fixture pc;
    pc.attentions_away();
    pc.board.memory->write_value(kTable, u32{0x10'0000});
    pc.board.memory->write_value(kTable + 4, u32{0});
    for (u32 region = 1; region < 7; ++region) {
        pc.board.memory->write_value(kTable + 8 * region, 0x10'0000 + region * 0x10000);
        pc.board.memory->write_value(kTable + 8 * region + 4, region == 6 ? 0x8000'0000 : 0u);
    }
    pc.board.out32(ide_test::kBusMasterPort + 8 + 4, kTable);
    pc.board.out(ide_test::kBusMasterPort + 8 + 2, 0x06);
    pc.packet({0xA8, 0, 0, 0, 0, 10, 0, 0, 0, 180}, 0, true);
    pc.board.out(ide_test::kBusMasterPort + 8, 0x08);
    pc.board.out(ide_test::kBusMasterPort + 8, 0x09);
    CHECK(pc.wait() == kIdle);
    CHECK(pc.irq());
    CHECK(pc.reason() == 0x03);
    CHECK((pc.board.in(ide_test::kBusMasterPort + 8 + 2) & 4) == 4);
    for (u32 block = 0; block < 180; ++block)
        CHECK(pc.board.memory->read_value<u64>(0x10'0000 + block * 2048) == (10 + block) * 4);
    pc.board.out(ide_test::kBusMasterPort + 8, 0);
}

TEST_CASE("atapi: mode select sends to the drive") {
    Fixture pc;
    pc.attentions_away();
    pc.packet({0x55, 0x10, 0, 0, 0, 0, 0, 0, 16, 0});
    CHECK(pc.wait() == kData);
    CHECK(pc.irq());
    CHECK(pc.reason() == 0x00);
    CHECK(pc.byte_count() == 16);
    pc.board.in(kBase + 7);
    const std::vector<u8> list{0, 0, 0, 0, 0, 0, 0, 0, 0x0D, 6, 0, 3, 0, 60, 0, 75};
    for (size_t i = 0; i < list.size(); i += 2) pc.board.out16(kBase, load<u16>(&list[i]));
    CHECK(pc.wait() == kIdle);
    CHECK(pc.reason() == 0x03);
    CHECK(pc.read({0x5A, 0, 0x0D, 0, 0, 0, 0, 0, 32, 0})[11] == 3);
}

TEST_CASE("atapi: DEVICE RESET in the middle of a command") {
    Fixture pc;
    pc.attentions_away();
    pc.packet({0x28, 0, 0, 0, 0, 0, 0, 0, 4, 0});
    CHECK(pc.board.in(kControl) == kIdeBusy);
    pc.board.out(kBase + 7, 0x08);
    CHECK(pc.board.in(kControl) == 0);
    pc.board.advance(kNanosecondsPerSecond);
    CHECK(pc.board.in(kControl) == 0);
    CHECK_FALSE(pc.irq());
    CHECK(pc.read({0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0}).size() == 2048);
    CHECK(pc.status() == kIdle);  // no attention: the drive has not forgotten anything
    // The disk on the other channel does not know that command.
    pc.board.out(0x1F6, 0xE0);
    pc.board.out(0x1F7, 0x08);
    CHECK(pc.board.in(0x1F7) == kFailed);
}

TEST_CASE("atapi: discs come and go") {
    Fixture pc(false);
    const auto apply = [&] { pc.parts.inputs.apply_all(0); };
    pc.attentions_away();
    pc.read({0x00});
    CHECK(pc.status() == kFailed);
    CHECK(pc.board.in(kBase + 1) == 0x24);
    pc.slot.insert(Fixture::disc(50));
    apply();
    pc.read({0x00});
    CHECK(pc.status() == kFailed);
    CHECK(pc.board.in(kBase + 1) == 0x64);
    CHECK(load_big_endian<u32>(pc.read({0x25}).data()) == 49);
    // Locked: the host's wish becomes an event.
    pc.read({0x1E, 0, 0, 0, 1});
    CHECK(pc.read({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8})[4] == 2);
    pc.slot.eject(MediumSlot::Eject::ask);
    apply();
    CHECK(pc.slot.loaded());
    CHECK(pc.read({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8})[4] == 1);
    // A read that is on its way gets what was there; force takes the disc from the next one.
    pc.packet({0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0});
    pc.slot.eject(MediumSlot::Eject::force);
    apply();
    CHECK(pc.wait() == kData);
    CHECK(pc.board.in32(kBase) == 12);
    for (int i = 0; i < 511; ++i) pc.board.in32(kBase);
    CHECK(pc.wait() == kIdle);
    pc.read({0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0});
    CHECK(pc.status() == kFailed);
    CHECK(pc.board.in(kBase + 1) == 0x24);
}

TEST_CASE("atapi: a host that cannot read") {
    Fixture pc;
    pc.attentions_away();
    auto bad = Fixture::disc(60);
    bad->fail_reads = true;
    pc.slot.insert(std::move(bad));
    pc.parts.inputs.apply_all(0);
    pc.attentions_away();
    pc.read({0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0});
    CHECK(pc.status() == kFailed);
    CHECK(pc.board.in(kBase + 1) == 0x34);
}

TEST_CASE("atapi: saved and loaded at any moment of a read") {
    for (const bool dma : {false, true}) {
        for (u64 moment = 0; moment < 300'000; moment += 50'000) {
            for (unsigned words : {0u, 3u, 1024u}) {
                Fixture pc, other;
                pc.attentions_away();
                pc.board.memory->write_value(kTable, u32{0x10'0000});
                pc.board.memory->write_value(kTable + 4, 0x8000'2000u);
                pc.board.out32(ide_test::kBusMasterPort + 8 + 4, kTable);
                pc.packet({0x28, 0, 0, 0, 0, 5, 0, 0, 4, 0}, 2048, dma);
                if (dma) pc.board.out(ide_test::kBusMasterPort + 8, 0x09);
                pc.board.advance(moment);
                std::vector<u16> got;
                for (unsigned i = 0; !dma && i < words && (pc.board.in(kControl)&kIdeDataRequest); ++i)
                    got.push_back(pc.board.in16(kBase));
                const auto saved = pc.board.save();
                std::copy(pc.board.memory->backing().begin(), pc.board.memory->backing().end(),
                          other.board.memory->backing().begin());
                REQUIRE(other.board.load(saved));
                CHECK(other.board.save() == saved);
                while (!dma && (other.wait() & kIdeDataRequest)) got.push_back(other.board.in16(kBase));
                CHECK(other.wait() == kIdle);
                if (dma) {
                    CHECK(other.board.memory->read_value<u64>(0x10'0000 + 3 * 2048) == 32);
                } else {
                    REQUIRE(got.size() == 4096);
                    CHECK(got[3 * 1024] == 32);
                }
            }
        }
    }
}

TEST_CASE("atapi: a damaged state does no harm") {
    Fixture pc;
    pc.packet({0x28, 0, 0, 0, 0, 5, 0, 0, 4, 0}, 2048);
    const auto saved = pc.board.save();
    Fixture other;
    for (size_t at = 0; at < saved.size(); at += saved[at] ? 1 : 3) {
        auto damaged = saved;
        damaged[at] ^= static_cast<u8>(1 << at % 8);
        other.board.load(damaged);
        other.board.advance(200'000);
        for (int i = 0; i < 2000; ++i) other.board.in16(kBase);
        for (int i = 0; i < 8; ++i) other.board.out16(kBase, 0);
        other.board.out(kBase + 7, 0xA1);
    }
}

TEST_CASE("atapi: beside a disk, as master and as slave") {
    InputQueue inputs;
    Log log;
    MemoryDisk disk(1000);
    disk.number_sectors(0, 10);
    MediumSlot slot(inputs, log, "cdrom", Fixture::disc(20));
    for (const bool master : {true, false}) {
        Board board(master ? std::array<BlockDevice*, 4>{nullptr, &disk} : std::array<BlockDevice*, 4>{&disk},
                    ClockMode::virtual_time,
                    master ? std::array<MediumSlot*, 4>{&slot} : std::array<MediumSlot*, 4>{nullptr, &slot});
        const u8 cd = master ? 0xA0 : 0xB0, hard = master ? 0xF0 : 0xE0;
        board.out(0x3F6, 4);
        board.out(0x3F6, 0);
        board.out(0x1F6, cd);
        CHECK(board.in(0x1F4) == 0x14);
        CHECK(board.in(0x1F7) == 0x00);
        board.out(0x1F6, hard);
        CHECK(board.in(0x1F4) == 0x00);
        CHECK(board.in(0x1F7) == kIdle);
        board.out(0x1F2, 1);
        board.out(0x1F3, 5);
        board.out(0x1F7, 0x20);
        board.advance(1'000'000);
        CHECK(board.in32(0x1F0) == 5);
        for (int i = 0; i < 127; ++i) board.in32(0x1F0);
        board.out(0x1F6, cd);
        board.out(0x1F7, 0xA1);
        CHECK(board.in(0x1F7) == kData);
        CHECK(board.in16(0x1F0) == 0x85C0);
    }
}
