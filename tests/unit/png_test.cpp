#include "frontend/png.h"

#include <doctest/doctest.h>
#include <png.h>

#include <cstdio>
#include <filesystem>
#include <vector>

using namespace lodge;

TEST_CASE("png: what is written reads back") {
    const auto path = (std::filesystem::temp_directory_path() / "lodge_png_test.png").string();
    const u32 pixels[] = {0x112233, 0x445566, 0xDEAD, 0x778899, 0xAABBCC, 0xBEEF};
    REQUIRE(write_png({2, 2, 3, pixels}, path).ok());
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    REQUIRE(png_image_begin_read_from_file(&image, path.c_str()));
    image.format = PNG_FORMAT_RGB;
    CHECK(image.width == 2);
    CHECK(image.height == 2);
    std::vector<u8> rows(PNG_IMAGE_SIZE(image));
    REQUIRE(png_image_finish_read(&image, nullptr, rows.data(), 0, nullptr));
    CHECK(rows == std::vector<u8>{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC});
    std::remove(path.c_str());
}

TEST_CASE("png: errors name the file") {
    const u32 pixel = 0;
    const auto failed = write_png({1, 1, 1, &pixel}, "/nonexistent/picture.png");
    REQUIRE_FALSE(failed.ok());
    CHECK(failed.error().kind == ErrorKind::io);
    CHECK(failed.error().context.find("/nonexistent/picture.png") == 0);
    CHECK(write_png({}, "x.png").error().kind == ErrorKind::usage);
}
