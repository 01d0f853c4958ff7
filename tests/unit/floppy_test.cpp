#include <doctest/doctest.h>

#include "tests/unit/floppy_fixture.h"

using namespace lodge;
using floppy_test::FloppyBoard;
using test::MemoryDisk;

namespace {

constexpr u16 kOutput = 0x3F2, kStatus = 0x3F4, kFifo = 0x3F5, kInput = 0x3F7;
constexpr u32 kBuffer = 0x10000;
constexpr u8 kMotorA = 0x1C, kMotorB = 0x2D;
constexpr u64 kSecond = kNanosecondsPerSecond;

// A controller as a driver leaves it: out of reset, its interrupts sensed, drive A: turning at 500 Kbit/s.
struct Fixture : FloppyBoard {
    explicit Fixture(u64 first = 1440, u64 second = 0, FloppyDriveType first_type = FloppyDriveType::k1440)
        : FloppyBoard(0, 0, first_type) {
        if (first) insert(0, first);
        if (second) insert(1, second);
        start();
    }
    void start() {
        out(kOutput, 0x0C);
        advance(kSecond / 100);
        for (unsigned i = 0; i < 4; ++i) CHECK(run({0x08}) == std::vector<u8>{static_cast<u8>(0xC0 | i), 0});
        out(kInput, 0);
        out(kOutput, kMotorA);
        run({0x03, 0xAF, 0x02});
        run({0x07, 0});
        advance(kSecond);
        CHECK(run({0x08}) == std::vector<u8>{0x20, 0});
    }
    bool irq() const { return lines.level(6); }
    void send(std::initializer_list<u8> bytes) {
        for (const u8 byte : bytes) {
            REQUIRE((in(kStatus)&0xC0) == 0x80);
            out(kFifo, byte);
        }
    }
    std::vector<u8> results() {
        std::vector<u8> bytes;
        while ((in(kStatus)&0xD0) == 0xD0) bytes.push_back(in(kFifo));
        return bytes;
    }
    // The command, two seconds, its results.
    std::vector<u8> run(std::initializer_list<u8> bytes) {
        send(bytes);
        if (in(kStatus)&0x40) return results();
        if (in(kStatus)&0x10) advance(2 * kSecond);
        return results();
    }
    void dma_for(u8 mode, u32 bytes) {
        out(0x0A, 0x06);
        out(0x0C, 0x00);
        out(0x0B, mode);
        out(0x04, static_cast<u8>(kBuffer));
        out(0x04, static_cast<u8>(kBuffer >> 8));
        out(0x81, static_cast<u8>(kBuffer >> 16));
        out(0x05, static_cast<u8>(bytes - 1));
        out(0x05, static_cast<u8>((bytes - 1) >> 8));
        out(0x0A, 0x02);
    }
    void to_memory(u32 bytes) { dma_for(0x46, bytes); }
    void from_memory(u32 bytes) { dma_for(0x4A, bytes); }
    std::vector<u8> seek(u8 cylinder, u8 drive = 0) {
        run({0x0F, drive, cylinder});
        advance(kSecond);
        return run({0x08});
    }
    u64 number(u32 sector) { return memory->read_value<u64>(kBuffer + sector * kSectorSize); }
};

using Bytes = std::vector<u8>;

}  // namespace

TEST_CASE("floppy: formats and drives") {
    for (const u64 size : {160, 180, 320, 360, 720, 1200, 1440, 1680, 2880}) {
        const FloppyFormat* format = floppy_format(size * kKiB);
        REQUIRE(format);
        CHECK(format->kibibytes == size);
        CHECK(floppy_drive_reads(floppy_drive_for(format), *format));
    }
    CHECK_FALSE(floppy_format(0));
    CHECK_FALSE(floppy_format(1440 * kKiB + 512));
    CHECK(floppy_drive_for(nullptr) == FloppyDriveType::k1440);
    CHECK(floppy_drive_for(floppy_format(720 * kKiB)) == FloppyDriveType::k1440);
    CHECK_FALSE(floppy_drive_reads(FloppyDriveType::k1440, *floppy_format(2880 * kKiB)));
    CHECK_FALSE(floppy_drive_reads(FloppyDriveType::k360, *floppy_format(1200 * kKiB)));
}

