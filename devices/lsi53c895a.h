// The LSI53C895A, a PCI to Ultra2 SCSI host adapter (PCI 1000:0012). Source: LSI53C895A PCI to Ultra2 SCSI Controller
// Technical Manual, version 2.2 (April 2001): chapter 4 (registers), chapter 5 (SCRIPTS).
//
// The chip runs programs, SCRIPTS, out of guest memory or its own 8 KiB of RAM; a driver does almost everything in
// them. Writing DSP starts one. It runs within the guest's access until it must wait for the bus, ends with an
// interrupt, or has used up its share (kShare); then guest time goes on, and with it the program, kPause later, so that
// no program can hang the machine. It waits for the bus without using anything: ScsiBus tells when to look again.
//
// An instruction that waits is carried out again from its start, but for block moves, whose progress is in DNAD and
// DBC.
//
// Not here: the low-level mode in which a program without SCRIPTS drives the bus lines itself, the target role, parity,
// the handshake-to-handshake timer (nothing on this bus hangs), and the odd byte of wide transfers (the bus moves
// bytes: WSS, WSR and SWIDE stay empty).
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "core/scheduler.h"
#include "devices/lsi53c895a_registers.h"
#include "devices/pci.h"
#include "devices/scsi_bus.h"
#include "devices/scsi_cdrom.h"
#include "devices/scsi_target.h"
#include "disks/block_device.h"

namespace lodge {

class Lsi53c895a final : public PciDevice, private ScsiInitiator {
  public:
    static constexpr unsigned kIds = ScsiBus::kIds;
    static constexpr unsigned kOwnId = 7;
    static constexpr u32 kRamSize = 8 * 1024;
    // What a program may use up at a stretch: an instruction counts one, and every 64 bytes moved one more.
    static constexpr i64 kShare = 20'000;
    static constexpr u64 kPause = 100'000;  // nanoseconds
    // How long nobody answers a selection. The chip would wait for 250 ms, but it is known that nobody will.
    static constexpr u64 kSelectionTime = 250'000;

    explicit Lsi53c895a(const Platform& platform);

    // Puts a disk at an address 0..15 other than kOwnId, before the machine starts. It outlives the adapter.
    void add_disk(unsigned id, BlockDevice& disk);
    // A CD-ROM drive, likewise.
    void add_cdrom(unsigned id, MediumSlot& slot);

    void reset() override;
    void state(StateIo& io) override;
    void config_write(unsigned offset, unsigned size, u32 value) override;

  private:
    enum class Scripts : u8 { stopped, running, waiting };
    // What an instruction came to.
    enum class Step : u8 { done, wait, stop };

    // Registers: lsi53c895a.cpp.
    u64 read_registers(u64 offset, unsigned size);
    void write_registers(u64 offset, unsigned size, u64 value);
    u8 read_register(u8 offset);
    void write_register(u8 offset, u8 value);
    u8 read_scratch(u8 offset) const;
    u8 bus_lines() const;
    void write_istat0(u8 value);
    void write_scntl1(u8 value);
    void write_general_timer(u8 value);
    u8& at(u8 offset) { return registers_[offset]; }
    u8 at(u8 offset) const { return registers_[offset]; }
    u32 word(u8 offset) const { return load<u32>(&registers_[offset]); }
    void set_word(u8 offset, u32 value) { store(&registers_[offset], value); }
    u32 counter() const { return word(lsi::kDbc) & 0xFF'FFFF; }
    void set_counter(u32 value) { set_word(lsi::kDbc, (word(lsi::kDbc) & 0xFF00'0000) | (value & 0xFF'FFFF)); }
    void chip_reset();
    u64 read_ram(u64 offset, unsigned size) const;
    void write_ram(u64 offset, unsigned size, u64 value);

    // Interrupts.
    void scsi_interrupt(u8 first, u8 second);
    void dma_interrupt(u8 cause);
    void update_interrupt();

    // DMA: guest memory, or the chip's own ranges, which its programs see at the addresses of its BARs.
    void dma_read(u64 address, std::span<u8> into);
    void dma_write(u64 address, std::span<const u8> from);
    std::optional<u32> own_ram(u64 address, size_t size) const;
    std::optional<u8> own_register(u64 address, size_t size) const;
    u32 fetch(u64 address);
    u64 address_with(u8 selector, u32 low) const { return u64{word(selector)} << 32 | low; }

    // The bus.
    void bus_changed() override;
    ScsiTarget* target() const { return bus_.connected(); }
    void connected();
    void bus_freed();
    void selection_over();
    bool take_reselection();

    // SCRIPTS: lsi53c895a_scripts.cpp.
    void start(u32 dsp);
    void stop() {
        scripts_ = Scripts::stopped;
        continue_.cancel();
    }
    void run();
    Step step();
    Step illegal();
    void jump(u32 address) { set_word(lsi::kDsp, address); }
    u64 data_structure(u32 offset) const;
    Step block_move(u32 instruction);
    u64 move_address(u32 instruction);
    u32 table_upper(u8 selector) const;
    Step go_on_moving();
    size_t move_piece(ScsiTarget& target, ScsiPhase phase);
    Step wrong_phase();
    Step input_output(u32 instruction);
    Step select(u32 instruction, u32 alternative);
    Step wait_reselect(u32 alternative);
    Step set_or_clear(u32 instruction, bool set);
    Step read_write(u32 instruction);
    u8 calculate(unsigned operation, u8 first, u8 second);
    Step transfer_control(u32 instruction);
    std::optional<bool> condition(u32 instruction);
    Step memory_move(u32 instruction);
    Step load_store(u32 instruction);

    ScsiBus bus_;
    std::array<std::unique_ptr<ScsiTarget>, kIds> disks_;
    std::array<std::unique_ptr<ScsiCdRom>, kIds> cdroms_;

    std::array<u8, 256> registers_{};
    std::array<u8, kRamSize> ram_{};
    bool carry_ = false;
    bool reset_line_ = false;

    Scripts scripts_ = Scripts::stopped;
    bool moving_ = false;     // a block move is under way
    bool in_script_ = false;  // run() is on the stack
    u32 instruction_ = 0;     // the address of the one being carried out
    i64 left_of_share_ = 0;
    bool selecting_ = false;  // nobody has answered yet, and nobody will
    bool quiet_ = false;      // what happens on the bus is our own doing

    Event continue_;
    Event selection_;
    Event general_timer_;
};

}  // namespace lodge
