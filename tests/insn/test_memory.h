// Where tests live, on the interpreter and on the host alike: the same linear addresses, all below 4 GiB.
#pragma once

#include "core/base/types.h"

namespace lodge {

struct TestRegion {
    u64 address;
    u64 size;
    bool writable;
};

constexpr TestRegion kCodeRegion{0x10000000, 0x40000, true};  // tests may modify themselves
constexpr TestRegion kDataRegion{0x10100000, 0x2000, true};
constexpr TestRegion kReadOnlyRegion{0x10200000, 0x1000, false};
constexpr TestRegion kStackRegion{0x10300000, 0x4000, true};
constexpr TestRegion kTestRegions[] = {kCodeRegion, kDataRegion, kReadOnlyRegion, kStackRegion};

constexpr u64 kTestsStart = kCodeRegion.address + 0x1000;
constexpr u64 kStackTop = kStackRegion.address + kStackRegion.size;

}  // namespace lodge
