// A board with nothing but an LSI 53C895A and disks in memory: what its tests and its fuzz target share.
#pragma once

#include <vector>

#include "devices/lsi53c895a.h"
#include "tests/unit/board_fixture.h"
#include "tests/unit/memory_disk.h"

namespace lodge::lsi_test {

using test::MemoryDisk;

constexpr u64 kMemory = 4 * kMiB;
constexpr u16 kIo = 0xC000;
constexpr u64 kRegistersAt = 0xE000'0000;
constexpr u64 kRam = 0xE000'4000;

struct Board : BoardFixture {
    explicit Board(std::vector<BlockDevice*> disks, ClockMode mode = ClockMode::virtual_time)
        : BoardFixture(kMemory, mode), pci(platform, lines), lsi(platform) {
        memory->map(0, kMemory, 0, true);
        for (unsigned id = 0; id < disks.size(); ++id)
            if (disks[id]) lsi.add_disk(id, *disks[id]);
        pci.add(lsi, 4, 0);
        enable();
    }
    void enable() {
        lsi.config_write(kPciBar0, 4, kIo);
        lsi.config_write(kPciBar0 + 4, 4, static_cast<u32>(kRegistersAt));
        lsi.config_write(kPciBar0 + 8, 4, static_cast<u32>(kRam));
        lsi.config_write(kPciCommand, 2, kPciCommandIo | kPciCommandMemory | kPciCommandMaster);
    }

    u8 in(u8 reg) { return static_cast<u8>(ports.read(kIo + reg, 1)); }
    u32 in32(u8 reg) { return static_cast<u32>(mmio.read(kRegistersAt + reg, 4)); }
    void out(u8 reg, u8 value) { ports.write(kIo + reg, 1, value); }
    void out32(u8 reg, u32 value) { mmio.write(kRegistersAt + reg, 4, value); }
    bool irq() const { return lines.level(PciBus::pirq_of(4, 1)); }

    std::vector<u8> save() { return save_with_time(pci, lsi); }
    bool load(std::span<const u8> saved) { return load_with_time(saved, pci, lsi); }

    PciBus pci;
    Lsi53c895a lsi;
};

}  // namespace lodge::lsi_test
