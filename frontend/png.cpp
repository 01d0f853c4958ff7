#include "frontend/png.h"

#include <png.h>

#include <vector>

namespace lodge {

Result<void> write_png(const Frame& frame, const std::string& path) {
    if (!frame.pixels || frame.width == 0 || frame.height == 0)
        return Error{ErrorKind::usage, path + ": there is no picture to write"};
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = frame.width;
    image.height = frame.height;
    image.format = PNG_FORMAT_RGB;
    std::vector<u8> rows(size_t{frame.width} * frame.height * 3);
    u8* to = rows.data();
    for (unsigned y = 0; y < frame.height; ++y) {
        const u32* from = frame.pixels + size_t{y} * frame.stride;
        for (unsigned x = 0; x < frame.width; ++x) {
            *to++ = static_cast<u8>(from[x] >> 16);
            *to++ = static_cast<u8>(from[x] >> 8);
            *to++ = static_cast<u8>(from[x]);
        }
    }
    if (!png_image_write_to_file(&image, path.c_str(), 0, rows.data(), 0, nullptr))
        return Error{ErrorKind::io, path + ": cannot write the picture: " + image.message};
    return {};
}

}  // namespace lodge
