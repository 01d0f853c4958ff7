// Copies one disk's bytes to another, without what is zero.
#pragma once

#include <functional>
#include <optional>

#include "disks/block_device.h"

namespace lodge {

// Called now and then with the bytes done so far; false stops the work.
using CopyProgress = std::function<bool(u64 done, u64 total)>;

// `to` is at least as large as `from` and reads as zeros. Errors: those of the two devices; ErrorKind::usage where the
// sizes do not fit or `progress` stopped it.
Result<void> copy_disk(BlockDevice& from, BlockDevice& to, const CopyProgress& progress);

// Where two disks differ first.
struct Difference {
    u64 offset = 0;  // bytes
    u8 first = 0;
    u8 second = 0;
};

// Compares as far as the shorter one goes; the rest of the longer one is compared with zeros. Nothing where there is no
// difference. Errors: those of the two devices; usage where `progress` stopped it.
Result<std::optional<Difference>> compare_disks(BlockDevice& first, BlockDevice& second, const CopyProgress& progress);

}  // namespace lodge
