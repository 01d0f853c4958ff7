// A vDisk that is only read: what shared clients' caches lie over. Any thread. The image is open, and locked against
// writers, for as long as this lives; its blocks go through the cache that all bases have in common.
//
// An image's driver serves one caller at a time, so there are several of it, opened as they are needed.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "disks/block_device.h"
#include "disks/server/block_cache.h"

namespace lodge::server {

// What tells an image that was changed from one that was not.
struct ImageVersion {
    u64 bytes = 0;       // of the disk
    i64 changed_at = 0;  // of the file, nanoseconds since some epoch of the host's
    bool operator==(const ImageVersion&) const = default;
};

class SharedBase {
  public:
    // `number` is one that no base has had. Errors: open_image's.
    static Result<std::shared_ptr<SharedBase>> open(const std::string& path, u64 number, BlockCache& cache);
    ~SharedBase() { cache_.drop(number_); }

    u64 bytes() const { return version_.bytes; }
    const ImageVersion& version() const { return version_; }
    // 32 hexadecimal digits of the image's own, if it is a VHD.
    const std::string& unique_id() const { return unique_id_; }

    Result<void> read(u64 offset, std::span<u8> into);
    // From memory; false if not all of it is there.
    bool try_read(u64 offset, std::span<u8> into);
    Result<Extent> extent(u64 offset);

  private:
    static constexpr size_t kMostReaders = 4;

    SharedBase(std::string path, u64 number, BlockCache& cache)
        : path_(std::move(path)), number_(number), cache_(cache) {}
    // Does `work` with a driver that nobody else uses meanwhile.
    template <class Work>
    auto with_reader(Work work) -> decltype(work(std::declval<BlockDevice&>()));
    Result<std::unique_ptr<BlockDevice>> take_reader();
    void give_back(std::unique_ptr<BlockDevice> reader);
    Result<BlockCache::Block> read_block(BlockDevice& reader, u64 index);

    const std::string path_;
    const u64 number_;
    BlockCache& cache_;
    ImageVersion version_;
    std::string unique_id_;
    std::mutex mutex_;
    std::condition_variable given_back_;
    std::vector<std::unique_ptr<BlockDevice>> idle_;  // under mutex_
    size_t readers_ = 0;                              // under mutex_; idle or not
};

// Errors: as opening it for reading.
Result<ImageVersion> version_of_image(const std::string& path, u64 bytes);
// 32 hexadecimal digits: a VHD's unique id; of another image something made of its path.
Result<std::string> unique_id_of_image(const std::string& path);

}  // namespace lodge::server
