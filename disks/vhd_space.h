// Room at the end of a dynamic or differencing VHD's file, in front of the footer that has to end it.
//
// Space is reserved in such an order that the file ends with a footer at every moment: the footer is written again
// further back, the space before it is zeroed, the file is flushed. After that no table entry or footer can point past
// the end of the file, whatever order the host writes the rest in. Of a killed process unused space stays in front of
// the footer, which the format allows (Windows leaves some too); the next growth uses it.
#pragma once

#include "disks/file.h"
#include "disks/vhd_layout.h"

namespace lodge {

class VhdSpace {
  public:
    // Both belong to the caller. `layout`'s append_offset, which the caller moves on as it uses space, footer_offset,
    // footer_at_end and file_size are kept up to date.
    VhdSpace(File& file, VhdLayout& layout) : file_(file), layout_(layout) {}

    // From append_offset to `end` the file is zero from now on, and behind that a footer is on the host's disk.
    Result<void> reserve(u64 end);
    // How far that holds, as long as nothing but the caller's own records is written there.
    u64 reserved_end() const { return reserved_end_; }
    // Something of unknown content was written into the reserve.
    void forget_reserve() { reserved_end_ = 0; }
    // Puts the footer at append_offset and ends the file there, if it grew or `always`.
    Result<void> give_back(bool always = false);

    // While an image is being made, and nobody can see it, it needs no flush.
    void work_without_flush() { flush_ = false; }
    Result<void> sync() { return flush_ ? file_.sync() : Result<void>{}; }

  private:
    bool footer_in_the_way(u64 end) const;
    Result<void> append_footer(u64 offset);

    File& file_;
    VhdLayout& layout_;
    bool flush_ = true;
    bool grown_ = false;    // the footer may not be where it belongs
    u64 reserved_end_ = 0;  // from append_offset to here the file is ours and zero
};

}  // namespace lodge