TEST_CASE("floppy: out of reset comes an interrupt, and a status for each drive") {
    FloppyBoard board(0);
    CHECK(board.in(kStatus) == 0);
    board.out(kOutput, 0x0C);
    CHECK(board.in(kStatus) == 0x80);
    CHECK_FALSE(board.lines.level(6));
    board.advance(1'000'000);
    CHECK(board.lines.level(6));
    for (u8 number = 0; number < 4; ++number) {
        board.out(kFifo, 0x08);
        CHECK(board.in(kStatus) == 0xD0);
        CHECK(board.in(kFifo) == (0xC0 | number));
        CHECK(board.in(kFifo) == 0);
        CHECK_FALSE(board.lines.level(6));
    }
    board.out(kFifo, 0x08);
    CHECK(board.in(kFifo) == 0x80);
    CHECK(board.in(kStatus) == 0x80);
    board.out(kStatus, 0x80);  // DSR: a reset that ends itself
    board.advance(1'000'000);
    CHECK(board.lines.level(6));
    board.out(kOutput, 0x04);  // the gate holds the line
    CHECK_FALSE(board.lines.level(6));
    CHECK(board.in(0x3F0) == 0xFF);
    CHECK(board.in(kOutput) == 0x04);
    CHECK(board.ports.name_at(0x3F6).empty());
}

TEST_CASE("floppy: sectors by DMA, to the terminal count") {
    Fixture pc;
    pc.to_memory(3 * 512);
    pc.send({0xE6, 0, 0, 0, 17, 2, 18, 0x1B, 0xFF});
    CHECK(pc.in(kStatus) == 0x10);
    CHECK_FALSE(pc.irq());
    pc.advance(kSecond);
    CHECK(pc.irq());
    // 17 and 18 of the first side, 1 of the second; the next would be 2.
    CHECK(pc.results() == Bytes{0x04, 0, 0, 0, 1, 2, 2});
    CHECK_FALSE(pc.irq());
    CHECK(pc.number(0) == 16);
    CHECK(pc.number(1) == 17);
    CHECK(pc.number(2) == 18);
    CHECK(pc.memory->read_value<u64>(kBuffer + 3 * 512) == 0);
}

TEST_CASE("floppy: a read takes as long as the sectors take to come round") {
    Fixture pc;
    pc.to_memory(18 * 512);
    pc.send({0xE6, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF});
    constexpr u64 kRevolution = 200'000'000 / FloppyController::kHaste;
    pc.advance(kRevolution * 9 / 10);
    CHECK_FALSE(pc.irq());
    pc.advance(kRevolution * 2 / 10);
    CHECK(pc.irq());
}

TEST_CASE("floppy: without a terminal count the end of the cylinder is an error") {
    Fixture pc;
    pc.to_memory(64 * 1024);
    CHECK(pc.run({0x46, 0, 0, 0, 17, 2, 18, 0x1B, 0xFF}) == Bytes{0x40, 0x80, 0, 1, 0, 1, 2});
    CHECK(pc.run({0xC6, 0, 0, 0, 17, 2, 18, 0x1B, 0xFF}) == Bytes{0x44, 0x80, 0, 1, 0, 1, 2});
}

