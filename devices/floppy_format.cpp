#include "devices/floppy_format.h"

#include <algorithm>
#include <iterator>

#include "disks/block_device.h"

namespace lodge {

namespace {

// clang-format off
constexpr FloppyFormat kFormats[] = {
    { 160, 40, 1,  8, true,  FloppyRate::k250},
    { 180, 40, 1,  9, true,  FloppyRate::k250},
    { 320, 40, 2,  8, true,  FloppyRate::k250},
    { 360, 40, 2,  9, true,  FloppyRate::k250},
    { 720, 80, 2,  9, false, FloppyRate::k250},
    {1200, 80, 2, 15, true,  FloppyRate::k500},
    {1440, 80, 2, 18, false, FloppyRate::k500},
    {1680, 80, 2, 21, false, FloppyRate::k500},   // DMF, of software distributions
    {2880, 80, 2, 36, false, FloppyRate::k1000},
};
// clang-format on

}  // namespace

const FloppyFormat* floppy_format(u64 bytes) {
    const auto* found = std::find_if(std::begin(kFormats), std::end(kFormats), [bytes](const FloppyFormat& format) {
        return u64{format.total()} * kSectorSize == bytes;
    });
    return found == std::end(kFormats) ? nullptr : found;
}

const char* floppy_sizes() {
    return "160, 180, 320, 360, 720, 1200, 1440, 1680 or 2880 KiB";
}

FloppyDriveType floppy_drive_for(const FloppyFormat* format) {
    if (!format) return FloppyDriveType::k1440;
    if (format->five_inch) return format->cylinders == 40 ? FloppyDriveType::k360 : FloppyDriveType::k1200;
    return format->rate == FloppyRate::k1000 ? FloppyDriveType::k2880 : FloppyDriveType::k1440;
}

bool floppy_drive_reads(FloppyDriveType drive, const FloppyFormat& format) {
    switch (drive) {
        case FloppyDriveType::none:
            return false;
        case FloppyDriveType::k360:
            return format.five_inch && format.cylinders == 40;
        case FloppyDriveType::k1200:
            return format.five_inch;
        case FloppyDriveType::k720:
            return !format.five_inch && format.rate == FloppyRate::k250;
        case FloppyDriveType::k1440:
            return !format.five_inch && format.rate != FloppyRate::k1000;
        case FloppyDriveType::k2880:
            return !format.five_inch;
    }
    return false;
}

}  // namespace lodge
