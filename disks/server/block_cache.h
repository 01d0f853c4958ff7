// Blocks of shared vDisks' bases in memory: each once, whoever reads it. Any thread.
//
// In parts with a lock each, so that workers and the target's thread seldom wait for each other. A part drops what has
// not been used for longest, by a clock hand (second chance).
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/base/types.h"

namespace lodge::server {

class BlockCache {
  public:
    static constexpr u64 kBlock = 32 * kKiB;

    // The bytes of a block, fewer at the end of a disk; null: the block is zeros, which takes next to no memory.
    using Block = std::shared_ptr<const std::vector<u8>>;
    struct Found {
        bool here = false;
        Block block;
    };

    // Of at most so many bytes.
    explicit BlockCache(u64 most_bytes) : most_in_part_(most_bytes / kParts) {}

    // `base` is a number that no other base has had.
    Found find(u64 base, u64 index);
    void add(u64 base, u64 index, Block block);
    // Of a base that nobody will ask for again.
    void drop(u64 base);
    // What a reader found and did not find.
    void count(u64 hits, u64 misses);

    u64 bytes() const { return bytes_; }
    u64 hits() const { return hits_; }
    u64 misses() const { return misses_; }

  private:
    static constexpr size_t kParts = 16;
    static constexpr u64 kEntryBytes = 128;  // what an entry takes besides its bytes, about

    struct Key {
        u64 base;
        u64 index;
        bool operator==(const Key&) const = default;
    };
    struct Hash {
        size_t operator()(const Key& key) const;
    };
    struct Entry {
        Key key;
        Block block;
        bool used;
    };
    struct Part {
        std::mutex mutex;
        std::unordered_map<Key, size_t, Hash> places;  // in entries
        std::vector<Entry> entries;
        size_t hand = 0;
        u64 bytes = 0;
    };

    static u64 weight(const Block& block) { return kEntryBytes + (block ? block->size() : 0); }
    Part& part_of(const Key& key) { return parts_[Hash{}(key) % kParts]; }
    void remove(Part& part, size_t place);
    void make_room(Part& part, u64 bytes);

    const u64 most_in_part_;
    std::array<Part, kParts> parts_;
    std::atomic<u64> bytes_ = 0, hits_ = 0, misses_ = 0;
};

}  // namespace lodge::server
