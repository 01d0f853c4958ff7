#include "frontend/disk_making.h"

namespace lodge {

Result<void> copy_to_new(BlockDevice& from, const std::string& path, const CreateOptions& options, bool replace) {
    Watched watched;
    auto made = NewFile::create(path, replace);
    if (!made) return made.error();
    auto to = create_image((*made)->take_file(), options);
    if (!to) return to.error();
    LODGE_TRY(copy_disk(from, **to, watched.progress()));
    LODGE_TRY(finish_image(**to));
    return (*made)->commit();
}

Result<void> make_child(const TargetArguments& target, const std::string& parent, const OpenOptions& options,
                        bool replace) {
    if (same_file(target.file, parent))
        return Error{ErrorKind::usage, target.file + ": is the parent itself; name another file"};
    const auto child = target.child_options(parent);
    if (!child) return child.error();
    const HeldSignals signals;
    auto made = NewFile::create(target.file, replace);
    if (!made) return made.error();
    const auto file = (*made)->take_file();
    LODGE_TRY(create_child(*file, *child, options));
    LODGE_TRY(file->sync());
    return (*made)->commit();
}

}  // namespace lodge
