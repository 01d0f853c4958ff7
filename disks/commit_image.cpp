#include "disks/commit_image.h"

#include <algorithm>

#include "disks/resize_image.h"
#include "disks/vhd_children.h"
#include "disks/vhd_dynamic.h"
#include "disks/vhd_editor.h"
#include "disks/vhd_parent.h"

namespace lodge {

namespace {

constexpr u64 kChunk = kMiB;

// What a disk held before it was written to, in the order of the writes.
class UndoLog {
  public:
    explicit UndoLog(BlockDevice& disk) : disk_(disk), chunk_(kChunk) {}

    Result<void> open(const std::string& folder) {
        auto file = HostFile::open_anonymous(folder);
        if (!file) return file.error();
        file_ = std::move(*file);
        return {};
    }

    // Before the range, at most kChunk, is written to.
    Result<void> remember(u64 offset, u64 length) {
        while (length > 0) {
            const auto extent = disk_.extent(offset);
            if (!extent) return extent.error();
            const u64 part = std::min(extent->length, length);
            const auto bytes = std::span(chunk_).first(extent->zero ? 0 : part);
            LODGE_TRY(disk_.read(offset, bytes));
            LODGE_TRY(file_->write(end_, bytes));
            entries_.push_back({offset, part, end_, extent->zero});
            end_ += bytes.size();
            offset += part;
            length -= part;
        }
        return {};
    }

    // The disk is as it was.
    Result<void> undo() {
        for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
            if (entry->zero) {
                LODGE_TRY(disk_.zero(entry->offset, entry->length));
                continue;
            }
            const auto bytes = std::span(chunk_).first(entry->length);
            LODGE_TRY(file_->read(entry->place, bytes));
            LODGE_TRY(disk_.write(entry->offset, bytes));
        }
        return disk_.flush();
    }

  private:
    struct Entry {
        u64 offset;
        u64 length;
        u64 place;  // in the file
        bool zero;
    };

    BlockDevice& disk_;
    std::unique_ptr<HostFile> file_;
    std::vector<Entry> entries_;
    std::vector<u8> chunk_;
    u64 end_ = 0;
};

class Committer {
  public:
    explicit Committer(VhdDynamic& child) : child_(child), undo_(child.parent()), chunk_(kChunk) {}

    Result<u64> run(const std::string& folder, const CopyProgress& progress) {
        LODGE_TRY(undo_.open(folder));
        auto written = write_all(progress);
        if (written) return bytes_;
        if (auto undone = undo_.undo(); !undone)
            return Error{undone.error().kind, written.error().context + "; and what " + child_.parent().describe() +
                                                  " had cannot be put back (" + undone.error().context +
                                                  "): its child is as it was; commit it again"};
        return written.error();
    }

  private:
    Result<void> write_all(const CopyProgress& progress);
    Result<void> write_run(u64 offset, u64 length);

