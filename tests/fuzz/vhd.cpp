// Any bytes as an image file: opening, checking, reading, writing, repairing and changing it must neither crash nor
// hang, and what opens for writing must open again with what was written.
//
// The last bytes of the input say what is done with the image, the rest are the image; or they are changes to a child
// and a parent that lodge made, five bytes each. Checksums that are wrong are put right first where the input asks for
// it: a fuzzer does not guess sums.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "disks/check_image.h"
#include "disks/commit_image.h"
#include "disks/compact_image.h"
#include "disks/rebase_image.h"
#include "disks/resize_image.h"
#include "disks/vhd_format.h"

using namespace lodge;

namespace {

constexpr size_t kMostImage = 1 << 20;
constexpr size_t kControlBytes = 32;
constexpr u64 kMostRead = 4 * kMiB;  // of a disk that is compared as a whole
const std::string kChild = "/fuzz/child", kParent = "/fuzz/parent";

void set_checksum(std::span<u8> image, size_t at, size_t length, size_t field) {
    if (at > image.size() || image.size() - at < length) return;
    const auto record = image.subspan(at, length);
    store_big_endian<u32>(&record[field], vhd_checksum(record, field));
}

void set_checksums(std::span<u8> image) {
    set_checksum(image, 0, kVhdFooterSize, 64);
    if (image.size() >= kVhdFooterSize) {
        set_checksum(image, image.size() - kVhdFooterSize, kVhdFooterSize, 64);
        const u64 header = load_big_endian<u64>(&image[16]);
        if (header < image.size()) set_checksum(image, header, kVhdHeaderSize, 36);
    }
}

std::unique_ptr<HostFile> file_of(std::span<const u8> image, const std::string& name = kChild) {
    auto file = HostFile::open_in_memory(name);
    if (!file || !(*file)->write(0, image)) std::abort();
    return std::move(*file);
}

// A second file on the same bytes, as another program would open them.
std::unique_ptr<HostFile> same_bytes(const HostFile& file) {
    return std::make_unique<HostFile>(::dup(file.descriptor()), file.name());
}

void require(bool condition, int line = __builtin_LINE()) {
    if (condition) return;
    std::fprintf(stderr, "requirement in line %d does not hold\n", line);
    std::abort();
}

struct Control {
    std::span<const u8> bytes;
    u64 take(size_t count) {
        u64 value = 0;
        for (size_t i = 0; i < count && !bytes.empty(); ++i) {
            value = value << 8 | bytes[0];
            bytes = bytes.subspan(1);
        }
        return value;
    }
};

void write_and_read_back(const HostFile& file, const OpenOptions& options, Control control) {
    auto device = open_image(same_bytes(file), options);
    if (!device) {
        require(!device.error().context.empty() && device.error().context.find('\n') == std::string::npos);
        return;
    }
    const u64 size = (*device)->size();
    const u64 length = std::min<u64>(control.take(2) + 1, size);
    const u64 offset = std::min(control.take(6) % size, size - length);
    const u64 zero_length = std::min<u64>(control.take(3), size - offset);
    const std::vector<u8> written(length, static_cast<u8>(control.take(1) | 1));
    std::vector<u8> read(length);
    require((*device)->read(offset, read).ok());
    const auto extent = (*device)->extent(offset);
    require(extent && extent->length > 0 && extent->length <= size - offset);
    require((*device)->zero(offset, zero_length).ok());
    if (!(*device)->write(offset, written)) return;  // no room below 2 TiB
    require((*device)->flush().ok());
    require((*device)->read(offset, read).ok() && read == written);
    device->reset();
    auto again = open_image(same_bytes(file), options);
    require(again.ok());
    require((*again)->size() == size && (*again)->read(offset, read).ok());
    if (options.mode == ImageMode::private_writes) require(read == written);
}

std::vector<u8> content_of(HostFile& file) {
    const auto size = file.size();
    std::vector<u8> bytes(*size);
    require(file.read(0, bytes).ok());
    return bytes;
}

// A child and its parent, as lodge makes them, with something in each.
struct Family {
    std::unique_ptr<HostFile> child = file_of({});
    std::unique_ptr<HostFile> parent = file_of({}, kParent);

    OpenOptions options() const {
        OpenOptions options;
        // Whatever path the child names, there is the parent.
        options.open_file = [this](const std::string&, FileAccess) -> Result<std::unique_ptr<File>> {
            return std::unique_ptr<File>(same_bytes(*parent));
        };
        return options;
    }

    void make(Control control) {
        CreateOptions create;
        create.format = control.take(1) & 1 ? ImageFormat::vhd_fixed : ImageFormat::vhd_dynamic;
        create.size = (control.take(1) + 1) * kSectorSize;
        create.block_size = kSectorSize << control.take(1) % 6;
        create.unique_id = {1};
        auto device = create_image(same_bytes(*parent), create);
        require(device && (*device)->write(create.size / 2, std::vector<u8>(create.size / 3, 0x11)).ok());
        require(finish_image(**device).ok());
        device->reset();
        require(
            create_child(*child, {kChild, kParent, u32{kSectorSize} << control.take(1) % 6, 0, {2}}, options()).ok());
        OpenOptions writing = options();
        writing.mode = ImageMode::private_writes;
        auto opened = open_image(same_bytes(*child), writing);
        require(opened && (*opened)->write(create.size / 4, std::vector<u8>(create.size / 2, 0x22)).ok());
    }

