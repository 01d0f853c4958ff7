#include "core/cpu/tlb.h"

#include <algorithm>

namespace lodge {

Tlb::Tlb() {
    for (unsigned i = 0; i < kEntries; ++i) invalidate(i);
}

void Tlb::invalidate(unsigned index) {
    const u64 tag = invalid_tag(index);
    entries_[index] = {tag, tag, tag, 0};
    filled_[index] = false;
    in_cells_[index] = false;
    aliases_[index] = 0;
}

void Tlb::fill(u64 linear, const TlbEntry& entry, bool global, u64 page_size) {
    if (page_size > kPageSize) {
        Range& range = large_[linear >> 63];
        range.first = std::min(range.first, linear & ~(page_size - 1));
        range.last = std::max(range.last, linear | (page_size - 1));
    }
    const unsigned at = index(linear);
    TlbEntry& old = entries_[at];
    if (old.host_page == stack_cell_.host_page) stack_cell_ = {};
    if (in_cells_[at]) {
        const u64 page = page_of(old, at);
        const bool readable = entry.read_tag == page && entry.host_page == old.host_page;
        if (!readable || (old.write_tag == page && entry.write_tag != page)) clear_cells_of(page, readable);
    }
    if (entry.host_page != old.host_page || entry.read_tag != old.read_tag) aliases_[at] = 0;
    old = entry;
    global_[at] = global;
    if (filled_[at]) return;
    filled_[at] = true;
    log_[logged_++] = static_cast<u16>(at);
}

void Tlb::clear() {
    stack_cell_ = {};
    clear_cells();
    clear_slow_pages();
    for (unsigned i = 0; i < logged_; ++i) invalidate(log_[i]);
    logged_ = 0;
    for (Range& range : large_) range = Range{};
}

void Tlb::clear_non_global() {
    stack_cell_ = {};
    clear_cells();
    clear_slow_pages();
    unsigned kept = 0;
    for (unsigned i = 0; i < logged_; ++i) {
        const u16 at = log_[i];
        if (global_[at])
            log_[kept++] = at;
        else
            invalidate(at);
    }
    logged_ = kept;
}

// The entry stays in the log, so that no entry is ever logged twice.
bool Tlb::clear_page(u64 linear) {
    stack_cell_ = {};
    clear_slow_pages();
    const Range& range = large_[linear >> 63];
    if (linear >= range.first && linear <= range.last) {
        clear();
        return true;
    }
    const unsigned at = index(linear);
    const bool logged = filled_[at];
    if (in_cells_[at]) clear_cells_of(page_of(entries_[at], at), false);
    invalidate(at);
    filled_[at] = logged;
    return false;
}

void Tlb::forbid_writes(const u8* host_page) {
    const u64 host = reinterpret_cast<u64>(host_page);
    if (stack_cell_.host_page == host) stack_cell_ = {};
    for (unsigned i = 0; i < logged_; ++i) {
        TlbEntry& entry = entries_[log_[i]];
        if (entry.host_page != host) continue;
        if (in_cells_[log_[i]]) clear_cells_of(page_of(entry, log_[i]), true);
        entry.write_tag = invalid_tag(log_[i]);
    }
}

// --- Cells

// The linear page that an entry which is part of a cell stands for: it may be read at least.
u64 Tlb::page_of(const TlbEntry& entry, unsigned index) {
    return entry.read_tag != invalid_tag(index) ? entry.read_tag : entry.write_tag;
}

bool Tlb::is_good(u64 page, bool write) const {
    const TlbEntry& entry = entries_[index(page)];
    return entry.read_tag == page && (!write || entry.write_tag == page);
}

u64 Tlb::host_of(u64 page) const {
    const unsigned at = index(page);
    return aliases_[at] ? aliases_[at] : entries_[at].host_page;
}

// Both stop at what the cell covered before, if that lies beside: it is good still, and was as long as it could be.
u64 Tlb::run_begin(const AccessCell& cell, u64 page) {
    const u64 delta = host_of(page) - page;
    for (unsigned i = 0; i < kMostNeighbours; ++i) {
        in_cells_[index(page)] = true;
        const u64 next = page - kPageSize;
        if (!is_good(next, cell.write) || host_of(next) - next != delta) break;
        if (next - cell.tag < cell.span && cell.delta == delta) return cell.tag;
        page = next;
    }
    return page;
}

u64 Tlb::run_end(const AccessCell& cell, u64 page) {
    const u64 delta = host_of(page) - page;
    for (unsigned i = 0; i < kMostNeighbours; ++i) {
        in_cells_[index(page)] = true;
        const u64 next = page + kPageSize;
        if (!is_good(next, cell.write) || host_of(next) - next != delta) break;
        if (next - cell.tag < cell.span && cell.delta == delta) return cell.tag + cell.span + cell.reach - 1;
        page = next;
    }
    return page + kPageSize;
}

bool Tlb::fill_cell(AccessCell& cell, u64 linear) {
    const u64 page = linear & ~kPageMask;
    if (!is_good(page, cell.write)) return false;
    return fill_cell_with(cell, linear, run_begin(cell, page), run_end(cell, page));
}

bool Tlb::fill_cell_by_page(AccessCell& cell, u64 linear) {
    const u64 page = linear & ~kPageMask;
    if (!is_good(page, cell.write)) return false;
    in_cells_[index(page)] = true;
    return fill_cell_with(cell, linear, page, page + kPageSize);
}

bool Tlb::fill_cell_with(AccessCell& cell, u64 linear, u64 begin, u64 end) {
    if (end - linear < cell.reach) return false;
    cell.tag = begin;
    cell.span = end - begin - (cell.reach - 1u);
    const u64 page = linear & ~kPageMask;
    cell.delta = host_of(page) - page;
    if (!cell.logged) cells_.push_back(&cell);
    cell.logged = true;
    return true;
}

void Tlb::clear_cells() {
    for (AccessCell* cell : cells_) {
        cell->span = 0;
        cell->logged = false;
    }
    cells_.clear();
}

void Tlb::forget_cells() {
    clear_cells();
    aliases_.fill(0);
}

void Tlb::clear_cells_of(u64 page, bool writing_only) {
    std::erase_if(cells_, [&](AccessCell* cell) {
        const bool affected = page - cell->tag < cell->span + cell->reach - 1 && (cell->write || !writing_only);
        if (!affected) return false;
        cell->span = 0;
        cell->logged = false;
        return true;
    });
}

}  // namespace lodge
