// Changes to the structure of a dynamic or differencing VHD in place: its header, its table, where its blocks are.
//
// Every change is made beside what is in force, flushed, and then put in force by one write within one sector, which a
// disk does whole or not at all: a table entry for a block that moved, the footer at the end of the file for a new
// header. The file's other records follow when they are in nobody's way. So a crash at any write leaves the image as it
// was before a change or as it is after it; at most the copy of the footer is out of date, which `lodge disk check`
// says, and space is unused.
#pragma once

#include <functional>
#include <memory>

#include "disks/file.h"
#include "disks/vhd_layout.h"
#include "disks/vhd_space.h"

namespace lodge {

class VhdEditor {
  public:
    // `file` is open for writing and belongs to the caller, as long as the editor lives. Errors: those of
    // read_vhd_layout; bad_format where there is any problem, which a repair should come before; usage for a fixed disk
    // and for one with a machine's saved state (SPEC: such must not be changed behind that machine's back).
    static Result<std::unique_ptr<VhdEditor>> open(File& file, VhdSizeRule rule);
    // As above for a layout that is known, and in memory perhaps ahead of the file's.
    VhdEditor(File& file, VhdLayout layout) : file_(file), layout_(std::move(layout)), space_(file_, layout_) {}
    VhdEditor(const VhdEditor&) = delete;
    VhdEditor& operator=(const VhdEditor&) = delete;

    const VhdLayout& layout() const { return layout_; }

    // The blocks are unused from now on.
    Result<void> drop_blocks(const std::vector<u32>& blocks);
    // Moves blocks from the end of the file to where it has room. `progress` as copy_disk's, in bytes of the file;
    // where it stops, the blocks moved so far are in place, and that is no error.
    Result<void> pack(const std::function<bool(u64 done, u64 total)>& progress);
    // Makes room for a table of so many blocks, unused ones beyond those of now, and puts it into the layout that is in
    // memory: table, header.max_table_entries, header.table_offset. replace_records puts that in force.
    Result<void> extend_table(u32 blocks);
    // Entries from `block` on become unused in the file, up to the end of the table's last sector.
    Result<void> clear_table_from(u32 block);
    // Puts a header and a footer in force together. The footer's data_offset stays what it was.
    Result<void> replace_records(const VhdHeader& header, const VhdFooter& footer);
    // Puts another parent in force.
    Result<void> replace_parent(const VhdParentLink& parent);
    // Ends the file behind its last record. The last call.
    Result<void> finish() { return space_.give_back(true); }

  private:
    struct Run {
        u64 begin;
        u64 end;
        u32 block;  // kVhdUnusedBlock for what is not a block
    };
    struct Move {
        u32 block;
        u64 to;
    };

    std::vector<Run> occupied() const;
    std::vector<Move> plan_moves() const;
    Result<void> make(const std::vector<Move>& moves);
    Result<void> move_to_end(const std::vector<u32>& blocks);
    Result<void> copy_block(u32 block, u64 to);
    u64 copied_size(u32 block) const;
    Result<void> write_entry(u32 block, u32 entry);
    Result<void> write_footers(const VhdFooter& footer);
    Result<void> put_parent(const VhdParentLink& parent, u64 place);
    u64 place_after(u64 offset) const;
    void find_append_offset();

    File& file_;
    VhdLayout layout_;
    VhdSpace space_;
};

}  // namespace lodge
