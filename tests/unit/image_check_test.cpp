#include "disks/check_image.h"

#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::test;

namespace {

constexpr u64 kSize = 64 * kKiB;
constexpr u32 kBlockSize = 4 * kKiB;
constexpr size_t kTableAt = 1536;

std::unique_ptr<HostFile> image_with_two_blocks() {
    auto file = dynamic_vhd(kSize, kBlockSize);
    auto device = open_shared(*file, for_writing());
    must(device->write(0, pattern(2 * kBlockSize, 1)));
    return file;
}

void set_entry(File& file, u32 block, u32 sector) {
    std::array<u8, 4> entry;
    store_big_endian<u32>(entry.data(), sector);
    must(file.write(kTableAt + u64{block} * 4, entry));
}

void damage(File& file, u64 at) {
    std::array<u8, 1> byte;
    must(file.read(at, byte));
    byte[0] ^= 0x55;
    must(file.write(at, byte));
}

// Finds `problems`, changes nothing; repairs all; then the image is clean and holds `expected`.
void check_repairs(HostFile& file, u64 problems, const std::vector<u8>& expected) {
    const auto before = content_of(file);
    const CheckReport found = must(check_image(file, {}, false));
    CHECK(found.problem_count == problems);
    CHECK(found.left == problems);
    CHECK(found.repairs.empty());
    CHECK(content_of(file) == before);
    const CheckReport repaired = must(check_image(file, {}, true));
    CHECK(repaired.left == 0);
    CHECK_FALSE(repaired.repairs.empty());
    CHECK(must(check_image(file, {}, false)).problem_count == 0);
    CHECK(content_of(*open_shared(file)) == expected);
    CHECK(must(read_vhd_layout(file, VhdSizeRule::by_creator)).footer_at_end);
}

std::vector<u8> two_blocks() {
    auto expected = pattern(2 * kBlockSize, 1);
    expected.resize(kSize);
    return expected;
}

}  // namespace

TEST_CASE("clean images are clean") {
    auto file = image_with_two_blocks();
    const CheckReport report = must(check_image(*file, {}, false));
    CHECK(report.problem_count == 0);
    CHECK(report.notes.empty());
    CHECK(report.format == ImageFormat::vhd_dynamic);
    auto raw = memory_file(pattern(512, 1));
    CHECK(must(check_image(*raw, {}, true)).problem_count == 0);
    CHECK(content_of(*raw) == pattern(512, 1));
}

TEST_CASE("footers are repaired from each other") {
    auto file = image_with_two_blocks();
    damage(*file, must(file->size()) - 512 + 70);
    const u64 size = must(file->size());
    check_repairs(*file, 1, two_blocks());
    CHECK(must(file->size()) == size);  // in place
    must(file->truncate(size - 512));
    check_repairs(*file, 1, two_blocks());
    must(file->truncate(size - 100));
    check_repairs(*file, 1, two_blocks());
    damage(*file, 70);
    check_repairs(*file, 1, two_blocks());
}

TEST_CASE("entries without a byte in the file become unused") {
    auto file = image_with_two_blocks();
    set_entry(*file, 7, 0x100000);
    set_entry(*file, 8, 0xFFFFFFFE);
    check_repairs(*file, 2, two_blocks());
}

TEST_CASE("a block that the end of the file cuts off keeps what there is") {
    auto file = image_with_two_blocks();
    must(file->truncate(must(file->size()) - 512 - 1000));
    auto expected = two_blocks();
    std::fill_n(expected.begin() + 2 * kBlockSize - 1000, 1000, u8{0});
    check_repairs(*file, 2, expected);
}

TEST_CASE("blocks that overlap are left to people") {
    auto file = image_with_two_blocks();
    const auto layout = must(read_vhd_layout(*file, VhdSizeRule::by_creator));
    set_entry(*file, 9, layout.table[0]);
    damage(*file, 70);
    const auto before = content_of(*file);
    const CheckReport report = must(check_image(*file, {}, true));
    CHECK(report.problem_count == 2);
    CHECK(report.left == 2);
    CHECK(content_of(*file) == before);
}

TEST_CASE("a table of nothing but damage gives a bounded list") {
    auto file = dynamic_vhd(4000 * 512, 512);
    for (u32 block = 0; block < 4000; ++block) set_entry(*file, block, 0x10000000 + block * 2);
    const CheckReport report = must(check_image(*file, {}, false));
    CHECK(report.problem_count == 4000);
    CHECK(report.problems.size() == kMostVhdProblems);
    CHECK(must(check_image(*file, {}, true)).left == 0);
}

TEST_CASE("oddities are noted") {
    auto file = image_with_two_blocks();
    const auto layout = must(read_vhd_layout(*file, VhdSizeRule::by_creator));
    must(file->write(must(file->size()) + 5000, layout.footer_bytes));
    CHECK(must(check_image(*file, {}, false)).notes.size() == 1);
}

TEST_CASE("what cannot be told is an error") {
    auto file = image_with_two_blocks();
    damage(*file, 512 + 40);
    CHECK(check_image(*file, {}, true).error().kind == ErrorKind::bad_format);
}
