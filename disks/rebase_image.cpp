#include "disks/rebase_image.h"

#include <algorithm>

#include "disks/vhd_dynamic.h"
#include "disks/vhd_editor.h"
#include "disks/vhd_parent.h"

namespace lodge {

namespace {

constexpr u64 kChunk = kMiB;

// Stores in a child what it has from its parent and another parent has not.
class Keeper {
  public:
    Keeper(VhdDynamic& child, BlockDevice& parent) : child_(child), parent_(parent), before_(kChunk), after_(kChunk) {}

    Result<void> run(const CopyProgress& progress);

  private:
    Result<u64> length_without_data(u64 offset, u64 length);
    Result<void> keep(u64 offset, u64 length);
    Result<void> read_parent(u64 offset, std::span<u8> into);

    VhdDynamic& child_;
    BlockDevice& parent_;
    std::vector<u8> before_, after_;
};

Result<void> Keeper::run(const CopyProgress& progress) {
    const u64 size = child_.size();
    for (u64 at = 0; at < size;) {
        const auto here = child_.stored_extent(at);
        if (!here) return here.error();
        u64 length = here->length;
        if (here->zero) {
            const auto empty = length_without_data(at, length);
            if (!empty) return empty.error();
            length = *empty != 0 ? *empty : std::min(length, kChunk - at % kChunk);
            if (*empty == 0) LODGE_TRY(keep(at, length));
        }
        at += length;
        if (!progress(at, size))
            return Error{ErrorKind::usage, child_.describe() + ": interrupted; its disk is as it was"};
    }
    return {};
}

// How far both parents are known to be zero.
Result<u64> Keeper::length_without_data(u64 offset, u64 length) {
    for (BlockDevice* parent : {&child_.parent(), &parent_}) {
        if (offset >= parent->size()) continue;
        const auto extent = parent->extent(offset);
        if (!extent) return extent.error();
        if (!extent->zero) return u64{0};
        // Behind a parent's end everything is zero, but what comes next may not be.
        length = std::min(length, extent->length);
    }
    return length;
}

Result<void> Keeper::read_parent(u64 offset, std::span<u8> into) {
    const u64 there = offset >= parent_.size() ? 0 : std::min<u64>(into.size(), parent_.size() - offset);
    std::fill(into.begin() + static_cast<std::ptrdiff_t>(there), into.end(), u8{0});
    return there == 0 ? Result<void>{} : parent_.read(offset, into.first(there));
}

Result<void> Keeper::keep(u64 offset, u64 length) {
    const auto before = std::span(before_).first(length), after = std::span(after_).first(length);
    LODGE_TRY(child_.read_inherited(offset, before));
    LODGE_TRY(read_parent(offset, after));
    const auto differs = [&](u64 at) {
        return !std::equal(before.begin() + static_cast<std::ptrdiff_t>(at),
                           before.begin() + static_cast<std::ptrdiff_t>(at + kSectorSize),
                           after.begin() + static_cast<std::ptrdiff_t>(at));
    };
    for (u64 at = 0; at < length;) {
        const bool different = differs(at);
        u64 end = at + kSectorSize;
        while (end < length && differs(end) == different) end += kSectorSize;
        if (different) LODGE_TRY(child_.store(offset + at, before.subspan(at, end - at)));
        at = end;
    }
    return {};
}

Error not_a_parent(const std::string& parent, const std::string& why) {
    return Error{ErrorKind::usage, parent + ": " + why + ", which cannot be the new parent"};
}

struct NewParent {
    VhdFooter footer;
    std::unique_ptr<BlockDevice> device;
};

Result<NewParent> open_new_parent(const File& child, const VhdLayout& layout, const std::string& path,
                                  const OpenOptions& options) {
    if (same_file(path, child.name())) return not_a_parent(path, "is the child itself");
    auto file = options.open_file(path, FileAccess::read);
    if (!file) return file.error();
    OpenOptions look = options;
    look.raw = false;
    auto details = look_at_image(**file, look, Strictness::refuse_problems);
    if (!details) return details.error();
    if (!details->vhd) return not_a_parent(path, "is a raw image and no VHD");
    if (details->vhd->footer.unique_id == layout.footer.unique_id)
        return not_a_parent(path, "has the child's unique id");
    NewParent parent;
    parent.footer = details->vhd->footer;
    auto device = open_described(std::move(*file), std::move(*details), true, look, {layout.footer.unique_id});
    if (!device) return device.error();
    parent.device = std::move(*device);
    return parent;
}

Result<void> keep_content(File& file, const VhdLayout& layout, BlockDevice& parent, const OpenOptions& options,
                          const CopyProgress& progress) {
    ImageDetails details;
    details.format = ImageFormat::vhd_differencing;
    details.vhd = layout;
    auto device = open_described(std::make_unique<BorrowedFile>(file), std::move(details), false, options);
    if (!device) return device.error();
    auto& child = static_cast<VhdDynamic&>(**device);
    LODGE_TRY(Keeper(child, parent).run(progress));
    LODGE_TRY(child.flush());
    return child.close();
}

}  // namespace

Result<void> rebase_image(File& file, const std::string& parent, RebaseKind kind, const OpenOptions& options,
                          const CopyProgress& progress) {
    auto editor = VhdEditor::open(file, options.size_rule);
    if (!editor) return editor.error();
    if ((*editor)->layout().footer.type != VhdType::differencing)
        return Error{ErrorKind::usage, file.name() + ": is no differencing VHD, so it has no parent to replace"};
    auto opened = open_new_parent(file, (*editor)->layout(), parent, options);
    if (!opened) return opened.error();
    const auto link = link_to_parent(file.name(), parent, opened->footer);
    if (!link) return link.error();
    if (kind == RebaseKind::keep_content) {
        LODGE_TRY(keep_content(file, (*editor)->layout(), *opened->device, options, progress));
        editor = VhdEditor::open(file, options.size_rule);
        if (!editor) return editor.error();
    }
    LODGE_TRY((*editor)->replace_parent(*link));
    LODGE_TRY((*editor)->finish());
    return file.sync();
}

Result<void> rebase_image(const std::string& path, const std::string& parent, RebaseKind kind,
                          const OpenOptions& options, const CopyProgress& progress) {
    auto file = options.open_file(path, FileAccess::read_write);
    if (!file) return file.error();
    return rebase_image(**file, parent, kind, options, progress);
}

}  // namespace lodge
