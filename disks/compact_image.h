// Makes a dynamic or differencing VHD's file smaller without changing its disk: blocks that hold nothing go, the others
// move together. Safe at every moment (vhd_editor.h).
#pragma once

#include "disks/copy_disk.h"
#include "disks/open_image.h"

namespace lodge {

struct CompactReport {
    u64 blocks_dropped = 0;
    u64 size_before = 0;  // bytes of the file
    u64 size_after = 0;
};

// A block goes that reads as zeros, or in a differencing image as the parent does. Errors: as VhdEditor::open's and
// open_image's; usage where `progress` stopped it: the disk is as it was, and the file no larger.
Result<CompactReport> compact_image(const std::string& path, const OpenOptions& options, const CopyProgress& progress);
// As above for a file that is open for writing.
Result<CompactReport> compact_image(File& file, const OpenOptions& options, const CopyProgress& progress);

}  // namespace lodge