TEST_CASE("floppy: writes, and what is behind them") {
    Fixture pc;
    MemoryDisk& disk = *pc.media[0];
    for (u32 i = 0; i < 1024; ++i) pc.memory->write_value(kBuffer + i, static_cast<u8>(0xA0 + i / 512));
    CHECK(pc.seek(40) == Bytes{0x20, 40});
    pc.from_memory(1024);
    CHECK(pc.run({0xC5, 0x04, 40, 1, 5, 2, 18, 0x1B, 0xFF}) == Bytes{0x04, 0, 0, 40, 1, 7, 2});
    const u64 sector = (40 * 2 + 1) * 18 + 4;
    CHECK(disk.content[sector][511] == 0xA0);
    CHECK(disk.content[sector + 1][0] == 0xA1);
    CHECK(load<u64>(disk.content[sector + 2].data()) == sector + 2);
    // What was written is read, whether or not the track was held.
    pc.to_memory(512);
    pc.run({0xE6, 0x04, 40, 1, 6, 2, 18, 0x1B, 0xFF});
    CHECK(pc.memory->read_value<u8>(kBuffer) == 0xA1);
    // TC in the middle of a sector: the rest is zeros.
    pc.from_memory(100);
    CHECK(pc.run({0xC5, 0x04, 40, 1, 6, 2, 18, 0x1B, 0xFF})[0] == 0x04);
    CHECK(disk.content[sector + 1][99] == 0xA1);
    CHECK(disk.content[sector + 1][100] == 0);
    CHECK(disk.flushes == 0);
    pc.out(kOutput, 0x0C);  // the motor stops
    pc.advance(kSecond);
    CHECK(disk.flushes == 1);
    pc.out(kOutput, kMotorA);
    pc.out(kOutput, 0x0C);
    pc.advance(kSecond);
    CHECK(disk.flushes == 1);
}

TEST_CASE("floppy: what is not there") {
    Fixture pc;
    const auto read = [&](u8 cylinder, u8 head, u8 sector, u8 size = 2, u8 command = 0xE6) {
        pc.to_memory(512);
        return pc.run({command, static_cast<u8>(head << 2), cylinder, head, sector, size, 18, 0x1B, 0xFF});
    };
    CHECK(read(0, 0, 1)[0] == 0);
    CHECK(read(0, 0, 19) == Bytes{0x40, 0x04, 0, 0, 0, 19, 2});
    CHECK(read(0, 0, 0)[1] == 0x04);
    CHECK(read(1, 0, 1) == Bytes{0x40, 0x04, 0x10, 1, 0, 1, 2});
    CHECK(read(0, 0, 1, 1)[1] == 0x04);
    CHECK(read(0, 0, 1, 2, 0x86)[1] == 0x01);  // single density
    pc.out(kInput, 2);
    CHECK(read(0, 0, 1)[1] == 0x01);  // another data rate
    pc.out(kInput, 0);
    pc.out(kOutput, 0x0C);
    CHECK(read(0, 0, 1)[1] == 0x01);  // the motor is off
    pc.out(kOutput, kMotorB);
    CHECK(pc.run({0xE6, 1, 0, 0, 1, 2, 18, 0x1B, 0xFF})[1] == 0x01);  // nothing in the drive
    CHECK(pc.run({0xE6, 2, 0, 0, 1, 2, 18, 0x1B, 0xFF})[0] == 0x42);  // no drive
}

TEST_CASE("floppy: write-protected, and a host that fails") {
    Fixture pc;
    MemoryDisk& disk = pc.insert(0, 1440, true);
    CHECK(pc.run({0x04, 0}) == Bytes{0x78});
    pc.from_memory(512);
    CHECK(pc.run({0xC5, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}) == Bytes{0x40, 0x02, 0, 0, 0, 1, 2});
    CHECK(pc.run({0x4D, 0, 2, 18, 0x1B, 0xF6})[1] == 0x02);
    disk.fail_reads = true;
    pc.to_memory(512);
    CHECK(pc.run({0xE6, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}) == Bytes{0x40, 0x20, 0x20, 0, 0, 1, 2});
    MemoryDisk& other = pc.insert(0, 1440);
    other.fail_writes = true;
    pc.from_memory(512);
    CHECK(pc.run({0xC5, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF})[0] == 0x50);
    CHECK(pc.run({0x04, 0}) == Bytes{0x38});
    CHECK(pc.run({0x04, 7}) == Bytes{0x2F});
}

