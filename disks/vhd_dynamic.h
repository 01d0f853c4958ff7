// A dynamic VHD: blocks are stored once they are written to.
//
// What must hold at every moment, because the process may die between any two writes: the file opens, and what was
// flushed is there. How a block comes to be:
//
//   1. Space for several blocks is reserved: the footer is written again behind it (the old one is still in place), the
//      space is zeroed, the file is flushed. From here on no table entry can point past the end of the file, whatever
//      order the host writes the rest in, and the file always ends with a footer.
//   2. The data is written into the reserved space, then the bitmap, then the table entry that makes both reachable.
//
// So one flush pays for kReserveBytes of growth, and a process that is killed loses nothing at all. Closing the image
// moves the footer up behind the last block. Of a killed process unused space stays in front of the footer, which the
// format allows (Windows leaves some too); the next growth uses it.
//
// A new block's bitmap has all bits set, so its sectors are zeros that are stored and it never needs its bitmap again.
// Blocks of other programs may have bits that are 0: such sectors read as zeros whatever is there (SPEC: they must be
// zero), and a write sets the bits after the data.
//
// A differencing image is the same file with another answer to "what is a sector that is not here": a driver for it
// shares the layout and this growth, reads absent sectors from its parent, and must set the bits of written sectors
// only.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "disks/block_device.h"
#include "disks/file.h"
#include "disks/vhd_layout.h"

namespace lodge {

class VhdDynamic final : public BlockDevice {
  public:
    // `layout` is what read_vhd_layout says of `file`, without fatal problems.
    VhdDynamic(std::unique_ptr<File> file, VhdLayout layout, bool read_only);
    ~VhdDynamic() override;  // gives unused space back, and cannot say if that fails

    u64 size() const override { return layout_.disk_size; }
    bool read_only() const override { return read_only_; }
    std::string describe() const override { return file_->name() + " (dynamic VHD)"; }

    Result<void> read(u64 offset, std::span<u8> into) override;
    Result<void> write(u64 offset, std::span<const u8> from) override;
    Result<void> flush() override;
    Result<void> discard(u64 offset, u64 length) override;
    Result<void> zero(u64 offset, u64 length) override;
    Result<Extent> extent(u64 offset) override;

    // Gives unused reserved space back and puts the footer behind the last block.
    Result<void> give_back_reserve();

    // While an image is being made, and nobody can see it, it needs no flush for growth.
    void grow_without_flush() { flush_growth_ = false; }

  private:
    // A part of a request that lies within one block.
    struct Piece {
        u32 block;
        u32 begin;  // byte within the block
        u32 length;
    };
    enum class Bits : u8 { unknown, all_set, mixed };
    using Bitmap = std::vector<u8>;

    Piece piece_at(u64 offset, u64 length) const;
    bool stored(u32 block) const { return layout_.table[block] != kVhdUnusedBlock; }
    u64 bitmap_offset(u32 block) const { return u64{layout_.table[block]} * 512; }
    u64 data_offset(u32 block) const { return bitmap_offset(block) + layout_.bitmap_size; }

    Result<void> read_piece(Piece piece, std::span<u8> into);
    Result<void> read_mixed(Piece piece, std::span<u8> into, const Bitmap& bitmap);
    Result<void> write_piece(Piece piece, std::span<const u8> from);
    Result<void> write_mixed(Piece piece, std::span<const u8> from, Bitmap& bitmap);
    Result<void> zero_piece(Piece piece);

    Result<void> add_block(Piece piece, std::span<const u8> from);
    Result<void> fill_block(u64 at, Piece piece, std::span<const u8> from);
    Result<void> write_table_entry(u32 block, u32 sector);
    Result<void> reserve(u64 at);
    Result<void> append_footer(u64 offset);
    Error full(u64 end) const;

    // The block's bitmap, or nullptr where all bits are set.
    Result<Bitmap*> mixed_bitmap(u32 block);
    bool covers_block(const Bitmap& bitmap, u32 block) const;
    u32 sectors_of(u32 block) const;

    std::unique_ptr<File> file_;
    VhdLayout layout_;  // table, append_offset and footer_offset are kept up to date
    bool read_only_;
    bool flush_growth_ = true;
    bool grown_ = false;                       // the footer may not be where it belongs
    u64 reserved_end_ = 0;                     // from append_offset to here the file is ours and zero
    std::vector<Bits> bits_;                   // per block
    std::unordered_map<u32, Bitmap> bitmaps_;  // of blocks with Bits::mixed, as in the file; a bounded cache
    Bitmap all_set_;                           // of a new block
};

// Makes `file`, which is empty, a dynamic VHD without blocks. The block size is a power of two within the limits of
// vhd_format.h and such that the disk has at most kVhdMostBlocks; `footer` is a dynamic disk's (usage otherwise).
Result<void> create_vhd_dynamic(File& file, const VhdFooter& footer, u32 block_size);

}  // namespace lodge
