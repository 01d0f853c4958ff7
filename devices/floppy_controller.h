// The diskette controller of a PC, an Intel 82077AA in AT mode, with up to two drives.
// Source: Intel 82077AA CHMOS Single-Chip Floppy Disk Controller data sheet (290166).
//
// A command has three phases: its bytes come through the FIFO register, it is executed, its result bytes are read.
// Execution walks over sectors: the heads find one (`search`), it comes round (`work_`), its bytes move by DMA channel
// 2 or through the FIFO (`move_data`), and the next one follows until the DMA controller says that it was the last
// (TC).
//
// Data come in guest time and in the order of a real drive's, but kHaste times faster. The controller waits
// for a host that is late instead of losing bytes, up to the time of one revolution; then it reports an overrun, as the
// chip does after 16 bytes.
#pragma once

#include <array>
#include <memory>

#include "devices/claims.h"
#include "devices/dma.h"
#include "devices/floppy_drive.h"

namespace lodge {

class FloppyController final : public Device {
  public:
    static constexpr unsigned kDrives = 2;
    // How many times faster than a real drive: a whole 1.44 MB diskette takes 2 seconds instead of 32.
    static constexpr unsigned kHaste = 16;

    struct Bay {
        MediumSlot* slot = nullptr;  // null: no drive; outlives the controller
        FloppyDriveType type = FloppyDriveType::none;
    };

    // `irq`: IRQ 6. `dma`: channel 2.
    FloppyController(const Platform& platform, IrqLine irq, DmaChannel& dma, const std::array<Bay, kDrives>& bays);

    // Claims 3F0h-3F5h and 3F7h; 3F6h is the disks'.
    Result<void> attach(Bus& ports);

    std::string_view name() const override { return "floppy"; }
    void reset() override;
    void state(StateIo& io) override;

    FloppyDriveType drive_type(unsigned number) const;

    // Registers by their offset from 3F0h.
    u8 read(unsigned offset);
    void write(unsigned offset, u8 value);

  private:
    static constexpr u8 kDmaGate = 0x08;  // DOR: lets DREQ and the interrupt out of the chip

    // A row of the command table.
    struct Command {
        u8 mask;  // the bits of the first byte that tell the command
        u8 code;
        u8 length;  // bytes, the first included
        void (FloppyController::*run)();
    };
    enum class Phase : u8 { command, execution, result };
    enum class Operation : u8 {
        none,
        read,
        write,
        verify,
        scan_equal,
        scan_low,
        scan_high,
        read_track,
        format,
        read_id
    };
    // What execution waits for.
    enum class Wait : u8 { nothing, heads, track, sector, dma, host, store, failure };

    static const Command* find(u8 code);

    // Registers.
    u8 main_status() const;
    u8 digital_input() const;
    u8 read_fifo();
    void write_fifo(u8 value);
    void write_output(u8 value);
    void write_rate_select(u8 value);
    void flush_stopped(u8 value);
    bool held_in_reset() const;
    void abort();
    void software_reset();
    void announce_reset();
    void set_interrupt(bool level);
    void update_lines();

    // Commands without execution.
    void specify();
    void sense_drive_status();
    void sense_interrupt();
    void recalibrate();
    void seek();
    void relative_seek();
    void configure();
    void dump_registers();
    void perpendicular();
    void lock();
    void version();
    void begin_seek(unsigned drive, int steps, bool recalibrates);
    void seek_done(unsigned drive);
    void respond(std::initializer_list<u8> bytes);
    void command_done();

    // Commands that execute.
    void read_data();
    void read_deleted_data();
    void write_data();
    void verify();
    void scan();
    void read_track();
    void format_track();
    void read_id();
    void begin(Operation operation);
    void take_address();
    void locate();
    void search();
    u8 mismatch() const;
    bool writes() const { return operation_ == Operation::write || operation_ == Operation::format; }
    bool from_host() const;
    bool needs_track() const;
    void await_sector();
    void sector_reached();
    void id_read();
    size_t wanted() const;
    void move_data();
    void move_by_dma();
    u8 read_byte();
    void write_byte(u8 value);
    void byte_moved();
    void data_moved(bool terminal_count);
    void store_sector();
    void store_formatted();
    void scanned();
    void sector_done();
    bool next_sector();
    void advance_address();
    void fail(u8 st1, u8 st2);
    void finish(u8 interrupt_code);
    void on_work();
    void on_disk(unsigned drive, DiskCompletion completion);

    // Drives and times.
    FloppyDrive* drive(unsigned number) { return number < kDrives ? drives_[number].get() : nullptr; }
    const FloppyDrive* drive(unsigned number) const { return number < kDrives ? drives_[number].get() : nullptr; }
    FloppyDrive& selected() { return *drives_[unit_]; }
    const FloppyDrive& selected() const { return *drives_[unit_]; }
    bool motor(unsigned number) const;
    const FloppyFormat* medium() const;
    bool dma_mode() const;
    bool implied_seek() const;
    u64 step_time() const;
    u64 sector_time() const;
    void check_loaded(StateIo& io);

    Scheduler& scheduler_;
    IrqLine irq_;
    DmaChannel& dma_;
    Claims claims_;

    u8 output_ = 0;  // DOR
    u8 tape_ = 0;    // TDR
    u8 rate_ = 0;    // as CCR and DSR code it

    // What commands have set.
    std::array<u8, 2> specified_{};
    u8 configuration_ = 0;
    u8 precompensation_ = 0;
    u8 perpendicular_ = 0;
    bool locked_ = false;

    // The command.
    Phase phase_ = Phase::command;
    std::array<u8, 10> bytes_{};  // its bytes, or its results
    u8 count_ = 0;                // of them
    u8 position_ = 0;             // the next result

    // Interrupts and seeks.
    bool interrupt_ = false;
    u8 reset_statuses_ = 0;  // how many of the four after a reset are still to be sensed
    u8 seeking_ = 0;         // a bit for each drive
    u8 sought_ = 0;          // a bit for each drive whose end of seek is still to be sensed
    std::array<u8, 4> seek_status_{};
    std::array<u8, 4> present_cylinder_{};  // PCN: what the controller takes for the drive's
    std::array<u8, 4> steps_{};             // of the seek under way
    u8 outwards_ = 0;                       // its direction, a bit for each drive
    u8 recalibrating_ = 0;

    // Execution.
    Operation operation_ = Operation::none;
    Wait wait_ = Wait::nothing;
    u8 unit_ = 0;
    u8 head_ = 0;
    u8 cylinder_id_ = 0, head_id_ = 0, sector_id_ = 0, size_id_ = 0;  // C, H, R, N
    u8 last_sector_ = 0;                                              // EOT, or what plays its part
    u8 data_length_ = 0;                                              // DTL, SC or STP; the filler of a format
    u8 left_ = 0;                                                     // sectors, for commands that count them
    u8 st0_ = 0, st1_ = 0, st2_ = 0;
    bool terminal_count_ = false;
    u16 moved_ = 0;  // bytes of the sector
    u8 patience_ = 0;
    std::array<u8, kSectorSize> buffer_{};

    Event work_;
    Event reset_done_;
    std::array<Event, 4> seeks_;
    std::array<std::unique_ptr<FloppyDrive>, kDrives> drives_;
};

}  // namespace lodge