TEST_CASE("floppy: a DMA channel that is late, and one that never comes") {
    Fixture pc;
    pc.send({0xE6, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF});
    pc.advance(5'000'000);
    CHECK((pc.in(0x08) & 0x40) != 0);
    pc.to_memory(512);
    pc.advance(5'000'000);
    CHECK(pc.results() == Bytes{0, 0, 0, 0, 0, 2, 2});
    CHECK(pc.number(0) == 0);
    CHECK(pc.run({0xE6, 0, 0, 0, 2, 2, 18, 0x1B, 0xFF}) == Bytes{0x40, 0x10, 0, 0, 0, 2, 2});
    pc.from_memory(512);  // the other direction
    CHECK(pc.run({0xE6, 0, 0, 0, 2, 2, 18, 0x1B, 0xFF})[1] == 0x10);
    pc.dma_for(0x42, 512);  // verify counts and moves nothing
    pc.memory->write_value(kBuffer, u64{0x1234});
    CHECK(pc.run({0xE6, 0, 0, 0, 2, 2, 18, 0x1B, 0xFF})[0] == 0);
    CHECK(pc.number(0) == 0x1234);
}

TEST_CASE("floppy: through the FIFO, without DMA") {
    Fixture pc;
    pc.run({0x03, 0xAF, 0x03});
    pc.send({0x46, 0, 0, 0, 2, 2, 2, 0x1B, 0xFF});
    pc.advance(kSecond);
    std::vector<u8> data;
    unsigned interrupts = pc.lines.rises[6];
    for (int i = 0; i < 512; ++i) {
        CHECK(pc.irq());
        CHECK(pc.in(kStatus) == 0xF0);
        data.push_back(pc.in(kFifo));
    }
    CHECK(pc.lines.rises[6] - interrupts == 512);  // one for each byte but the first, and the end's
    CHECK(load<u64>(data.data()) == 1);
    CHECK(pc.results() == Bytes{0x40, 0x80, 0, 1, 0, 1, 2});
    // With the FIFO on, one for 8 bytes.
    pc.run({0x13, 0, 0x57, 0});
    pc.send({0x45, 0, 0, 0, 3, 2, 3, 0x1B, 0xFF});
    pc.advance(kSecond);
    CHECK(pc.in(kStatus) == 0xB0);
    interrupts = pc.lines.rises[6];
    for (int i = 0; i < 512; ++i) pc.out(kFifo, 0x5C);
    CHECK(pc.lines.rises[6] - interrupts == 63);
    CHECK(pc.in(kStatus) == 0x30);
    pc.advance(kSecond);
    CHECK(pc.results()[0] == 0x40);
    CHECK(pc.media[0]->content[2][100] == 0x5C);
}

TEST_CASE("floppy: read ID tells where the heads are") {
    Fixture pc;
    CHECK(pc.seek(12) == Bytes{0x20, 12});
    bool seen[19] = {};
    for (int i = 0; i < 200; ++i) {
        pc.send({0x4A, 0x04});
        pc.advance(3'000'017);
        const Bytes id = pc.results();
        REQUIRE(id.size() == 7);
        CHECK(id[3] == 12);
        CHECK(id[4] == 1);
        REQUIRE(id[5] >= 1);
        REQUIRE(id[5] <= 18);
        CHECK(id[6] == 2);
        seen[id[5]] = true;
    }
    CHECK(std::count(std::begin(seen), std::end(seen), true) > 9);
    pc.seek(81);
    CHECK(pc.run({0x4A, 0})[1] == 0x01);
}

TEST_CASE("floppy: heads move as told, and know only track 0") {
    Fixture pc;
    pc.send({0x0F, 0, 50});
    CHECK(pc.in(kStatus) == 0x81);
    pc.send({0x07, 1});  // both at once
    CHECK(pc.in(kStatus) == 0x83);
    pc.advance(kSecond);
    CHECK(pc.in(kStatus) == 0x80);
    CHECK(pc.irq());
    CHECK(pc.run({0x08}) == Bytes{0x20, 50});
    CHECK(pc.irq());
    CHECK(pc.run({0x08}) == Bytes{0x21, 0});
    CHECK_FALSE(pc.irq());
    CHECK(pc.run({0x04, 0}) == Bytes{0x28});
    CHECK(pc.run({0x04, 1}) == Bytes{0x39});
    pc.send({0xCF, 0, 10});
    pc.advance(kSecond);
    CHECK(pc.run({0x08}) == Bytes{0x20, 60});
    pc.send({0x8F, 4, 15});
    pc.advance(kSecond);
    CHECK(pc.run({0x08}) == Bytes{0x24, 45});
    // A reset makes the controller forget; the heads stay.
    pc.out(kOutput, 0x18);
    pc.start();
    CHECK(pc.run({0x04, 0}) == Bytes{0x38});
    // A drive that is not there has no track 0.
    pc.send({0x07, 3});
    pc.advance(kSecond);
    CHECK(pc.run({0x08}) == Bytes{0x73, 0});
}

