#include "disks/vhd_layout.h"

#include <algorithm>
#include <numeric>

namespace lodge {

namespace {

using Record = std::array<u8, kVhdFooterSize>;

std::string number(u64 value) {
    return std::to_string(value);
}

// A run of the file that something owns.
struct Span {
    u64 begin;
    u64 end;
    u32 block;  // kVhdUnusedBlock for what is not a block
};

class LayoutReader {
  public:
    LayoutReader(File& file, VhdSizeRule rule) : file_(file), rule_(rule) {}

    Result<VhdLayout> read(VhdReading reading);

  private:
    Result<void> find_footer();
    Result<void> compare_copy(const Result<VhdFooter>& copy, const Record& bytes);
    Result<void> check_disk_size();
    Result<void> read_header();
    Result<void> read_table();
    void check_blocks();
    void check_overlaps(std::vector<Span>& spans);
    std::vector<Span> records() const;
    u64 locators_end() const;

    Error refuse(ErrorKind kind, const std::string& what) const { return Error{kind, file_.name() + ": " + what}; }
    Error bad(const std::string& what) const { return refuse(ErrorKind::bad_format, what); }
    void report(VhdProblemKind kind, u32 block, std::string text);

    File& file_;
    VhdSizeRule rule_;
    VhdLayout layout_;
};

constexpr const char* kRestore = "; restore the file from a copy";

void LayoutReader::report(VhdProblemKind kind, u32 block, std::string text) {
    ++layout_.problems_of_kind[static_cast<size_t>(kind)];
    if (layout_.problems.size() < kMostVhdProblems) layout_.problems.push_back({kind, block, std::move(text)});
}

Result<VhdLayout> LayoutReader::read(VhdReading reading) {
    auto size = file_.size();
    if (!size) return size.error();
    layout_.file_size = *size;
    LODGE_TRY(find_footer());
    LODGE_TRY(check_disk_size());
    if (layout_.footer.type != VhdType::fixed) {
        LODGE_TRY(read_header());
        if (reading == VhdReading::records_only) return std::move(layout_);
        LODGE_TRY(read_table());
        check_blocks();
    }
    return std::move(layout_);
}

// SPEC "Hard Disk Footer Format": the footer ends the file; where it is damaged, a dynamic image has a copy in front.
Result<void> LayoutReader::find_footer() {
    const u64 size = layout_.file_size;
    if (size < kVhdFooterSize) return bad("is too short (" + number(size) + " bytes) to be a VHD" + kRestore);
    Record end{};
    u64 end_offset = size - kVhdFooterSize;
    LODGE_TRY(file_.read(end_offset, end));
    auto footer = parse_vhd_footer(end);
    if (!has_vhd_cookie(end)) {
        // One byte further on, an old footer; its missing last byte is reserved and 0.
        Record old{};
        std::memcpy(old.data(), end.data() + 1, kVhdOldFooterSize);
        if (has_vhd_cookie(old)) {
            end = old;
            end_offset = size - kVhdOldFooterSize;
            footer = parse_vhd_footer(std::span(old).first(kVhdOldFooterSize));
        }
    }
    Record front{};
    LODGE_TRY(file_.read(0, front));
    auto copy = parse_vhd_footer(front);
    if (copy && copy->type == VhdType::fixed) copy = bad("a fixed disk's, which has no copy");
    if (footer) {
        layout_.footer = *footer;
        layout_.footer_bytes = end;
        layout_.footer_at_end = true;
        layout_.footer_offset = end_offset;
        return footer->type == VhdType::fixed ? Result<void>{} : compare_copy(copy, front);
    }
    const std::string found = "footer at byte " + number(end_offset) + ": " + footer.error().context;
    if (!copy) {
        const std::string no_copy = has_vhd_cookie(front) ? ", and its copy at byte 0: " + copy.error().context
                                                          : ", and there is no copy of it at byte 0";
        return refuse(footer.error().kind, found + no_copy + kRestore);
    }
    layout_.footer = *copy;
    layout_.footer_bytes = front;
    layout_.footer_offset = size;
    report(VhdProblemKind::end_footer, 0, found + "; its copy at byte 0 is good");
    return {};
}

Result<void> LayoutReader::compare_copy(const Result<VhdFooter>& copy, const Record& bytes) {
    if (!copy) {
        report(VhdProblemKind::footer_copy, 0,
               "copy of the footer at byte 0: " + copy.error().context + "; the footer at the end is good");
    } else if (!std::equal(bytes.begin(), bytes.begin() + kVhdOldFooterSize, layout_.footer_bytes.begin())) {
        report(VhdProblemKind::footer_copy, 0, "copy of the footer at byte 0 differs from the footer at the end");
    }
    return {};
}

Result<void> LayoutReader::check_disk_size() {
    const u64 size = vhd_disk_size(layout_.footer, rule_);
    layout_.disk_size = size;
    const std::string declared = "the footer declares a disk of " + number(size) + " bytes, ";
    if (size == 0 || size % 512 != 0) return bad(declared + "which is not a whole number of sectors" + kRestore);
    if (layout_.footer.type == VhdType::fixed) {
        if (size <= layout_.footer_offset) return {};
        return bad(declared + "but only " + number(layout_.footer_offset) +
                   " bytes come before the footer: the file was cut short" + kRestore);
    }
    if (size > kVhdMostSize) return bad(declared + "more than the 2040 GiB that a VHD can hold" + kRestore);
    return {};
}

Result<void> LayoutReader::read_header() {
    const u64 offset = layout_.footer.data_offset;
    const std::string place = "header at byte " + number(offset) + ": ";
    if (offset < kVhdFooterSize || offset > layout_.file_size || layout_.file_size - offset < kVhdHeaderSize)
        return bad(place + "not within the file (" + number(layout_.file_size) + " bytes)" + kRestore);
    std::array<u8, kVhdHeaderSize> record;
    LODGE_TRY(file_.read(offset, record));
    auto header = parse_vhd_header(record);
    if (!header) return refuse(header.error().kind, place + header.error().context + kRestore);
    layout_.header = *header;
    layout_.bitmap_size = vhd_bitmap_size(header->block_size);
    return {};
}

Result<void> LayoutReader::read_table() {
    const VhdHeader& header = layout_.header;
    const u64 blocks = vhd_block_count(layout_.disk_size, header.block_size);
    const std::string place = "block allocation table at byte " + number(header.table_offset) + ": ";
    if (header.max_table_entries < blocks)
        return bad(place + number(header.max_table_entries) + " entries are too few for a disk of " +
                   number(layout_.disk_size) + " bytes, which has " + number(blocks) + " blocks" + kRestore);
    if (blocks > kVhdMostBlocks)
        return refuse(ErrorKind::unsupported, place + number(blocks) + " blocks are more than lodge holds (" +
                                                  number(kVhdMostBlocks) + "); convert with larger blocks");
    const u64 length = u64{header.max_table_entries} * 4;
    if (header.table_offset > layout_.file_size || layout_.file_size - header.table_offset < length)
        return bad(place + "its " + number(length) + " bytes end past the end of the file (" +
                   number(layout_.file_size) + " bytes): the file was cut short" + kRestore);
    std::vector<u8> bytes(blocks * 4);
    LODGE_TRY(file_.read(header.table_offset, bytes));
    layout_.table.resize(blocks);
    for (size_t i = 0; i < blocks; ++i) layout_.table[i] = load_big_endian<u32>(bytes.data() + i * 4);
    return {};
}

// Where the last parent locator ends; those that lie outside the file are no reason to write there.
u64 LayoutReader::locators_end() const {
    u64 end = 0;
    for (const VhdLocator& locator : layout_.header.locators) {
        if (locator.platform_code == 0 || locator.data_offset > layout_.file_size) continue;
        end = std::max(end, std::min(locator.data_offset + locator.data_length, layout_.file_size));
    }
    return end;
}

std::vector<Span> LayoutReader::records() const {
    const VhdHeader& header = layout_.header;
    const u64 header_offset = layout_.footer.data_offset;
    std::vector<Span> records = {
        {0, kVhdFooterSize, kVhdUnusedBlock},
        {header_offset, header_offset + kVhdHeaderSize, kVhdUnusedBlock},
        {header.table_offset, header.table_offset + u64{header.max_table_entries} * 4, kVhdUnusedBlock}};
    if (layout_.footer_at_end) records.push_back({layout_.footer_offset, layout_.file_size, kVhdUnusedBlock});
    return records;
}

void LayoutReader::check_blocks() {
    std::vector<Span> spans = records();
    u64 end = std::max({spans[0].end, spans[1].end, spans[2].end, locators_end()});
    const u64 last_data = layout_.disk_size - (layout_.table.size() - 1) * u64{layout_.header.block_size};
    for (u32 block = 0; block < layout_.table.size(); ++block) {
        if (layout_.table[block] == kVhdUnusedBlock) continue;
        const u64 begin = u64{layout_.table[block]} * 512;
        // Of the last block only what the disk needs must be there.
        const u64 data = block + 1 == layout_.table.size() ? last_data : layout_.header.block_size;
        const Span span{begin, begin + layout_.bitmap_size + data, block};
        const std::string what = "block " + number(block) + " of the block allocation table ";
        if (span.begin >= layout_.file_size) {
            report(VhdProblemKind::block_gone, block,
                   what + "is at byte " + number(begin) + ", past the end of the file (" + number(layout_.file_size) +
                       " bytes)");
            continue;
        }
        if (span.end > layout_.file_size) {
            report(VhdProblemKind::block_cut, block,
                   what + "at byte " + number(begin) + " ends at byte " + number(span.end) +
                       ", past the end of the file (" + number(layout_.file_size) + " bytes)");
        }
        end = std::max(end, begin + layout_.stored_block_size());
        spans.push_back(span);
    }
    layout_.append_offset = align_up(end, 512);
    check_overlaps(spans);
}

void LayoutReader::check_overlaps(std::vector<Span>& spans) {
    std::sort(spans.begin(), spans.end(),
              [](const Span& a, const Span& b) { return a.begin != b.begin ? a.begin < b.begin : a.block > b.block; });
    const auto name = [](const Span& span) {
        return span.block == kVhdUnusedBlock ? "the image's own records at byte " + number(span.begin)
                                             : "block " + number(span.block);
    };
    const Span* widest = &spans.front();  // of those before, the one that reaches furthest
    for (size_t i = 1; i < spans.size(); ++i) {
        const Span& span = spans[i];
        if (span.begin < widest->end) {
            const u32 block = span.block == kVhdUnusedBlock ? widest->block : span.block;
            report(VhdProblemKind::overlap, block,
                   name(span) + " at byte " + number(span.begin) + " overlaps " + name(*widest));
        }
        if (span.end > widest->end) widest = &span;
    }
}

}  // namespace

u64 VhdLayout::problem_count() const {
    return std::accumulate(problems_of_kind.begin(), problems_of_kind.end(), u64{0});
}

const VhdProblem* VhdLayout::first_fatal() const {
    const auto found = std::find_if(problems.begin(), problems.end(), [](const VhdProblem& p) { return p.fatal(); });
    return found == problems.end() ? nullptr : &*found;
}

Result<bool> looks_like_vhd(File& file) {
    auto size = file.size();
    if (!size) return size.error();
    if (*size < kVhdFooterSize) return false;
    std::array<u8, kVhdFooterSize> record;
    LODGE_TRY(file.read(*size - kVhdFooterSize, record));
    if (has_vhd_cookie(record) || has_vhd_cookie(std::span(record).subspan(1))) return true;
    LODGE_TRY(file.read(0, record));
    return has_vhd_cookie(record);
}

Result<VhdLayout> read_vhd_layout(File& file, VhdSizeRule rule, VhdReading reading) {
    return LayoutReader(file, rule).read(reading);
}

}  // namespace lodge
