// The administration page's files, compiled in from disks/server/page (page/embed.cmake).
#pragma once

#include <span>
#include <string_view>

namespace lodge::server {

struct PageFile {
    std::string_view path;  // /page.css; the page itself is /
    std::string_view type;  // MIME
    std::string_view content;
};

std::span<const PageFile> page_files();

}  // namespace lodge::server
