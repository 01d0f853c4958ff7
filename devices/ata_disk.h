// An ATA hard disk on an IDE cable: the PACKET-less command set of ATA/ATAPI-6 with 48-bit addresses, and TRIM.
//
// Sectors move between the disk image and the drive's buffer in chunks of up to kChunkSectors, each one request of the
// DiskQueue; between buffer and host they move in blocks (a sector, or a multiple for READ/WRITE MULTIPLE) by PIO, or
// whole by DMA. A host failure is reported as hardware would: UNC for reads, ABRT for what else.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "devices/ata_identify.h"
#include "devices/ata_smart.h"
#include "devices/disk_queue.h"
#include "devices/ide_drive.h"
#include "devices/platform.h"

namespace lodge {

class AtaDisk final : public IdeDrive {
  public:
    static constexpr u32 kChunkSectors = kMostBuffered / kSectorSize;

    // `number` 0..3: primary master, primary slave, secondary master, secondary slave. All outlive the drive.
    AtaDisk(const Platform& platform, IdeCable& cable, BlockDevice& disk, unsigned number);

    void reset() override;
    void software_reset(bool held) override;
    void diagnose() override;
    // In a section named "disk" and the drive's number.
    void state(StateIo& io) override;

    u64 sectors() const { return sectors_; }

  protected:
    void execute(u8 command) override;
    void block_moved() override;

  private:
    enum class Mode : u8 { none, pio, multiple, dma };
    // A row of the command table.
    struct Command {
        u8 code;
        void (AtaDisk::*run)(const Command&);
        Mode mode = Mode::none;
        bool extended = false;       // 48-bit address, 16-bit count
        bool write_through = false;  // on the medium before it ends
        bool sets_timer = false;     // the count is the standby timer's
    };
    // What the drive is doing while it is busy or moves data.
    enum class Activity : u8 { idle, reading, writing, verifying, flushing, sending, fetching_ranges, trimming };
    enum class Power : u8 { active, standby, sleeping };

    static const Command* find(u8 code);

    // The commands.
    void refuse(const Command& command);
    void read_sectors(const Command& command);
    void write_sectors(const Command& command);
    void verify_sectors(const Command& command);
    void seek(const Command& command);
    void recalibrate(const Command& command);
    void identify_device(const Command& command);
    void flush_cache(const Command& command);
    void set_multiple_mode(const Command& command);
    void initialize_device_parameters(const Command& command);
    void read_native_max_address(const Command& command);
    void set_features(const Command& command);
    void smart(const Command& command);
    void data_set_management(const Command& command);
    void idle(const Command& command);
    void standby(const Command& command);
    void sleep(const Command& command);
    void check_power_mode(const Command& command);

    // Addresses. A failing one ends the command.
    std::optional<u64> address(bool extended) const;
    std::optional<u64> chs_address() const;
    u64 lba28() const;
    u64 lba48() const;
    void put_address(u64 lba);
    void put_lba(u64 lba, bool extended);
    void put_chs(u64 lba);
    bool begin_sectors(const Command& command, Activity activity);
    void fail_sectors(u8 error);
    void end_sectors();

    // Moving sectors.
    u32 next_chunk() const { return remaining_ < kChunkSectors ? remaining_ : kChunkSectors; }
    IdeTransfer towards_host() const { return mode_ == Mode::dma ? IdeTransfer::dma_in : IdeTransfer::pio_in; }
    IdeTransfer from_host() const { return mode_ == Mode::dma ? IdeTransfer::dma_out : IdeTransfer::pio_out; }
    void offer_block();
    void offer_block_with_interrupt();
    void read_chunk();
    void collect_chunk();
    void write_chunk();
    void block_sent();
    void block_received();
    void begin_flush();
    void send(std::span<const u8> data);

    void on_disk(DiskCompletion completion);
    void chunk_read(DiskCompletion completion);
    void chunk_written();
    void chunk_verified();

    bool set_feature(u8 feature);
    void smart_read_log();
    void set_standby_timer(u8 count);
    bool spun_down() const;
    void used();
    void ranges_fetched();
    bool ranges_valid() const;
    void trim_next();

    void use_default_settings();
    void stop();
    void set_geometry(AtaGeometry geometry) { geometry_ = geometry; }
    AtaIdentity identity() const;
    void check_loaded(StateIo& io);
    bool loaded_transfer_sound();

    Log& log_;
    Scheduler& scheduler_;
    std::string name_;
    unsigned number_;
    u64 sectors_;
    bool read_only_;

    // Settings.
    AtaGeometry geometry_;
    u8 multiple_ = 0;
    u8 dma_mode_ = 0;
    bool write_cache_ = true;
    bool look_ahead_ = true;
    bool keep_settings_ = false;  // SET FEATURES 66h: a software reset keeps them
    Power power_ = Power::active;
    u64 standby_after_ = 0;  // guest time without use after which the disk stands by; 0 for never
    u64 last_used_ = 0;
    AtaSmart smart_;

    // The command being done.
    Activity activity_ = Activity::idle;
    Mode mode_ = Mode::none;
    bool extended_ = false;
    bool write_through_ = false;
    u64 lba_ = 0;             // first sector of the chunk under way, or to come
    u32 remaining_ = 0;       // sectors from lba_ on
    u32 chunk_ = 0;           // sectors of the chunk under way
    std::vector<u8> ranges_;  // TRIM: 8 bytes each
    u32 next_range_ = 0;

    DiskQueue queue_;  // last: its completions use all of the above
};

}  // namespace lodge
