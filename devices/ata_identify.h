// What an ATA disk says of itself: its geometry for old software and the 512 bytes of IDENTIFY DEVICE.
// Source: ATA/ATAPI-6 (T13/1410D revision 3b), IDENTIFY DEVICE and annex B; ACS-2 (T13/2015-D) for words 105, 169 and
// 217.
#pragma once

#include <array>
#include <string>

#include "core/base/types.h"

namespace lodge {

struct AtaGeometry {
    u16 cylinders = 1;
    u8 heads = 1;    // 1..16
    u8 sectors = 1;  // per track, 1..255; 63 at most by default

    u64 total() const { return u64{cylinders} * heads * sectors; }
};

// The default translation of a disk of that many sectors: 16 heads of 63 sectors, at most 16383 cylinders (annex B).
AtaGeometry ata_geometry(u64 sectors);

struct AtaIdentity {
    u64 sectors = 0;  // at most 2^48
    AtaGeometry current;
    std::string serial;  // at most 20 ASCII characters
    bool slave = false;
    u8 multiple = 0;  // sectors per block of READ/WRITE MULTIPLE, 0 for none
    u8 dma_mode = 0;  // as SET FEATURES 03h selected it: 20h..22h multiword, 40h..45h Ultra
    bool write_cache = true;
    bool look_ahead = true;
    bool smart = true;
};

constexpr u8 kAtaMostMultiple = 16;
constexpr u16 kAtaMostTrimBlocks = 8;
constexpr u8 kAtaMostMultiwordMode = 2;
constexpr u8 kAtaMostUltraMode = 5;

struct AtapiIdentity {
    std::string serial;
    bool slave = false;
    u8 dma_mode = 0;  // as AtaIdentity's
};

// SET FEATURES 03h: takes the mode into `dma_mode` if it is one for DMA. False: the drive does not have that mode.
bool ata_select_transfer_mode(u8 mode, u8& dma_mode);

// IDENTIFY PACKET DEVICE of a CD-ROM drive.
std::array<u8, 512> ata_identify_packet(const AtapiIdentity& identity);
std::array<u8, 512> ata_identify(const AtaIdentity& identity);

}  // namespace lodge
