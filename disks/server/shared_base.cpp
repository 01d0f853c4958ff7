#include "disks/server/shared_base.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>

#include "disks/open_image.h"
#include "disks/range.h"

namespace lodge::server {

namespace {

constexpr u64 kBlock = BlockCache::kBlock;

std::string hexadecimal(std::span<const u8> bytes) {
    std::string text;
    for (const u8 byte : bytes) {
        text += "0123456789abcdef"[byte >> 4];
        text += "0123456789abcdef"[byte & 15];
    }
    return text;
}

// FNV-1a, for what only has to be the same next time.
std::array<u8, 16> digest(const std::string& text) {
    std::array<u8, 16> bytes;
    u64 hash = 0xCBF2'9CE4'8422'2325;
    for (size_t half = 0; half < 2; ++half) {
        for (const char character : text) hash = (hash ^ static_cast<u8>(character)) * 0x100'0000'01B3;
        store<u64>(bytes.data() + half * 8, hash);
    }
    return bytes;
}

// Copies what of a block lies within the range [offset, offset + into.size()).
void copy_part(const BlockCache::Block& block, u64 index, u64 offset, std::span<u8> into) {
    const u64 begin = std::max(offset, index * kBlock);
    const u64 end = std::min(offset + into.size(), (index + 1) * kBlock);
    const auto part = into.subspan(begin - offset, end - begin);
    if (block)
        std::memcpy(part.data(), block->data() + begin % kBlock, part.size());
    else
        std::fill(part.begin(), part.end(), u8{0});
}

}  // namespace

Result<ImageVersion> version_of_image(const std::string& path, u64 bytes) {
    std::error_code code;
    const auto changed = std::filesystem::last_write_time(path, code);
    if (code) return Error{ErrorKind::io, path + ": cannot tell when it was changed: " + code.message()};
    return ImageVersion{bytes, std::chrono::nanoseconds(changed.time_since_epoch()).count()};
}

Result<std::string> unique_id_of_image(const std::string& path) {
    const auto details = inspect_image(path, {});
    if (!details) return details.error();
    return hexadecimal(details->vhd ? details->vhd->footer.unique_id : digest(path));
}

Result<std::shared_ptr<SharedBase>> SharedBase::open(const std::string& path, u64 number, BlockCache& cache) {
    std::shared_ptr<SharedBase> base(new SharedBase(path, number, cache));
    auto reader = base->take_reader();
    if (!reader) return reader.error();
    // From here on nobody can change it.
    const auto version = version_of_image(path, (*reader)->size());
    if (!version) return version.error();
    base->version_ = *version;
    base->give_back(std::move(*reader));
    auto id = unique_id_of_image(path);
    if (!id) return id.error();
    base->unique_id_ = std::move(*id);
    return base;
}

Result<std::unique_ptr<BlockDevice>> SharedBase::take_reader() {
    std::unique_lock lock(mutex_);
    given_back_.wait(lock, [this] { return !idle_.empty() || readers_ < kMostReaders; });
    if (!idle_.empty()) {
        auto reader = std::move(idle_.back());
        idle_.pop_back();
        return reader;
    }
    ++readers_;
    lock.unlock();
    auto reader = open_image(path_, {});
    if (!reader) give_back(nullptr);
    return reader;
}

void SharedBase::give_back(std::unique_ptr<BlockDevice> reader) {
    {
        std::lock_guard lock(mutex_);
        if (reader)
            idle_.push_back(std::move(reader));
        else
            --readers_;
    }
    given_back_.notify_one();
}

template <class Work>
auto SharedBase::with_reader(Work work) -> decltype(work(std::declval<BlockDevice&>())) {
    auto reader = take_reader();
    if (!reader) return reader.error();
    auto done = work(**reader);
    give_back(std::move(*reader));
    return done;
}

Result<Extent> SharedBase::extent(u64 offset) {
    return with_reader([&](BlockDevice& reader) { return reader.extent(offset); });
}

bool SharedBase::try_read(u64 offset, std::span<u8> into) {
    if (into.empty()) return true;
    const u64 first = offset / kBlock, last = (offset + into.size() - 1) / kBlock;
    for (u64 index = first; index <= last; ++index) {
        const auto found = cache_.find(number_, index);
        if (!found.here) return false;
        copy_part(found.block, index, offset, into);
    }
    cache_.count(last - first + 1, 0);
    return true;
}

Result<void> SharedBase::read(u64 offset, std::span<u8> into) {
    if (into.empty()) return {};
    return with_reader([&](BlockDevice& reader) -> Result<void> {
        LODGE_TRY(check_range(reader, offset, into.size()));
        const u64 last = (offset + into.size() - 1) / kBlock;
        for (u64 index = offset / kBlock; index <= last; ++index) {
            auto found = cache_.find(number_, index);
            cache_.count(found.here ? 1 : 0, found.here ? 0 : 1);
            if (!found.here) {
                auto block = read_block(reader, index);
                if (!block) return block.error();
                found.block = std::move(*block);
                cache_.add(number_, index, found.block);
            }
            copy_part(found.block, index, offset, into);
        }
        return {};
    });
}

Result<BlockCache::Block> SharedBase::read_block(BlockDevice& reader, u64 index) {
    const u64 begin = index * kBlock, length = std::min(kBlock, reader.size() - begin);
    const auto extent = reader.extent(begin);
    if (!extent) return extent.error();
    if (extent->zero && extent->length >= length) return BlockCache::Block();
    auto bytes = std::make_shared<std::vector<u8>>(length);
    LODGE_TRY(reader.read(begin, *bytes));
    return BlockCache::Block(std::move(bytes));
}

}  // namespace lodge::server
