#include "disks/copy_disk.h"

#include <cstring>
#include <vector>

#include "disks/range.h"

namespace lodge {

namespace {

constexpr u64 kChunk = 2 * kMiB;  // a VHD's usual block: each is allocated and filled in one go
constexpr u64 kGrain = 4 * kKiB;  // runs of zeros shorter than this are copied
constexpr u64 kReportEvery = 16 * kMiB;

// The length of the run of grains at the front of `bytes` that are all zero, or all not.
size_t run_length(std::span<const u8> bytes, bool zero) {
    size_t length = 0;
    while (length < bytes.size()) {
        const size_t grain = std::min<size_t>(kGrain, bytes.size() - length);
        if (all_zero(bytes.subspan(length, grain)) != zero) break;
        length += grain;
    }
    return length;
}

Result<void> write_what_is_not_zero(BlockDevice& to, u64 offset, std::span<const u8> bytes) {
    while (!bytes.empty()) {
        const size_t zeros = run_length(bytes, true);
        const size_t data = run_length(bytes.subspan(zeros), false);
        if (data != 0) LODGE_TRY(to.write(offset + zeros, bytes.subspan(zeros, data)));
        bytes = bytes.subspan(zeros + data);
        offset += zeros + data;
    }
    return {};
}

// A disk that goes on with zeros behind its end.
Result<Extent> extent_or_end(BlockDevice& disk, u64 offset, u64 end) {
    if (offset >= disk.size()) return Extent{end - offset, true};
    return disk.extent(offset);
}

Result<void> read_or_zeros(BlockDevice& disk, u64 offset, std::span<u8> into) {
    const u64 there = offset >= disk.size() ? 0 : std::min<u64>(into.size(), disk.size() - offset);
    std::fill(into.begin() + static_cast<std::ptrdiff_t>(there), into.end(), u8{0});
    return there == 0 ? Result<void>{} : disk.read(offset, into.first(there));
}

}  // namespace

Result<std::optional<Difference>> compare_disks(BlockDevice& first, BlockDevice& second, const CopyProgress& progress) {
    const u64 size = std::max(first.size(), second.size());
    std::vector<u8> one(kChunk), other(kChunk);
    u64 reported = 0;
    for (u64 offset = 0; offset < size;) {
        const auto left = extent_or_end(first, offset, size), right = extent_or_end(second, offset, size);
        if (!left) return left.error();
        if (!right) return right.error();
        u64 length = std::min(left->length, right->length);
        if (!left->zero || !right->zero) {
            length = std::min(length, kChunk - offset % kChunk);
            const auto a = std::span(one).first(length), b = std::span(other).first(length);
            LODGE_TRY(read_or_zeros(first, offset, a));
            LODGE_TRY(read_or_zeros(second, offset, b));
            if (std::memcmp(a.data(), b.data(), length) != 0) {
                const auto at = std::mismatch(a.begin(), a.end(), b.begin());
                return std::optional<Difference>(
                    {offset + static_cast<u64>(at.first - a.begin()), *at.first, *at.second});
            }
        }
        offset += length;
        if (offset - reported < kReportEvery && offset < size) continue;
        reported = offset;
        if (!progress(offset, size)) return Error{ErrorKind::usage, first.describe() + ": interrupted"};
    }
    return std::optional<Difference>();
}

Result<void> copy_disk(BlockDevice& from, BlockDevice& to, const CopyProgress& progress) {
    const u64 size = from.size();
    if (to.size() < size)
        return Error{ErrorKind::usage, to.describe() + ": is smaller than " + from.describe() + "; make it larger"};
    std::vector<u8> chunk(kChunk);
    u64 reported = 0;
    for (u64 offset = 0; offset < size;) {
        const auto extent = from.extent(offset);
        if (!extent) return extent.error();
        u64 length = extent->length;
        if (!extent->zero) {
            length = std::min(length, kChunk - offset % kChunk);
            const auto bytes = std::span(chunk).first(length);
            LODGE_TRY(from.read(offset, bytes));
            LODGE_TRY(write_what_is_not_zero(to, offset, bytes));
        }
        offset += length;
        if (offset - reported < kReportEvery && offset < size) continue;
        reported = offset;
        if (!progress(offset, size)) return Error{ErrorKind::usage, to.describe() + ": interrupted; nothing was kept"};
    }
    return {};
}

}  // namespace lodge
