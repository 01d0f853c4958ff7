// Views of the guest's memory as a program of the guest sees it: pages that lie side by side in its linear addresses
// are mapped side by side here, wherever they lie in the backing. A cell (core/cpu/tlb.h) then covers all of a buffer.
//
// A window says nothing of rights, nor of whether the page is still mapped there: cells and the TLB do. It is only
// another address of a page of the backing, made for pages whose accesses have missed their cells often.
#pragma once

#include <memory>
#include <vector>

#include "core/base/types.h"

namespace lodge::jit {

class Windows {
  public:
    // `memfd`: the backing, of at most 16 TiB.
    explicit Windows(int memfd) : memfd_(memfd) {}
    ~Windows();
    Windows(const Windows&) = delete;

    // The host's address of the page `linear` in the address space `space`, if backing page `page` is mapped there;
    // else 0.
    u64 find(u64 space, u64 linear, u64 page);
    // Maps it there. 0: the host refuses, or something else must make room first: see make_room().
    u64 map(u64 space, u64 linear, u64 page);
    bool wants_room() const { return full_ || !outdated_.empty(); }
    // Afterwards addresses given before may be no longer good.
    void make_room();

  private:
    static constexpr unsigned kWindows = 16;
    static constexpr u64 kPages = 65536;      // in a window
    static constexpr u32 kMostMapped = 4096;  // in a window, each a mapping of the host's (vm.max_map_count)
    static constexpr u32 kNothing = ~u32{0};
    static constexpr u64 kNoRegion = ~u64{0};

    struct Window {
        u64 space = 0, region = kNoRegion;
        u64 used = 0;
        u8* begin = nullptr;
        u32 mapped = 0;
        std::vector<u32> pages;  // of the backing, or kNothing
    };

    Window* window(u64 space, u64 region);
    Window* new_window(u64 space, u64 region);
    static bool empty(Window& window);

    int memfd_;
    u64 uses_ = 0;
    Window windows_[kWindows];
    // What make_room() is to do: give up a window, forget what some pages were.
    Window* full_ = nullptr;
    std::vector<u32*> outdated_;
};

}  // namespace lodge::jit
