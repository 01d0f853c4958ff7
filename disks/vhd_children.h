// Which differencing images have a VHD as their parent. Nothing in a VHD says so: one must look at the images that
// there are, and those in folders that nobody looks into stay unknown.
#pragma once

#include <string>
#include <vector>

#include "disks/open_image.h"
#include "disks/vhd_parent.h"

namespace lodge {

// Paths, sorted, of the differencing images in the folders of `parent_path` and `child_path` (not in folders of those)
// whose parent has this unique id; `child_path` itself is left out. No locks are taken: an image in use counts too.
std::vector<std::string> find_other_children(const VhdId& parent, const std::string& parent_path,
                                             const std::string& child_path, const OpenOptions& options);

}  // namespace lodge