TEST_CASE("floppy: implied seeks") {
    Fixture pc;
    pc.run({0x13, 0, 0x50, 0});
    pc.to_memory(512);
    CHECK(pc.run({0xE6, 0, 33, 0, 4, 2, 18, 0x1B, 0xFF}) == Bytes{0x20, 0, 0, 33, 0, 5, 2});
    CHECK(pc.number(0) == 33 * 36 + 3);
    CHECK(pc.run({0x0E})[0] == 33);
}

TEST_CASE("floppy: format, read back, verify") {
    Fixture pc;
    for (u8 sector = 1; sector <= 18; ++sector)
        pc.memory->write_value(kBuffer + (sector - 1u) * 4, u32{0x02000000} | u32{sector} << 16 | 0x0003);
    pc.seek(3);
    pc.from_memory(72);
    CHECK(pc.run({0x4D, 0, 2, 18, 0x54, 0xF6})[0] == 0);
    for (u64 sector = 0; sector < 18; ++sector) CHECK(pc.media[0]->content[3 * 36 + sector][7] == 0xF6);
    CHECK(load<u64>(pc.media[0]->content[3 * 36 + 18].data()) == 3 * 36 + 18);
    // Addresses for which the image has no place are passed over.
    pc.memory->write_value(kBuffer, u32{0x03010003});
    pc.from_memory(72);
    CHECK(pc.run({0x4D, 0, 3, 18, 0x54, 0x00})[0] == 0);
    CHECK(pc.media[0]->content[3 * 36][0] == 0xF6);
    CHECK(pc.media[0]->content[3 * 36 + 1][0] == 0x00);
    CHECK(pc.run({0xD6, 0x80, 3, 0, 1, 2, 18, 0x1B, 20}) == Bytes{0x04, 0, 0, 3, 1, 3, 2});
    CHECK(pc.run({0x56, 0, 3, 0, 1, 2, 18, 0x1B, 0xFF})[0] == 0);
    CHECK(pc.run({0x56, 0, 3, 0, 1, 2, 19, 0x1B, 0xFF})[1] == 0x04);
}

TEST_CASE("floppy: scans") {
    Fixture pc;
    const auto scan = [&](u8 command, u64 value) {
        for (u32 sector = 0; sector < 18; ++sector)
            for (u32 at = 0; at < 512; at += 8) pc.memory->write_value(kBuffer + sector * 512 + at, value);
        pc.from_memory(18 * 512);
        return pc.run({command, 0, 0, 0, 1, 2, 10, 0x1B, 1});
    };
    CHECK(scan(0x51, 5) == Bytes{0, 0, 0x08, 0, 0, 6, 2});  // sector 6 is filled with its number, 5
    CHECK(scan(0x51, 60)[2] == 0x04);
    CHECK(scan(0x5D, 4) == Bytes{0, 0, 0x08, 0, 0, 5, 2});
    CHECK(scan(0x59, 4) == Bytes{0, 0, 0x00, 0, 0, 1, 2});
    CHECK(scan(0x51, ~u64{0})[2] == 0x08);
}

TEST_CASE("floppy: read track goes by position, and says when addresses differ") {
    Fixture pc;
    pc.to_memory(512 * 18);
    CHECK(pc.run({0x42, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF})[0] == 0);
    CHECK(pc.number(17) == 17);
    pc.to_memory(512 * 2);
    CHECK(pc.run({0x42, 0, 0, 0, 5, 2, 18, 0x1B, 0xFF})[1] == 0x04);
    CHECK(pc.number(0) == 0);
    pc.to_memory(512 * 18);
    CHECK(pc.run({0x42, 0, 0, 0, 1, 2, 4, 0x1B, 0xFF})[1] == 0x80);
}

