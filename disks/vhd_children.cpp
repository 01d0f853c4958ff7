#include "disks/vhd_children.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "disks/vhd_format.h"

namespace lodge {

namespace {

namespace fs = std::filesystem;

// By the copy of the footer at the front, which all differencing images have, and the header that it points to.
bool is_child_of(const VhdId& parent, File& file) {
    std::array<u8, kVhdFooterSize> front;
    std::array<u8, kVhdHeaderSize> record;
    if (!file.read(0, front) || !has_vhd_cookie(front)) return false;
    const auto footer = parse_vhd_footer(front);
    if (!footer || footer->type != VhdType::differencing || !file.read(footer->data_offset, record)) return false;
    const auto header = parse_vhd_header(record);
    return header && header->parent_unique_id == parent;
}

std::set<fs::path> files_beside(const std::string& path) {
    std::set<fs::path> files;
    std::error_code error;
    const fs::path folder = fs::path(path).parent_path();
    for (fs::directory_iterator at(folder.empty() ? "." : folder, error), end; !error && at != end;
         at.increment(error)) {
        std::error_code unknown;
        if (at->is_regular_file(unknown)) files.insert(fs::canonical(at->path(), unknown));
    }
    return files;
}

}  // namespace

std::vector<std::string> find_other_children(const VhdId& parent, const std::string& parent_path,
                                             const std::string& child_path, const OpenOptions& options) {
    std::set<fs::path> files = files_beside(parent_path);
    files.merge(files_beside(child_path));
    std::vector<std::string> children;
    for (const fs::path& path : files) {
        if (same_file(path.string(), child_path)) continue;
        const auto file = options.open_file(path.string(), FileAccess::glance);
        if (file && is_child_of(parent, **file)) children.push_back(path.string());
    }
    return children;
}

}  // namespace lodge
