#include "disks/resize_image.h"

#include <algorithm>

#include "disks/range.h"
#include "disks/vhd_dynamic.h"
#include "disks/vhd_editor.h"

namespace lodge {

namespace {

constexpr u64 kChunk = kMiB;

Result<void> check_size(const File& file, ImageFormat format, u64 size) {
    const auto usage = [&](const std::string& what) {
        return Error{ErrorKind::usage, file.name() + ": a size of " + std::to_string(size) + " bytes is " + what};
    };
    if (size == 0 || size % kSectorSize != 0) return usage("not a whole number of 512-byte sectors");
    if (format != ImageFormat::raw && size > kVhdMostSize) return usage("above the 2040 GiB that a VHD can hold");
    return {};
}

// That nothing is lost where the disk ends at `size` from now on.
Result<void> check_rest_is_zero(File& file, const ImageDetails& details, u64 size, const OpenOptions& options) {
    auto device = open_described(std::make_unique<BorrowedFile>(file), details, true, options);
    if (!device) return device.error();
    std::vector<u8> chunk(kChunk);
    for (u64 at = size; at < (*device)->size();) {
        const auto extent = (*device)->extent(at);
        if (!extent) return extent.error();
        const u64 length = extent->zero ? extent->length : std::min<u64>(extent->length, kChunk);
        const auto bytes = std::span(chunk).first(extent->zero ? 0 : length);
        LODGE_TRY((*device)->read(at, bytes));
        if (!all_zero(bytes))
            return Error{ErrorKind::usage, file.name() + ": has data at or behind byte " + std::to_string(at) +
                                               ", which would be lost; --force cuts it off"};
        at += length;
    }
    return {};
}

VhdFooter with_size(VhdFooter footer, u64 size, VhdSizeRule rule) {
    footer.current_size = size;
    footer.geometry = vhd_geometry(size / 512);
    // A creator that counts by geometry would see less.
    if (vhd_disk_size(footer, rule) != size) footer.creator_application = {'w', 'i', 'n', ' '};
    return footer;
}

// The footer of a fixed VHD is the only one. At every moment one ends the file, and what it says is true.
class FixedVhd {
  public:
    FixedVhd(File& file, const VhdLayout& layout, VhdSizeRule rule) : file_(file), layout_(layout), rule_(rule) {}

    // The old footer's words at the new end first; then the old footer goes; then the size counts.
    Result<void> grow(u64 size) {
        const u64 end = std::max(size, layout_.footer_offset + kVhdFooterSize);
        auto made_room = make_room(end, size);
        if (!made_room) {
            if (auto undone = undo_room(); !undone) return undone;
            return made_room;
        }
        const VhdFooter footer = with_size(layout_.footer, size, rule_);
        LODGE_TRY(put_footer(end, footer));
        return end == size ? Result<void>{} : shorten(size, footer);
    }

    Result<void> shrink(u64 size) {
        const VhdFooter footer = with_size(layout_.footer, size, rule_);
        LODGE_TRY(put_footer(layout_.footer_offset, footer));
        return shorten(size, footer);
    }

  private:
    Result<void> make_room(u64 end, u64 size) {
        LODGE_TRY(put_footer(end, layout_.footer));
        LODGE_TRY(file_.zero(layout_.disk_size, size - layout_.disk_size, HostSpace::keep));
        return file_.sync();
    }
    Result<void> undo_room() {
        LODGE_TRY(put_footer(layout_.footer_offset, layout_.footer));
        LODGE_TRY(file_.truncate(layout_.footer_offset + kVhdFooterSize));
        return file_.sync();
    }
    Result<void> put_footer(u64 offset, const VhdFooter& footer) {
        LODGE_TRY(file_.write(offset, change_vhd_footer(layout_.footer_bytes, footer)));
        return file_.sync();
    }
    Result<void> shorten(u64 size, const VhdFooter& footer) {
        LODGE_TRY(put_footer(size, footer));
        LODGE_TRY(file_.truncate(size + kVhdFooterSize));
        return file_.sync();
    }