TEST_CASE("floppy: deleted data") {
    Fixture pc;
    pc.to_memory(1024);
    CHECK(pc.run({0x4C, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}) == Bytes{0, 0, 0x40, 0, 0, 2, 2});
    CHECK(pc.run({0x6C, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF})[0] == 0x40);
    pc.from_memory(512);
    CHECK(pc.run({0x49, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF})[0] == 0);
}

TEST_CASE("floppy: the change line") {
    Fixture pc(0);
    CHECK(pc.in(kInput) == 0x80);  // an empty drive: steps do not help
    pc.seek(5);
    CHECK(pc.in(kInput) == 0x80);
    pc.insert(0, 720);
    CHECK(pc.in(kInput) == 0x80);
    pc.out(kOutput, 0x0C);
    CHECK(pc.in(kInput) == 0);  // only of a drive that turns
    pc.out(kOutput, kMotorA);
    pc.seek(6);
    CHECK(pc.in(kInput) == 0);
    pc.out(kInput, 2);
    pc.to_memory(512);
    CHECK(pc.run({0xE6, 0, 6, 0, 1, 2, 9, 0x1B, 0xFF})[0] == 0);
    CHECK(pc.number(0) == 6 * 18);
    pc.slots[0].eject(MediumSlot::Eject::ask);
    pc.inputs.apply_all(0);
    CHECK(pc.in(kInput) == 0x80);
    CHECK_FALSE(pc.slots[0].loaded());
    CHECK(pc.run({0xE6, 0, 6, 0, 1, 2, 9, 0x1B, 0xFF})[1] == 0x01);
}

TEST_CASE("floppy: another diskette while a track is on its way") {
    Fixture pc;
    pc.seek(2);
    pc.to_memory(512);
    pc.send({0xE6, 0, 2, 0, 1, 2, 18, 0x1B, 0xFF});
    MemoryDisk& other = pc.insert(0, 1440);
    store(other.content[72].data(), u64{4711});
    pc.advance(kSecond);
    CHECK(pc.results()[0] == 0);
    CHECK(pc.number(0) == 4711);
    // And one of another kind: nothing is found any more.
    pc.to_memory(4096);
    pc.send({0xE6, 0, 2, 0, 1, 2, 18, 0x1B, 0xFF});
    pc.advance(1'500'000);
    pc.insert(0, 720);
    pc.advance(kSecond);
    CHECK(pc.results()[1] == 0x01);
}

TEST_CASE("floppy: 360 KiB in a drive of 80 cylinders") {
    Fixture pc(360, 0, FloppyDriveType::k1200);
    pc.out(kInput, 1);
    pc.seek(20);
    pc.to_memory(512);
    CHECK(pc.run({0xE6, 4, 10, 1, 9, 2, 9, 0x2A, 0xFF})[0] == 0x04);
    CHECK(pc.number(0) == 10 * 18 + 9 + 8);
}

TEST_CASE("floppy: registers that commands set") {
    Fixture pc;
    CHECK(pc.run({0x10}) == Bytes{0x90});
    CHECK(pc.run({0x18}) == Bytes{0x80});
    CHECK(pc.run({0xFF}) == Bytes{0x80});
    CHECK(pc.run({0x94}) == Bytes{0x10});
    pc.run({0x13, 0, 0x6F, 0x33});
    pc.run({0x12, 0x8B});
    Bytes dump = pc.run({0x0E});
    REQUIRE(dump.size() == 10);
    CHECK(Bytes(dump.begin() + 4, dump.end()) == Bytes{0xAF, 0x02, 0, 0x8B & 0xBF, 0x6F, 0x33});
    pc.run({0x12, 0x00});
    CHECK(pc.run({0x0E})[7] == 0x88);
    pc.out(kOutput, 0x18);
    pc.start();
    dump = pc.run({0x0E});
    CHECK(dump[8] == 0x2F);  // locked
    CHECK(dump[9] == 0x33);
    CHECK(pc.run({0x14}) == Bytes{0});
    pc.out(kStatus, 0x80);
    pc.advance(kSecond);
    for (int i = 0; i < 4; ++i) pc.run({0x08});
    CHECK(pc.run({0x0E})[8] == 0x20);
}

