// A disk of blocks of 512 bytes: the commands of SBC-3 on top of those of all units.
//
// Data travels between initiator and medium in chunks: a read asks for a chunk of the medium and then offers it, a
// write the other way round. Whatever reads and then writes (COMPARE AND WRITE, ORWRITE) runs alone. UNMAP discards, so
// that the host gets the space back; what is read afterwards is not promised (LBPRZ is 0). WRITE SAME of zeros becomes
// one request to the medium.
#pragma once

#include <algorithm>

#include "disks/scsi/unit.h"

namespace lodge::scsi {

class DirectDisk final : public Unit {
  public:
    static constexpr u32 kBlock = 512;

    DirectDisk(UnitIdentity identity, Medium medium, UnitOptions options);

    u64 blocks() const { return medium()->bytes / kBlock; }

  protected:
    std::span<const Operation> operations() const override;
    std::optional<Sense> not_ready() const override;
    std::vector<u8> vital_page_codes() const override { return {0xB0, 0xB1, 0xB2}; }
    std::optional<std::vector<u8>> vital_page(u8 code) const override;
    std::vector<u16> standards() const override;
    u8 mode_device_parameter() const override;
    std::vector<u8> block_descriptor(bool long_lba) const override;
    std::optional<Sense> select_block_descriptor(std::span<const u8> descriptor, size_t at) override;
    void unit_reset(Reset kind) override;
    void unit_state(StateIo& io) override;

  private:
    // What a command says about blocks.
    struct Range {
        u64 lba = 0;
        u64 count = 0;
    };
    static Range range_of(const Cdb& cdb);

    void add_mode_pages();
    bool write_cache() const { return mode_pages().byte(0x08, 2) & 0x04; }
    // Each ends the command when it answers false.
    bool in_range(Task& task, const Range& range);
    bool may_write(Task& task);
    bool medium_ok(Task& task);
    bool no_protection(Task& task);
    bool begin_range(Task& task);
    bool sends(Task& task, u64 bytes);

    void miscompare(Task& task, u64 offset);
    std::optional<size_t> first_difference(std::span<const u8> a, std::span<const u8> b) const;
    u64 chunk_of(const Task& task) const { return std::min<u64>(task.work.left, options().chunk_bytes); }
    void ask_chunk(Task& task, u8 step);
    void read_chunk(Task& task, u8 step);
    void write_chunk(Task& task, u8 step, std::vector<u8> data);
    static void advance(Task& task, u64 bytes);
    // Ends a command that has written: with a flush where it must be on the medium.
    void end_write(Task& task);

    // direct_disk_transfer.cpp
    void read(Task& task);
    void read_on(Task& task);
    void write(Task& task);
    void write_on(Task& task);
    void verify(Task& task);
    void verify_on(Task& task);
    void compare_and_write(Task& task);
    void compare_and_write_on(Task& task);
    void or_write(Task& task);
    void or_write_on(Task& task);
    void write_same(Task& task);
    void write_same_on(Task& task);
    void same_next(Task& task);
    void unmap(Task& task);
    void unmap_on(Task& task);
    void unmap_next(Task& task);
    std::optional<Sense> unmap_list_wrong(const std::vector<u8>& list) const;
    void format_unit(Task& task);
    void format_unit_on(Task& task);
    void zero_next(Task& task);

    // direct_disk.cpp
    void rezero(Task& task);
    void seek(Task& task);
    void pre_fetch(Task& task);
    void synchronize_cache(Task& task);
    void flushed(Task& task);
    void start_stop(Task& task);
    void start_stop_on(Task& task);
    void read_capacity_10(Task& task);
    void read_capacity_16(Task& task);
    void read_defect_data_10(Task& task);
    void read_defect_data_12(Task& task);
    void get_lba_status(Task& task);
    void get_lba_status_on(Task& task);

    // Limits that the Block Limits page tells (SBC-3 6.6.4).
    static constexpr u8 kMostCompare = 255;           // blocks
    static constexpr u32 kMostUnmap = 0x10'0000;      // blocks of one range, 512 MiB
    static constexpr u32 kMostUnmapRanges = 256;      // of one list
    static constexpr u32 kUnmapGranularity = 8;       // blocks
    static constexpr u32 kMostWriteSame = 0x40'0000;  // blocks

    bool stopped_ = false;
};

}  // namespace lodge::scsi
