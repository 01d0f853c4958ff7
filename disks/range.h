// Checks that every driver makes before it transfers anything.
#pragma once

#include <algorithm>
#include <span>
#include <string>

#include "disks/block_device.h"

namespace lodge {

// ErrorKind::usage where [offset, offset + length) is not within the device.
inline Result<void> check_range(const BlockDevice& device, u64 offset, u64 length) {
    if (offset <= device.size() && length <= device.size() - offset) return {};
    return Error{ErrorKind::usage, device.describe() + ": " + std::to_string(length) + " bytes at byte " +
                                       std::to_string(offset) + " are past the end of the disk (" +
                                       std::to_string(device.size()) + " bytes)"};
}

// As check_range, and ErrorKind::usage where the device is read-only.
inline Result<void> check_writable(const BlockDevice& device, u64 offset, u64 length) {
    if (device.read_only())
        return Error{ErrorKind::usage, device.describe() + ": is open read-only; nothing was written"};
    return check_range(device, offset, length);
}

// Whether every byte is zero. Stops at the first that is not.
inline bool all_zero(std::span<const u8> bytes) {
    constexpr size_t kStep = 256;  // long enough for the compiler to vectorise, short enough to stop early
    while (bytes.size() >= kStep) {
        u64 any = 0;
        for (size_t i = 0; i < kStep; i += 8) any |= load<u64>(bytes.data() + i);
        if (any != 0) return false;
        bytes = bytes.subspan(kStep);
    }
    return std::all_of(bytes.begin(), bytes.end(), [](u8 byte) { return byte == 0; });
}

}  // namespace lodge
