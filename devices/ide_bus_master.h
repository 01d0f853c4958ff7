// One channel's bus master: moves data between a drive and guest memory as the guest's table of physical region
// descriptors (PRDs) says.
// Source: Programming Interface for Bus Master IDE Controller, revision 1.0 (Intel, 1994); 82371SB datasheet 290550.
#pragma once

#include "core/base/log.h"
#include "core/base/state_io.h"
#include "core/memory/physical_memory.h"
#include "devices/ide_drive.h"

namespace lodge {

class IdeBusMaster {
  public:
    // Registers by offset.
    static constexpr unsigned kCommand = 0;  // BMICx
    static constexpr unsigned kStatus = 2;   // BMISx
    static constexpr unsigned kTable = 4;    // BMIDTPx, 32 bits

    static constexpr u8 kStart = 0x01;         // BMICx
    static constexpr u8 kToMemory = 0x08;      // BMICx
    static constexpr u8 kActive = 0x01;        // BMISx
    static constexpr u8 kError = 0x02;         // BMISx, cleared by writing 1; nothing sets it: no PCI abort here
    static constexpr u8 kInterrupt = 0x04;     // BMISx, cleared by writing 1
    static constexpr u8 kDriveCapable = 0x60;  // BMISx, set by firmware, meaningless to the chip

    IdeBusMaster(PhysicalMemory& memory, Log& log) : memory_(memory), log_(log) {}

    void reset();
    u8 read(unsigned offset) const;
    // True when the transfer may have been started: call run.
    bool write(unsigned offset, u8 value);

    // The channel's interrupt line has risen.
    void interrupt() { status_ |= kInterrupt; }
    // Moves all that the drive requests and the table has room for. Nothing while the transfer is not started.
    void run(IdeDrive& drive);

    // In a section named "bus_master".
    void state(StateIo& io);

  private:
    bool active() const { return status_ & kActive; }
    void write_command(u8 value);
    void next_region();
    void move(std::span<u8> data);

    PhysicalMemory& memory_;
    Log& log_;
    u8 command_ = 0;
    u8 status_ = 0;
    u32 table_ = 0;

    // The transfer under way: where the next descriptor is, and what is left of the current region.
    u32 next_descriptor_ = 0;
    u32 address_ = 0;
    u32 left_ = 0;
    bool last_ = false;
};

}  // namespace lodge
