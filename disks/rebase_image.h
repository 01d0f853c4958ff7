// Gives a differencing image another parent, in place and safe at every moment: a crash leaves the old parent or the
// new.
#pragma once

#include "disks/copy_disk.h"
#include "disks/open_image.h"

namespace lodge {

enum class RebaseKind {
    keep_content,   // what the new parent has otherwise than the old one is stored in the child first
    metadata_only,  // the new parent is taken to be the old one, moved or repaired: the old one need not be there
};

// `parent` is the path of a VHD. Errors: usage (no differencing image; the parent is no VHD, the child itself or a
// descendant of it; `progress` stopped it, and the image is as it was), and those of open_image and VhdEditor::open.
Result<void> rebase_image(const std::string& path, const std::string& parent, RebaseKind kind,
                          const OpenOptions& options, const CopyProgress& progress);
// As above for a file that is open for writing.
Result<void> rebase_image(File& file, const std::string& parent, RebaseKind kind, const OpenOptions& options,
                          const CopyProgress& progress);

}  // namespace lodge
