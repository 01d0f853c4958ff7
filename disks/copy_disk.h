// Copies one disk's bytes to another, without what is zero.
#pragma once

#include <functional>

#include "disks/block_device.h"

namespace lodge {

// Called now and then with the bytes done so far; false stops the copy.
using CopyProgress = std::function<bool(u64 done, u64 total)>;

// `to` is at least as large as `from` and reads as zeros. Errors: those of the two devices; ErrorKind::usage where the
// sizes do not fit or `progress` stopped it.
Result<void> copy_disk(BlockDevice& from, BlockDevice& to, const CopyProgress& progress);

}  // namespace lodge
