// A board with nothing but an IDE function: what the tests and the fuzz target of the IDE controller share.
#pragma once

#include "devices/ide.h"
#include "tests/unit/board_fixture.h"
#include "tests/unit/memory_disk.h"

namespace lodge::ide_test {

using test::MemoryDisk;

constexpr u64 kMemory = 4 * kMiB;
constexpr u16 kBusMasterPort = 0xC000;

struct Board : BoardFixture {
    explicit Board(std::array<BlockDevice*, 4> disks, ClockMode mode = ClockMode::virtual_time,
                   std::array<MediumSlot*, 4> cdroms = {})
        : BoardFixture(kMemory, mode), ide(platform, IrqLine{lines, 14}, IrqLine{lines, 15}, disks, cdroms) {
        memory->map(0, kMemory, 0, true);
        ide.config_write(kPciBar0 + 16, 4, kBusMasterPort);
        ide.config_write(kPciCommand, 2, kPciCommandIo | kPciCommandMaster);
        ide.config_write(0x40, 4, 0x8000'8000);
    }

    using TestBoard::in;
    using TestBoard::out;
    u16 in16(u16 port) { return static_cast<u16>(ports.read(port, 2)); }
    u32 in32(u16 port) { return static_cast<u32>(ports.read(port, 4)); }
    void out16(u16 port, u16 value) { ports.write(port, 2, value); }
    void out32(u16 port, u32 value) { ports.write(port, 4, value); }

    std::vector<u8> save() { return save_with_time(ide); }
    bool load(std::span<const u8> saved) { return load_with_time(saved, ide); }

    Ide ide;
};

}  // namespace lodge::ide_test