    // Each five bytes: which file and which end (1), how far from there (3), the new byte.
    void damage(std::span<const u8> records, bool mend_checksums) {
        std::vector<u8> bytes[2] = {content_of(*child), content_of(*parent)};
        for (; records.size() >= 5; records = records.subspan(5)) {
            auto& target = bytes[records[0] & 1];
            const size_t place = (records[1] << 16 | records[2] << 8 | records[3]) % target.size();
            target[records[0] & 2 ? target.size() - 1 - place : place] = records[4];
        }
        for (auto& image : bytes)
            if (mend_checksums) set_checksums(image);
        require(child->write(0, bytes[0]).ok() && parent->write(0, bytes[1]).ok());
    }
};

// The disk's bytes, where it opens and is not too large to compare.
std::optional<std::vector<u8>> disk_of(const HostFile& file, const OpenOptions& options) {
    auto device = open_image(same_bytes(file), options);
    if (!device || (*device)->size() > kMostRead) return {};
    std::vector<u8> bytes((*device)->size());
    require((*device)->read(0, bytes).ok());
    return bytes;
}

Result<void> change(File& file, const OpenOptions& options, Control& control, u64 size) {
    const auto go_on = [](u64, u64) { return true; };
    switch (control.take(1) % 5) {
        case 0: {
            const auto done = compact_image(file, options, go_on);
            return done ? Result<void>() : Result<void>(done.error());
        }
        case 1: {
            const auto done = commit_image(file, options, go_on);
            return done ? Result<void>() : Result<void>(done.error());
        }
        case 2:
            return rebase_image(file, kParent, RebaseKind::keep_content, options, go_on);
        case 3:
            return resize_image(file, size + control.take(2) % 512 * kSectorSize, Shrinking::refuse_to_lose_data,
                                options);
        default:
            return resize_image(file, std::min(size, (control.take(2) + 1) * kSectorSize),
                                Shrinking::refuse_to_lose_data, options);
    }
}

// Whether it succeeds or not, the disk reads as before; where it grew, zeros follow, where it shrank, zeros went.
void change_and_compare(const HostFile& file, OpenOptions options, Control control) {
    options.mode = ImageMode::read_only;
    const auto before = disk_of(file, options);
    if (!before) return;
    const auto changing = same_bytes(file);
    const auto done = change(*changing, options, control, before->size());
    require(done.ok() || (!done.error().context.empty() && done.error().context.find('\n') == std::string::npos));
    const auto after = disk_of(file, options);
    require(after.has_value());
    const size_t common = std::min(before->size(), after->size());
    require(std::equal(before->begin(), before->begin() + static_cast<std::ptrdiff_t>(common), after->begin()));
    const auto& longer = before->size() > common ? *before : *after;
    require(
        std::all_of(longer.begin() + static_cast<std::ptrdiff_t>(common), longer.end(), [](u8 b) { return b == 0; }));
}

void exercise(const HostFile& file, const OpenOptions& options, u64 flags, Control control) {
    const auto checked = same_bytes(file);
    if (const auto report = check_image(*checked, options, false)) require(report->problems.size() <= kMostVhdProblems);
    if (flags & 0x10)
        if (const auto report = check_image(*checked, options, true)) require(report->left <= report->problem_count);
    write_and_read_back(file, options, control);
    change_and_compare(file, options, Control{control.bytes.last(8)});
}

void exercise_family(std::span<const u8> records, u64 flags, Control control) {
    Family family;
    family.make(Control{control.bytes.last(16)});
    family.damage(records, flags & 1);
    OpenOptions options = family.options();
    options.mode = flags & 2 ? ImageMode::shared : ImageMode::private_writes;
    exercise(*family.child, options, flags, control);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t length) {
    if (length < kControlBytes || length > kMostImage) return 0;
    std::vector<u8> image(data, data + length - kControlBytes);
    Control control{{data + length - kControlBytes, kControlBytes}};
    const u64 flags = control.take(1);
    if (flags & 0x20) {
        exercise_family(image, flags, control);
        return 0;
    }
    if (flags & 1) set_checksums(image);
    OpenOptions options;
    options.mode = flags & 2 ? ImageMode::shared : ImageMode::private_writes;
    options.size_rule = static_cast<VhdSizeRule>((flags >> 2 & 3) % 3);
    options.open_file = [](const std::string& path, FileAccess) -> Result<std::unique_ptr<File>> {
        return Error{ErrorKind::not_found, path + ": no such file"};
    };
    exercise(*file_of(image), options, flags, control);
    return 0;
}
