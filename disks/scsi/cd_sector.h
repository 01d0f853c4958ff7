// A sector of a CD as its 2352 bytes: a block of user data with what is around it on the disc.
// Source: ECMA-130 (CD-ROM): chapter 14 sectors, annexes A (error detection and correction) and B.
#pragma once

#include <array>
#include <span>

#include "core/base/types.h"

namespace lodge::scsi {

constexpr u32 kCdSectorBytes = 2352;
constexpr u32 kCdSyncBytes = 12;
constexpr u32 kCdHeaderBytes = 4;
constexpr u32 kCdDataBytes = 2048;
constexpr u32 kCdSectorsPerSecond = 75;
constexpr u32 kCdLeadIn = 150;  // sectors before block 0

// Minutes, seconds and frames of a block's absolute address, binary.
std::array<u8, 3> cd_msf(u64 lba);
// A mode 1 sector of these 2048 bytes.
std::array<u8, kCdSectorBytes> cd_sector(u64 lba, std::span<const u8> data);

}  // namespace lodge::scsi
