// A board with nothing but an LSI 53C895A and disks in memory: what its tests and its fuzz target share.
#pragma once

#include <vector>

#include "devices/lsi53c895a.h"
#include "tests/unit/ide_fixture.h"

namespace lodge::lsi_test {

using ide_test::MemoryDisk;

constexpr u64 kMemory = 4 * kMiB;
constexpr u16 kIo = 0xC000;
constexpr u64 kRegistersAt = 0xE000'0000;
constexpr u64 kRam = 0xE000'4000;

struct Board {
    explicit Board(std::vector<BlockDevice*> disks, ClockMode mode = ClockMode::virtual_time)
        : clock(mode), pci(platform, lines), lsi(platform) {
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
    bool irq() const { return lines.levels[PciBus::pirq_of(4, 1)]; }

    // Lets guest time pass, events included.
    void pass(u64 nanoseconds) {
        const u64 until = clock.now() + nanoseconds;
        while (scheduler.next() <= until) {
            clock.set_position(clock.position() +
                               (scheduler.next() > clock.now() ? scheduler.next() - clock.now() : 0));
            scheduler.run_due();
        }
        clock.set_position(clock.position() + (until - clock.now()));
    }

    std::vector<u8> save() {
        StateIo io;
        clock.state(io);
        scheduler.state(io);
        pci.state(io);
        lsi.state(io);
        return io.take();
    }
    bool load(std::span<const u8> saved) {
        StateIo io(saved);
        clock.state(io);
        scheduler.state(io);
        pci.state(io);
        lsi.state(io);
        return !io.failed();
    }

    Log log;
    Bus ports{log, "port"};
    Bus mmio{log, "memory"};
    std::unique_ptr<PhysicalMemory> memory = std::move(*PhysicalMemory::create(kMemory, mmio));
    GuestClock clock;
    Scheduler scheduler{clock};
    InputQueue inputs;
    ide_test::NoControl control;
    ide_test::NoCpu cpu;
    Platform platform{log, *memory, ports, mmio, scheduler, inputs, control, cpu};
    ide_test::Lines lines;
    PciBus pci;
    Lsi53c895a lsi;
};

}  // namespace lodge::lsi_test
