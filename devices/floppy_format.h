// The formats of diskettes, told by the size of their image, and the drives that read them.
// Source: the format tables of the IBM PC, AT and PS/2 BIOSes; 82077AA data sheet (290166) for the data rates.
#pragma once

#include "core/base/types.h"

namespace lodge {

// As CMOS byte 10h names them.
enum class FloppyDriveType : u8 { none, k360, k1200, k720, k1440, k2880 };

// Data rates as CCR and DSR code them, in Kbit/s.
enum class FloppyRate : u8 { k500, k300, k250, k1000 };

struct FloppyFormat {
    u16 kibibytes;
    u8 cylinders;
    u8 heads;
    u8 sectors;  // per track, of 512 bytes
    bool five_inch;
    FloppyRate rate;  // in a drive that turns at 300 revolutions a minute

    u32 total() const { return u32{cylinders} * heads * sectors; }
};

// Null when no diskette has that size.
const FloppyFormat* floppy_format(u64 bytes);
// For messages: "160, 180, ... KiB".
const char* floppy_sizes();

// The drive that a PC would have for that diskette, and for none.
FloppyDriveType floppy_drive_for(const FloppyFormat* format);
bool floppy_drive_reads(FloppyDriveType drive, const FloppyFormat& format);

}  // namespace lodge
