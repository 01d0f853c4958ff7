// A disk in memory that tests can fill, look into, slow down and make fail.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <thread>
#include <vector>

#include "disks/block_device.h"

namespace lodge::test {

// A disk of any size, of which only what was written is kept.
class MemoryDisk final : public BlockDevice {
  public:
    explicit MemoryDisk(u64 sectors) : sectors_(sectors) {}

    u64 size() const override { return sectors_ * kSectorSize; }
    bool read_only() const override { return write_protected; }
    std::string describe() const override { return "memory disk"; }

    bool set_patience(Patience patience) override {
        if (patience == Patience::none && !knows_patience) return false;
        patience_ = patience;
        return true;
    }
    Result<void> read(u64 offset, std::span<u8> into) override {
        if (patience_ == Patience::none && cold) return Error{ErrorKind::would_wait, {}};
        LODGE_TRY(begin(offset, into.size(), fail_reads));
        reader = std::this_thread::get_id();
        for (size_t at = 0; at < into.size(); at += kSectorSize) {
            const auto found = content.find((offset + at) / kSectorSize);
            if (found == content.end()) {
                std::fill_n(into.begin() + static_cast<long>(at), kSectorSize, u8{0});
            } else {
                std::copy(found->second.begin(), found->second.end(), into.begin() + static_cast<long>(at));
            }
        }
        return {};
    }
    Result<void> write(u64 offset, std::span<const u8> from) override {
        LODGE_TRY(begin(offset, from.size(), fail_writes));
        for (size_t at = 0; at < from.size(); at += kSectorSize)
            std::copy_n(from.begin() + static_cast<long>(at), kSectorSize,
                        content[(offset + at) / kSectorSize].begin());
        return {};
    }
    Result<void> flush() override {
        ++flushes;
        return begin(0, 0, fail_flushes);
    }
    Result<void> discard(u64 offset, u64 length) override {
        LODGE_TRY(begin(offset, length, false));
        discards.push_back({offset / kSectorSize, length / kSectorSize});
        content.erase(content.lower_bound(offset / kSectorSize), content.lower_bound((offset + length) / kSectorSize));
        return {};
    }
    Result<void> zero(u64 offset, u64 length) override { return discard(offset, length); }

    // Each sector filled with its number, low byte first, over and over.
    void number_sectors(u64 first, u64 count) {
        for (u64 sector = first; sector < first + count; ++sector)
            for (size_t at = 0; at < kSectorSize; at += 8) store(&content[sector][at], sector);
    }

    bool write_protected = false;
    bool knows_patience = false;
    bool cold = false;  // every read would have to wait
    std::atomic<std::thread::id> reader;
    std::atomic<bool> fail_reads = false;
    std::atomic<bool> fail_writes = false;
    std::atomic<bool> fail_flushes = false;
    std::atomic<ErrorKind> failure = ErrorKind::io;
    std::atomic<unsigned> delay_milliseconds = 0;
    std::atomic<unsigned> flushes = 0;
    std::vector<std::pair<u64, u64>> discards;
    std::map<u64, std::array<u8, kSectorSize>> content;

  private:
    Result<void> begin(u64 offset, u64 length, bool fail) {
        if (delay_milliseconds) std::this_thread::sleep_for(std::chrono::milliseconds(delay_milliseconds));
        if (offset % kSectorSize || length % kSectorSize || offset > size() || length > size() - offset)
            return Error{ErrorKind::usage, "past the end"};
        if (fail) return Error{failure, "made to fail"};
        return {};
    }

    u64 sectors_;
    Patience patience_ = Patience::wait;
};

}  // namespace lodge::test
