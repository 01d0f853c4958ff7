// The guest's physical memory: RAM, ROM and video memory live in one memfd (the backing), and a page table says which
// backing page, if any, answers at a physical page; what is not backed goes to the memory-mapped bus.
//
// All writes, the CPU's fast ones excepted, go through `write`, which keeps the flags of each backing page. The CPU
// may write a page directly only while `write_pointer` gives it: that is, while nobody needs to see the write. When
// somebody starts to need it (code was decoded from the page, dirty bits were cleared), the listeners are told to
// forget their write pointers.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "core/base/result.h"
#include "core/base/types.h"
#include "core/memory/address_space.h"

namespace lodge {

constexpr u64 kPageSize = 4096;
constexpr u64 kPageMask = kPageSize - 1;

// Flags of a backing page. The page is plainly writable when they equal kPlain.
constexpr u8 kDirtySnapshot = 0x01;   // written since the last snapshot
constexpr u8 kDirtyMigration = 0x02;  // written since the last migration pass
constexpr u8 kDirtyScreen = 0x04;     // written since the last redraw
constexpr u8 kHoldsCode = 0x08;       // an executor has decoded instructions of it
constexpr u8 kPlain = kDirtySnapshot | kDirtyMigration | kDirtyScreen;

// Whoever caches pointers or code of this memory.
class MemoryListener {
  public:
    virtual ~MemoryListener() = default;
    // Bytes of a page that holds code have changed (already written). The listener drops what it made of them and
    // may call forget_code.
    virtual void on_code_written(u64 backing_page, unsigned offset, unsigned length) = 0;
    // Write pointers to this backing page must no longer be used.
    virtual void on_write_watched(u64 backing_page) = 0;
    // Any pointer, and any decoded code, may be stale: the map has changed.
    virtual void on_map_changed() = 0;
};

class PhysicalMemory {
  public:
    // `backing_bytes`: RAM, ROMs and video memory together, a multiple of 4096. `unbacked` answers elsewhere and
    // outlives the memory.
    static Result<std::unique_ptr<PhysicalMemory>> create(u64 backing_bytes, AddressSpace& unbacked);
    ~PhysicalMemory();
    PhysicalMemory(const PhysicalMemory&) = delete;

    int memfd() const { return memfd_; }
    u64 backing_size() const { return backing_size_; }
    u64 backing_pages() const { return backing_size_ / kPageSize; }
    // The whole backing, for ROM loading, scan-out and saving. Writers must call `touched` afterwards.
    std::span<u8> backing() { return {base_, backing_size_}; }
    void touched(u64 backing_offset, u64 length);

    // Maps physical [physical, +size) to the backing. All multiples of 4096. A read-only range ignores writes.
    // Replaces what was there.
    void map(u64 physical, u64 size, u64 backing_offset, bool writable);
    // As `map`, but writes go elsewhere than reads: reads see `backing_offset`, writes go to `write_offset`
    // (PAM "write only": copy ROM to the RAM behind it).
    void map_split(u64 physical, u64 size, u64 backing_offset, u64 write_offset);
    void unmap(u64 physical, u64 size);
    // Several changes of the map reach the listeners as one.
    class MapChange {
      public:
        explicit MapChange(PhysicalMemory& memory) : memory_(memory) { ++memory_.holding_; }
        ~MapChange() {
            if (--memory_.holding_ == 0) memory_.announce_map();
        }

      private:
        PhysicalMemory& memory_;
    };

    // DMA and slow CPU accesses: any address and length; never fails (unbacked reads all ones).
    void read(u64 physical, std::span<u8> into);
    void write(u64 physical, std::span<const u8> from);
    template <class T>
    T read_value(u64 physical) {
        if ((physical & kPageMask) <= kPageSize - sizeof(T)) {
            if (const u8* page = read_pointer(physical)) return load<T>(page + (physical & kPageMask));
            if constexpr (std::is_integral_v<T>) return static_cast<T>(unbacked_.read(physical, sizeof(T)));
        }
        T value;
        read(physical, std::span<u8>(reinterpret_cast<u8*>(&value), sizeof value));
        return value;
    }
    template <class T>
    void write_value(u64 physical, T value) {
        if ((physical & kPageMask) <= kPageSize - sizeof(T)) {
            if (u8* page = write_pointer(physical)) return store(page + (physical & kPageMask), value);
            if constexpr (std::is_integral_v<T>) {
                if (!is_backed(physical)) return unbacked_.write(physical, sizeof(T), static_cast<u64>(value));
            }
        }
        write(physical, std::span<const u8>(reinterpret_cast<const u8*>(&value), sizeof value));
    }

    // The host address of the page of `physical` for direct reading, or null when it is not backed.
    u8* read_pointer(u64 physical) const {
        const u64 page = physical / kPageSize;
        return page < pages_.size() ? pages_[page].read : nullptr;
    }
    // For direct writing: null when not backed, read-only, or watched.
    u8* write_pointer(u64 physical) const {
        const u64 page = physical / kPageSize;
        if (page >= pages_.size() || !pages_[page].write) return nullptr;
        return flags_[backing_page(pages_[page].write)] == kPlain ? pages_[page].write : nullptr;
    }
    // Behind the last physical address that is backed, or has ever been.
    u64 mapped_end() const { return pages_.size() * kPageSize; }
    bool is_backed(u64 physical) const { return read_pointer(physical) != nullptr; }
    // The backing page that answers reads there. Only if is_backed.
    u64 backing_page_of(u64 physical) const { return backing_page(read_pointer(physical)); }

    // Code marks, in granules of 64 bytes.
    void mark_code(u64 backing_page, unsigned offset, unsigned length);
    void forget_code(u64 backing_page);
    // Forgets the marks of a page that stays watched: for one whose remaining code is about to be marked again.
    void clear_code_marks(u64 backing_page) { code_granules_[backing_page] = 0; }
    bool holds_code(u64 backing_page) const { return flags_[backing_page] & kHoldsCode; }
    // The dirty flags of `mask` for a page; clearing makes writes watched again.
    bool test_dirty(u64 backing_page, u8 mask) const { return flags_[backing_page] & mask; }
    void clear_dirty(u64 backing_page, u8 mask);

    void add_listener(MemoryListener& listener) { listeners_.push_back(&listener); }
    void remove_listener(MemoryListener& listener) { std::erase(listeners_, &listener); }

  private:
    struct Page {
        u8* read = nullptr;
        u8* write = nullptr;
    };

    PhysicalMemory(AddressSpace& unbacked) : unbacked_(unbacked) {}
    u64 backing_page(const u8* host) const { return static_cast<u64>(host - base_) / kPageSize; }
    void set_page(u64 page, Page entry);
    void announce_map();
    void note_write(u64 page, unsigned offset, unsigned length);
    void write_in_page(u64 physical, std::span<const u8> from);
    void read_in_page(u64 physical, std::span<u8> into);

    AddressSpace& unbacked_;
    int memfd_ = -1;
    u8* base_ = nullptr;
    u64 backing_size_ = 0;
    std::vector<Page> pages_;
    std::vector<u8> flags_;
    std::vector<u64> code_granules_;
    std::vector<MemoryListener*> listeners_;
    int holding_ = 0;
    bool map_changed_ = false;
};

}  // namespace lodge
