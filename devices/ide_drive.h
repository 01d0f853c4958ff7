// What is the same for every drive on an IDE cable: the command block registers (the task file), the interrupt request
// and the movement of data between the drive's buffer and the host, by PIO or by the bus master. What commands mean is
// the derived class's business.
// Source: ATA/ATAPI-6 (T13/1410D revision 3b): clause 7 registers, clause 9 the PIO and DMA protocols.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "core/base/state_io.h"
#include "core/base/types.h"

namespace lodge {

// Command block registers by their port offset.
constexpr unsigned kIdeData = 0;
constexpr unsigned kIdeError = 1;     // read
constexpr unsigned kIdeFeatures = 1;  // write
constexpr unsigned kIdeCount = 2;
constexpr unsigned kIdeLbaLow = 3;   // sector number
constexpr unsigned kIdeLbaMid = 4;   // cylinder low
constexpr unsigned kIdeLbaHigh = 5;  // cylinder high
constexpr unsigned kIdeDevice = 6;
constexpr unsigned kIdeStatus = 7;   // read
constexpr unsigned kIdeCommand = 7;  // write

constexpr u8 kIdeDeviceReset = 0x08;  // a command

// Status register.
constexpr u8 kIdeBusy = 0x80;
constexpr u8 kIdeReady = 0x40;
constexpr u8 kIdeFault = 0x20;
constexpr u8 kIdeSeekComplete = 0x10;
constexpr u8 kIdeDataRequest = 0x08;
constexpr u8 kIdeErrorBit = 0x01;

// Error register.
constexpr u8 kIdeUncorrectable = 0x40;
constexpr u8 kIdeIdNotFound = 0x10;
constexpr u8 kIdeAborted = 0x04;
constexpr u8 kIdeDiagnosticPassed = 0x01;  // after a reset or EXECUTE DEVICE DIAGNOSTIC

// Device register.
constexpr u8 kIdeLbaMode = 0x40;
constexpr u8 kIdeSelectSlave = 0x10;

// The wires from a drive to its channel.
class IdeCable {
  public:
    virtual ~IdeCable() = default;
    // The drive's INTRQ has changed.
    virtual void intrq_changed() = 0;
    // DMARQ: the drive has a DMA buffer to move.
    virtual void dma_requested() = 0;
};

enum class IdeTransfer : u8 { none, pio_in, pio_out, dma_in, dma_out };  // "in" is towards the host

class IdeDrive {
  public:
    // No transfer's buffer is larger.
    static constexpr size_t kMostBuffered = 512 * kKiB;

    explicit IdeDrive(IdeCable& cable) : cable_(cable) {}
    virtual ~IdeDrive() = default;
    IdeDrive(const IdeDrive&) = delete;
    IdeDrive& operator=(const IdeDrive&) = delete;

    // Power-on and hardware reset.
    virtual void reset() = 0;
    // SRST held (true) and released (false): the channel's device control register.
    virtual void software_reset(bool held) = 0;
    // EXECUTE DEVICE DIAGNOSTIC, which both drives of a cable do; the channel raises the interrupt.
    virtual void diagnose() = 0;

    // What DEVICE RESET is for; it answers for all registers of a missing neighbour too.
    virtual bool is_packet_device() const { return false; }

    // Registers 1..7; `high_order` is HOB of the device control register. Reading Status does not withdraw INTRQ.
    u8 read_register(unsigned index, bool high_order) const;
    // Registers 1..6: latched by both drives of a cable, whichever is selected.
    void write_register(unsigned index, u8 value);
    // Takes the command unless the drive is busy; a packet device takes DEVICE RESET even then.
    void write_command(u8 command);
    // One word of the data register; without a PIO transfer in that direction it reads FFFFh or is ignored.
    u16 read_data();
    void write_data(u16 value);

    u8 status() const { return status_; }
    // The drive cannot take register writes: BSY or DRQ.
    bool occupied() const { return status_ & (kIdeBusy | kIdeDataRequest); }
    bool intrq() const { return intrq_; }
    void set_intrq(bool level);

    // The bus master's side. The bytes the drive wants moved now, empty when it requests none: to be read when
    // dma_to_host, else to be filled.
    bool dma_to_host() const { return transfer_ == IdeTransfer::dma_in; }
    std::span<u8> dma_buffer();
    // The first `bytes` of dma_buffer() have been moved.
    void dma_moved(size_t bytes);

    virtual void state(StateIo& io) = 0;

  protected:
    // A command has been written; the drive is not occupied.
    virtual void execute(u8 command) = 0;
    // DEVICE RESET, of a packet device.
    virtual void device_reset() {}
    // The host has moved the block that offer() offered; transfer() still says how.
    virtual void block_moved() = 0;

    // A register as last written, and as written before that (the high-order byte of 48-bit commands).
    u8 current(unsigned index) const { return current_[index]; }
    u8 previous(unsigned index) const { return previous_[index]; }
    void set_register(unsigned index, u8 value) { current_[index] = value; }
    void set_previous(unsigned index, u8 value) { previous_[index] = value; }
    u8 device() const { return current_[kIdeDevice]; }
    u8 error() const { return error_; }

    void set_busy() { status_ = kIdeBusy; }
    // No transfer; status as given, beside DRDY and DSC.
    void set_idle(u8 error);
    // Neither busy nor ready: a packet device after a reset.
    void set_unready() { status_ = 0; }
    // Ends the command: idle with that error (0 for none), and INTRQ.
    void finish(u8 error);
    void abort() { finish(kIdeAborted); }
    // The registers that a reset or a diagnosis leaves: the signature of the kind of drive.
    void set_signature(u8 lba_mid, u8 lba_high);
    void drop_transfer();

    // Starts moving `buffer` in or out; the first block must be offered then.
    void start_transfer(IdeTransfer transfer, std::vector<u8> buffer);
    // Lets the host move the next `bytes` of the buffer (or the rest): DRQ, or DMARQ.
    void offer(size_t bytes);
    IdeTransfer transfer() const { return transfer_; }
    std::vector<u8>& buffer() { return buffer_; }
    // Memory for the next transfer, of any size and content: to allocate, clear and map as much again for each of them
    // would take longer than to move the data.
    std::vector<u8> take_spare() { return std::move(spare_); }
    void give_spare(std::vector<u8> memory) { spare_ = std::move(memory); }
    size_t left_in_buffer() const { return buffer_.size() - position_; }

    // Within the drive's section.
    void drive_state(StateIo& io);

  private:
    bool moving(IdeTransfer transfer) const { return transfer_ == transfer && position_ < block_end_; }
    void advance(size_t bytes);

    IdeCable& cable_;
    std::array<u8, 7> current_{};
    std::array<u8, 7> previous_{};
    u8 error_ = 0;
    u8 status_ = 0;
    bool intrq_ = false;

    IdeTransfer transfer_ = IdeTransfer::none;
    std::vector<u8> buffer_;
    std::vector<u8> spare_;  // no part of the state
    u32 position_ = 0;       // next byte to move
    u32 block_end_ = 0;      // position_ < block_end_ <= buffer size: a block is on offer
};

}  // namespace lodge
