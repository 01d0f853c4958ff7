// New images, for the commands of `lodge disk`: each appears under its name when it is complete, or never.
#pragma once

#include "disks/open_image.h"
#include "frontend/disk_arguments.h"

namespace lodge {

// An image with what `from` holds, with a bar; a signal stops it.
Result<void> copy_to_new(BlockDevice& from, const std::string& path, const CreateOptions& options, bool replace);
// A differencing image.
Result<void> make_child(const TargetArguments& target, const std::string& parent, const OpenOptions& options,
                        bool replace);

}  // namespace lodge
