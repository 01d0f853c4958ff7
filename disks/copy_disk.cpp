#include "disks/copy_disk.h"

#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
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

// Reads a disk from its begin to its end on a thread of its own, while what was read before is being written.
class ReadAhead {
  public:
    struct Piece {
        u64 offset = 0;
        std::vector<u8> bytes;  // empty where the disk is zero
        u64 end = 0;            // up to here nothing but zeros follows the bytes
    };

    explicit ReadAhead(BlockDevice& disk) : disk_(disk), reader_([this] { read_all(); }) {}
    ~ReadAhead() {
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        reader_.join();
    }

    // In order; not to be called after the one that ends with the disk, or after an error.
    Result<std::unique_ptr<Piece>> next() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !read_.empty() || error_; });
        if (read_.empty()) return *error_;
        auto piece = std::move(read_.front());
        read_.pop_front();
        changed_.notify_all();
        return piece;
    }
    // Memory to use again: fresh memory costs a page fault for every page.
    void give_back(std::unique_ptr<Piece> piece) {
        std::lock_guard lock(mutex_);
        spare_.push_back(std::move(piece));
    }

  private:
    static constexpr size_t kMostAhead = 4;

    // Nothing where nobody wants any more.
    std::unique_ptr<Piece> room() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || read_.size() < kMostAhead; });
        if (stopping_) return nullptr;
        if (spare_.empty()) return std::make_unique<Piece>();
        auto piece = std::move(spare_.back());
        spare_.pop_back();
        return piece;
    }

    Result<void> read_piece(u64 offset, Piece& piece) {
        const auto extent = disk_.extent(offset);
        if (!extent) return extent.error();
        const u64 length = extent->zero ? extent->length : std::min(extent->length, kChunk - offset % kChunk);
        piece.offset = offset;
        piece.end = offset + length;
        piece.bytes.resize(extent->zero ? 0 : length);
        return disk_.read(offset, piece.bytes);
    }

    void read_all() {
        for (u64 offset = 0; offset < disk_.size();) {
            auto piece = room();
            if (!piece) return;
            auto read = read_piece(offset, *piece);
            offset = piece->end;
            std::lock_guard lock(mutex_);
            if (read)
                read_.push_back(std::move(piece));
            else
                error_ = read.error();
            changed_.notify_all();
            if (error_) return;
        }
    }

    BlockDevice& disk_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::unique_ptr<Piece>> read_;  // under mutex_, as all that follows
    std::vector<std::unique_ptr<Piece>> spare_;
    std::optional<Error> error_;
    bool stopping_ = false;
    std::thread reader_;  // last: it uses all of the above
};

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
    ReadAhead source(from);
    u64 reported = 0;
    for (;;) {
        auto piece = source.next();
        if (!piece) return piece.error();
        LODGE_TRY(write_what_is_not_zero(to, (*piece)->offset, (*piece)->bytes));
        const u64 done = (*piece)->end;
        const bool last = done == size;
        source.give_back(std::move(*piece));
        if (done - reported >= kReportEvery || last) {
            reported = done;
            if (!progress(done, size))
                return Error{ErrorKind::usage, to.describe() + ": interrupted; nothing was kept"};
        }
        if (last) return {};
    }
}

}  // namespace lodge
