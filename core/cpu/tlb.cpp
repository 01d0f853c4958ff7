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
}

void Tlb::fill(u64 linear, const TlbEntry& entry, bool global, u64 page_size) {
    if (page_size > kPageSize) {
        Range& range = large_[linear >> 63];
        range.first = std::min(range.first, linear & ~(page_size - 1));
        range.last = std::max(range.last, linear | (page_size - 1));
    }
    const unsigned at = index(linear);
    if (entries_[at].host_page == stack_cell_.host_page) stack_cell_ = {};
    entries_[at] = entry;
    global_[at] = global;
    if (filled_[at]) return;
    filled_[at] = true;
    log_[logged_++] = static_cast<u16>(at);
}

void Tlb::clear() {
    stack_cell_ = {};
    clear_slow_pages();
    for (unsigned i = 0; i < logged_; ++i) invalidate(log_[i]);
    logged_ = 0;
    for (Range& range : large_) range = Range{};
}

void Tlb::clear_non_global() {
    stack_cell_ = {};
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
    invalidate(at);
    filled_[at] = logged;
    return false;
}

void Tlb::forbid_writes(const u8* host_page) {
    const u64 host = reinterpret_cast<u64>(host_page);
    if (stack_cell_.host_page == host) stack_cell_ = {};
    for (unsigned i = 0; i < logged_; ++i) {
        TlbEntry& entry = entries_[log_[i]];
        if (entry.host_page == host) entry.write_tag = invalid_tag(log_[i]);
    }
}

}  // namespace lodge
