#include "disks/vhd_dynamic.h"

#include <algorithm>
#include <cassert>

#include "disks/range.h"

namespace lodge {

namespace {

constexpr u64 kReserveBytes = 64 * kMiB;       // growth per flush
constexpr u64 kDataAlignment = 4 * kKiB;       // a guest's 4 KiB write touches one page of the host's cache, not two
constexpr u64 kBitmapCacheBytes = 16 * kMiB;   // of mixed bitmaps in memory
constexpr u64 kRoomForLongerPaths = 2 * kKiB;  // so that a rebase can put its parent's paths where they belong
// In a differencing image bits are set by whole bytes of the bitmap. libvhdi (seen in 20210425) takes a sector for
// stored whose bit is 0 if an earlier one of the same byte is 1; and 4 KiB are what guests write at least.
constexpr u32 kGrainOverParent = 8 * kSectorSize;
constexpr u64 kMostFileSize = u64{0xFFFFFFFF} * 512;  // a table entry counts sectors in 32 bits

// SPEC: the first sector of a byte is its highest bit.
bool sector_bit(const std::vector<u8>& bitmap, u32 sector) {
    return bitmap[sector / 8] & (0x80 >> (sector % 8));
}

void set_sector_bit(std::vector<u8>& bitmap, u32 sector) {
    bitmap[sector / 8] |= static_cast<u8>(0x80 >> (sector % 8));
}

// The first sector from `sector` on, below `end`, whose bit is another; `end` where there is none.
u32 end_of_run(const std::vector<u8>& bitmap, u32 sector, u32 end) {
    const bool value = sector_bit(bitmap, sector);
    const u8 whole = value ? 0xFF : 0;
    while (sector < end) {
        if (sector % 8 == 0 && end - sector >= 8 && bitmap[sector / 8] == whole) {
            sector += 8;
        } else if (sector_bit(bitmap, sector) == value) {
            ++sector;
        } else {
            break;
        }
    }
    return sector;
}

std::vector<u8> bitmap_with_all_set(u32 bitmap_size, u32 sectors) {
    std::vector<u8> bitmap(bitmap_size);
    std::fill_n(bitmap.begin(), sectors / 8, u8{0xFF});
    for (u32 sector = sectors / 8 * 8; sector < sectors; ++sector) set_sector_bit(bitmap, sector);
    return bitmap;
}

}  // namespace

VhdDynamic::VhdDynamic(std::unique_ptr<File> file, VhdLayout layout, bool read_only,
                       std::unique_ptr<BlockDevice> parent)
    : file_(std::move(file)),
      layout_(std::move(layout)),
      read_only_(read_only),
      space_(*file_, layout_),
      parent_(std::move(parent)),
      bits_(layout_.table.size(), Bits::unknown),
      all_set_(bitmap_with_all_set(layout_.bitmap_size, layout_.header.block_size / 512)) {
    assert(!layout_.first_fatal());
    assert((layout_.footer.type == VhdType::differencing) == (parent_ != nullptr));
}

VhdDynamic::~VhdDynamic() {
    // Nothing that was flushed is lost where this fails: the footer further back stays good.
    if (auto done = close(); !done) return;
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

Result<const VhdDynamic::Bitmap*> VhdDynamic::mixed_bitmap(u32 block) {
    if (bits_[block] == Bits::all_set) return nullptr;
    if (const auto found = bitmaps_.find(block); found != bitmaps_.end()) return &found->second.bits;
    Bitmap bitmap(layout_.bitmap_size);
    LODGE_TRY(file_->read(bitmap_offset(block), bitmap));
    bits_[block] = covers_block(bitmap, block) ? Bits::all_set : Bits::mixed;
    if (bits_[block] == Bits::all_set) return nullptr;
    LODGE_TRY(make_room_for_bitmap());
    return &bitmaps_.emplace(block, KnownBitmap{std::move(bitmap)}).first->second.bits;
}

// What does not wait is in the file too, and can go at any time.
Result<void> VhdDynamic::make_room_for_bitmap() {
    if (bitmaps_.size() * layout_.bitmap_size < kBitmapCacheBytes) return {};
    if (!waiting_.empty() && patience_ == Patience::none) return Error{ErrorKind::would_wait, {}};
    if (!waiting_.empty()) LODGE_TRY(sync_and_write_bits());
    bitmaps_.clear();
    return {};
}

Result<void> VhdDynamic::sync_and_write_bits() {
    LODGE_TRY(space_.sync());
    return write_waiting_bits();
}

Result<void> VhdDynamic::write_waiting_bits() {
    while (!waiting_.empty()) {
        const u32 block = waiting_.back();
        const auto known = bitmaps_.find(block);
        LODGE_TRY(file_->write(bitmap_offset(block), known->second.bits));
        known->second.waiting = false;
        waiting_.pop_back();
        if (bits_[block] == Bits::all_set) bitmaps_.erase(known);
    }
    return {};
}

bool VhdDynamic::set_patience(Patience patience) {
    if (!file_->set_patience(patience)) return false;
    if (parent_ && !parent_->set_patience(patience)) {
        file_->set_patience(Patience::wait);
        return false;
    }
    patience_ = patience;
    return true;
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
    if (!stored(piece.block)) return read_absent(offset_of(piece), into);
    auto bitmap = mixed_bitmap(piece.block);
    if (!bitmap) return bitmap.error();
    if (*bitmap) return read_mixed(piece, into, **bitmap);
    return file_->read(data_offset(piece.block) + piece.begin, into);
}

// What no block of this file has: the parent's as far as it goes, then zeros.
Result<void> VhdDynamic::read_absent(u64 offset, std::span<u8> into) {
    const u64 end = parent_ ? parent_->size() : 0;
    const size_t inherited = offset >= end ? 0 : static_cast<size_t>(std::min<u64>(into.size(), end - offset));
    std::fill(into.begin() + static_cast<std::ptrdiff_t>(inherited), into.end(), u8{0});
    return inherited == 0 ? Result<void>{} : parent_->read(offset, into.first(inherited));
}

// Whether it is known, without reading it.
Result<bool> VhdDynamic::absent_is_zero(u64 offset, u64 length) {
    if (!parent_) return true;
    const u64 end = std::min(offset + length, parent_->size());
    while (offset < end) {
        const auto extent = parent_->extent(offset);
        if (!extent) return extent.error();
        if (!extent->zero) return false;
        offset += extent->length;
    }
    return true;
}

Result<void> VhdDynamic::read_mixed(Piece piece, std::span<u8> into, const Bitmap& bitmap) {
    const u32 end = piece.begin + piece.length;
    for (u32 at = piece.begin; at < end;) {
        const bool here = sector_bit(bitmap, at / 512);
        const u32 run_end = std::min(end_of_run(bitmap, at / 512, (end + 511) / 512) * 512, end);
        const auto part = into.subspan(at - piece.begin, run_end - at);
        LODGE_TRY(here ? file_->read(data_offset(piece.block) + at, part)
                       : read_absent(begin_of(piece.block) + at, part));
        at = run_end;
    }
    return {};
}

Result<void> VhdDynamic::write(u64 offset, std::span<const u8> from) {
    LODGE_TRY(check_writable(*this, offset, from.size()));
    unflushed_ = true;
    while (!from.empty()) {
        const Piece piece = piece_at(offset, from.size());
        LODGE_TRY(write_piece(piece, from.first(piece.length)));
        from = from.subspan(piece.length);
        offset += piece.length;
    }
    return {};
}

Result<void> VhdDynamic::store(u64 offset, std::span<const u8> from) {
    LODGE_TRY(check_writable(*this, offset, from.size()));
    unflushed_ = true;
    while (!from.empty()) {
        const Piece piece = piece_at(offset, from.size());
        LODGE_TRY(store_piece(piece, from.first(piece.length)));
        from = from.subspan(piece.length);
        offset += piece.length;
    }
    return {};
}

Result<void> VhdDynamic::write_piece(Piece piece, std::span<const u8> from) {
    if (!stored(piece.block) && all_zero(from)) {
        const auto zero = absent_is_zero(offset_of(piece), piece.length);
        if (!zero) return zero.error();
        if (*zero) return {};
    }
    return store_piece(piece, from);
}

Result<void> VhdDynamic::store_piece(Piece piece, std::span<const u8> from) {
    if (!stored(piece.block)) {
        if (!parent_) return add_block(piece, from);
        LODGE_TRY(add_empty_block(piece.block));
    }
    auto bitmap = mixed_bitmap(piece.block);
    if (!bitmap) return bitmap.error();
    if (*bitmap) return write_mixed(piece, from);
    return file_->write(data_offset(piece.block) + piece.begin, from);
}

// Data first, then the bits that say it is there.
Result<void> VhdDynamic::write_mixed(Piece piece, std::span<const u8> from) {
    LODGE_TRY(complete_edges(piece));
    LODGE_TRY(file_->write(data_offset(piece.block) + piece.begin, from));
    return set_bits(piece);
}

// The piece with what becomes visible together with it.
VhdDynamic::Piece VhdDynamic::whole_grains(Piece piece) const {
    const u32 grain = parent_ ? kGrainOverParent : kSectorSize;
    const u32 begin = piece.begin / grain * grain;
    const u32 end =
        std::min((piece.begin + piece.length + grain - 1) / grain * grain, sectors_of(piece.block) * kSectorSize);
    return {piece.block, begin, end - begin};
}

// What surrounds the piece within its grains must be there too.
Result<void> VhdDynamic::complete_edges(Piece piece) {
    const Piece whole = whole_grains(piece);
    const u32 end = piece.begin + piece.length;
    LODGE_TRY(store_absent(piece.block, whole.begin / kSectorSize, (piece.begin + kSectorSize - 1) / kSectorSize));
    return store_absent(piece.block, end / kSectorSize, (whole.begin + whole.length) / kSectorSize);
}

// Of these sectors, less than a grain, those whose bit is 0 get the data that they are read with. Their bits stay 0.
Result<void> VhdDynamic::store_absent(u32 block, u32 sector, u32 end) {
    std::array<u8, kGrainOverParent> buffer;
    while (sector < end) {
        const auto bitmap = mixed_bitmap(block);
        if (!bitmap) return bitmap.error();
        const u32 run_end = end_of_run(**bitmap, sector, end);
        if (!sector_bit(**bitmap, sector)) {
            const auto bytes = std::span(buffer).first((run_end - sector) * kSectorSize);
            LODGE_TRY(read_absent(begin_of(block) + sector * u64{kSectorSize}, bytes));
            LODGE_TRY(file_->write(data_offset(block) + sector * u64{kSectorSize}, bytes));
        }
        sector = run_end;
    }
    return {};
}

// The piece, whose block has a mixed bitmap, is stored now.
Result<void> VhdDynamic::set_bits(Piece written) {
    const Piece piece = whole_grains(written);
    auto known = mixed_bitmap(piece.block);  // there since the caller asked, but not if the cache was emptied
    if (!known) return known.error();
    const u32 first = piece.begin / 512, last = (piece.begin + piece.length - 1) / 512;
    if (end_of_run(**known, first, last + 1) > last && sector_bit(**known, first)) return {};
    KnownBitmap& bitmap = bitmaps_.at(piece.block);
    Bitmap with_bits = bitmap.bits;
    for (u32 sector = first; sector <= last; ++sector) set_sector_bit(with_bits, sector);
    // What a dynamic image's bit hid was zero, and so is what it shows until the data has reached the host's disk.
    if (!parent_) LODGE_TRY(file_->write(bitmap_offset(piece.block), with_bits));
    bitmap.bits = std::move(with_bits);
    if (parent_ && !bitmap.waiting) {
        bitmap.waiting = true;
        waiting_.push_back(piece.block);
    }
    if (!covers_block(bitmap.bits, piece.block)) return {};
    bits_[piece.block] = Bits::all_set;
    if (!bitmap.waiting) bitmaps_.erase(piece.block);
    return {};
}

Result<void> VhdDynamic::add_block(Piece piece, std::span<const u8> from) {
    const auto at = place_for_block();
    if (!at) return at.error();
    if (auto filled = fill_block(*at, piece, from); !filled) {
        space_.forget_reserve();  // no longer known to be zero: the next attempt reserves, and zeroes, anew
        return filled;
    }
    return enter_block(piece.block, *at, Bits::all_set);
}

// Of a differencing image: no bit is set, so everything still comes from the parent.
Result<void> VhdDynamic::add_empty_block(u32 block) {
    LODGE_TRY(make_room_for_bitmap());
    const auto at = place_for_block();
    if (!at) return at.error();
    LODGE_TRY(enter_block(block, *at, Bits::mixed));
    bitmaps_.emplace(block, KnownBitmap{Bitmap(layout_.bitmap_size)});
    return {};
}

// Where a new block goes: within reserved space, which is zero.
Result<u64> VhdDynamic::place_for_block() {
    const u64 at = align_up(layout_.append_offset + layout_.bitmap_size, kDataAlignment) - layout_.bitmap_size;
    const u64 end = at + layout_.stored_block_size();
    if (end > kMostFileSize) return full(end);
    if (space_.reserved_end() < end) LODGE_TRY(reserve(at));
    return at;
}

Result<void> VhdDynamic::fill_block(u64 at, Piece piece, std::span<const u8> from) {
    LODGE_TRY(file_->write(at + layout_.bitmap_size + piece.begin, from));
    return file_->write(at, all_set_);
}

Result<void> VhdDynamic::enter_block(u32 block, u64 at, Bits bits) {
    // Even if the entry fails: nobody knows what of it reached the file.
    layout_.append_offset = at + layout_.stored_block_size();
    LODGE_TRY(write_table_entry(block, static_cast<u32>(at / 512)));
    layout_.table[block] = static_cast<u32>(at / 512);
    bits_[block] = bits;
    return {};
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

// Makes room for a block at byte `at`, and for some more behind it.
Result<void> VhdDynamic::reserve(u64 at) {
    const u64 stride = align_up(layout_.stored_block_size(), kDataAlignment);
    const u64 blocks = std::max<u64>(1, kReserveBytes / stride);
    LODGE_TRY(space_.reserve(std::min(at + blocks * stride, kMostFileSize)));
    return write_waiting_bits();  // the reserve's flush was their data's too
}

Result<void> VhdDynamic::close() {
    if (read_only_) return {};
    if (!waiting_.empty()) LODGE_TRY(sync_and_write_bits());
    LODGE_TRY(space_.give_back());
    if (!unflushed_) return {};
    unflushed_ = false;
    return space_.sync();
}

Result<void> VhdDynamic::flush() {
    if (read_only_) return {};
    if (!waiting_.empty()) LODGE_TRY(sync_and_write_bits());
    LODGE_TRY(file_->sync());
    unflushed_ = false;
    return {};
}

Result<void> VhdDynamic::zero(u64 offset, u64 length) {
    LODGE_TRY(check_writable(*this, offset, length));
    unflushed_ = true;
    while (length > 0) {
        const Piece piece = piece_at(offset, length);
        LODGE_TRY(parent_ ? hide_with_zeros(piece) : zero_piece(piece));
        length -= piece.length;
        offset += piece.length;
    }
    return {};
}

// Sectors whose bit is 0 read as zeros already, and lose nothing by it.
Result<void> VhdDynamic::zero_piece(Piece piece) {
    if (!stored(piece.block)) return {};
    return file_->zero(data_offset(piece.block) + piece.begin, piece.length, HostSpace::release);
}

// Zeros over a parent's data are data.
Result<void> VhdDynamic::hide_with_zeros(Piece piece) {
    if (!stored(piece.block)) {
        const auto zero = absent_is_zero(offset_of(piece), piece.length);
        if (!zero) return zero.error();
        if (*zero) return {};
        LODGE_TRY(add_empty_block(piece.block));
    }
    const auto bitmap = mixed_bitmap(piece.block);
    if (!bitmap) return bitmap.error();
    if (!*bitmap) return zero_piece(piece);
    LODGE_TRY(complete_edges(piece));
    LODGE_TRY(zero_piece(piece));
    return set_bits(piece);
}

// What a parent has may read as before; what is stored here must not show it, and becomes zeros.
Result<void> VhdDynamic::discard(u64 offset, u64 length) {
    if (!parent_) return zero(offset, length);
    LODGE_TRY(check_writable(*this, offset, length));
    unflushed_ = true;
    while (length > 0) {
        const Piece piece = piece_at(offset, length);
        LODGE_TRY(zero_piece(piece));
        length -= piece.length;
        offset += piece.length;
    }
    return {};
}

Result<Extent> VhdDynamic::stored_extent(u64 offset) {
    LODGE_TRY(check_range(*this, offset, 1));
    const Piece first = piece_at(offset, layout_.disk_size - offset);
    u64 length = first.length;
    if (stored(first.block)) {
        const auto bitmap = mixed_bitmap(first.block);
        if (!bitmap) return bitmap.error();
        if (!*bitmap) return Extent{length, false};
        const u32 end = end_of_run(**bitmap, first.begin / 512, sectors_of(first.block)) * 512;
        return Extent{std::min<u64>(length, end - first.begin), !sector_bit(**bitmap, first.begin / 512)};
    }
    for (u32 block = first.block + 1; block < layout_.table.size() && !stored(block); ++block)
        length += layout_.header.block_size;
    return Extent{std::min(length, layout_.disk_size - offset), true};
}

Result<Extent> VhdDynamic::extent(u64 offset) {
    const auto here = stored_extent(offset);
    if (!here) return here.error();
    if (!here->zero) {
        // A block of zeros is a hole in many a file.
        const Piece piece = piece_at(offset, here->length);
        auto extent = file_->extent(data_offset(piece.block) + piece.begin);
        if (!extent) return extent;
        return Extent{std::min(extent->length, here->length), extent->zero};
    }
    if (!parent_ || offset >= parent_->size()) return here;
    const auto inherited = parent_->extent(offset);
    if (!inherited) return inherited;
    return Extent{std::min(inherited->length, here->length), inherited->zero};
}

Result<void> create_vhd_dynamic(File& file, const VhdFooter& footer, u32 block_size, const VhdParentLink* parent) {
    const u64 blocks = vhd_block_count(footer.current_size, block_size);
    if (blocks > kVhdMostBlocks)
        return Error{ErrorKind::usage,
                     file.name() + ": " + std::to_string(blocks) + " blocks of " + std::to_string(block_size) +
                         " bytes are too many (most: " + std::to_string(kVhdMostBlocks) + "); use larger blocks"};
    VhdHeader header;
    header.max_table_entries = static_cast<u32>(blocks);
    header.block_size = block_size;
    // Before the table: programs that look at nothing but table and blocks when they grow an image keep clear of them.
    u64 place = kVhdFooterSize + kVhdHeaderSize;
    if (parent) place = name_parent(header, *parent, place) + kRoomForLongerPaths;
    header.table_offset = place;
    const auto record = build_vhd_footer(footer);
    LODGE_TRY(file.write(0, record));
    LODGE_TRY(file.write(kVhdFooterSize, build_vhd_header(header)));
    for (size_t i = 0; parent && i < parent->paths.size(); ++i)
        LODGE_TRY(file.write(header.locators[i].data_offset, parent->paths[i].text));
    // SPEC: the table fills whole sectors; unused entries are all ones.
    const std::vector<u8> table(align_up(blocks * 4, 512), 0xFF);
    LODGE_TRY(file.write(header.table_offset, table));
    return file.write(header.table_offset + table.size(), record);
}

}  // namespace lodge
