// Writes what a differencing image holds into its parent, and empties it. Its disk is the same at every moment: the
// parent gets, one after the other, only sectors that the child hides, and the child loses its own when the parent has
// them on the disk. So a commit that was killed is done again.
#pragma once

#include "disks/copy_disk.h"
#include "disks/open_image.h"

namespace lodge {

struct CommitReport {
    std::string parent;             // path
    u64 bytes = 0;                  // written into the parent
    bool parent_grew = false;       // it was smaller than the child
    bool parent_is_larger = false;  // and stays so
};

// Other children of the parent would read something else from then on. Those that find_other_children knows of are a
// reason to refuse.
enum class OtherChildren { refuse, spoil };

// The parent is opened for writing. Where it fails or
// `progress` stops it, what the parent had is put back, from a throw-away file that keeps it until then. Errors: usage
// (no differencing image, other children, stopped), and those of open_image, resize_image and VhdEditor::open.
Result<CommitReport> commit_image(const std::string& path, const OpenOptions& options, const CopyProgress& progress,
                                  OtherChildren others = OtherChildren::refuse);
// As above for a file that is open for writing.
Result<CommitReport> commit_image(File& file, const OpenOptions& options, const CopyProgress& progress,
                                  OtherChildren others = OtherChildren::refuse);

}  // namespace lodge
