#include "disks/open_image.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "disks/overlay.h"
#include "disks/raw_image.h"
#include "disks/vhd_dynamic.h"

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

std::unique_ptr<BlockDevice> make_driver(std::unique_ptr<File> file, ImageDetails details, bool read_only) {
    switch (details.format) {
        case ImageFormat::vhd_dynamic:
            return std::make_unique<VhdDynamic>(std::move(file), std::move(*details.vhd), read_only);
        case ImageFormat::vhd_fixed:
            return std::make_unique<RawImage>(std::move(file), details.disk_size, read_only, HostSpace::keep,
                                              name_of(details.format));
        case ImageFormat::raw:
            break;
    }
    return std::make_unique<RawImage>(std::move(file), details.disk_size, read_only, HostSpace::release,
                                      name_of(details.format));
}

std::string overlay_folder(const OpenOptions& options) {
    if (!options.overlay_folder.empty()) return options.overlay_folder;
    const char* chosen = std::getenv("TMPDIR");
    return chosen && *chosen ? chosen : "/var/tmp";
}

Result<void> check_new_size(const File& file, const CreateOptions& options) {
    const auto usage = [&](const std::string& what) { return Error{ErrorKind::usage, file.name() + ": " + what}; };
    if (options.size == 0 || options.size % kSectorSize != 0)
        return usage("a size of " + std::to_string(options.size) + " bytes is not a whole number of 512-byte sectors");
    if (options.format == ImageFormat::raw) return {};
    if (options.size > kVhdMostSize)
        return usage("a size of " + std::to_string(options.size) + " bytes is above the 2040 GiB that a VHD can hold");
    if (options.format == ImageFormat::vhd_dynamic &&
        (!std::has_single_bit(options.block_size) || options.block_size < kVhdLeastBlockSize ||
         options.block_size > kVhdMostBlockSize))
        return usage("a block size of " + std::to_string(options.block_size) +
                     " bytes is not a power of two from 512 to 256 MiB");
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
    if (layout->footer.type == VhdType::differencing)
        return Error{ErrorKind::unsupported,
                     file.name() +
                         ": is a differencing VHD, which needs its parent; lodge does not open these yet, "
                         "merge it into its parent first"};
    if (strictness == Strictness::refuse_problems && layout->first_fatal()) return problem_error(file, *layout);
    details.format = layout->footer.type == VhdType::fixed ? ImageFormat::vhd_fixed : ImageFormat::vhd_dynamic;
    details.disk_size = layout->disk_size;
    details.vhd = std::move(*layout);
    return details;
}

Result<std::unique_ptr<BlockDevice>> open_image(const std::string& path, const OpenOptions& options) {
    const FileAccess access = options.mode == ImageMode::private_writes ? FileAccess::read_write : FileAccess::read;
    auto file = HostFile::open(path, access);
    if (!file) return file.error();
    return open_image(std::move(*file), options);
}

Result<std::unique_ptr<BlockDevice>> open_image(std::unique_ptr<File> file, const OpenOptions& options) {
    auto details = look_at_image(*file, options, Strictness::refuse_problems);
    if (!details) return details.error();
    auto device = make_driver(std::move(file), std::move(*details), options.mode != ImageMode::private_writes);
    if (options.mode != ImageMode::shared) return device;
    auto layer = HostFile::open_anonymous(overlay_folder(options));
    if (!layer) return layer.error();
    return std::unique_ptr<BlockDevice>(std::make_unique<Overlay>(std::move(device), std::move(*layer)));
}

Result<ImageDetails> inspect_image(const std::string& path, const OpenOptions& options) {
    auto file = HostFile::open(path, FileAccess::read);
    if (!file) return file.error();
    return look_at_image(**file, options, Strictness::refuse_problems);
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
            LODGE_TRY(file->allocate(options.size + kVhdFooterSize));
            LODGE_TRY(file->write(options.size, build_vhd_footer(footer)));
        } else {
            LODGE_TRY(create_vhd_dynamic(*file, footer, options.block_size));
        }
    }
    OpenOptions as_made;
    as_made.raw = options.format == ImageFormat::raw;
    auto details = look_at_image(*file, as_made, Strictness::refuse_problems);
    if (!details) return details.error();
    auto device = make_driver(std::move(file), std::move(*details), false);
    if (auto* dynamic = dynamic_cast<VhdDynamic*>(device.get())) dynamic->grow_without_flush();
    return device;
}

Result<void> finish_image(BlockDevice& device) {
    if (auto* dynamic = dynamic_cast<VhdDynamic*>(&device)) LODGE_TRY(dynamic->give_back_reserve());
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
