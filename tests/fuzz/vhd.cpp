// Any bytes as an image file: opening, checking, reading, writing and repairing must neither crash nor hang, and what
// opens for writing must open again with what was written.
//
// The last bytes of the input say what is done with the image, the rest are the image. Checksums that are wrong are put
// right first where the input asks for it: a fuzzer does not guess sums.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "disks/check_image.h"
#include "disks/vhd_format.h"

using namespace lodge;

namespace {

constexpr size_t kMostImage = 1 << 20;
constexpr size_t kControlBytes = 24;

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

std::unique_ptr<HostFile> file_of(std::span<const u8> image) {
    auto file = HostFile::open_in_memory("fuzz");
    if (!file || !(*file)->write(0, image)) std::abort();
    return std::move(*file);
}

// A second file on the same bytes, as another program would open them.
std::unique_ptr<HostFile> same_bytes(const HostFile& file) {
    return std::make_unique<HostFile>(::dup(file.descriptor()), "fuzz");
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t length) {
    if (length < kControlBytes || length > kMostImage) return 0;
    std::vector<u8> image(data, data + length - kControlBytes);
    Control control{{data + length - kControlBytes, kControlBytes}};
    const u64 flags = control.take(1);
    if (flags & 1) set_checksums(image);
    OpenOptions options;
    options.mode = flags & 2 ? ImageMode::shared : ImageMode::private_writes;
    options.size_rule = static_cast<VhdSizeRule>((flags >> 2 & 3) % 3);
    const auto file = file_of(image);
    if (const auto report = check_image(*file, options, false)) require(report->problems.size() <= kMostVhdProblems);
    if (flags & 0x10)
        if (const auto report = check_image(*file, options, true)) require(report->left <= report->problem_count);
    write_and_read_back(*file, options, control);
    return 0;
}
