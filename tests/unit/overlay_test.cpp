#include "disks/overlay.h"

#include "disks/range.h"
#include "disks/raw_image.h"
#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::test;

namespace {

constexpr u64 kSize = 70 * 4 * kKiB + 512;

struct Fixture {
    std::vector<u8> bytes = pattern(kSize, 1);
    std::unique_ptr<HostFile> base = memory_file(bytes);
    Overlay overlay{
        std::make_unique<RawImage>(std::make_unique<SharedFile>(*base), kSize, true, HostSpace::release, "raw"),
        memory_file("layer")};
};

}  // namespace

TEST_CASE("an overlay shows its base until it is written to") {
    Fixture fixture;
    CHECK(fixture.overlay.size() == kSize);
    CHECK_FALSE(fixture.overlay.read_only());
    CHECK(content_of(fixture.overlay) == fixture.bytes);
}

TEST_CASE("random writes give what a plain array gives and never touch the base") {
    Fixture fixture;
    const auto before = fixture.bytes;
    std::mt19937 random(1);
    for (u32 i = 0; i < 2000; ++i) {
        const u64 offset = random() % kSize;
        const u64 length = std::min<u64>(random() % 15000 + 1, kSize - offset);
        const auto at = fixture.bytes.begin() + static_cast<std::ptrdiff_t>(offset);
        switch (random() % 4) {
            case 0:
                must(fixture.overlay.zero(offset, length));
                std::fill_n(at, length, u8{0});
                break;
            case 1: {
                std::vector<u8> bytes(length);
                must(fixture.overlay.read(offset, bytes));
                CHECK(std::equal(bytes.begin(), bytes.end(), at));
                break;
            }
            case 2: {
                const Extent extent = must(fixture.overlay.extent(offset));
                REQUIRE(extent.length > 0);
                REQUIRE(extent.length <= kSize - offset);
                if (extent.zero) CHECK(all_zero(std::span(fixture.bytes).subspan(offset, extent.length)));
                break;
            }
            default: {
                const auto bytes = pattern(length, i);
                must(fixture.overlay.write(offset, bytes));
                std::copy(bytes.begin(), bytes.end(), at);
            }
        }
        if (i % 500 == 0) CHECK(content_of(fixture.overlay) == fixture.bytes);
    }
    must(fixture.overlay.flush());
    CHECK(content_of(fixture.overlay) == fixture.bytes);
    CHECK(content_of(*fixture.base) == before);
}

TEST_CASE("an overlay refuses ranges past the end") {
    Fixture fixture;
    const auto bytes = pattern(1024, 1);
    CHECK(fixture.overlay.write(kSize - 512, bytes).error().kind == ErrorKind::usage);
    CHECK(fixture.overlay.zero(~u64{0}, 2).error().kind == ErrorKind::usage);
    CHECK(fixture.overlay.discard(kSize, 1).error().kind == ErrorKind::usage);
    CHECK(content_of(fixture.overlay) == fixture.bytes);
}

TEST_CASE("a disk as large as any VHD needs little for its map") {
    auto base = memory_file("large");
    must(base->truncate(kVhdMostSize));
    Overlay overlay(std::make_unique<RawImage>(std::move(base), kVhdMostSize, true, HostSpace::release, "raw"),
                    memory_file("layer"));
    must(overlay.write(kVhdMostSize - 512, pattern(512, 1)));
    CHECK(must(overlay.extent(0)).zero);
    std::vector<u8> bytes(1024);
    must(overlay.read(kVhdMostSize - 1024, bytes));
    CHECK(all_zero(std::span(bytes).first(512)));
    CHECK(std::equal(bytes.begin() + 512, bytes.end(), pattern(512, 1).begin()));
}
