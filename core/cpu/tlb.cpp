#include "core/cpu/tlb.h"

namespace lodge {

namespace {

void invalidate(TlbEntry& entry, unsigned index) {
    const u64 tag = Tlb::invalid_tag(index);
    entry = {tag, tag, tag, 0};
}

}  // namespace

void Tlb::clear() {
    for (unsigned i = 0; i < kEntries; ++i) invalidate(entries_[i], i);
}

void Tlb::clear_page(u64 linear) {
    invalidate(entry(linear), index(linear));
}

void Tlb::forbid_writes(const u8* host_page) {
    const u64 host = reinterpret_cast<u64>(host_page);
    for (unsigned i = 0; i < kEntries; ++i) {
        TlbEntry& entry = entries_[i];
        if (entry.write_tag + entry.addend == host) entry.write_tag = invalid_tag(i);
    }
}

}  // namespace lodge
