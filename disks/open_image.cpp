#include "disks/open_image.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "disks/overlay.h"
#include "disks/raw_image.h"
#include "disks/vhd_dynamic.h"
#include "disks/vhd_parent.h"

namespace lodge {

namespace {

struct ForeignFormat {
    std::string_view mark;
    size_t offset;
    const char* name;
};

// Opened as raw these would show a guest their own records, and a guest's write would destroy them.
constexpr ForeignFormat kForeignFormats[] = {
    {"QFI\xfb", 0, "QCOW2"},
    {"KDMV", 0, "VMDK"},
    {"vhdxfile", 0, "VHDX"},
    {std::string_view("\x7f\x10\xda\xbe", 4), 64, "VDI"},
};

Result<void> refuse_foreign(File& file, u64 size) {
    std::array<u8, 512> front;
    if (size < front.size()) return {};
    LODGE_TRY(file.read(0, front));
    for (const ForeignFormat& format : kForeignFormats) {
        if (std::memcmp(front.data() + format.offset, format.mark.data(), format.mark.size()) != 0) continue;
        return Error{ErrorKind::unsupported, file.name() + ": is a " + format.name +
                                                 " image, which lodge does not read; convert it to a VHD or to raw "
                                                 "first, or say format=raw if it is a raw disk"};
    }
    return {};
}

Result<void> check_raw_size(const File& file, u64 size) {
    if (size == 0)
        return Error{ErrorKind::bad_format, file.name() + ": is empty; make an image with 'lodge disk create'"};
    if (size % kSectorSize == 0) return {};
    return Error{ErrorKind::bad_format,
                 file.name() + ": ends in mid-sector at byte " + std::to_string(size) +
                     " and has no VHD footer: a VHD cut short, or no disk image; pad a raw image with 'truncate -s " +
                     std::to_string(align_up(size, kSectorSize)) + "'"};
}

Error problem_error(const File& file, const VhdLayout& layout) {
    const std::string more =
        layout.problem_count() > 1 ? " (" + std::to_string(layout.problem_count()) + " problems)" : "";
    return Error{ErrorKind::bad_format, file.name() + ": " + layout.first_fatal()->text + more +
                                            "; restore the file from a copy, or see 'lodge disk check'"};
}

std::unique_ptr<BlockDevice> make_driver(std::unique_ptr<File> file, ImageDetails details, bool read_only,
                                         std::unique_ptr<BlockDevice> parent) {
    switch (details.format) {
        case ImageFormat::vhd_dynamic:
        case ImageFormat::vhd_differencing:
            return std::make_unique<VhdDynamic>(std::move(file), std::move(*details.vhd), read_only, std::move(parent));
        case ImageFormat::vhd_fixed:
            return std::make_unique<RawImage>(std::move(file), details.disk_size, read_only, HostSpace::keep,
                                              name_of(details.format));
        case ImageFormat::raw:
            break;
    }
    return std::make_unique<RawImage>(std::move(file), details.disk_size, read_only, HostSpace::release,
                                      name_of(details.format));
}

ImageFormat format_of(VhdType type) {
    switch (type) {
        case VhdType::fixed:
            return ImageFormat::vhd_fixed;
        case VhdType::dynamic:
            return ImageFormat::vhd_dynamic;
        case VhdType::differencing:
            break;
    }
    return ImageFormat::vhd_differencing;
}

bool is_block_size(u64 size) {
    return std::has_single_bit(size) && size >= kVhdLeastBlockSize && size <= kVhdMostBlockSize;
}

// The parent's, so that they fill alike; larger where the table would take noticeable time to write.
u32 block_size_for_child(const VhdLayout& parent) {
    constexpr u64 kMostBlocks = 1 << 20;
    u32 size = parent.footer.type == VhdType::fixed ? kVhdDefaultBlockSize : parent.header.block_size;
    while (vhd_block_count(parent.disk_size, size) > kMostBlocks) size *= 2;
    return size;
}

Error bad_block_size(const std::string& name, u64 size) {
    return Error{ErrorKind::usage, name + ": a block size of " + std::to_string(size) +
                                       " bytes is not a power of two from 512 to 256 MiB"};
}

Result<void> check_new_size(const File& file, const CreateOptions& options) {
    const auto usage = [&](const std::string& what) { return Error{ErrorKind::usage, file.name() + ": " + what}; };
    if (options.size == 0 || options.size % kSectorSize != 0)
        return usage("a size of " + std::to_string(options.size) + " bytes is not a whole number of 512-byte sectors");
    if (options.format == ImageFormat::raw) return {};
    if (options.size > kVhdMostSize)
        return usage("a size of " + std::to_string(options.size) + " bytes is above the 2040 GiB that a VHD can hold");
    if (options.format == ImageFormat::vhd_dynamic && !is_block_size(options.block_size))
        return bad_block_size(file.name(), options.block_size);
    return {};
}

}  // namespace

const char* name_of(ImageFormat format) {
    switch (format) {
        case ImageFormat::raw:
            return "raw";
        case ImageFormat::vhd_fixed:
            return "fixed VHD";
        case ImageFormat::vhd_dynamic:
            return "dynamic VHD";
        case ImageFormat::vhd_differencing:
            return "differencing VHD";
    }
    return "";
}

Result<ImageDetails> look_at_image(File& file, const OpenOptions& options, Strictness strictness) {
    ImageDetails details;
    auto size = file.size();
    if (!size) return size.error();
    details.file_size = *size;
    details.disk_size = *size;
    auto space = file.host_space();
    if (!space) return space.error();
    details.host_space = *space;
    auto vhd = options.raw ? Result<bool>(false) : looks_like_vhd(file);
    if (!vhd) return vhd.error();
    if (!*vhd) {
        LODGE_TRY(check_raw_size(file, *size));
        if (!options.raw) LODGE_TRY(refuse_foreign(file, *size));
        return details;
    }
    auto layout = read_vhd_layout(file, options.size_rule);
    if (!layout) return layout.error();
    if (strictness == Strictness::refuse_problems && layout->first_fatal()) return problem_error(file, *layout);
    details.format = format_of(layout->footer.type);
    details.disk_size = layout->disk_size;
    details.vhd = std::move(*layout);
    return details;
}

Result<std::unique_ptr<BlockDevice>> open_described(std::unique_ptr<File> file, ImageDetails details, bool read_only,
                                                    const OpenOptions& options, std::vector<VhdId> descendants) {
    std::unique_ptr<BlockDevice> parent;
    if (details.format == ImageFormat::vhd_differencing) {
        descendants.push_back(details.vhd->footer.unique_id);
        auto found = find_parent(*file, *details.vhd, options, descendants);
        if (!found) return found.error();
        if (!found->warning.empty()) options.warn(found->warning);
        auto device = open_described(std::move(found->file), std::move(found->details), true, options, descendants);
        if (!device) return device.error();
        parent = std::move(*device);
    }
    return make_driver(std::move(file), std::move(details), read_only, std::move(parent));
}

std::string throw_away_folder(const OpenOptions& options) {
    if (!options.overlay_folder.empty()) return options.overlay_folder;
    const char* chosen = std::getenv("TMPDIR");
    return chosen && *chosen ? chosen : "/var/tmp";
}

Result<std::unique_ptr<BlockDevice>> open_image(const std::string& path, const OpenOptions& options) {
    const FileAccess access = options.mode == ImageMode::private_writes ? FileAccess::read_write : FileAccess::read;
    auto file = options.open_file(path, access);
    if (!file) return file.error();
    return open_image(std::move(*file), options);
}

Result<std::unique_ptr<BlockDevice>> open_image(std::unique_ptr<File> file, const OpenOptions& options) {
    auto details = look_at_image(*file, options, Strictness::refuse_problems);
    if (!details) return details.error();
    const bool read_only = options.mode != ImageMode::private_writes;
    auto device = open_described(std::move(file), std::move(*details), read_only, options);
    if (!device || options.mode != ImageMode::shared) return device;
    auto layer = HostFile::open_anonymous(throw_away_folder(options));
    if (!layer) return layer.error();
    return std::unique_ptr<BlockDevice>(std::make_unique<Overlay>(std::move(*device), std::move(*layer)));
}

Result<ImageDetails> inspect_image(const std::string& path, const OpenOptions& options) {
    auto file = options.open_file(path, FileAccess::read);
    if (!file) return file.error();
    return look_at_image(**file, options, Strictness::refuse_problems);
}

Result<Chain> inspect_chain(const std::string& path, const OpenOptions& options) {
    auto file = options.open_file(path, FileAccess::read);
    if (!file) return file.error();
    auto details = look_at_image(**file, options, Strictness::refuse_problems);
    if (!details) return details.error();
    Chain chain;
    std::vector<VhdId> ids;
    chain.members.push_back({path, std::move(*details), {}});
    while (chain.members.back().details.format == ImageFormat::vhd_differencing) {
        const VhdLayout& layout = *chain.members.back().details.vhd;
        ids.push_back(layout.footer.unique_id);
        auto found = find_parent(**file, layout, options, ids);
        if (!found) {
            chain.broken = found.error();
            break;
        }
        chain.members.back().warning = found->warning;
        file = std::move(found->file);
        chain.members.push_back({found->path, std::move(found->details), {}});
    }
    return chain;
}

Result<std::unique_ptr<BlockDevice>> create_image(std::unique_ptr<File> file, const CreateOptions& options) {
    LODGE_TRY(check_new_size(*file, options));
    if (options.format == ImageFormat::raw) {
        LODGE_TRY(file->truncate(options.size));
    } else {
        const bool fixed = options.format == ImageFormat::vhd_fixed;
        const VhdFooter footer = new_vhd_footer(fixed ? VhdType::fixed : VhdType::dynamic, options.size,
                                                options.timestamp, options.unique_id);
        if (fixed) {
            LODGE_TRY(file->write(options.size, build_vhd_footer(footer)));
        } else {
            LODGE_TRY(create_vhd_dynamic(*file, footer, options.block_size));
        }
    }
    OpenOptions as_made;
    as_made.raw = options.format == ImageFormat::raw;
    auto details = look_at_image(*file, as_made, Strictness::refuse_problems);
    if (!details) return details.error();
    auto device = make_driver(std::move(file), std::move(*details), false, nullptr);
    if (auto* dynamic = dynamic_cast<VhdDynamic*>(device.get())) dynamic->grow_without_flush();
    return device;
}

Result<void> create_child(File& file, const ChildOptions& child, const OpenOptions& options) {
    auto parent_file = options.open_file(child.parent, FileAccess::read);
    if (!parent_file) return parent_file.error();
    const auto is_vhd = looks_like_vhd(**parent_file);
    if (!is_vhd) return is_vhd.error();
    if (!*is_vhd)
        return Error{ErrorKind::usage, child.parent + ": is no VHD, and only a VHD can be a parent; convert it first"};
    const auto parent = read_vhd_layout(**parent_file, options.size_rule, VhdReading::records_only);
    if (!parent) return parent.error();
    const u32 block_size = child.block_size.value_or(block_size_for_child(*parent));
    if (!is_block_size(block_size)) return bad_block_size(file.name(), block_size);
    const auto link = link_to_parent(child.path, child.parent, parent->footer);
    if (!link) return link.error();
    VhdFooter footer = new_vhd_footer(VhdType::differencing, parent->disk_size, child.timestamp, child.unique_id);
    footer.geometry = parent->footer.geometry;
    return create_vhd_dynamic(file, footer, block_size, &*link);
}

Result<void> finish_image(BlockDevice& device) {
    if (auto* dynamic = dynamic_cast<VhdDynamic*>(&device)) LODGE_TRY(dynamic->close());
    if (auto* run = dynamic_cast<RawImage*>(&device)) LODGE_TRY(run->allocate());
    return device.flush();
}

Result<std::array<u8, 16>> random_unique_id() {
    std::array<u8, 16> id;
    if (::getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size()))
        return Error{ErrorKind::io, std::string("the host gives no random numbers: ") + std::strerror(errno)};
    id[6] = static_cast<u8>((id[6] & 0x0F) | 0x40);
    id[8] = static_cast<u8>((id[8] & 0x3F) | 0x80);
    return id;
}

}  // namespace lodge
