// Linear pages that code was fetched from: to invalidate any other page changes nothing for what an engine remembers of
// code. It may remember a page too many.
#pragma once

#include <array>
#include <vector>

#include "core/cpu/tlb.h"

namespace lodge {

class FetchedPages {
  public:
    void note(u64 linear) {
        u32& slot = slots_[Tlb::index(linear)];
        if (slot == value_of(linear)) [[likely]]
            return;
        if (slot == kNone) used_.push_back(static_cast<u16>(Tlb::index(linear)));
        slot = slot == kNone ? value_of(linear) : kSeveral;
    }
    bool has(u64 linear) const {
        const u32 slot = slots_[Tlb::index(linear)];
        return slot == kSeveral || slot == value_of(linear);
    }
    void clear() {
        for (const u16 index : used_) slots_[index] = kNone;
        used_.clear();
    }

  private:
    static constexpr u32 kNone = 0, kSeveral = 1;
    static u32 value_of(u64 linear) { return static_cast<u32>(linear / kPageSize) | 2; }

    std::array<u32, Tlb::kEntries> slots_{};
    std::vector<u16> used_;  // slots that are not kNone
};

}  // namespace lodge