TEST_CASE("floppy: a reset in the middle of a command") {
    Fixture pc;
    pc.to_memory(512);
    pc.send({0xE6, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF});
    pc.out(kOutput, 0x18);
    CHECK(pc.in(kStatus) == 0);
    pc.out(kFifo, 0x08);
    pc.advance(kSecond);
    CHECK_FALSE(pc.irq());
    pc.start();
    CHECK(pc.number(0) == 0);
}

TEST_CASE("floppy: saved and loaded at any moment of a read and of a write") {
    for (const bool write : {false, true}) {
        for (u64 moment = 0; moment < 8'000'000; moment += 250'000) {
            Fixture pc, other;
            const auto begin = [&](Fixture& board) {
                for (u32 i = 0; i < 1024; ++i) board.memory->write_value(kBuffer + i, static_cast<u8>(i / 512 + 1));
                board.dma_for(write ? 0x4A : 0x46, 1024);
            };
            begin(pc);
            begin(other);
            pc.send({static_cast<u8>(write ? 0xC5 : 0xE6), 0, 0, 0, 1, 2, 18, 0x1B, 0xFF});
            pc.advance(moment);
            StateIo out;
            pc.clock.state(out);
            pc.scheduler.state(out);
            pc.dma.state(out);
            pc.floppy.state(out);
            const auto saved = out.take();
            other.media[0]->content = pc.media[0]->content;
            std::copy(pc.memory->backing().begin(), pc.memory->backing().end(), other.memory->backing().begin());
            StateIo in(saved);
            other.clock.state(in);
            other.scheduler.state(in);
            other.dma.state(in);
            other.floppy.state(in);
            REQUIRE_FALSE(in.failed());
            StateIo again;
            other.clock.state(again);
            other.scheduler.state(again);
            other.dma.state(again);
            other.floppy.state(again);
            CHECK(again.take() == saved);
            other.advance(kSecond);
            CHECK(other.results() == Bytes{0, 0, 0, 0, 0, 3, 2});
            if (write) {
                CHECK(other.media[0]->content[1][5] == 2);
            } else {
                CHECK(other.number(1) == 1);
            }
        }
    }
}

TEST_CASE("floppy: a state with another diskette in the drive is refused") {
    FloppyBoard one(1440), empty(0), two(720);
    const auto saved = test::save(one.floppy);
    CHECK_FALSE(test::load(empty.floppy, saved));
    CHECK_FALSE(test::load(two.floppy, saved));
    FloppyBoard same(1440);
    CHECK(test::load(same.floppy, saved));
}

TEST_CASE("medium slot: a medium that is locked stays, unless by force") {
    test::TestBoard board;
    struct Drive final : MediumDrive {
        void settle_medium() override { ++settled; }
        void medium_changed() override { ++changes; }
        bool medium_locked() const override { return locked; }
        void eject_requested() override { ++requests; }
        bool locked = true;
        unsigned settled = 0, changes = 0, requests = 0;
    } drive;
    MediumSlot slot(board.inputs, board.log, "slot", floppy_test::diskette(720));
    slot.connect(drive);
    const auto apply = [&] { board.inputs.apply_all(0); };
    slot.eject(MediumSlot::Eject::ask);
    CHECK(drive.requests == 0);  // nothing happens before the input is applied
    apply();
    CHECK(drive.requests == 1);
    CHECK(slot.size() == 720 * kKiB);
    slot.insert(floppy_test::diskette(1440));
    apply();
    CHECK(slot.size() == 720 * kKiB);
    slot.eject(MediumSlot::Eject::force);
    apply();
    CHECK(slot.size() == 0);
    CHECK(drive.settled == 1);
    CHECK(drive.changes == 1);
    std::array<u8, 512> sector{};
    CHECK_FALSE(slot.disk().read(0, sector).ok());
    CHECK_FALSE(slot.disk().write(0, sector).ok());
    CHECK(slot.disk().flush().ok());
    slot.insert(floppy_test::diskette(1440));
    apply();
    CHECK(slot.size() == 1440 * kKiB);
    CHECK(drive.changes == 2);
    CHECK(slot.disk().read(0, sector).ok());
}
