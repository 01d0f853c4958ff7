#include "devices/ata_identify.h"

#include <algorithm>
#include <numeric>
#include <string_view>

namespace lodge {

namespace {

constexpr u64 kMostLba28 = 0x0FFF'FFFF;

class Words {
  public:
    void set(unsigned word, u16 value) { store(&bytes_[2 * word], value); }
    void set_wide(unsigned word, u64 value, unsigned words) {
        for (unsigned i = 0; i < words; ++i) set(word + i, static_cast<u16>(value >> (16 * i)));
    }
    // Strings are padded with spaces, and the first character of each pair is in the high byte of its word.
    void set_text(unsigned word, unsigned length, std::string_view text) {
        for (unsigned i = 0; i < length; ++i)
            bytes_[2 * word + (i ^ 1)] = i < text.size() ? static_cast<u8>(text[i]) : u8{' '};
    }
    // Word 255: a signature, and what makes the sum of all bytes zero.
    std::array<u8, 512> take() {
        bytes_[510] = 0xA5;
        bytes_[511] = static_cast<u8>(-std::accumulate(bytes_.begin(), bytes_.begin() + 511, 0));
        return bytes_;
    }

  private:
    std::array<u8, 512> bytes_{};
};

void set_geometry(Words& words, const AtaIdentity& identity) {
    const AtaGeometry initial = ata_geometry(identity.sectors);
    words.set(1, initial.cylinders);
    words.set(3, initial.heads);
    words.set(6, initial.sectors);
    words.set(54, identity.current.cylinders);
    words.set(55, identity.current.heads);
    words.set(56, identity.current.sectors);
    words.set_wide(57, identity.current.total(), 2);
}

template <class Identity>
void set_transfers(Words& words, const Identity& identity) {
    words.set(49, 0x0F00);  // DMA, LBA, IORDY that may be disabled
    words.set(51, 0x0200);  // PIO mode 2 for hosts that know no word 64
    const u16 selected = static_cast<u16>(1 << (8 + (identity.dma_mode & 7)));
    words.set(63, ((1 << (kAtaMostMultiwordMode + 1)) - 1) | (identity.dma_mode < 0x40 ? selected : 0));
    words.set(64, 0x0003);                                              // PIO modes 3 and 4
    for (unsigned word = 65; word <= 68; ++word) words.set(word, 120);  // nanoseconds per cycle
    words.set(88, ((1 << (kAtaMostUltraMode + 1)) - 1) | (identity.dma_mode >= 0x40 ? selected : 0));
    // An 80-conductor cable, and how the drive came by its number: a jumper; diagnostics passed.
    words.set(93, identity.slave ? 0x6B00 : 0x600B);
}

void set_features(Words& words, const AtaIdentity& identity) {
    constexpr u16 kSmart = 0x0001, kPower = 0x0008, kWriteCache = 0x0020, kLookAhead = 0x0040, kNop = 0x4000;
    constexpr u16 kFlush = 0x1000, kFlushExt = 0x2000, kLba48 = 0x0400;
    constexpr u16 kFua = 0x0040, kSelfTest = 0x0002, kErrorLog = 0x0001, kValid = 0x4000;
    words.set(80, 0x01F0);  // ATA/ATAPI-4 to ATA8-ACS
    words.set(82, kSmart | kPower | kWriteCache | kLookAhead | kNop);
    words.set(83, kValid | kFlush | kFlushExt | kLba48);
    words.set(84, kValid | kFua | kSelfTest | kErrorLog);
    words.set(85, static_cast<u16>((identity.smart ? kSmart : 0) | kPower | (identity.write_cache ? kWriteCache : 0) |
                                   (identity.look_ahead ? kLookAhead : 0) | kNop));
    words.set(86, kFlush | kFlushExt | kLba48);
    words.set(87, kValid | kFua | kSelfTest | kErrorLog);
    words.set(105, kAtaMostTrimBlocks);
    words.set(169, 0x0001);  // DATA SET MANAGEMENT with TRIM
}

}  // namespace

AtaGeometry ata_geometry(u64 sectors) {
    constexpr u64 kPerCylinder = 16 * 63;
    if (sectors >= kPerCylinder) return {static_cast<u16>(std::min<u64>(sectors / kPerCylinder, 16383)), 16, 63};
    const u64 per_track = std::clamp<u64>(sectors, 1, 63);
    return {static_cast<u16>(std::max<u64>(sectors / per_track, 1)), 1, static_cast<u8>(per_track)};
}

std::array<u8, 512> ata_identify(const AtaIdentity& identity) {
    Words words;
    words.set(0, 0x0040);  // ATA, not removable
    words.set(2, 0xC837);  // needs no SET FEATURES to spin up; these data are complete
    words.set(21, 256);    // buffer, in sectors
    words.set(50, 0x4000);
    words.set(53, 0x0007);  // words 54..58, 64..70 and 88 are valid
    words.set_text(10, 20, identity.serial);
    words.set_text(23, 8, "1.0");
    words.set_text(27, 40, "lodge hard disk");
    set_geometry(words, identity);
    set_transfers(words, identity);
    words.set(49, 0x2F00);  // as above, and the standby timer is the standard's
    words.set(47, 0x8000 | kAtaMostMultiple);
    words.set(59, identity.multiple ? 0x0100 | identity.multiple : 0);
    set_features(words, identity);
    words.set_wide(60, std::min(identity.sectors, kMostLba28), 2);
    words.set_wide(100, identity.sectors, 4);
    words.set(106, 0x4000);  // one logical sector of 512 bytes per physical sector
    words.set(217, 0x0001);  // not rotating
    return words.take();
}

std::array<u8, 512> ata_identify_packet(const AtapiIdentity& identity) {
    constexpr u16 kNop = 0x4000, kDeviceReset = 0x0200, kPacket = 0x0010, kPower = 0x0008, kValid = 0x4000;
    Words words;
    words.set(0, 0x85C0);  // packet device, CD-ROM, removable, asks for a packet of 12 bytes within 50 microseconds
    words.set(53, 0x0006);
    words.set_text(10, 20, identity.serial);
    words.set_text(23, 8, "1.0");
    words.set_text(27, 40, "lodge CD-ROM");
    set_transfers(words, identity);
    words.set(80, 0x0070);  // ATA/ATAPI-4 to ATA/ATAPI-6
    words.set(82, kNop | kDeviceReset | kPacket | kPower);
    words.set(83, kValid);
    words.set(84, kValid);
    words.set(85, kNop | kDeviceReset | kPacket | kPower);
    words.set(87, kValid);
    return words.take();
}

// The kind of transfer in bits 7:3, its mode in bits 2:0.
bool ata_select_transfer_mode(u8 mode, u8& dma_mode) {
    const u8 number = mode & 7;
    switch (mode >> 3) {
        case 0x00:
            return number <= 1;  // PIO default mode, with or without IORDY
        case 0x01:
            return number <= 4;  // PIO with flow control
        case 0x04:
            if (number > kAtaMostMultiwordMode) return false;
            break;
        case 0x08:
            if (number > kAtaMostUltraMode) return false;
            break;
        default:
            return false;
    }
    dma_mode = mode;
    return true;
}

}  // namespace lodge