    File& file_;
    const VhdLayout& layout_;
    VhdSizeRule rule_;
};

// What the disk will have behind its old end is made zero while it is not yet a part of it.
Result<VhdLayout> clear_new_part(File& file, VhdLayout layout, u64 size, const OpenOptions& options) {
    const u64 old_size = layout.disk_size;
    layout.disk_size = size;
    ImageDetails details;
    details.format = layout.footer.type == VhdType::dynamic ? ImageFormat::vhd_dynamic : ImageFormat::vhd_differencing;
    details.vhd = std::move(layout);
    auto device = open_described(std::make_unique<BorrowedFile>(file), std::move(details), false, options);
    if (!device) return device.error();
    auto& disk = static_cast<VhdDynamic&>(**device);
    LODGE_TRY(disk.zero(old_size, size - old_size));
    LODGE_TRY(disk.flush());
    LODGE_TRY(disk.close());
    return disk.layout();
}

Result<void> grow_sparse(File& file, u64 size, const OpenOptions& options) {
    auto opened = VhdEditor::open(file, options.size_rule);
    if (!opened) return opened.error();
    const VhdHeader old_header = (*opened)->layout().header;
    const u64 blocks = vhd_block_count(size, old_header.block_size);
    if (blocks > kVhdMostBlocks)
        return Error{ErrorKind::usage, file.name() + ": blocks of " + std::to_string(old_header.block_size) +
                                           " bytes are too small for so large a disk; convert it with larger blocks"};
    LODGE_TRY((*opened)->extend_table(static_cast<u32>(blocks)));
    auto layout = clear_new_part(file, (*opened)->layout(), size, options);
    if (!layout) return layout.error();
    VhdEditor editor(file, std::move(*layout));
    const VhdLayout& now = editor.layout();
    LODGE_TRY(editor.replace_records(now.header, with_size(now.footer, size, options.size_rule)));
    return editor.finish();
}

Result<void> shrink_sparse(File& file, u64 size, const OpenOptions& options) {
    auto editor = VhdEditor::open(file, options.size_rule);
    if (!editor) return editor.error();
    const VhdLayout& layout = (*editor)->layout();
    const u64 blocks = vhd_block_count(size, layout.header.block_size);
    std::vector<u32> cut_off;
    for (u32 block = static_cast<u32>(blocks); block < layout.table.size(); ++block)
        if (layout.table[block] != kVhdUnusedBlock) cut_off.push_back(block);
    VhdHeader header = layout.header;
    header.max_table_entries = static_cast<u32>(blocks);
    LODGE_TRY((*editor)->replace_records(header, with_size(layout.footer, size, options.size_rule)));
    LODGE_TRY((*editor)->drop_blocks(cut_off));
    LODGE_TRY((*editor)->pack([](u64, u64) { return true; }));
    return (*editor)->finish();
}

}  // namespace

Result<void> resize_image(File& file, u64 size, Shrinking shrinking, const OpenOptions& options) {
    auto details = look_at_image(file, options, Strictness::refuse_problems);
    if (!details) return details.error();
    LODGE_TRY(check_size(file, details->format, size));
    const bool shrinks = size < details->disk_size;
    if (size == details->disk_size) return {};
    if (shrinks && shrinking == Shrinking::refuse_to_lose_data)
        LODGE_TRY(check_rest_is_zero(file, *details, size, options));
    switch (details->format) {
        case ImageFormat::raw:
            LODGE_TRY(file.truncate(size));
            break;
        case ImageFormat::vhd_fixed: {
            FixedVhd fixed(file, *details->vhd, options.size_rule);
            LODGE_TRY(shrinks ? fixed.shrink(size) : fixed.grow(size));
            break;
        }
        case ImageFormat::vhd_dynamic:
        case ImageFormat::vhd_differencing:
            LODGE_TRY(shrinks ? shrink_sparse(file, size, options) : grow_sparse(file, size, options));
    }
    return file.sync();
}

Result<void> resize_image(const std::string& path, u64 size, Shrinking shrinking, const OpenOptions& options) {
    auto file = options.open_file(path, FileAccess::read_write);
    if (!file) return file.error();
    return resize_image(**file, size, shrinking, options);
}

}  // namespace lodge
