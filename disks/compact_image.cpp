#include "disks/compact_image.h"

#include "disks/range.h"
#include "disks/vhd_dynamic.h"
#include "disks/vhd_editor.h"

namespace lodge {

namespace {

constexpr u64 kChunk = 256 * kKiB;

// Tells which blocks could be absent.
class NeedlessBlocks {
  public:
    NeedlessBlocks(VhdDynamic& disk) : disk_(disk), own_(kChunk), inherited_(kChunk) {}

    Result<std::vector<u32>> find(const CopyProgress& progress);

  private:
    Result<bool> needless(u32 block);
    Result<bool> run_is_needless(u64 offset, u64 length);

    VhdDynamic& disk_;
    std::vector<u8> own_, inherited_;
};

Result<std::vector<u32>> NeedlessBlocks::find(const CopyProgress& progress) {
    const auto& table = disk_.layout().table;
    std::vector<u32> found;
    for (u32 block = 0; block < table.size(); ++block) {
        if (table[block] == kVhdUnusedBlock) continue;
        const auto answer = needless(block);
        if (!answer) return answer.error();
        if (*answer) found.push_back(block);
        if (!progress(block, table.size()))
            return Error{ErrorKind::usage, disk_.describe() + ": interrupted; nothing was changed"};
    }
    return found;
}

Result<bool> NeedlessBlocks::needless(u32 block) {
    const u64 block_size = disk_.layout().header.block_size;
    const u64 end = std::min((u64{block} + 1) * block_size, disk_.size());
    for (u64 at = u64{block} * block_size; at < end;) {
        const auto here = disk_.stored_extent(at);
        if (!here) return here.error();
        const u64 length = std::min({here->length, end - at, kChunk});
        if (!here->zero) {
            const auto answer = run_is_needless(at, length);
            if (!answer || !*answer) return answer;
        }
        at += length;
    }
    return true;
}

// Of sectors that are stored here: whether they are what would be read without them.
Result<bool> NeedlessBlocks::run_is_needless(u64 offset, u64 length) {
    const auto own = std::span(own_).first(length);
    LODGE_TRY(disk_.read(offset, own));
    if (disk_.layout().footer.type != VhdType::differencing) return all_zero(own);
    const auto inherited = std::span(inherited_).first(length);
    LODGE_TRY(disk_.read_inherited(offset, inherited));
    return std::equal(own.begin(), own.end(), inherited.begin());
}

}  // namespace

Result<CompactReport> compact_image(File& file, const OpenOptions& options, const CopyProgress& progress) {
    auto editor = VhdEditor::open(file, options.size_rule);
    if (!editor) return editor.error();
    CompactReport report;
    report.size_before = (*editor)->layout().file_size;
    ImageDetails details;
    details.format =
        (*editor)->layout().footer.type == VhdType::dynamic ? ImageFormat::vhd_dynamic : ImageFormat::vhd_differencing;
    details.vhd = (*editor)->layout();
    std::vector<u32> needless;
    {
        auto device = open_described(std::make_unique<BorrowedFile>(file), std::move(details), true, options);
        if (!device) return device.error();
        auto found = NeedlessBlocks(static_cast<VhdDynamic&>(**device)).find(progress);
        if (!found) return found.error();
        needless = std::move(*found);
    }
    report.blocks_dropped = needless.size();
    LODGE_TRY((*editor)->drop_blocks(needless));
    bool stopped = false;
    LODGE_TRY((*editor)->pack([&](u64 done, u64 total) {
        stopped = !progress(done, total);
        return !stopped;
    }));
    LODGE_TRY((*editor)->finish());
    LODGE_TRY(file.sync());
    if (stopped) return Error{ErrorKind::usage, file.name() + ": interrupted; its disk is as it was"};
    const auto size = file.size();
    if (!size) return size.error();
    report.size_after = *size;
    return report;
}

Result<CompactReport> compact_image(const std::string& path, const OpenOptions& options, const CopyProgress& progress) {
    auto file = options.open_file(path, FileAccess::read_write);
    if (!file) return file.error();
    return compact_image(**file, options, progress);
}

}  // namespace lodge
