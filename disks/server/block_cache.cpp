#include "disks/server/block_cache.h"

#include <utility>

namespace lodge::server {

size_t BlockCache::Hash::operator()(const Key& key) const {
    // Multiplicative hashing (Knuth, TAOCP volume 3, 6.4); neighbours go to different parts.
    return static_cast<size_t>(((key.base << 40) + key.index) * 0x9E37'79B9'7F4A'7C15 >> 20);
}

BlockCache::Found BlockCache::find(u64 base, u64 index) {
    const Key key{base, index};
    Part& part = part_of(key);
    std::lock_guard lock(part.mutex);
    const auto found = part.places.find(key);
    if (found == part.places.end()) return {};
    Entry& entry = part.entries[found->second];
    entry.used = true;
    return {true, entry.block};
}

void BlockCache::add(u64 base, u64 index, Block block) {
    const Key key{base, index};
    const u64 bytes = weight(block);
    Part& part = part_of(key);
    std::lock_guard lock(part.mutex);
    if (bytes > most_in_part_ || part.places.contains(key)) return;
    make_room(part, bytes);
    part.places.emplace(key, part.entries.size());
    part.entries.push_back({key, std::move(block), false});
    part.bytes += bytes;
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
}

void BlockCache::make_room(Part& part, u64 bytes) {
    while (part.bytes + bytes > most_in_part_) {
        if (part.hand >= part.entries.size()) part.hand = 0;
        if (std::exchange(part.entries[part.hand].used, false))
            ++part.hand;
        else
            remove(part, part.hand);
    }
}

// The last entry takes its place.
void BlockCache::remove(Part& part, size_t place) {
    const u64 bytes = weight(part.entries[place].block);
    part.places.erase(part.entries[place].key);
    if (place + 1 != part.entries.size()) {
        part.entries[place] = std::move(part.entries.back());
        part.places[part.entries[place].key] = place;
    }
    part.entries.pop_back();
    part.bytes -= bytes;
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

void BlockCache::count(u64 hits, u64 misses) {
    hits_.fetch_add(hits, std::memory_order_relaxed);
    misses_.fetch_add(misses, std::memory_order_relaxed);
}

void BlockCache::drop(u64 base) {
    for (Part& part : parts_) {
        std::lock_guard lock(part.mutex);
        for (size_t place = part.entries.size(); place-- > 0;)
            if (part.entries[place].key.base == base) remove(part, place);
    }
}

}  // namespace lodge::server
