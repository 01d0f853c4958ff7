#include "jit/windows.h"

#include <sys/mman.h>

#include <algorithm>

#include "core/memory/physical_memory.h"

namespace lodge::jit {

Windows::~Windows() {
    for (Window& window : windows_)
        if (window.begin) munmap(window.begin, kPages * kPageSize);
}

Windows::Window* Windows::window(u64 space, u64 region) {
    for (Window& window : windows_)
        if (window.region == region && window.space == space) {
            window.used = ++uses_;
            return &window;
        }
    return nullptr;
}

// Makes the window one that maps nothing.
bool Windows::empty(Window& window) {
    window.region = kNoRegion;
    if (!window.begin || window.mapped) {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (window.begin ? MAP_FIXED : 0);
        void* begin = mmap(window.begin, kPages * kPageSize, PROT_NONE, flags, -1, 0);
        if (begin == MAP_FAILED) return false;
        window.begin = static_cast<u8*>(begin);
    }
    window.pages.assign(kPages, kNothing);
    window.mapped = 0;
    return true;
}

// The one that has not been used for the longest time makes way.
Windows::Window* Windows::new_window(u64 space, u64 region) {
    Window* oldest = std::min_element(std::begin(windows_), std::end(windows_),
                                      [](const Window& a, const Window& b) { return a.used < b.used; });
    if (oldest->mapped) {
        full_ = oldest;
        return nullptr;
    }
    if (!empty(*oldest)) return nullptr;
    oldest->space = space;
    oldest->region = region;
    oldest->used = ++uses_;
    return oldest;
}

u64 Windows::find(u64 space, u64 linear, u64 page) {
    const u64 number = linear / kPageSize;
    const Window* found = window(space, number / kPages);
    if (!found || found->pages[number % kPages] != page) return 0;
    return reinterpret_cast<u64>(found->begin) + number % kPages * kPageSize;
}

u64 Windows::map(u64 space, u64 linear, u64 page) {
    const u64 number = linear / kPageSize;
    Window* found = window(space, number / kPages);
    if (!found) found = new_window(space, number / kPages);
    if (!found) return 0;
    u32& mapped = found->pages[number % kPages];
    if (mapped != kNothing) {
        outdated_.push_back(&mapped);
        return 0;
    }
    if (found->mapped == kMostMapped) {
        full_ = found;
        return 0;
    }
    u8* at = found->begin + number % kPages * kPageSize;
    if (mmap(at, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memfd_,
             static_cast<off_t>(page * kPageSize)) == MAP_FAILED)
        return 0;
    ++found->mapped;
    mapped = static_cast<u32>(page);
    return reinterpret_cast<u64>(at);
}

void Windows::make_room() {
    for (u32* page : outdated_) *page = kNothing;
    outdated_.clear();
    if (full_) empty(*full_);
    full_ = nullptr;
}

}  // namespace lodge::jit
