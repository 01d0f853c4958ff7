#include "devices/ide.h"

namespace lodge {

namespace {

constexpr PciIdentity kPiix3Ide{.vendor = 0x8086,
                                .device = 0x7010,
                                .class_code = 0x010180,  // IDE, legacy mode only, bus master
                                .interrupt_pin = 0};     // IRQ 14 and 15 instead

// Configuration registers beyond the header.
constexpr unsigned kIdeTiming = 0x40;    // IDETIM, 16 bits per channel
constexpr unsigned kSlaveTiming = 0x44;  // SIDETIM, 8 bits
constexpr unsigned kBusMasterBar = 4;    // BMIBA
constexpr u16 kDecodeEnable = 0x8000;    // IDETIM bit 15: the channel's legacy ports answer
constexpr u32 kBusMasterPorts = 16;      // eight per channel
constexpr u16 kMediumDecoding = 0x0280;  // PCI status: DEVSEL# timing medium, fast back-to-back
constexpr u64 kCommandBlocks[] = {0x1F0, 0x170};
constexpr u64 kControlBlocks[] = {0x3F6, 0x376};

// By their names in ATA and in the PIIX3's data sheet; of two, the first is what is read there.
constexpr RegisterInfo kCommandRegisters[] = {{0, 16, "DATA", RegisterRead::changes},
                                              {1, 8, "ERROR/FEATURES"},
                                              {2, 8, "SECTOR_COUNT"},
                                              {3, 8, "LBA_LOW"},
                                              {4, 8, "LBA_MID"},
                                              {5, 8, "LBA_HIGH"},
                                              {6, 8, "DEVICE"},
                                              {7, 8, "STATUS/COMMAND", RegisterRead::changes}};
constexpr RegisterInfo kControlRegisters[] = {{0, 8, "ALTERNATE_STATUS/DEVICE_CONTROL"}};
constexpr RegisterInfo kBusMasterRegisters[] = {{0, 8, "BMICP"}, {2, 8, "BMISP"},  {4, 32, "BMIDTPP"},
                                                {8, 8, "BMICS"}, {10, 8, "BMISS"}, {12, 32, "BMIDTPS"}};

}  // namespace

Ide::Ide(const Platform& platform, IrqLine primary, IrqLine secondary, const std::array<BlockDevice*, kDrives>& disks,
         const std::array<MediumSlot*, kDrives>& cdroms)
    : PciDevice(platform, "ide", kPiix3Ide),
      channels_{{{platform.memory, platform.log, primary}, {platform.memory, platform.log, secondary}}} {
    set_config(kPciStatus, kMediumDecoding, 2);
    set_writable(kIdeTiming, 0xFFFF'FFFF, 4);
    set_writable(kSlaveTiming, 0xFF, 1);
    add_io_bar(
        kBusMasterBar, kBusMasterPorts, [this](u64 offset, unsigned size) { return read_bus_master(offset, size); },
        [this](u64 offset, unsigned size, u64 value) { write_bus_master(offset, size, value); }, kBusMasterRegisters);
    for (unsigned number = 0; number < kDrives; ++number) {
        IdeChannel& channel = channels_[number / 2];
        if (disks[number]) {
            drives_[number] = std::make_unique<AtaDisk>(platform, channel, *disks[number], number);
        } else if (cdroms[number]) {
            drives_[number] = std::make_unique<AtapiCdRom>(platform, channel, *cdroms[number], number);
        }
        if (drives_[number]) channel.connect(number & 1, *drives_[number]);
    }
    reset();
}

void Ide::reset() {
    PciDevice::reset();
    for (IdeChannel& channel : channels_) channel.reset();
    configuration_changed();
}

void Ide::config_write(unsigned offset, unsigned size, u32 value) {
    PciDevice::config_write(offset, size, value);
    configuration_changed();
    for (IdeChannel& channel : channels_) channel.dma_requested();
}

void Ide::configuration_changed() {
    for (unsigned channel = 0; channel < channels_.size(); ++channel) {
        update_legacy_ports(channel);
        channels_[channel].allow_mastering(bus_master());
    }
}

void Ide::update_legacy_ports(unsigned channel) {
    const bool enabled = (command() & kPciCommandIo) && (config(kIdeTiming + 2 * channel, 2) & kDecodeEnable);
    LegacyPorts& ports = legacy_ports_[channel];
    if (!enabled) {
        ports.command.release();
        ports.control.release();
    } else if (!ports.command.claimed() || !ports.control.claimed()) {
        claim_command_block(channel);
        claim_control_block(channel);
    }
}

void Ide::claim_command_block(unsigned number) {
    IdeChannel& channel = channels_[number];
    claim(
        legacy_ports_[number].command, kCommandBlocks[number], IdeChannel::kCommandPorts,
        [&channel](u64 offset, unsigned size) { return channel.read_command_block(offset, size); },
        [&channel](u64 offset, unsigned size, u64 value) { channel.write_command_block(offset, size, value); },
        kCommandRegisters);
}

void Ide::claim_control_block(unsigned number) {
    IdeChannel& channel = channels_[number];
    claim(
        legacy_ports_[number].control, kControlBlocks[number], IdeChannel::kControlPorts,
        [&channel](u64, unsigned) { return channel.read_alternate_status(); },
        [&channel](u64, unsigned, u64 value) { channel.write_device_control(static_cast<u8>(value)); },
        kControlRegisters);
}

// Ports that somebody else has claimed stay theirs until they are given up and the configuration is written again.
void Ide::claim(BusRange& range, u64 base, u64 ports, BusRead read, BusWrite write, RegisterTable registers) {
    if (range.claimed()) return;
    Result<BusRange> claimed =
        platform().ports.claim(base, ports, std::string(name()), std::move(read), std::move(write), registers);
    if (claimed) {
        range = std::move(*claimed);
    } else {
        platform().log.once(LogChannel::ide, "legacy ports: %s", claimed.error().context.c_str());
    }
}

u64 Ide::read_bus_master(u64 offset, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) {
        const unsigned at = static_cast<unsigned>(offset) + i;
        value |= u64{channels_[at / 8].read_bus_master(at % 8)} << (8 * i);
    }
    return value;
}

void Ide::write_bus_master(u64 offset, unsigned size, u64 value) {
    for (unsigned i = 0; i < size; ++i) {
        const unsigned at = static_cast<unsigned>(offset) + i;
        channels_[at / 8].write_bus_master(at % 8, static_cast<u8>(value >> (8 * i)));
    }
}

void Ide::state(StateIo& io) {
    io.section(name(), 1, [&] {
        config_state(io);
        channels_[0].state(io, "primary");
        channels_[1].state(io, "secondary");
        for (const auto& drive : drives_) {
            if (drive) drive->state(io);
        }
    });
    if (io.loading()) configuration_changed();
}

}  // namespace lodge
