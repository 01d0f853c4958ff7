#include "core/memory/physical_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

namespace lodge {

namespace {

constexpr unsigned kGranule = 64;

// The granules of [offset, offset+length) within a page, one bit each.
u64 granule_mask(unsigned offset, unsigned length) {
    const unsigned first = offset / kGranule;
    const unsigned last = (offset + length - 1) / kGranule;
    const u64 upto_last = last == 63 ? ~u64{0} : (u64{1} << (last + 1)) - 1;
    return upto_last & ~((u64{1} << first) - 1);
}

}  // namespace

Result<std::unique_ptr<PhysicalMemory>> PhysicalMemory::create(u64 backing_bytes, AddressSpace& unbacked) {
    assert(backing_bytes % kPageSize == 0);
    std::unique_ptr<PhysicalMemory> memory(new PhysicalMemory(unbacked));
    memory->memfd_ = memfd_create("lodge-guest-memory", MFD_CLOEXEC);
    const std::string what = "guest memory of " + std::to_string(backing_bytes / kMiB) + " MiB: ";
    if (memory->memfd_ < 0 || ftruncate(memory->memfd_, static_cast<off_t>(backing_bytes)) != 0)
        return Error{ErrorKind::io, what + std::strerror(errno)};
    void* base = mmap(nullptr, backing_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->memfd_, 0);
    if (base == MAP_FAILED) return Error{ErrorKind::io, what + std::strerror(errno)};
    memory->base_ = static_cast<u8*>(base);
    memory->backing_size_ = backing_bytes;
    memory->flags_.assign(backing_bytes / kPageSize, kPlain);
    memory->code_granules_.assign(backing_bytes / kPageSize, 0);
    return memory;
}

PhysicalMemory::~PhysicalMemory() {
    if (base_) munmap(base_, backing_size_);
    if (memfd_ >= 0) close(memfd_);
}

void PhysicalMemory::set_page(u64 page, Page entry) {
    if (page >= pages_.size()) {
        if (!entry.read) return;
        pages_.resize(page + 1);
    }
    pages_[page] = entry;
}

void PhysicalMemory::map(u64 physical, u64 size, u64 backing_offset, bool writable) {
    assert(backing_offset + size <= backing_size_);
    for (u64 at = 0; at < size; at += kPageSize) {
        u8* host = base_ + backing_offset + at;
        set_page((physical + at) / kPageSize, {host, writable ? host : nullptr});
    }
    map_changed_ = true;
    if (!holding_) announce_map();
}

void PhysicalMemory::map_split(u64 physical, u64 size, u64 backing_offset, u64 write_offset) {
    assert(backing_offset + size <= backing_size_ && write_offset + size <= backing_size_);
    for (u64 at = 0; at < size; at += kPageSize)
        set_page((physical + at) / kPageSize, {base_ + backing_offset + at, base_ + write_offset + at});
    map_changed_ = true;
    if (!holding_) announce_map();
}

void PhysicalMemory::unmap(u64 physical, u64 size) {
    for (u64 at = 0; at < size && (physical + at) / kPageSize < pages_.size(); at += kPageSize)
        set_page((physical + at) / kPageSize, {});
    map_changed_ = true;
    if (!holding_) announce_map();
}

void PhysicalMemory::announce_map() {
    if (!std::exchange(map_changed_, false)) return;
    for (MemoryListener* listener : listeners_) listener->on_map_changed();
}

void PhysicalMemory::note_write(u64 page, unsigned offset, unsigned length) {
    flags_[page] |= kPlain;
    if (!(flags_[page] & kHoldsCode) || !(code_granules_[page] & granule_mask(offset, length))) return;
    for (MemoryListener* listener : listeners_) listener->on_code_written(page, offset, length);
}

void PhysicalMemory::touched(u64 backing_offset, u64 length) {
    while (length > 0) {
        const u64 offset = backing_offset & kPageMask;
        const u64 part = std::min(length, kPageSize - offset);
        note_write(backing_offset / kPageSize, static_cast<unsigned>(offset), static_cast<unsigned>(part));
        backing_offset += part;
        length -= part;
    }
}

void PhysicalMemory::read_in_page(u64 physical, std::span<u8> into) {
    if (const u8* page = read_pointer(physical)) {
        std::memcpy(into.data(), page + (physical & kPageMask), into.size());
        return;
    }
    // The widest aligned accesses that fit, as a bus master would make them.
    while (!into.empty()) {
        unsigned size = 4;
        while (size > into.size() || physical % size) size /= 2;
        const u64 value = unbacked_.read(physical, size);
        std::memcpy(into.data(), &value, size);
        physical += size;
        into = into.subspan(size);
    }
}

void PhysicalMemory::write_in_page(u64 physical, std::span<const u8> from) {
    if (is_backed(physical)) {
        u8* host = pages_[physical / kPageSize].write;
        if (!host) return;
        const auto offset = static_cast<unsigned>(physical & kPageMask);
        std::memcpy(host + offset, from.data(), from.size());
        note_write(backing_page(host), offset, static_cast<unsigned>(from.size()));
        return;
    }
    while (!from.empty()) {
        unsigned size = 4;
        while (size > from.size() || physical % size) size /= 2;
        u64 value = 0;
        std::memcpy(&value, from.data(), size);
        unbacked_.write(physical, size, value);
        physical += size;
        from = from.subspan(size);
    }
}

void PhysicalMemory::read(u64 physical, std::span<u8> into) {
    while (!into.empty()) {
        const size_t part = std::min<u64>(into.size(), kPageSize - (physical & kPageMask));
        read_in_page(physical, into.first(part));
        physical += part;
        into = into.subspan(part);
    }
}

void PhysicalMemory::write(u64 physical, std::span<const u8> from) {
    while (!from.empty()) {
        const size_t part = std::min<u64>(from.size(), kPageSize - (physical & kPageMask));
        write_in_page(physical, from.first(part));
        physical += part;
        from = from.subspan(part);
    }
}

void PhysicalMemory::mark_code(u64 backing_page, unsigned offset, unsigned length) {
    code_granules_[backing_page] |= granule_mask(offset, length);
    if (flags_[backing_page] & kHoldsCode) return;
    flags_[backing_page] |= kHoldsCode;
    for (MemoryListener* listener : listeners_) listener->on_write_watched(backing_page);
}

void PhysicalMemory::forget_code(u64 backing_page) {
    code_granules_[backing_page] = 0;
    flags_[backing_page] &= static_cast<u8>(~kHoldsCode);
}

void PhysicalMemory::clear_dirty(u64 backing_page, u8 mask) {
    if (!(flags_[backing_page] & mask)) return;
    flags_[backing_page] &= static_cast<u8>(~mask);
    for (MemoryListener* listener : listeners_) listener->on_write_watched(backing_page);
}

}  // namespace lodge
