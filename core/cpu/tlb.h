// A direct-mapped translation look-aside buffer: linear page to host pointer, with one tag per kind of access. A tag
// that does not permit the access holds an address whose page has another index, so one unsigned compare,
//     linear - tag <= 4096 - size
// covers the page, the permission and page crossing at once; what the subtraction leaves is the offset in the page.
//
// The translator's code looks entries up by itself, so their layout is part of its contract (jit/).
#pragma once

#include <array>
#include <vector>

#include "core/base/types.h"
#include "core/memory/physical_memory.h"

namespace lodge {

struct TlbEntry {
    u64 read_tag;
    u64 write_tag;
    u64 fetch_tag;
    u64 host_page;  // where the page lies in the host's memory
};
static_assert(sizeof(TlbEntry) == 32);

// The page that was last used as a stack, for accesses through rSP: readable and writable. An access of up to 8 bytes
// at `linear` is good when linear - tag < span. Empty: span is 0.
struct StackCell {
    static constexpr u64 kSpan = kPageSize - 7;

    u64 tag = 0;
    u64 span = 0;
    u64 host_page = 0;
};

// What one place of translated code knows about the memory that it accesses: a run of pages that lie side by side in
// the host's memory, every one of them in the table for this kind of access. All of `reach` bytes from `linear` on may
// be accessed, at `linear` + `delta`, when linear - tag < span. It holds only as long as the pages' entries do.
struct AccessCell {
    u64 tag = 0;
    u64 span = 0;  // 0: nothing is known
    u64 delta = 0;
    u16 reach = 1;
    bool write = false;
    bool logged = false;  // the table knows of it
    // For the translator: misses, and whether they are worth another address of the page (jit/windows.h).
    u16 misses = 0;
    bool windowed = false;
};
static_assert(sizeof(AccessCell) == 32);

// A page whose accesses cannot go through host memory: a device's, or one that is watched. Only the walk is spared.
struct SlowPage {
    u64 page = 1;  // linear; 1: none
    u64 physical = 0;
    bool writable = false;
};

// Aligned so that, seen from the translator's register, no stack cell has the displacement of a field that blocks store
// to, modulo 2048: see Cpu::supervisor_tlb_.
class alignas(kPageSize) Tlb {
  public:
    // Only entries in use are ever cleared, so a large table costs no more than a small one (docs/execution.md).
    static constexpr unsigned kEntries = 4096;

    Tlb();

    static unsigned index(u64 linear) { return (linear / kPageSize) % kEntries; }
    // Never matches a linear address that maps to the entry: it lies in the next entry's page.
    static u64 invalid_tag(unsigned index) { return u64{1} << 63 | u64{(index + 1) % kEntries} * kPageSize; }

    TlbEntry& entry(u64 linear) { return entries_[index(linear)]; }
    const std::array<TlbEntry, kEntries>& entries() const { return entries_; }
    // Of an entry that is good for something.
    bool is_global(u64 linear) const { return global_[index(linear)]; }
    SlowPage& slow_page(u64 linear) { return slow_pages_[linear / kPageSize % kSlowPages]; }
    const StackCell& stack_cell() const { return stack_cell_; }
    // From the stack cell to the entries, for translated code.
    u64 entries_from_stack_cell() const {
        return reinterpret_cast<u64>(entries_.data()) - reinterpret_cast<u64>(&stack_cell_);
    }

    // Replaces the entry for `linear`'s page. `page_size`: of the guest's page, 4 KiB or more.
    void fill(u64 linear, const TlbEntry& entry, bool global, u64 page_size);
    void clear();
    // As a load of CR3 does: pages that are not global.
    void clear_non_global();
    // The guest's page around `linear`, all of it: where large pages have been, everything goes, and true is returned.
    bool clear_page(u64 linear);
    // Forgets the right to write through this host page (an address in the backing, 4096-aligned).
    void forbid_writes(const u8* host_page);

    // Makes `cell` good for the bytes at `linear`, as long as nothing above says otherwise. False: not all of their
    // pages have entries for this kind of access, or they do not lie side by side.
    bool fill_cell(AccessCell& cell, u64 linear);
    // The same with one page only, which costs less.
    bool fill_cell_by_page(AccessCell& cell, u64 linear);
    // The same page lies at `host`, too, where it has other neighbours: for cells, as long as the entry stays.
    void set_alias(u64 linear, u64 host) { aliases_[index(linear)] = host; }
    u64 alias(u64 linear) const { return aliases_[index(linear)]; }  // 0: none
    // Neither cells nor aliases are to be used any longer.
    void forget_cells();

  private:
    void invalidate(unsigned index);
    void clear_slow_pages() { slow_pages_.fill({}); }
    static u64 page_of(const TlbEntry& entry, unsigned index);
    bool is_good(u64 page, bool write) const;
    u64 host_of(u64 page) const;  // as cells have it
    void clear_cells();
    bool fill_cell_with(AccessCell& cell, u64 linear, u64 begin, u64 end);
    u64 run_begin(const AccessCell& cell, u64 page);
    u64 run_end(const AccessCell& cell, u64 page);
    void clear_cells_of(u64 page, bool writing_only);

    static constexpr unsigned kSlowPages = 16;
    // So many pages are looked at on either side when a cell is filled.
    static constexpr unsigned kMostNeighbours = 64;

    StackCell stack_cell_;  // filled by the translator's code
    std::array<TlbEntry, kEntries> entries_;
    std::array<SlowPage, kSlowPages> slow_pages_;
    // Only what was filled is cleared: which entries those are, and whether they are global.
    std::array<bool, kEntries> global_{};
    std::array<bool, kEntries> filled_{};
    std::array<u16, kEntries> log_{};
    unsigned logged_ = 0;
    std::array<u64, kEntries> aliases_{};    // of the entries' host pages
    std::vector<AccessCell*> cells_;         // that are filled
    std::array<bool, kEntries> in_cells_{};  // the entry's page may be part of one
    // Around all large pages filled since the last clear(), for the lower and the upper half of the linear addresses.
    struct Range {
        u64 first = ~u64{0}, last = 0;
    };
    Range large_[2];
};

}  // namespace lodge
