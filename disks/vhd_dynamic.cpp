#include "disks/vhd_dynamic.h"

#include <algorithm>
#include <cassert>

#include "disks/range.h"

namespace lodge {

namespace {

constexpr u64 kReserveBytes = 64 * kMiB;      // growth per flush
constexpr u64 kDataAlignment = 4 * kKiB;      // a guest's 4 KiB write touches one page of the host's cache, not two
constexpr u64 kBitmapCacheBytes = 16 * kMiB;  // of mixed bitmaps in memory
constexpr u64 kMostFileSize = u64{0xFFFFFFFF} * 512;  // a table entry counts sectors in 32 bits

// SPEC: the first sector of a byte is its highest bit.
bool sector_bit(const std::vector<u8>& bitmap, u32 sector) {
    return bitmap[sector / 8] & (0x80 >> (sector % 8));
}

void set_sector_bit(std::vector<u8>& bitmap, u32 sector) {
    bitmap[sector / 8] |= static_cast<u8>(0x80 >> (sector % 8));
}

std::vector<u8> bitmap_with_all_set(u32 bitmap_size, u32 sectors) {
    std::vector<u8> bitmap(bitmap_size);
    std::fill_n(bitmap.begin(), sectors / 8, u8{0xFF});
    for (u32 sector = sectors / 8 * 8; sector < sectors; ++sector) set_sector_bit(bitmap, sector);
    return bitmap;
}

}  // namespace

VhdDynamic::VhdDynamic(std::unique_ptr<File> file, VhdLayout layout, bool read_only)
    : file_(std::move(file)),
      layout_(std::move(layout)),
      read_only_(read_only),
      bits_(layout_.table.size(), Bits::unknown),
      all_set_(bitmap_with_all_set(layout_.bitmap_size, layout_.header.block_size / 512)) {
    assert(!layout_.first_fatal());
}

VhdDynamic::~VhdDynamic() {
    // Nothing is lost where this fails: the footer further back stays good.
    if (auto done = give_back_reserve(); !done) return;
}

VhdDynamic::Piece VhdDynamic::piece_at(u64 offset, u64 length) const {
    const u32 block_size = layout_.header.block_size;
    const u32 begin = static_cast<u32>(offset % block_size);
    return {static_cast<u32>(offset / block_size), begin, static_cast<u32>(std::min<u64>(length, block_size - begin))};
}

// Sectors of the block that belong to the disk: fewer in the last one.
u32 VhdDynamic::sectors_of(u32 block) const {
    const u64 begin = u64{block} * layout_.header.block_size;
    return static_cast<u32>(std::min<u64>(layout_.header.block_size, layout_.disk_size - begin) / 512);
}

bool VhdDynamic::covers_block(const Bitmap& bitmap, u32 block) const {
    const u32 sectors = sectors_of(block);
    if (std::any_of(bitmap.begin(), bitmap.begin() + sectors / 8, [](u8 byte) { return byte != 0xFF; })) return false;
    for (u32 sector = sectors / 8 * 8; sector < sectors; ++sector)
        if (!sector_bit(bitmap, sector)) return false;
    return true;
}

Result<VhdDynamic::Bitmap*> VhdDynamic::mixed_bitmap(u32 block) {
    if (bits_[block] == Bits::all_set) return nullptr;
    if (const auto found = bitmaps_.find(block); found != bitmaps_.end()) return &found->second;
    Bitmap bitmap(layout_.bitmap_size);
    LODGE_TRY(file_->read(bitmap_offset(block), bitmap));
    bits_[block] = covers_block(bitmap, block) ? Bits::all_set : Bits::mixed;
    if (bits_[block] == Bits::all_set) return nullptr;
    // All in the cache is on the disk too, so it can go at any time.
    if (bitmaps_.size() * layout_.bitmap_size >= kBitmapCacheBytes) bitmaps_.clear();
    return &bitmaps_.emplace(block, std::move(bitmap)).first->second;
}

Result<void> VhdDynamic::read(u64 offset, std::span<u8> into) {
    LODGE_TRY(check_range(*this, offset, into.size()));
    while (!into.empty()) {
        const Piece piece = piece_at(offset, into.size());
        LODGE_TRY(read_piece(piece, into.first(piece.length)));
        into = into.subspan(piece.length);
        offset += piece.length;
    }
    return {};
}

Result<void> VhdDynamic::read_piece(Piece piece, std::span<u8> into) {
    if (!stored(piece.block)) {
        std::fill(into.begin(), into.end(), u8{0});
        return {};
    }
    auto bitmap = mixed_bitmap(piece.block);
    if (!bitmap) return bitmap.error();
    if (*bitmap) return read_mixed(piece, into, **bitmap);
    return file_->read(data_offset(piece.block) + piece.begin, into);
}

Result<void> VhdDynamic::read_mixed(Piece piece, std::span<u8> into, const Bitmap& bitmap) {
    const u32 end = piece.begin + piece.length;
    for (u32 at = piece.begin; at < end;) {
        const bool here = sector_bit(bitmap, at / 512);
        u32 run_end = at / 512 * 512 + 512;
        while (run_end < end && sector_bit(bitmap, run_end / 512) == here) run_end += 512;
        run_end = std::min(run_end, end);
        const auto part = into.subspan(at - piece.begin, run_end - at);
        if (here) {
            LODGE_TRY(file_->read(data_offset(piece.block) + at, part));
        } else {
            std::fill(part.begin(), part.end(), u8{0});
        }
        at = run_end;
    }
    return {};
}

Result<void> VhdDynamic::write(u64 offset, std::span<const u8> from) {
    LODGE_TRY(check_writable(*this, offset, from.size()));
    while (!from.empty()) {
        const Piece piece = piece_at(offset, from.size());
        LODGE_TRY(write_piece(piece, from.first(piece.length)));
        from = from.subspan(piece.length);
        offset += piece.length;
    }
    return {};
}

Result<void> VhdDynamic::write_piece(Piece piece, std::span<const u8> from) {
    if (!stored(piece.block)) return all_zero(from) ? Result<void>{} : add_block(piece, from);
    auto bitmap = mixed_bitmap(piece.block);
    if (!bitmap) return bitmap.error();
    if (*bitmap) return write_mixed(piece, from, **bitmap);
    return file_->write(data_offset(piece.block) + piece.begin, from);
}

// Data first, then the bits that say it is there.
Result<void> VhdDynamic::write_mixed(Piece piece, std::span<const u8> from, Bitmap& bitmap) {
    static constexpr std::array<u8, 512> kZeros{};
    const u64 data = data_offset(piece.block);
    const u32 end = piece.begin + piece.length;
    Bitmap with_bits = bitmap;
    for (u32 sector = piece.begin / 512; sector <= (end - 1) / 512; ++sector) {
        if (sector_bit(bitmap, sector)) continue;
        set_sector_bit(with_bits, sector);
        // What surrounds a part of a sector becomes visible with it and has to be zero.
        const bool whole = sector * 512 >= piece.begin && sector * 512 + 512 <= end;
        if (!whole) LODGE_TRY(file_->write(data + sector * u64{512}, kZeros));
    }
    LODGE_TRY(file_->write(data + piece.begin, from));
    if (with_bits == bitmap) return {};
    LODGE_TRY(file_->write(bitmap_offset(piece.block), with_bits));
    bitmap = std::move(with_bits);
    if (!covers_block(bitmap, piece.block)) return {};
    bits_[piece.block] = Bits::all_set;
    bitmaps_.erase(piece.block);
    return {};
}

Result<void> VhdDynamic::add_block(Piece piece, std::span<const u8> from) {
    const u64 at = align_up(layout_.append_offset + layout_.bitmap_size, kDataAlignment) - layout_.bitmap_size;
    const u64 end = at + layout_.stored_block_size();
    if (end > kMostFileSize) return full(end);
    if (reserved_end_ < end) LODGE_TRY(reserve(at));
    if (auto filled = fill_block(at, piece, from); !filled) {
        reserved_end_ = 0;  // no longer known to be zero: the next attempt reserves, and zeroes, anew
        return filled;
    }
    layout_.append_offset = end;  // even if the entry fails: nobody knows what of it reached the file
    LODGE_TRY(write_table_entry(piece.block, static_cast<u32>(at / 512)));
    layout_.table[piece.block] = static_cast<u32>(at / 512);
    bits_[piece.block] = Bits::all_set;
    return {};
}

Result<void> VhdDynamic::fill_block(u64 at, Piece piece, std::span<const u8> from) {
    LODGE_TRY(file_->write(at + layout_.bitmap_size + piece.begin, from));
    return file_->write(at, all_set_);
}

Result<void> VhdDynamic::write_table_entry(u32 block, u32 sector) {
    std::array<u8, 4> entry;
    store_big_endian<u32>(entry.data(), sector);
    return file_->write(layout_.header.table_offset + u64{block} * 4, entry);
}

Error VhdDynamic::full(u64 end) const {
    return Error{ErrorKind::no_space, describe() + ": cannot grow to " + std::to_string(end) +
                                          " bytes, since a VHD file ends below 2 TiB; convert it to a new file"};
}

// Makes room for a block at byte `at`, and for some more behind it: part of the file, zero, a footer somewhere behind.
Result<void> VhdDynamic::reserve(u64 at) {
    const u64 begin = layout_.append_offset;
    const u64 stride = align_up(layout_.stored_block_size(), kDataAlignment);
    const u64 blocks = std::max<u64>(1, kReserveBytes / stride);
    const u64 end = std::min(at + blocks * stride, kMostFileSize);
    grown_ = true;
    const bool footer_in_the_way = !layout_.footer_at_end || layout_.footer_offset < end;
    // Stray bytes and the old footer. What the file does not have yet will be zero.
    const u64 old_end = std::min(layout_.file_size, end);
    // The new footer goes behind whatever is there, so that the last bytes of the file are a footer before and after.
    if (footer_in_the_way)
        LODGE_TRY(append_footer(align_up(std::max(end, layout_.footer_at_end ? 0 : layout_.file_size), 512)));
    if (begin < old_end) LODGE_TRY(file_->zero(begin, old_end - begin, HostSpace::release));
    if (flush_growth_) LODGE_TRY(file_->sync());
    reserved_end_ = end;
    return {};
}

Result<void> VhdDynamic::append_footer(u64 offset) {
    if (auto written = file_->write(offset, layout_.footer_bytes); !written) {
        // A part of it must not become the end of the file.
        if (auto cut = file_->truncate(layout_.file_size); !cut) return cut;
        return written;
    }
    layout_.footer_offset = offset;
    layout_.footer_at_end = true;
    layout_.file_size = offset + kVhdFooterSize;
    return {};
}

Result<void> VhdDynamic::give_back_reserve() {
    if (!grown_ || layout_.footer_offset == layout_.append_offset) return {};
    reserved_end_ = 0;
    // The new footer must be on the disk before the one that it replaces is cut off.
    LODGE_TRY(file_->write(layout_.append_offset, layout_.footer_bytes));
    if (flush_growth_) LODGE_TRY(file_->sync());
    LODGE_TRY(file_->truncate(layout_.append_offset + kVhdFooterSize));
    layout_.footer_offset = layout_.append_offset;
    layout_.file_size = layout_.footer_offset + kVhdFooterSize;
    grown_ = false;
    return {};
}

Result<void> VhdDynamic::flush() {
    return read_only_ ? Result<void>{} : file_->sync();
}

Result<void> VhdDynamic::zero(u64 offset, u64 length) {
    LODGE_TRY(check_writable(*this, offset, length));
    while (length > 0) {
        const Piece piece = piece_at(offset, length);
        if (stored(piece.block)) LODGE_TRY(zero_piece(piece));
        length -= piece.length;
        offset += piece.length;
    }
    return {};
}

// Sectors whose bit is 0 read as zeros already, and lose nothing by it.
Result<void> VhdDynamic::zero_piece(Piece piece) {
    return file_->zero(data_offset(piece.block) + piece.begin, piece.length, HostSpace::release);
}

Result<void> VhdDynamic::discard(u64 offset, u64 length) {
    return zero(offset, length);
}

Result<Extent> VhdDynamic::extent(u64 offset) {
    LODGE_TRY(check_range(*this, offset, 1));
    const Piece first = piece_at(offset, layout_.disk_size - offset);
    u64 length = first.length;
    if (stored(first.block)) {
        // A block of zeros is a hole in many a file.
        auto extent = file_->extent(data_offset(first.block) + first.begin);
        if (!extent) return extent;
        return Extent{std::min(extent->length, length), extent->zero};
    }
    for (u32 block = first.block + 1; block < layout_.table.size() && !stored(block); ++block)
        length += layout_.header.block_size;
    return Extent{std::min(length, layout_.disk_size - offset), true};
}

Result<void> create_vhd_dynamic(File& file, const VhdFooter& footer, u32 block_size) {
    const u64 blocks = vhd_block_count(footer.current_size, block_size);
    if (blocks > kVhdMostBlocks)
        return Error{ErrorKind::usage,
                     file.name() + ": " + std::to_string(blocks) + " blocks of " + std::to_string(block_size) +
                         " bytes are too many (most: " + std::to_string(kVhdMostBlocks) + "); use larger blocks"};
    VhdHeader header;
    header.table_offset = kVhdFooterSize + kVhdHeaderSize;
    header.max_table_entries = static_cast<u32>(blocks);
    header.block_size = block_size;
    // SPEC: the table fills whole sectors; unused entries are all ones.
    const std::vector<u8> table(align_up(blocks * 4, 512), 0xFF);
    const auto record = build_vhd_footer(footer);
    LODGE_TRY(file.write(0, record));
    LODGE_TRY(file.write(kVhdFooterSize, build_vhd_header(header)));
    LODGE_TRY(file.write(header.table_offset, table));
    return file.write(header.table_offset + table.size(), record);
}

}  // namespace lodge
