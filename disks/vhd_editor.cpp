#include "disks/vhd_editor.h"

#include <algorithm>

namespace lodge {

namespace {

constexpr u64 kMovedAtOnce = 64 * kMiB;  // between two flushes
constexpr u64 kCopyChunk = kMiB;
constexpr u64 kDataAlignment = 4 * kKiB;  // as vhd_dynamic.cpp

}  // namespace

Result<std::unique_ptr<VhdEditor>> VhdEditor::open(File& file, VhdSizeRule rule) {
    auto layout = read_vhd_layout(file, rule);
    if (!layout) return layout.error();
    if (layout->problem_count() != 0)
        return Error{ErrorKind::bad_format, file.name() + ": " + layout->problems.front().text +
                                                "; put it right with 'lodge disk check --repair' first"};
    if (layout->footer.type == VhdType::fixed)
        return Error{ErrorKind::usage, file.name() + ": is a fixed VHD, which has no blocks"};
    if (layout->footer.saved_state)
        return Error{ErrorKind::usage, file.name() +
                                           ": a machine's state was saved with this disk, which must not be "
                                           "changed before that machine has gone on and ended"};
    return std::make_unique<VhdEditor>(file, std::move(*layout));
}

// Everything that owns a part of the file but the footer at its end, in order of place.
std::vector<VhdEditor::Run> VhdEditor::occupied() const {
    const VhdHeader& header = layout_.header;
    const u64 home = layout_.footer.data_offset;
    std::vector<Run> runs = {
        {0, kVhdFooterSize, kVhdUnusedBlock},
        {home, home + kVhdHeaderSize, kVhdUnusedBlock},
        {header.table_offset, header.table_offset + align_up(u64{header.max_table_entries} * 4, 512), kVhdUnusedBlock}};
    for (const VhdLocator& locator : header.locators) {
        if (locator.platform_code != 0 && locator.data_offset < layout_.file_size)
            runs.push_back(
                {locator.data_offset, locator.data_offset + align_up(u64{locator.data_length}, 512), kVhdUnusedBlock});
    }
    for (u32 block = 0; block < layout_.table.size(); ++block) {
        const u64 begin = u64{layout_.table[block]} * 512;
        if (layout_.table[block] != kVhdUnusedBlock)
            runs.push_back({begin, begin + layout_.stored_block_size(), block});
    }
    std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.begin < b.begin; });
    return runs;
}

void VhdEditor::find_append_offset() {
    u64 end = 0;
    for (const Run& run : occupied()) end = std::max(end, run.end);
    layout_.append_offset = align_up(end, 512);
    space_.forget_reserve();
}

// Where a block may begin at or after `offset`.
u64 VhdEditor::place_after(u64 offset) const {
    return align_up(offset + layout_.bitmap_size, kDataAlignment) - layout_.bitmap_size;
}

Result<void> VhdEditor::write_entry(u32 block, u32 entry) {
    std::array<u8, 4> bytes;
    store_big_endian<u32>(bytes.data(), entry);
    LODGE_TRY(file_.write(layout_.header.table_offset + u64{block} * 4, bytes));
    layout_.table[block] = entry;
    return {};
}

Result<void> VhdEditor::drop_blocks(const std::vector<u32>& blocks) {
    for (const u32 block : blocks) LODGE_TRY(write_entry(block, kVhdUnusedBlock));
    LODGE_TRY(file_.sync());  // before anything else goes where they were
    find_append_offset();
    return {};
}

// Bitmap and data of a block as far as the disk goes: of the last one no more need be in the file.
u64 VhdEditor::copied_size(u32 block) const {
    const u64 begin = u64{block} * layout_.header.block_size;
    return layout_.bitmap_size + std::min<u64>(layout_.header.block_size, layout_.disk_size - begin);
}

Result<void> VhdEditor::copy_block(u32 block, u64 to) {
    const u64 from = u64{layout_.table[block]} * 512;
    const u64 size = copied_size(block);
    LODGE_TRY(file_.zero(to, layout_.stored_block_size(), HostSpace::release));
    std::vector<u8> chunk(std::min(size, kCopyChunk));
    for (u64 at = 0; at < size;) {
        const auto extent = file_.extent(from + at);
        if (!extent) return extent.error();
        u64 length = std::min(extent->length, size - at);
        if (!extent->zero) {
            length = std::min<u64>(length, chunk.size());
            LODGE_TRY(file_.read(from + at, std::span(chunk).first(length)));
            LODGE_TRY(file_.write(to + at, std::span(chunk).first(length)));
        }
        at += length;
    }
    return {};
}

// All copies are on the disk before an entry says so, and all entries before the old places are used again.
Result<void> VhdEditor::make(const std::vector<Move>& moves) {
    for (const Move& move : moves) LODGE_TRY(copy_block(move.block, move.to));
    LODGE_TRY(file_.sync());
    for (const Move& move : moves) LODGE_TRY(write_entry(move.block, static_cast<u32>(move.to / 512)));
    return file_.sync();
}

// From the last block forward, each into the lowest place with room, as many as one flush should pay for.
std::vector<VhdEditor::Move> VhdEditor::plan_moves() const {
    const std::vector<Run> runs = occupied();
    const u64 size = layout_.stored_block_size();
    std::vector<Move> moves;
    size_t gap = 0;  // between runs[gap] and runs[gap + 1]
    u64 gap_begin = runs[0].end;
    for (size_t last = runs.size() - 1; last > gap && (moves.size() + 1) * size <= std::max(kMovedAtOnce, size);
         --last) {
        if (runs[last].block == kVhdUnusedBlock) continue;
        const auto place = [&] {
            const u64 aligned = place_after(gap_begin);
            return aligned + size <= runs[gap + 1].begin ? aligned : align_up(gap_begin, 512);
        };
        while (gap < last && place() + size > runs[gap + 1].begin) {
            ++gap;
            gap_begin = std::max(gap_begin, runs[gap].end);
        }
        if (gap >= last) break;
        moves.push_back({runs[last].block, place()});
        gap_begin = moves.back().to + size;
    }
    return moves;
}

