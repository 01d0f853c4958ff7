// One IDE channel: a cable with up to two drives, seen through the command block (eight ports), the control block (one
// port) and a bus master.
//
// Both drives latch what the guest writes to the command block; the selected one answers and takes commands. Where the
// selected drive is missing the other answers for it, with a status of 0 (ATA/ATAPI-6, Device 0 only), a packet device
// with zeros in all registers. On an empty cable all lines float high but DD7, which the host pulls down so that nobody
// waits for BSY (ATA/ATAPI-6, signal DD7).
#pragma once

#include <array>

#include "core/device.h"
#include "devices/ide_bus_master.h"
#include "devices/ide_drive.h"

namespace lodge {

class IdeChannel final : public IdeCable {
  public:
    static constexpr u64 kCommandPorts = 8;
    static constexpr u64 kControlPorts = 1;

    // Device control register.
    static constexpr u8 kHighOrder = 0x80;      // HOB: read the previous values of 48-bit registers
    static constexpr u8 kSoftwareReset = 0x04;  // SRST
    static constexpr u8 kNoInterrupt = 0x02;    // nIEN

    IdeChannel(PhysicalMemory& memory, Log& log, IrqLine irq) : irq_(irq), bus_master_(memory, log) {}
    IdeChannel(const IdeChannel&) = delete;
    IdeChannel& operator=(const IdeChannel&) = delete;

    // Puts a drive on the cable: 0 master, 1 slave. It outlives the channel's use.
    void connect(unsigned position, IdeDrive& drive) { drives_[position] = &drive; }

    // Power-on, drives included.
    void reset();
    // In the section of that name; the drives save themselves.
    void state(StateIo& io, std::string_view name);

    // The ports. Size 1, 2 or 4; the data register takes words and double words whole.
    u64 read_command_block(u64 offset, unsigned size);
    void write_command_block(u64 offset, unsigned size, u64 value);
    u8 read_alternate_status() const;
    void write_device_control(u8 value);
    u8 read_bus_master(unsigned offset) const { return bus_master_.read(offset); }
    void write_bus_master(unsigned offset, u8 value);
    // Whether the function may reach guest memory. A transfer waits while it may not, until dma_requested.
    void allow_mastering(bool allowed) { mastering_ = allowed; }

    void intrq_changed() override;
    void dma_requested() override;

  private:
    static constexpr u16 kFloating = 0xFF7F;

    IdeDrive* selected() const { return drives_[slave_]; }
    bool empty() const { return !drives_[0] && !drives_[1]; }
    u8 read_byte(unsigned index);
    u8 read_register(unsigned index) const;
    void write_byte(unsigned index, u8 value);
    void write_command(u8 command);
    void execute_diagnostic();
    u16 read_data() { return selected() ? selected()->read_data() : kFloating; }
    void write_data(u16 value) {
        if (selected()) selected()->write_data(value);
    }

    IrqLine irq_;
    std::array<IdeDrive*, 2> drives_{};
    IdeBusMaster bus_master_;
    bool mastering_ = false;
    u8 control_ = 0;
    bool slave_ = false;  // DEV of the device register: which drive is selected
    bool line_ = false;   // the interrupt line, after nIEN
};

}  // namespace lodge
