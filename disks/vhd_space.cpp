#include "disks/vhd_space.h"

#include <algorithm>

namespace lodge {

// An old footer of 511 bytes, or one that is not in a sector of its own, could not be replaced in one write.
bool VhdSpace::footer_in_the_way(u64 end) const {
    return !layout_.footer_at_end || layout_.footer_offset < end || layout_.footer_offset % kVhdFooterSize != 0 ||
           layout_.file_size - layout_.footer_offset != kVhdFooterSize;
}

Result<void> VhdSpace::reserve(u64 end) {
    const u64 begin = layout_.append_offset;
    grown_ = true;
    // Stray bytes and the old footer. What the file does not have yet will be zero.
    const u64 old_end = std::min(layout_.file_size, end);
    // The new footer goes behind whatever is there, so that the last bytes of the file are a footer before and after.
    if (footer_in_the_way(end)) LODGE_TRY(append_footer(align_up(std::max(end, layout_.file_size), kVhdFooterSize)));
    if (begin < old_end) LODGE_TRY(file_.zero(begin, old_end - begin, HostSpace::release));
    LODGE_TRY(sync());
    reserved_end_ = end;
    return {};
}

Result<void> VhdSpace::append_footer(u64 offset) {
    if (auto written = file_.write(offset, layout_.footer_bytes); !written) {
        // A part of it must not become the end of the file.
        if (auto cut = file_.truncate(layout_.file_size); !cut) return cut;
        return written;
    }
    layout_.footer_offset = offset;
    layout_.footer_at_end = true;
    layout_.file_size = offset + kVhdFooterSize;
    return {};
}

Result<void> VhdSpace::give_back(bool always) {
    if ((!grown_ && !always) || layout_.footer_offset == layout_.append_offset) return {};
    reserved_end_ = 0;
    // The new footer must be on the disk before the one that it replaces is cut off.
    LODGE_TRY(file_.write(layout_.append_offset, layout_.footer_bytes));
    LODGE_TRY(sync());
    LODGE_TRY(file_.truncate(layout_.append_offset + kVhdFooterSize));
    layout_.footer_offset = layout_.append_offset;
    layout_.footer_at_end = true;
    layout_.file_size = layout_.footer_offset + kVhdFooterSize;
    grown_ = false;
    return {};
}

}  // namespace lodge
