// Dynamic and differencing VHDs: blocks are stored once they are written to.
//
// What must hold at every moment, because the process may die between any two writes: the file opens, and what was
// flushed is there. How a block comes to be:
//
//   1. Space for several blocks is reserved (vhd_space.h).
//   2. The data is written into the reserved space, then the bitmap, then the table entry that makes both reachable.
//
// So one flush pays for kReserveBytes of growth, and a process that is killed loses nothing at all. Closing the image
// moves the footer up behind the last block.
//
// A new block's bitmap has all bits set, so its sectors are zeros that are stored and it never needs its bitmap again.
// Blocks of other programs may have bits that are 0: such sectors read as zeros whatever is there (SPEC: they must be
// zero), and a write sets the bits after the data.
//
// A differencing image is the same file with another answer to "what is a sector that is not here": its parent's, or
// zero past the parent's end. Its bitmaps have a bit for each sector that was written here. A sector's data may reach
// the host's disk after the bit that shows it, and then neither the old content nor the new would be there. So bits
// that hide a parent's sectors wait in memory until the data is known to be on the disk: flush() syncs, writes them,
// and syncs again; growth writes those that wait after its own sync. Until then a crash, or a kill, takes a sector back
// to what the parent has: each sector is the old or the new one, and what was flushed is there. Bits are set for
// 4 KiB at a time; what surrounds a write within them comes from the parent with it.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "disks/block_device.h"
#include "disks/file.h"
#include "disks/vhd_layout.h"
#include "disks/vhd_space.h"

namespace lodge {

class VhdDynamic final : public BlockDevice {
  public:
    // `layout` is what read_vhd_layout says of `file`, without fatal problems. `parent` is there if and only if it is a
    // differencing image; it is read only, and must not change.
    VhdDynamic(std::unique_ptr<File> file, VhdLayout layout, bool read_only,
               std::unique_ptr<BlockDevice> parent = nullptr);
    ~VhdDynamic() override;  // as close(), and cannot say if that fails

    u64 size() const override { return layout_.disk_size; }
    bool read_only() const override { return read_only_; }
    std::string describe() const override {
        return file_->name() + (parent_ ? " (differencing VHD)" : " (dynamic VHD)");
    }

    Result<void> read(u64 offset, std::span<u8> into) override;
    bool set_patience(Patience patience) override;
    Result<void> write(u64 offset, std::span<const u8> from) override;
    // As write(), and stored here even where it is what an absent block reads as.
    Result<void> store(u64 offset, std::span<const u8> from);
    Result<void> flush() override;
    Result<void> discard(u64 offset, u64 length) override;
    Result<void> zero(u64 offset, u64 length) override;
    Result<Extent> extent(u64 offset) override;

    // Writes the bits that wait, gives unused reserved space back, puts the footer behind the last block, and flushes:
    // whoever opens the image next, or makes a child of it, does not know what this one has not.
    Result<void> close();

    // The run of sectors from `offset` on that are stored in this file, or are not; as extent(). Of a differencing
    // image those are the sectors that hide the parent's. `zero` is set where they are not.
    Result<Extent> stored_extent(u64 offset);
    // What the range would read as if nothing of it were stored here.
    Result<void> read_inherited(u64 offset, std::span<u8> into) { return read_absent(offset, into); }
    // Differencing: where absent sectors come from.
    BlockDevice& parent() { return *parent_; }
    // As the file is now.
    const VhdLayout& layout() const { return layout_; }

    // While an image is being made, and nobody can see it, it needs no flush for growth.
    void grow_without_flush() { space_.work_without_flush(); }

  private:
    // A part of a request that lies within one block.
    struct Piece {
        u32 block;
        u32 begin;  // byte within the block
        u32 length;
    };
    enum class Bits : u8 { unknown, all_set, mixed };
    using Bitmap = std::vector<u8>;
    // Of a block with Bits::mixed, or with bits that are not in the file yet.
    struct KnownBitmap {
        Bitmap bits;
        bool waiting = false;  // differs from the file's
    };

    Piece piece_at(u64 offset, u64 length) const;
    bool stored(u32 block) const { return layout_.table[block] != kVhdUnusedBlock; }
    u64 bitmap_offset(u32 block) const { return u64{layout_.table[block]} * 512; }
    u64 data_offset(u32 block) const { return bitmap_offset(block) + layout_.bitmap_size; }
    u64 begin_of(u32 block) const { return u64{block} * layout_.header.block_size; }  // on the disk
    u64 offset_of(Piece piece) const { return begin_of(piece.block) + piece.begin; }

    Result<void> read_piece(Piece piece, std::span<u8> into);
    Result<void> read_mixed(Piece piece, std::span<u8> into, const Bitmap& bitmap);
    Result<void> read_absent(u64 offset, std::span<u8> into);
    Result<bool> absent_is_zero(u64 offset, u64 length);
    Result<void> write_piece(Piece piece, std::span<const u8> from);
    Result<void> store_piece(Piece piece, std::span<const u8> from);
    Result<void> write_mixed(Piece piece, std::span<const u8> from);
    Piece whole_grains(Piece piece) const;
    Result<void> complete_edges(Piece piece);
    Result<void> store_absent(u32 block, u32 sector, u32 end);
    Result<void> set_bits(Piece written);
    Result<void> zero_piece(Piece piece);
    Result<void> hide_with_zeros(Piece piece);

    Result<void> add_block(Piece piece, std::span<const u8> from);
    Result<void> add_empty_block(u32 block);
    Result<u64> place_for_block();
    Result<void> fill_block(u64 at, Piece piece, std::span<const u8> from);
    Result<void> enter_block(u32 block, u64 at, Bits bits);
    Result<void> write_table_entry(u32 block, u32 sector);
    Result<void> reserve(u64 at);
    Error full(u64 end) const;

    // The block's bitmap, or nullptr where all bits are set.
    Result<const Bitmap*> mixed_bitmap(u32 block);
    Result<void> make_room_for_bitmap();
    // Writes the bits that wait. The data that they show is on the host's disk.
    Result<void> write_waiting_bits();
    Result<void> sync_and_write_bits();
    bool covers_block(const Bitmap& bitmap, u32 block) const;
    u32 sectors_of(u32 block) const;

    std::unique_ptr<File> file_;
    VhdLayout layout_;  // table, append_offset and footer_offset are kept up to date
    bool read_only_;
    Patience patience_ = Patience::wait;
    bool unflushed_ = false;  // something was written since the last flush
    VhdSpace space_;
    std::unique_ptr<BlockDevice> parent_;
    std::vector<Bits> bits_;                        // per block
    std::unordered_map<u32, KnownBitmap> bitmaps_;  // a bounded cache
    std::vector<u32> waiting_;                      // blocks whose bitmap has `waiting`
    Bitmap all_set_;                                // of a new block without a parent
};

// Makes `file`, which is empty, a dynamic VHD without blocks, or a differencing one where there is a `parent`. The
// block size is a power of two within the limits of vhd_format.h and such that the disk has at most kVhdMostBlocks;
// `footer` is of the type that it is to be (usage otherwise).
Result<void> create_vhd_dynamic(File& file, const VhdFooter& footer, u32 block_size,
                                const VhdParentLink* parent = nullptr);

}  // namespace lodge
