// Where a differencing image's parent is, and how a new one says it.
//
// The header names the parent by its unique id, which decides, and by paths: W2ru relative to the child, W2ku absolute,
// MacX a file URL, and the bare file name. Paths are those of whoever made the image, mostly Windows; here backslashes
// become slashes, a drive's letter is left out, and letters match without regard to case where nothing matches
// exactly. Where no path leads to it, a file of that name beside the child is tried. So a chain opens wherever it was
// copied to, if it was copied together.
#pragma once

#include <string>
#include <vector>

#include "disks/open_image.h"

namespace lodge {

constexpr size_t kMostImagesInChain = 256;  // our limit: each is an open file and a table

using VhdId = std::array<u8, 16>;

struct FoundParent {
    std::string path;
    std::unique_ptr<File> file;  // open and locked
    ImageDetails details;
    std::string warning;  // a time stamp that differs; empty where there is none
};

// The paths to try for the parent of `child`, whose layout is given, best first. Errors: io.
Result<std::vector<std::string>> parent_candidates(File& child, const VhdLayout& layout);

// Opens the parent. `descendants` are the unique ids of the child and of what comes before it in the chain. Errors:
//   not_found   no file at any of the places
//   bad_format  there are files, and none is the parent; a loop; too many images; a damaged parent
//   locked      somebody writes to the parent
// and those of look_at_image.
Result<FoundParent> find_parent(File& child, const VhdLayout& layout, const OpenOptions& options,
                                const std::vector<VhdId>& descendants, FileAccess access = FileAccess::read,
                                Strictness strictness = Strictness::refuse_problems);

// How a child at `child_path` names the VHD at `parent_path` with this footer. Errors: usage, for a path that the
// format cannot say; not_found.
Result<VhdParentLink> link_to_parent(const std::string& child_path, const std::string& parent_path,
                                     const VhdFooter& parent);

}  // namespace lodge
