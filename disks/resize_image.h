// Gives the disk of an image another size, in place and safe at every moment: a crash leaves the old size or the new.
#pragma once

#include "disks/open_image.h"

namespace lodge {

enum class Shrinking {
    refuse_to_lose_data,  // what is cut off must read as zeros
    lose_data,
};

// What is added reads as zeros, in a differencing image too, whatever the parent has there. A VHD that tells its size
// by its geometry is marked as one that tells it by its footer. Errors: usage (the size; data would be lost),
// unsupported (too many blocks), and those of VhdEditor::open and open_image.
Result<void> resize_image(const std::string& path, u64 size, Shrinking shrinking, const OpenOptions& options);
// As above for a file that is open for writing.
Result<void> resize_image(File& file, u64 size, Shrinking shrinking, const OpenOptions& options);

}  // namespace lodge
