#include "devices/ide.h"

#include <doctest/doctest.h>

#include "tests/unit/ide_fixture.h"

using namespace lodge;
using ide_test::Board;
using test::MemoryDisk;

namespace {

constexpr u16 kBase = 0x1F0;
constexpr u16 kControl = 0x3F6;
constexpr u8 kMaster = 0xE0;  // with LBA
constexpr u8 kSlave = 0xF0;
constexpr u8 kIdle = kIdeReady | kIdeSeekComplete;
constexpr u8 kData = kIdle | kIdeDataRequest;
constexpr u8 kFailed = kIdle | kIdeErrorBit;

constexpr u32 kTable = 0x1000;
constexpr u32 kEndOfTable = 0x8000'0000;

struct Pc {
    explicit Pc(u64 sectors = 100'000, ClockMode mode = ClockMode::virtual_time)
        : disk(sectors), board({&disk, nullptr, nullptr, nullptr}, mode) {}

    void lba28(u64 lba, u8 count, u8 drive = kMaster) {
        board.out(kBase + 6, static_cast<u8>(drive | (lba >> 24 & 0x0F)));
        board.out(kBase + 2, count);
        board.out(kBase + 3, static_cast<u8>(lba));
        board.out(kBase + 4, static_cast<u8>(lba >> 8));
        board.out(kBase + 5, static_cast<u8>(lba >> 16));
    }
    void lba48(u64 lba, u16 count) {
        board.out(kBase + 6, kMaster);
        board.out(kBase + 2, static_cast<u8>(count >> 8));
        board.out(kBase + 3, static_cast<u8>(lba >> 24));
        board.out(kBase + 4, static_cast<u8>(lba >> 32));
        board.out(kBase + 5, static_cast<u8>(lba >> 40));
        board.out(kBase + 2, static_cast<u8>(count));
        board.out(kBase + 3, static_cast<u8>(lba));
        board.out(kBase + 4, static_cast<u8>(lba >> 8));
        board.out(kBase + 5, static_cast<u8>(lba >> 16));
    }
    void command(u8 code) { board.out(kBase + 7, code); }
    // Lets time pass until the drive is not busy.
    u8 wait() {
        for (int i = 0; i < 1000 && (board.in(kControl)&kIdeBusy); ++i) {
            if (board.clock.mode() == ClockMode::virtual_time) {
                board.advance(1'000'000);
            } else {
                board.inputs.wait(10'000'000);
                board.inputs.apply_all(0);
            }
        }
        return board.in(kControl);
    }
    u8 run(u8 code) {
        command(code);
        return wait();
    }
    bool irq() const { return board.lines.level(14); }
    std::vector<u8> read_block(size_t sectors = 1) {
        std::vector<u8> block(sectors * kSectorSize);
        for (size_t at = 0; at < block.size(); at += 4) store(&block[at], board.in32(kBase));
        return block;
    }
    void write_block(u8 value, size_t sectors = 1) {
        for (size_t i = 0; i < sectors * kSectorSize / 2; ++i) board.out16(kBase, static_cast<u16>(value << 8 | value));
    }
    std::vector<u16> identify(u8 drive = kMaster) {
        lba28(0, 0, drive);
        REQUIRE(run(0xEC) == kData);
        std::vector<u16> words(256);
        for (u16& word : words) word = board.in16(kBase);
        return words;
    }

    struct Region {
        u32 address;
        u32 count;  // with flags
    };
    void descriptors(std::initializer_list<Region> regions) {
        u32 at = kTable;
        for (const Region& region : regions) {
            board.memory->write_value(at, region.address);
            board.memory->write_value(at + 4, region.count);
            at += 8;
        }
        board.out32(ide_test::kBusMasterPort + 4, kTable);
        board.out(ide_test::kBusMasterPort + 2, 0x06);
    }
    void start(bool to_memory) {
        board.out(ide_test::kBusMasterPort, to_memory ? 0x08 : 0x00);
        board.out(ide_test::kBusMasterPort, to_memory ? 0x09 : 0x01);
    }
    void stop() { board.out(ide_test::kBusMasterPort, 0); }
    u8 bus_master_status() { return board.in(ide_test::kBusMasterPort + 2); }

    MemoryDisk disk;
    Board board;
};

u64 number_in(const std::vector<u8>& sector, size_t index = 0) {
    return load<u64>(&sector[index * kSectorSize]);
}

}  // namespace

TEST_CASE("ide: the function's header, and legacy ports that answer once enabled") {
    MemoryDisk disk(1000);
    Board board({&disk, nullptr, nullptr, nullptr});
    CHECK(board.ide.config_read(0, 4) == 0x7010'8086);
    CHECK(board.ide.config_read(8, 4) == 0x0101'8000);
    CHECK(board.ide.config_read(kPciBar0 + 16, 4) == (ide_test::kBusMasterPort | 1));
    CHECK(board.in(0x1F7) == kIdle);
    board.ide.config_write(0x40, 2, 0);
    CHECK(board.in(0x1F7) == 0xFF);
    CHECK(board.ports.name_at(0x1F0).empty());
    CHECK(board.ports.name_at(0x170) == "ide");
    board.ide.config_write(0x40, 2, 0x8000);
    CHECK(board.in(0x1F7) == kIdle);
    board.ide.config_write(kPciCommand, 2, 0);
    CHECK(board.ports.name_at(0x1F0).empty());
    CHECK(board.ports.name_at(0x3F6).empty());
}

TEST_CASE("ide: identify") {
    Pc pc(100'000);
    const auto words = pc.identify();
    CHECK(pc.irq());
    CHECK(pc.board.in(kBase + 7) == kIdle);
    CHECK_FALSE(pc.irq());
    CHECK(words[0] == 0x0040);
    CHECK(words[1] == 99);
    CHECK(words[3] == 16);
    CHECK(words[6] == 63);
    CHECK(words[27] == 0x6C6F);  // "lo", first character high
    CHECK(words[47] == 0x8010);
    CHECK((words[49] & 0x0300) == 0x0300);
    CHECK((words[60] | words[61] << 16) == 100'000);
    CHECK((words[57] | words[58] << 16) == 99 * 16 * 63);
    CHECK(words[63] == 0x0407);
    CHECK(words[83] == 0x7400);
    CHECK(words[88] == 0x003F);
    CHECK((words[100] | words[101] << 16) == 100'000);
    u8 sum = 0;
    for (const u16 word : words) sum = static_cast<u8>(sum + (word & 0xFF) + (word >> 8));
    CHECK(sum == 0);
}

TEST_CASE("ide: geometry of small and large disks") {
    CHECK(ata_geometry(0).total() == 1);
    CHECK(ata_geometry(1).total() == 1);
    CHECK(ata_geometry(100).total() == 63);
    CHECK(ata_geometry(2880).cylinders == 2);
    CHECK(ata_geometry(u64{1} << 40).cylinders == 16383);
    for (u64 sectors = 1; sectors < 5000; ++sectors) CHECK(ata_geometry(sectors).total() <= sectors);
}

TEST_CASE("ide: PIO read, an interrupt for each sector and none after the last") {
    Pc pc;
    pc.disk.number_sectors(500, 3);
    pc.lba28(500, 3);
    pc.command(0x20);
    CHECK(pc.board.in(kControl) == kIdeBusy);
    CHECK_FALSE(pc.irq());
    CHECK(pc.wait() == kData);
    for (u64 sector = 500; sector < 503; ++sector) {
        CHECK(pc.irq());
        CHECK(pc.board.in(kBase + 7) == kData);
        CHECK_FALSE(pc.irq());
        CHECK(number_in(pc.read_block()) == sector);
    }
    CHECK_FALSE(pc.irq());
    CHECK(pc.board.in(kBase + 7) == kIdle);
    CHECK(pc.board.in(kBase + 3) == static_cast<u8>(502));
    CHECK(pc.board.in(kBase + 2) == 0);
    CHECK(pc.board.in16(kBase) == 0xFFFF);
}

TEST_CASE("ide: PIO read of more than a chunk, count 0 meaning 256") {
    Pc pc;
    pc.disk.number_sectors(0, 3000);
    pc.lba48(10, 2600);
    pc.command(0x24);
    for (u64 sector = 10; sector < 2610; ++sector) {
        REQUIRE(pc.wait() == kData);
        CHECK(number_in(pc.read_block()) == sector);
    }
    CHECK(pc.wait() == kIdle);
    pc.lba28(1, 0);
    pc.command(0x20);
    for (u64 sector = 1; sector < 257; ++sector) {
        REQUIRE(pc.wait() == kData);
        CHECK(number_in(pc.read_block()) == sector);
    }
    CHECK(pc.wait() == kIdle);
}

TEST_CASE("ide: PIO write, first block without an interrupt, the last one's when it is written") {
    Pc pc;
    pc.lba28(40, 2);
    pc.command(0x30);
    CHECK(pc.board.in(kControl) == kData);
    CHECK_FALSE(pc.irq());
    pc.write_block(0xA1);
    CHECK(pc.irq());
    CHECK(pc.board.in(kBase + 7) == kData);
    pc.write_block(0xA2);
    CHECK(pc.board.in(kControl) == kIdeBusy);
    CHECK_FALSE(pc.irq());
    CHECK(pc.wait() == kIdle);
    CHECK(pc.irq());
    CHECK(pc.disk.content[40][511] == 0xA1);
    CHECK(pc.disk.content[41][0] == 0xA2);
    CHECK(pc.disk.content.size() == 2);
    CHECK(pc.disk.flushes == 0);
}

TEST_CASE("ide: without write cache a write is flushed before it ends") {
    Pc pc;
    pc.board.out(kBase + 1, 0x82);
    CHECK(pc.run(0xEF) == kIdle);
    CHECK((pc.identify()[85] & 0x20) == 0);
    pc.lba28(1, 1);
    pc.command(0x30);
    pc.write_block(1);
    CHECK(pc.wait() == kIdle);
    CHECK(pc.disk.flushes == 1);
}

TEST_CASE("ide: multiple sectors a block") {
    Pc pc;
    pc.disk.number_sectors(0, 64);
    pc.lba28(0, 5);
    CHECK(pc.run(0xC4) == kFailed);
    CHECK(pc.board.in(kBase + 1) == kIdeAborted);
    pc.lba28(0, 3);
    CHECK(pc.run(0xC6) == kFailed);
    pc.lba28(0, 32);
    CHECK(pc.run(0xC6) == kFailed);
    pc.lba28(0, 4);
    CHECK(pc.run(0xC6) == kIdle);
    CHECK(pc.identify()[59] == 0x0104);
    pc.lba28(8, 6);
    CHECK(pc.run(0xC4) == kData);
    const unsigned before = pc.board.lines.rises[14];
    pc.board.in(kBase + 7);
    CHECK(number_in(pc.read_block(4), 3) == 11);
    CHECK(pc.board.lines.rises[14] == before + 1);
    CHECK(pc.board.in(kBase + 7) == kData);
    CHECK(number_in(pc.read_block(2), 1) == 13);
    CHECK(pc.board.in(kBase + 7) == kIdle);
    pc.lba48(20, 5);
    pc.command(0x39);
    pc.write_block(0x55, 4);
    CHECK(pc.board.in(kBase + 7) == kData);
    pc.write_block(0x66);
    CHECK(pc.wait() == kIdle);
    CHECK(pc.disk.content[23][0] == 0x55);
    CHECK(pc.disk.content[24][0] == 0x66);
}

TEST_CASE("ide: cylinders, heads and sectors, as the host set them") {
    Pc pc;
    pc.disk.number_sectors(0, 5000);
    pc.lba28(0, 17, 0xA3);  // 17 sectors, 4 heads
    CHECK(pc.run(0x91) == kIdle);
    const auto words = pc.identify();
    CHECK(words[54] == 100'000 / 68);
    CHECK(words[55] == 4);
    CHECK(words[56] == 17);
    const auto read = [&](u8 cylinder, u8 head, u8 sector) {
        pc.board.out(kBase + 6, 0xA0 | head);
        pc.board.out(kBase + 2, 1);
        pc.board.out(kBase + 3, sector);
        pc.board.out(kBase + 4, cylinder);
        pc.board.out(kBase + 5, 0);
        return pc.run(0x20);
    };
    CHECK(read(2, 3, 17) == kData);
    CHECK(number_in(pc.read_block()) == 203);
    CHECK(pc.board.in(kBase + 3) == 17);
    CHECK(read(2, 3, 0) == kFailed);
    CHECK(pc.board.in(kBase + 1) == kIdeIdNotFound);
    CHECK(read(2, 3, 18) == kFailed);
    CHECK(read(2, 4, 1) == kFailed);
    pc.lba28(0, 0, 0xA0);
    CHECK(pc.run(0x91) == kFailed);
}

TEST_CASE("ide: 48-bit addresses, their high-order bytes and their range") {
    constexpr u64 kSectors = u64{6} << 30;
    Pc pc(kSectors);
    pc.disk.number_sectors(kSectors - 2, 2);
    const auto words = pc.identify();
    CHECK((words[60] | words[61] << 16) == 0x0FFF'FFFF);
    CHECK((words[100] | u64{words[101]} << 16 | u64{words[102]} << 32) == kSectors);
    CHECK(words[1] == 16383);
    pc.lba48(kSectors - 2, 2);
    pc.board.out(kControl, 0x80);
    CHECK(pc.board.in(kBase + 4) == static_cast<u8>((kSectors - 2) >> 32));
    CHECK(pc.board.in(kBase + 2) == 0);
    pc.board.out(kBase + 1, 0);  // a write takes HOB away
    CHECK(pc.board.in(kBase + 2) == 2);
    CHECK(pc.run(0x24) == kData);
    CHECK(number_in(pc.read_block(2), 1) == kSectors - 1);
    CHECK(pc.wait() == kIdle);
    pc.lba48(kSectors - 2, 3);
    CHECK(pc.run(0x24) == kFailed);
    CHECK(pc.board.in(kBase + 1) == kIdeIdNotFound);
    pc.lba48(kSectors, 1);
    CHECK(pc.run(0x34) == kFailed);
    pc.lba48(0xFFFF'FFFF'FFFF, 0);
    CHECK(pc.run(0x25) == kFailed);
    CHECK(pc.run(0x27) == kIdle);
    CHECK(pc.board.in(kBase + 3) == static_cast<u8>(kSectors - 1));
    pc.board.out(kControl, 0x80);
    CHECK(pc.board.in(kBase + 4) == static_cast<u8>((kSectors - 1) >> 32));
    pc.board.out(kBase + 6, kMaster);
    CHECK(pc.run(0xF8) == kIdle);
    CHECK((pc.board.in(kBase + 6) & 0x0F) == 0x0F);
    CHECK(pc.board.in(kBase + 5) == 0xFF);
}

TEST_CASE("ide: 28-bit addresses past the end") {
    Pc pc(1000);
    pc.lba28(999, 2);
    CHECK(pc.run(0x20) == kFailed);
    CHECK(pc.irq());
    CHECK(pc.board.in(kBase + 1) == kIdeIdNotFound);
    pc.lba28(999, 1);
    CHECK(pc.run(0x20) == kData);
    pc.read_block();
    pc.lba28(0x0FFF'FFFF, 1);
    CHECK(pc.run(0x40) == kFailed);
    pc.lba28(999, 1);
    CHECK(pc.run(0x40) == kIdle);
    CHECK(pc.run(0x70) == kIdle);
    pc.lba28(1000, 1);
    CHECK(pc.run(0x70) == kFailed);
}

TEST_CASE("ide: DMA read scattered over regions") {
    Pc pc;
    pc.disk.number_sectors(100, 3);
    pc.descriptors({{0x2000, 512}, {0x3001, 256 | 1}, {0x5000, 768 | kEndOfTable}});
    pc.lba28(100, 3);
    pc.command(0xC8);
    pc.start(true);
    CHECK(pc.bus_master_status() == 0x01);
    CHECK_FALSE(pc.irq());
    CHECK(pc.wait() == kIdle);
    CHECK(pc.irq());
    CHECK(pc.bus_master_status() == 0x04);
    CHECK(pc.board.memory->read_value<u64>(0x2000) == 100);
    CHECK(pc.board.memory->read_value<u64>(0x3000) == 101);
    CHECK(pc.board.memory->read_value<u64>(0x3100) == 0);
    CHECK(pc.board.memory->read_value<u64>(0x5000) == 101);
    CHECK(pc.board.memory->read_value<u64>(0x50F8) == 101);
    CHECK(pc.board.memory->read_value<u64>(0x5100) == 102);
    pc.stop();
    pc.board.out(ide_test::kBusMasterPort + 2, 0x64);
    CHECK(pc.bus_master_status() == 0x60);
    CHECK(pc.board.in(kBase + 7) == kIdle);
    CHECK_FALSE(pc.irq());
}

TEST_CASE("ide: DMA whose bus master is started late, or may not yet") {
    Pc pc;
    pc.disk.number_sectors(100, 1);
    pc.descriptors({{0x2000, 512 | kEndOfTable}});
    pc.lba28(100, 1);
    pc.command(0xC8);
    pc.board.advance(10'000'000);
    CHECK(pc.board.in(kControl) == kIdeBusy);
    pc.board.ide.config_write(kPciCommand, 2, kPciCommandIo);
    pc.start(true);
    CHECK(pc.board.in(kControl) == kIdeBusy);
    pc.board.ide.config_write(kPciCommand, 2, kPciCommandIo | kPciCommandMaster);
    CHECK(pc.board.in(kControl) == kIdle);
    CHECK(pc.board.memory->read_value<u64>(0x2000) == 100);
}

TEST_CASE("ide: DMA write, several chunks, 64 KiB regions") {
    Pc pc;
    for (u32 sector = 0; sector < 600; ++sector) pc.board.memory->write_value(0x10'0000 + sector * 512, sector + 7);
    pc.descriptors({{0x10'0000, 0}, {0x11'0000, 0}, {0x12'0000, 0}, {0x13'0000, 0}, {0x14'0000, 0xB000 | kEndOfTable}});
    pc.lba48(50, 600);
    pc.start(false);
    pc.command(0x35);
    CHECK(pc.wait() == kIdle);
    CHECK(pc.bus_master_status() == 0x04);
    CHECK(pc.disk.content.size() == 600);
    for (u32 sector = 0; sector < 600; ++sector) CHECK(load<u32>(pc.disk.content[50 + sector].data()) == sector + 7);
}

TEST_CASE("ide: descriptors for more or less than the drive moves") {
    Pc pc;
    pc.disk.number_sectors(100, 2);
    // More: the transfer ends with the bus master still active.
    pc.descriptors({{0x2000, 4096 | kEndOfTable}});
    pc.lba28(100, 2);
    pc.command(0xC8);
    pc.start(true);
    CHECK(pc.wait() == kIdle);
    CHECK(pc.bus_master_status() == 0x05);
    pc.stop();
    CHECK(pc.bus_master_status() == 0x04);
    // Less: the drive waits for ever, without an interrupt; a reset frees it.
    pc.board.in(kBase + 7);
    pc.descriptors({{0x2000, 512 | kEndOfTable}});
    pc.lba28(100, 2);
    pc.command(0xC8);
    pc.start(true);
    pc.board.advance(kNanosecondsPerSecond);
    CHECK(pc.board.in(kControl) == kIdeBusy);
    CHECK(pc.bus_master_status() == 0x00);
    CHECK_FALSE(pc.irq());
    pc.board.out(kControl, 4);
    pc.board.out(kControl, 0);
    CHECK(pc.board.in(kBase + 7) == kIdle);
    // No end mark at all: the walk goes on for as long as the drive has data.
    pc.descriptors({{0x2000, 512}, {0x3000, 510}, {0x4000, 2}, {0x5000, 512}});
    pc.lba28(100, 2);
    pc.command(0xC8);
    pc.start(true);
    CHECK(pc.wait() == kIdle);
    CHECK(pc.bus_master_status() == 0x05);
    // A table in nowhere reads as ones: regions at the end of the address space, where nobody answers.
    pc.stop();
    pc.board.out32(ide_test::kBusMasterPort + 4, 0xFFFF'FFFC);
    pc.lba28(100, 2);
    pc.command(0xC8);
    pc.start(true);
    CHECK(pc.wait() == kIdle);
}

TEST_CASE("ide: a bus master started the wrong way moves nothing") {
    Pc pc;
    pc.descriptors({{0x2000, 512 | kEndOfTable}});
    pc.lba28(100, 1);
    pc.command(0xCA);
    pc.start(true);
    pc.board.advance(kNanosecondsPerSecond);
    CHECK(pc.board.in(kControl) == kIdeBusy);
    CHECK(pc.disk.content.empty());
}

TEST_CASE("ide: what the host cannot do is an error of the drive") {
    Pc pc;
    pc.disk.fail_reads = pc.disk.fail_writes = pc.disk.fail_flushes = true;
    pc.lba28(77, 4);
    CHECK(pc.run(0x20) == kFailed);
    CHECK(pc.irq());
    CHECK(pc.board.in(kBase + 1) == kIdeUncorrectable);
    CHECK(pc.board.in(kBase + 3) == 77);
    CHECK(pc.run(0x40) == kFailed);
    CHECK(pc.board.in(kBase + 1) == kIdeUncorrectable);
    pc.lba28(78, 1);
    pc.command(0x30);
    pc.write_block(1);
    CHECK(pc.wait() == kFailed);
    CHECK(pc.board.in(kBase + 1) == kIdeAborted);
    CHECK(pc.run(0xE7) == kFailed);
    pc.disk.fail_flushes = false;
    CHECK(pc.run(0xEA) == kIdle);
    CHECK(pc.board.in(kBase + 1) == 0);
}

TEST_CASE("ide: a write-protected disk refuses writes") {
    MemoryDisk disk(100);
    disk.write_protected = true;
    Board board({&disk, nullptr, nullptr, nullptr});
    board.out(kBase + 6, kMaster);
    board.out(kBase + 2, 1);
    board.out(kBase + 7, 0x30);
    CHECK(board.in(kBase + 7) == kFailed);
    CHECK(board.in(kBase + 1) == kIdeAborted);
}

TEST_CASE("ide: an empty cable floats, DD7 low") {
    Pc pc;
    for (u16 port = 0x171; port < 0x178; ++port) CHECK(pc.board.in(port) == 0x7F);
    CHECK(pc.board.in(0x376) == 0x7F);
    CHECK(pc.board.in32(0x170) == 0xFF7F'FF7F);
    pc.board.out(0x176, 0xA0);
    pc.board.out(0x177, 0x90);
    pc.board.out(0x376, 4);
    pc.board.out(0x376, 0);
    CHECK(pc.board.in(0x177) == 0x7F);
    CHECK_FALSE(pc.board.lines.level(15));
}

TEST_CASE("ide: the master answers for a missing slave, with a status of zero") {
    Pc pc;
    pc.board.out(kBase + 6, 0xB0);
    CHECK(pc.board.in(kBase + 7) == 0);
    CHECK(pc.board.in(kControl) == 0);
    CHECK(pc.board.in(kBase + 6) == 0xB0);
    pc.board.out(kBase + 2, 0x55);
    CHECK(pc.board.in(kBase + 2) == 0x55);
    pc.command(0xEC);
    CHECK(pc.board.in(kBase + 7) == 0);
    CHECK(pc.board.in16(kBase) == 0xFF7F);
    CHECK_FALSE(pc.irq());
    pc.command(0x90);
    CHECK(pc.board.in(kControl) == kIdle);  // drive 0 is selected again
    CHECK(pc.irq());
    CHECK(pc.board.in(kBase + 1) == kIdeDiagnosticPassed);
}

TEST_CASE("ide: two drives on a cable, each with its own interrupt") {
    MemoryDisk first(1000), second(2000), third(3000);
    first.number_sectors(0, 1);
    second.number_sectors(5, 1);
    Board board({&first, &second, nullptr, &third});
    board.out(kBase + 6, kSlave);
    board.out(kBase + 2, 1);
    board.out(kBase + 3, 5);
    board.out(kBase + 7, 0x20);
    board.advance(1'000'000);
    CHECK(board.lines.level(14));
    CHECK(board.in(kBase + 7) == kData);
    u64 number = board.in32(kBase);
    CHECK(number == 5);
    for (int i = 0; i < 127; ++i) board.in32(kBase);
    CHECK(board.in(kControl) == kIdle);
    board.out(kBase + 7, 0xEC);
    CHECK(board.lines.level(14));
    for (int i = 0; i < 128; ++i) board.in32(kBase);
    board.out(kBase + 6, kMaster);
    CHECK_FALSE(board.lines.level(14));
    board.out(kBase + 6, kSlave);
    CHECK(board.lines.level(14));
    // The secondary channel has only a slave.
    board.out(0x176, 0xF0);
    board.out(0x177, 0xEC);
    CHECK(board.lines.level(15));
    CHECK(board.in(0x177) == kData);
    board.out(0x376, 4);
    CHECK(board.in(0x177) == 0);
    board.out(0x376, 0);
    CHECK_FALSE(board.lines.level(15));
}

TEST_CASE("ide: software reset in the middle of a command") {
    Pc pc;
    pc.lba28(10, 1);
    pc.command(0x20);
    pc.board.out(kControl, 4);
    CHECK(pc.board.in(kControl) == kIdeBusy);
    pc.command(0xEC);
    pc.board.out(kControl, 0);
    CHECK(pc.board.in(kControl) == kIdle);
    CHECK(pc.board.in(kBase + 1) == kIdeDiagnosticPassed);
    CHECK(pc.board.in(kBase + 2) == 1);
    CHECK(pc.board.in(kBase + 3) == 1);
    CHECK(pc.board.in(kBase + 4) == 0);
    CHECK(pc.board.in(kBase + 5) == 0);
    pc.board.advance(kNanosecondsPerSecond);
    CHECK(pc.board.in(kControl) == kIdle);
    CHECK_FALSE(pc.irq());
}

TEST_CASE("ide: registers and commands are not taken while busy") {
    Pc pc;
    pc.disk.number_sectors(10, 1);
    pc.lba28(10, 1);
    pc.command(0x20);
    pc.board.out(kBase + 6, kSlave);
    pc.command(0xEC);
    CHECK(pc.wait() == kData);
    pc.command(0xEC);
    CHECK(number_in(pc.read_block()) == 10);
}

TEST_CASE("ide: nIEN keeps the line low, and the interrupt pending") {
    Pc pc;
    pc.board.out(kControl, 2);
    pc.board.out(kBase + 6, kMaster);
    CHECK(pc.run(0xE7) == kIdle);
    CHECK_FALSE(pc.irq());
    CHECK((pc.bus_master_status() & 4) == 0);
    pc.board.out(kControl, 0);
    CHECK(pc.irq());
    CHECK((pc.bus_master_status() & 4) == 4);
}

TEST_CASE("ide: commands without data") {
    Pc pc;
    pc.board.out(kBase + 6, kMaster);
    for (const u8 code : {0x10, 0x1F, 0xE1, 0xE3, 0xE0, 0xE2, 0xE7, 0xEA, 0x95, 0x97}) CHECK(pc.run(code) == kIdle);
    for (const u8 code : {0x00, 0x08, 0xA0, 0xA1, 0x87, 0xFF, 0xF9, 0x22}) {
        CHECK(pc.run(code) == kFailed);
        CHECK(pc.board.in(kBase + 1) == kIdeAborted);
    }
    CHECK(pc.run(0xE3) == kIdle);
    CHECK(pc.run(0xE5) == kIdle);
    CHECK(pc.board.in(kBase + 2) == 0xFF);
    CHECK(pc.run(0xE0) == kIdle);
    CHECK(pc.run(0x98) == kIdle);
    CHECK(pc.board.in(kBase + 2) == 0x00);
    CHECK(pc.run(0xE6) == kIdle);
    pc.board.in(kBase + 7);
    CHECK(pc.run(0xEC) == kIdle);  // asleep: nothing happens
    CHECK_FALSE(pc.irq());
    pc.board.out(kControl, 4);
    pc.board.out(kControl, 0);
    pc.identify();
}

TEST_CASE("ide: set features") {
    Pc pc;
    const auto set = [&](u8 feature, u8 count) {
        pc.board.out(kBase + 6, kMaster);
        pc.board.out(kBase + 1, feature);
        pc.board.out(kBase + 2, count);
        return pc.run(0xEF);
    };
    CHECK(set(0x03, 0x0C) == kIdle);
    CHECK(set(0x03, 0x0D) == kFailed);
    CHECK(set(0x03, 0x45) == kIdle);
    CHECK(pc.identify()[88] == 0x203F);
    CHECK(pc.identify()[63] == 0x0007);
    CHECK(set(0x03, 0x46) == kFailed);
    CHECK(set(0x03, 0x23) == kFailed);
    CHECK(set(0x03, 0x21) == kIdle);
    CHECK(pc.identify()[63] == 0x0207);
    CHECK(set(0x55, 0) == kIdle);
    CHECK((pc.identify()[85] & 0x40) == 0);
    CHECK(set(0x99, 0) == kFailed);
    pc.board.out(kControl, 4);
    pc.board.out(kControl, 0);
    CHECK((pc.identify()[85] & 0x40) != 0);
    CHECK(set(0x66, 0) == kIdle);
    CHECK(set(0x55, 0) == kIdle);
    pc.board.out(kControl, 4);
    pc.board.out(kControl, 0);
    CHECK((pc.identify()[85] & 0x40) == 0);
}

TEST_CASE("ide: SMART") {
    Pc pc;
    const auto smart = [&](u8 subcommand, u8 mid = 0x4F) {
        pc.lba28(u64{mid} << 8 | 0xC2'0000, 0);
        pc.board.out(kBase + 1, subcommand);
        return pc.run(0xB0);
    };
    CHECK(smart(0xDA) == kIdle);
    CHECK(pc.board.in(kBase + 4) == 0x4F);
    CHECK(pc.board.in(kBase + 5) == 0xC2);
    CHECK(smart(0xDA, 0) == kFailed);
    CHECK(smart(0xD0) == kData);
    u8 sum = 0;
    for (const u8 byte : pc.read_block()) sum = static_cast<u8>(sum + byte);
    CHECK(sum == 0);
    CHECK(smart(0xD9) == kIdle);
    CHECK(smart(0xDA) == kFailed);
    CHECK(smart(0xD8) == kIdle);
    CHECK(smart(0xDA) == kIdle);
    CHECK(smart(0xD5) == kFailed);  // a log of no sectors
    CHECK(smart(0xD1) == kData);
    CHECK(pc.read_block()[2] == 5);
    CHECK(smart(0xD3) == kIdle);
    CHECK(smart(0xD6) == kFailed);
}

TEST_CASE("ide: SMART self-tests and logs") {
    Pc pc;
    const auto smart = [&](u8 subcommand, u8 low, u8 count) {
        pc.lba28(u64{0xC2'4F00} | low, count);
        pc.board.out(kBase + 1, subcommand);
        return pc.run(0xB0);
    };
    const auto log = [&](u8 address) {
        REQUIRE(smart(0xD5, address, 1) == kData);
        return pc.read_block();
    };
    CHECK(load<u16>(&log(0)[12]) == 1);
    CHECK(load<u16>(&log(1)[452]) == 0);
    CHECK(log(6)[508] == 0);
    CHECK(smart(0xD5, 2, 1) == kFailed);
    CHECK(smart(0xD4, 1, 0) == kIdle);
    CHECK(smart(0xD0, 0, 0) == kData);
    CHECK(pc.read_block()[363] == 0xF9);
    pc.board.advance(3 * kNanosecondsPerSecond);
    CHECK(smart(0xD0, 0, 0) == kData);
    CHECK(pc.read_block()[363] == 0x00);
    CHECK(smart(0xD4, 2, 0) == kIdle);
    CHECK(smart(0xD4, 0x7F, 0) == kIdle);
    CHECK(smart(0xD4, 0x82, 0) == kIdle);
    CHECK(smart(0xD4, 0x03, 0) == kFailed);
    const auto tests = log(6);
    CHECK(tests[508] == 3);
    CHECK(tests[2] == 1);
    CHECK(tests[3] == 0x00);
    CHECK(tests[2 + 24] == 2);
    CHECK(tests[3 + 24] == 0x10);
    CHECK(tests[2 + 48] == 0x82);
    for (int i = 0; i < 30; ++i) CHECK(smart(0xD4, 0x81, 0) == kIdle);
    CHECK(log(6)[508] == 33 - 21);
}

TEST_CASE("ide: the standby timer") {
    Pc pc;
    const auto power = [&] {
        pc.run(0xE5);
        return pc.board.in(kBase + 2);
    };
    pc.lba28(0, 2);  // ten seconds
    CHECK(pc.run(0xE3) == kIdle);
    pc.board.advance(9 * kNanosecondsPerSecond);
    CHECK(power() == 0xFF);
    pc.lba28(0, 1);
    CHECK(pc.run(0x40) == kIdle);
    pc.board.advance(9 * kNanosecondsPerSecond);
    CHECK(power() == 0xFF);
    pc.board.advance(2 * kNanosecondsPerSecond);
    CHECK(power() == 0x00);
    pc.lba28(0, 1);
    CHECK(pc.run(0x40) == kIdle);
    CHECK(power() == 0xFF);
    CHECK(pc.run(0xE0) == kIdle);
    CHECK(power() == 0x00);
    pc.lba28(0, 0);
    CHECK(pc.run(0xE3) == kIdle);
    pc.board.advance(3600 * kNanosecondsPerSecond);
    CHECK(power() == 0xFF);
    for (const u8 count : {241, 251, 252, 253, 254, 255}) {
        pc.lba28(0, count);
        CHECK(pc.run(0xE2) == kIdle);
        CHECK(power() == 0x00);
    }
}

TEST_CASE("ide: what this disk does not have is refused") {
    Pc pc;
    // Security F1h-F6h, SET MAX F9h and 37h, device configuration B1h, microcode 92h, NCQ 60h.
    for (const u8 code : {0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF9, 0x37, 0xB1, 0x92, 0x60, 0x2F, 0x3F}) {
        pc.lba28(0, 1);
        CHECK(pc.run(code) == kFailed);
        CHECK(pc.board.in(kBase + 1) == kIdeAborted);
    }
    const auto words = pc.identify();
    CHECK((words[82] & 0x0402) == 0);
    CHECK(words[128] == 0);
}

TEST_CASE("ide: TRIM") {
    Pc pc(1000);
    pc.disk.number_sectors(0, 100);
    const auto trim = [&](u64 first, u64 second, u8 blocks = 1, u8 feature = 1) {
        pc.board.memory->write_value(0x2000, first);
        pc.board.memory->write_value(0x2008, second);
        pc.descriptors({{0x2000, 4096 | kEndOfTable}});
        pc.lba28(0, blocks);
        pc.board.out(kBase + 2, 0);
        pc.board.out(kBase + 2, blocks);
        pc.board.out(kBase + 1, feature);
        pc.command(0x06);
        pc.start(false);
        const u8 status = pc.wait();
        pc.stop();
        return status;
    };
    CHECK(trim(u64{10} << 48 | 5, u64{1} << 48 | 99) == kIdle);
    REQUIRE(pc.disk.discards.size() == 2);
    CHECK(pc.disk.discards[0] == std::pair<u64, u64>{5, 10});
    CHECK(pc.disk.discards[1] == std::pair<u64, u64>{99, 1});
    CHECK(trim(u64{10} << 48 | 5, u64{2} << 48 | 999) == kFailed);
    CHECK(trim(0, 0) == kIdle);
    CHECK(trim(0, 0, 0) == kFailed);
    CHECK(trim(0, 0, 9) == kFailed);
    CHECK(trim(0, 0, 1, 2) == kFailed);
    CHECK(pc.disk.discards.size() == 2);
}

TEST_CASE("ide: on the host's clock") {
    Pc pc(100'000, ClockMode::realtime);
    pc.disk.number_sectors(30, 4);
    pc.disk.delay_milliseconds = 3;
    pc.descriptors({{0x2000, 2048 | kEndOfTable}});
    pc.lba28(30, 4);
    pc.command(0xC8);
    pc.start(true);
    CHECK(pc.wait() == kIdle);
    CHECK(pc.board.memory->read_value<u64>(0x2000 + 3 * 512) == 33);
    pc.lba28(60, 1);
    pc.command(0x30);
    pc.write_block(9);
    CHECK(pc.wait() == kIdle);
    CHECK(pc.disk.content[60][9] == 9);
}

namespace {

// Saves at the position, loads into another machine with the same disk content, and expects the same bytes again.
void move_to(Pc& from, Pc& to) {
    const auto saved = from.board.save();
    to.disk.content = from.disk.content;
    std::copy(from.board.memory->backing().begin(), from.board.memory->backing().end(),
              to.board.memory->backing().begin());
    REQUIRE(to.board.load(saved));
    CHECK(to.board.save() == saved);
    to.board.lines.levels = from.board.lines.levels;
}

}  // namespace

TEST_CASE("ide: saved and loaded in the middle of a PIO read, at every stage") {
    for (unsigned stage = 0; stage < 6; ++stage) {
        Pc pc, other;
        pc.disk.number_sectors(200, 1100);
        pc.lba48(200, 1100);
        pc.command(0x24);
        std::vector<u8> got;
        const auto read_sectors = [&](Pc& from, unsigned sectors) {
            for (unsigned i = 0; i < sectors; ++i) {
                REQUIRE(from.wait() == kData);
                const auto block = from.read_block();
                got.insert(got.end(), block.begin(), block.end());
            }
        };
        constexpr unsigned kRead[] = {0, 0, 1, 1023, 1024, 1100};
        if (stage) read_sectors(pc, kRead[stage]);
        if (stage == 2) {  // within a sector
            for (int i = 0; i < 5; ++i) {
                got.resize(got.size() + 2);
                store(&got[got.size() - 2], pc.board.in16(kBase));
            }
        }
        move_to(pc, other);
        if (stage == 2) {
            for (int i = 0; i < 251; ++i) {
                got.resize(got.size() + 2);
                store(&got[got.size() - 2], other.board.in16(kBase));
            }
        }
        read_sectors(other, 1100 - static_cast<unsigned>(got.size() / kSectorSize));
        CHECK(other.wait() == kIdle);
        for (u64 sector = 0; sector < 1100; ++sector) CHECK(number_in(got, sector) == 200 + sector);
    }
}

TEST_CASE("ide: saved and loaded in the middle of DMA, waiting for the disk and for the bus master") {
    for (const bool started : {false, true}) {
        for (const bool waiting : {false, true}) {
            Pc pc, other;
            pc.disk.number_sectors(200, 4);
            pc.descriptors({{0x2000, 1024}, {0x4000, 1024 | kEndOfTable}});
            pc.lba28(200, 4);
            pc.command(0xC8);
            if (started) pc.start(true);
            if (!waiting) pc.board.advance(1'000'000);
            move_to(pc, other);
            if (!started) other.start(true);
            CHECK(other.wait() == kIdle);
            CHECK(other.irq());
            CHECK(other.board.memory->read_value<u64>(0x4200) == 203);
        }
    }
}

TEST_CASE("ide: saved and loaded while a write is on its way") {
    Pc pc, other;
    pc.lba28(5, 1);
    pc.command(0x30);
    for (int i = 0; i < 100; ++i) pc.board.out16(kBase, 0x1111);
    move_to(pc, other);
    for (int i = 0; i < 156; ++i) other.board.out16(kBase, 0x2222);
    CHECK(other.board.in(kControl) == kIdeBusy);
    Pc third;
    move_to(other, third);
    CHECK(third.wait() == kIdle);
    CHECK(third.irq());
    CHECK(third.disk.content[5][0] == 0x11);
    CHECK(third.disk.content[5][511] == 0x22);
}

TEST_CASE("ide: a state of another disk is refused") {
    Pc pc(1000), other(1001);
    CHECK_FALSE(other.board.load(pc.board.save()));
    MemoryDisk first(1000), second(1000);
    Board both({&first, &second, nullptr, nullptr});
    CHECK_FALSE(both.load(pc.board.save()));
}

TEST_CASE("ide: a damaged state does no harm") {
    Pc pc(1000);
    pc.descriptors({{0x2000, 512 | kEndOfTable}});
    pc.lba28(3, 4);
    pc.command(0xC8);
    const auto saved = pc.board.save();
    Pc other(1000);
    for (size_t at = 0; at < saved.size(); at += saved[at] ? 1 : 3) {
        auto damaged = saved;
        damaged[at] ^= static_cast<u8>(1 << at % 8);
        other.board.load(damaged);
        other.start(true);
        other.board.scheduler.run_due();
        other.read_block();
        other.write_block(1);
        other.command(0xEC);
    }
}