    VhdDynamic& child_;
    UndoLog undo_;
    std::vector<u8> chunk_;
    u64 bytes_ = 0;
};

Result<void> Committer::write_all(const CopyProgress& progress) {
    const u64 size = child_.size();
    for (u64 at = 0; at < size;) {
        const auto here = child_.stored_extent(at);
        if (!here) return here.error();
        const u64 length = here->zero ? here->length : std::min(here->length, kChunk - at % kChunk);
        if (!here->zero) LODGE_TRY(write_run(at, length));
        at += length;
        if (!progress(at, size)) return Error{ErrorKind::usage, child_.describe() + ": interrupted"};
    }
    return child_.parent().flush();
}

Result<void> Committer::write_run(u64 offset, u64 length) {
    LODGE_TRY(undo_.remember(offset, length));
    bytes_ += length;
    const auto extent = child_.extent(offset);
    if (!extent) return extent.error();
    if (extent->zero && extent->length >= length) return child_.parent().zero(offset, length);
    const auto bytes = std::span(chunk_).first(length);
    LODGE_TRY(child_.read(offset, bytes));
    return child_.parent().write(offset, bytes);
}

Result<void> empty_child(File& file, const std::string& parent, const OpenOptions& options) {
    auto editor = VhdEditor::open(file, options.size_rule);
    if (!editor) return editor.error();
    std::vector<u32> blocks;
    for (u32 block = 0; block < (*editor)->layout().table.size(); ++block)
        if ((*editor)->layout().table[block] != kVhdUnusedBlock) blocks.push_back(block);
    LODGE_TRY((*editor)->drop_blocks(blocks));
    VhdHeader header = (*editor)->layout().header;
    if (const auto changed = time_of_change(parent)) header.parent_timestamp = vhd_timestamp(*changed);
    LODGE_TRY((*editor)->replace_records(header, (*editor)->layout().footer));
    LODGE_TRY((*editor)->finish());
    return file.sync();
}

Result<u64> write_to_parent(File& file, const VhdLayout& layout, FoundParent found, const OpenOptions& options,
                            const CopyProgress& progress) {
    if (found.details.disk_size < layout.disk_size) {
        LODGE_TRY(resize_image(*found.file, layout.disk_size, Shrinking::refuse_to_lose_data, options));
        auto grown = look_at_image(*found.file, options, Strictness::refuse_problems);
        if (!grown) return grown.error();
        found.details = std::move(*grown);
    }
    auto parent =
        open_described(std::move(found.file), std::move(found.details), false, options, {layout.footer.unique_id});
    if (!parent) return parent.error();
    VhdDynamic child(std::make_unique<BorrowedFile>(file), layout, true, std::move(*parent));
    return Committer(child).run(throw_away_folder(options), progress);
}

Result<void> refuse_other_children(const VhdId& parent, const std::string& parent_path, const std::string& child_path,
                                   const OpenOptions& options) {
    const std::vector<std::string> children = find_other_children(parent, parent_path, child_path, options);
    if (children.empty()) return {};
    std::string names;
    for (const std::string& child : children) names += (names.empty() ? "" : ", ") + child;
    return Error{ErrorKind::usage, parent_path + ": has other children, which would read something else afterwards (" +
                                       names + "); convert or rebase those first, or commit with --force"};
}

}  // namespace

Result<CommitReport> commit_image(File& file, const OpenOptions& options, const CopyProgress& progress,
                                  OtherChildren others) {
    auto editor = VhdEditor::open(file, options.size_rule);
    if (!editor) return editor.error();
    const VhdLayout& layout = (*editor)->layout();
    if (layout.footer.type != VhdType::differencing)
        return Error{ErrorKind::usage, file.name() + ": is no differencing VHD, so it has no parent to commit to"};
    auto found = find_parent(file, layout, options, {layout.footer.unique_id}, FileAccess::read_write);
    if (!found) return found.error();
    if (others == OtherChildren::refuse)
        LODGE_TRY(refuse_other_children(layout.header.parent_unique_id, found->path, file.name(), options));
    CommitReport report;
    report.parent = found->path;
    const u64 size_before = found->details.disk_size;
    report.parent_grew = size_before < layout.disk_size;
    report.parent_is_larger = size_before > layout.disk_size;
    auto bytes = write_to_parent(file, layout, std::move(*found), options, progress);
    if (!bytes) {
        if (report.parent_grew)
            LODGE_TRY(resize_image(report.parent, size_before, Shrinking::refuse_to_lose_data, options));
        return bytes.error();
    }
    report.bytes = *bytes;
    LODGE_TRY(empty_child(file, report.parent, options));
    return report;
}

Result<CommitReport> commit_image(const std::string& path, const OpenOptions& options, const CopyProgress& progress,
                                  OtherChildren others) {
    auto file = options.open_file(path, FileAccess::read_write);
    if (!file) return file.error();
    return commit_image(**file, options, progress, others);
}

}  // namespace lodge
