// The IDE function of the PIIX3 (PCI 8086:7010): two channels in legacy mode, each with a bus master.
// Source: Intel 82371FB/82371SB (PIIX/PIIX3) datasheet 290550: IDE configuration registers, bus master IDE registers.
//
// For the board's author:
//
//     Ide ide{platform, IrqLine{pic, 14}, IrqLine{pic, 15}, {disk0, disk1, disk2, disk3}};
//     bus.add(ide, 1, 1);
//
// Disks are primary master, primary slave, secondary master, secondary slave; null where there is none. The slots of
// CD-ROM drives are numbered alike. Both outlive the controller. The channels' ports (1F0h..1F7h and 3F6h, 170h..177h
// and 376h) answer only once firmware has set bit 15 of the channel's IDETIM (configuration 40h, 42h) and I/O in the
// command register, as SeaBIOS does; a board that starts a kernel without firmware does so itself (config_write), else
// Linux's ata_piix takes the channel for disabled.
#pragma once

#include <array>
#include <memory>

#include "devices/ata_disk.h"
#include "devices/atapi_cdrom.h"
#include "devices/ide_channel.h"
#include "devices/pci.h"

namespace lodge {

class Ide final : public PciDevice {
  public:
    static constexpr size_t kDrives = 4;

    Ide(const Platform& platform, IrqLine primary, IrqLine secondary, const std::array<BlockDevice*, kDrives>& disks,
        const std::array<MediumSlot*, kDrives>& cdroms = {});

    void reset() override;
    void state(StateIo& io) override;
    void config_write(unsigned offset, unsigned size, u32 value) override;

  private:
    struct LegacyPorts {
        BusRange command;
        BusRange control;
    };

    // Legacy ports and bus mastering follow the configuration space.
    void configuration_changed();
    void update_legacy_ports(unsigned channel);
    void claim_command_block(unsigned channel);
    void claim_control_block(unsigned channel);
    void claim(BusRange& range, u64 base, u64 ports, BusRead read, BusWrite write, RegisterTable registers);
    u64 read_bus_master(u64 offset, unsigned size);
    void write_bus_master(u64 offset, unsigned size, u64 value);

    std::array<IdeChannel, 2> channels_;
    std::array<std::unique_ptr<IdeDrive>, kDrives> drives_;
    std::array<LegacyPorts, 2> legacy_ports_;
};

}  // namespace lodge