Result<void> VhdEditor::pack(const std::function<bool(u64 done, u64 total)>& progress) {
    const u64 total = layout_.append_offset;
    for (;;) {
        const std::vector<Move> moves = plan_moves();
        if (moves.empty() || !progress(total - layout_.append_offset, total)) return {};
        LODGE_TRY(make(moves));
        find_append_offset();
    }
}

Result<void> VhdEditor::move_to_end(const std::vector<u32>& blocks) {
    for (const u32 block : blocks) {
        const u64 to = place_after(layout_.append_offset);
        if (to / 512 >= kVhdUnusedBlock)
            return Error{ErrorKind::no_space, file_.name() + ": has no room below 2 TiB to move blocks to; convert it"};
        LODGE_TRY(space_.reserve(to + layout_.stored_block_size()));
        layout_.append_offset = to + layout_.stored_block_size();
        LODGE_TRY(make({{block, to}}));
    }
    space_.forget_reserve();
    return {};
}

Result<void> VhdEditor::clear_table_from(u32 block) {
    const u64 begin = layout_.header.table_offset + u64{block} * 4;
    const u64 end = layout_.header.table_offset + align_up(u64{layout_.header.max_table_entries} * 4, 512);
    if (begin < end) LODGE_TRY(file_.write(begin, std::vector<u8>(end - begin, 0xFF)));
    return file_.sync();
}

Result<void> VhdEditor::extend_table(u32 blocks) {
    const u64 begin = layout_.header.table_offset;
    const u64 end = begin + align_up(u64{blocks} * 4, 512);
    const auto known = static_cast<u32>(layout_.table.size());
    std::vector<u32> in_the_way;
    bool stays = true;
    for (const Run& run : occupied()) {
        if (run.begin >= end || run.end <= begin || run.begin == begin) continue;
        if (run.block == kVhdUnusedBlock)
            stays = false;
        else
            in_the_way.push_back(run.block);
    }
    if (stays) {
        LODGE_TRY(move_to_end(in_the_way));
        if (layout_.append_offset < end) {
            LODGE_TRY(space_.reserve(end));
            layout_.append_offset = end;
        }
    } else {
        // Other records are in the way: the table itself moves behind everything.
        const u64 length = end - begin, place = layout_.append_offset;
        LODGE_TRY(space_.reserve(place + length));
        std::vector<u8> entries(u64{known} * 4);
        LODGE_TRY(file_.read(begin, entries));
        LODGE_TRY(file_.write(place, entries));
        layout_.header.table_offset = place;
        layout_.append_offset = place + length;
    }
    space_.forget_reserve();
    // Entries beyond the disk's end are nobody's so far, and may be anything.
    layout_.header.max_table_entries = std::max(blocks, known);
    layout_.table.resize(std::max(blocks, known), kVhdUnusedBlock);
    return clear_table_from(known);
}

Result<void> VhdEditor::write_footers(const VhdFooter& footer) {
    const auto record = change_vhd_footer(layout_.footer_bytes, footer);
    LODGE_TRY(file_.write(layout_.footer_offset, record));
    LODGE_TRY(file_.sync());
    layout_.footer = footer;
    layout_.footer_bytes = record;
    LODGE_TRY(file_.write(0, record));
    return file_.sync();
}

// The header is written beside its home, the footer leads there, then the header is written home and the footer leads
// home again.
Result<void> VhdEditor::replace_records(const VhdHeader& header, const VhdFooter& footer) {
    const u64 home = layout_.footer.data_offset;
    const auto record = build_vhd_header(header);
    const u64 beside = layout_.append_offset;
    LODGE_TRY(space_.reserve(beside + kVhdHeaderSize));
    space_.forget_reserve();
    VhdFooter leading = footer;
    for (const u64 place : {beside, home}) {
        LODGE_TRY(file_.write(place, record));
        LODGE_TRY(file_.sync());
        leading.data_offset = place;
        LODGE_TRY(write_footers(leading));
    }
    layout_.header = header;
    return {};
}

// The paths' texts go to byte `place`, which is free.
Result<void> VhdEditor::put_parent(const VhdParentLink& parent, u64 place) {
    VhdHeader header = layout_.header;
    name_parent(header, parent, place);
    for (size_t i = 0; i < parent.paths.size(); ++i)
        LODGE_TRY(file_.write(header.locators[i].data_offset, parent.paths[i].text));
    return replace_records(header, layout_.footer);
}

// Behind everything first; then, if there is room for them, between header and table, where locators belong.
Result<void> VhdEditor::replace_parent(const VhdParentLink& parent) {
    VhdHeader measured;
    const u64 length = name_parent(measured, parent, 0);
    const u64 place = layout_.append_offset;
    LODGE_TRY(space_.reserve(place + length));
    layout_.append_offset = place + length;
    space_.forget_reserve();
    LODGE_TRY(put_parent(parent, place));
    const u64 home = layout_.footer.data_offset + kVhdHeaderSize;
    for (const Run& run : occupied())
        if (run.begin < home + length && run.end > home) return {};
    LODGE_TRY(put_parent(parent, home));
    find_append_offset();
    return {};
}

}  // namespace lodge
