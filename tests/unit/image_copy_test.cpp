#include "disks/copy_disk.h"

#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::test;

namespace {

constexpr u64 kSize = 9 * kMiB + 512;

std::vector<u8> some_disk() {
    std::vector<u8> bytes(kSize);
    const auto data = pattern(300'000, 1);
    for (const size_t at : {size_t{0}, size_t{3'000'001}, size_t{8'900'000}})
        std::copy(data.begin(), data.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
    bytes.back() = 9;
    return bytes;
}

}  // namespace

TEST_CASE("a copy between any two kinds is equal and leaves zeros out") {
    const auto expected = some_disk();
    auto source = memory_file(expected);
    for (const ImageFormat format : {ImageFormat::raw, ImageFormat::vhd_fixed, ImageFormat::vhd_dynamic}) {
        auto file = memory_file("copy");
        CreateOptions options;
        options.format = format;
        options.size = kSize;
        u64 last = 0;
        auto from = open_shared(*source);
        auto to = must(create_image(std::make_unique<SharedFile>(*file), options));
        must(copy_disk(*from, *to, [&](u64 done, u64 total) {
            CHECK(total == kSize);
            CHECK(done >= last);
            last = done;
            return true;
        }));
        must(finish_image(*to));
        CHECK(last == kSize);
        CHECK(content_of(*open_shared(*file)) == expected);
        if (format != ImageFormat::vhd_fixed) CHECK(must(file->host_space()) < 2 * kMiB);
        auto back = memory_file("back");
        auto raw = must(create_image(std::make_unique<SharedFile>(*back), {ImageFormat::raw, kSize}));
        must(copy_disk(*open_shared(*file), *raw, [](u64, u64) { return true; }));
        CHECK(content_of(*back) == expected);
    }
}

TEST_CASE("a copy can be stopped, and needs room") {
    auto source = memory_file(pattern(kSize, 1));
    auto from = open_shared(*source);
    auto to = must(create_image(memory_file("copy"), {ImageFormat::raw, kSize}));
    CHECK(copy_disk(*from, *to, [](u64, u64) { return false; }).error().kind == ErrorKind::usage);
    auto small = must(create_image(memory_file("small"), {ImageFormat::raw, kSize - 512}));
    CHECK(copy_disk(*from, *small, [](u64, u64) { return true; }).error().kind == ErrorKind::usage);
}
