#include "disks/vhd_format.h"

#include <doctest/doctest.h>

using namespace lodge;

namespace {

VhdFooter some_footer() {
    VhdFooter footer = new_vhd_footer(VhdType::dynamic, 40 * kGiB, 123456789, {1, 2, 3, 4});
    footer.saved_state = true;
    return footer;
}

// After a change that is not meant to be noticed by the checksum.
template <class Record>
void renew_checksum(Record& record, size_t at) {
    store_big_endian<u32>(record.data() + at, vhd_checksum(record, at));
}

}  // namespace

TEST_CASE("a footer is parsed to what was built") {
    const VhdFooter footer = some_footer();
    const auto record = build_vhd_footer(footer);
    CHECK(has_vhd_cookie(record));
    for (const size_t length : {kVhdFooterSize, kVhdOldFooterSize}) {
        const auto parsed = parse_vhd_footer(std::span(record).first(length));
        REQUIRE(parsed);
        CHECK(parsed->current_size == 40 * kGiB);
        CHECK(parsed->original_size == 40 * kGiB);
        CHECK(parsed->timestamp == 123456789);
        CHECK(parsed->type == VhdType::dynamic);
        CHECK(parsed->data_offset == 512);
        CHECK(parsed->unique_id == footer.unique_id);
        CHECK(parsed->creator_application == footer.creator_application);
        CHECK(parsed->creator_host == footer.creator_host);
        CHECK(parsed->creator_version == footer.creator_version);
        CHECK(parsed->geometry == footer.geometry);
        CHECK(parsed->saved_state);
    }
}

TEST_CASE("the bytes of a footer are where the specification puts them") {
    const auto record = build_vhd_footer(some_footer());
    CHECK(std::memcmp(record.data(), "conectix", 8) == 0);
    CHECK(load_big_endian<u32>(&record[8]) == 2);            // features: reserved bit
    CHECK(load_big_endian<u32>(&record[12]) == 0x00010000);  // version
    CHECK(load_big_endian<u64>(&record[48]) == 40 * kGiB);
    CHECK(record[58] == 16);  // heads
    CHECK(load_big_endian<u32>(&record[60]) == 3);
    u32 sum = 0;
    for (size_t i = 0; i < record.size(); ++i)
        if (i < 64 || i >= 68) sum += record[i];
    CHECK(load_big_endian<u32>(&record[64]) == ~sum);
}

TEST_CASE("any one flipped bit of a footer is noticed") {
    const auto record = build_vhd_footer(some_footer());
    for (size_t bit = 0; bit < record.size() * 8; bit += 5) {
        auto damaged = record;
        damaged[bit / 8] ^= static_cast<u8>(1 << bit % 8);
        const auto parsed = parse_vhd_footer(damaged);
        REQUIRE_FALSE(parsed);
        CHECK(parsed.error().kind == ErrorKind::bad_format);
    }
}

TEST_CASE("footers of unknown versions and types are refused") {
    auto record = build_vhd_footer(some_footer());
    record[13] = 2;
    renew_checksum(record, 64);
    CHECK(parse_vhd_footer(record).error().kind == ErrorKind::unsupported);
    for (const u32 type : {0u, 1u, 5u, 6u, 0xFFFFFFFFu}) {
        record = build_vhd_footer(some_footer());
        store_big_endian<u32>(&record[60], type);
        renew_checksum(record, 64);
        CHECK(parse_vhd_footer(record).error().kind == ErrorKind::bad_format);
    }
    CHECK_FALSE(parse_vhd_footer(std::span(record).first(510)));
}

TEST_CASE("a header is parsed to what was built") {
    VhdHeader header;
    header.table_offset = 0x123456;
    header.max_table_entries = 77;
    header.block_size = 512 * kKiB;
    header.parent_timestamp = 99;
    header.parent_unique_id[15] = 8;
    header.parent_name[511] = 9;
    header.locators[7] = {0x57326B75, 512, 30, 0x4000};
    const auto parsed = parse_vhd_header(build_vhd_header(header));
    REQUIRE(parsed);
    CHECK(parsed->table_offset == header.table_offset);
    CHECK(parsed->max_table_entries == 77);
    CHECK(parsed->block_size == 512 * kKiB);
    CHECK(parsed->parent_timestamp == 99);
    CHECK(parsed->parent_unique_id == header.parent_unique_id);
    CHECK(parsed->parent_name == header.parent_name);
    CHECK(parsed->locators[7].platform_code == 0x57326B75);
    CHECK(parsed->locators[7].data_length == 30);
    CHECK(parsed->locators[7].data_offset == 0x4000);
}

TEST_CASE("headers with a flipped bit or a block size that cannot be are refused") {
    const auto record = build_vhd_header({});
    for (size_t bit = 0; bit < record.size() * 8; bit += 7) {
        auto damaged = record;
        damaged[bit / 8] ^= static_cast<u8>(1 << bit % 8);
        CHECK_FALSE(parse_vhd_header(damaged));
    }
    for (const u32 block_size : {0u, 1u, 256u, 513u, 3u << 20, 0x80000000u, 0xFFFFFFFFu}) {
        VhdHeader header;
        header.block_size = block_size;
        CHECK_FALSE(parse_vhd_header(build_vhd_header(header)));
    }
}

TEST_CASE("the geometry is the specification's") {
    CHECK(vhd_geometry(0) == VhdGeometry{0, 4, 17});
    CHECK(vhd_geometry(40 * kMiB / 512) == VhdGeometry{963, 5, 17});
    CHECK(vhd_geometry(kGiB / 512) == VhdGeometry{2080, 16, 63});
    CHECK(vhd_geometry(127 * kGiB / 512) == VhdGeometry{65278, 16, 255});
    CHECK(vhd_geometry(2040 * kGiB / 512) == kVhdMostGeometry);
    for (u64 sectors = 2048; sectors < 200'000'000; sectors += sectors / 7) {
        const u64 said = vhd_geometry(sectors).total_sectors();
        CHECK(said <= sectors);
        CHECK(sectors - said < 16 * 255);
    }
}

TEST_CASE("the size is read from the field that its creator meant") {
    VhdFooter footer = new_vhd_footer(VhdType::fixed, kGiB, 0, {});
    const u64 by_geometry = footer.geometry.total_sectors() * 512;
    REQUIRE(by_geometry != kGiB);
    const auto size_by = [&](const char* creator) {
        std::memcpy(footer.creator_application.data(), creator, 4);
        return vhd_disk_size(footer, VhdSizeRule::by_creator);
    };
    for (const char* creator : {"vpc ", "qemu"}) CHECK(size_by(creator) == by_geometry);
    for (const char* creator : {"win ", "qem2", "d2v ", "CTXS", "vbox", "vs  ", "bxic"})
        CHECK(size_by(creator) == kGiB);
    CHECK(vhd_disk_size(footer, VhdSizeRule::geometry) == by_geometry);
    size_by("vpc ");
    CHECK(vhd_disk_size(footer, VhdSizeRule::current_size) == kGiB);
    footer.geometry = kVhdMostGeometry;
    CHECK(size_by("vpc ") == kGiB);
    footer.geometry = {};
    CHECK(size_by("vpc ") == kGiB);
}

TEST_CASE("bitmaps take whole sectors") {
    CHECK(vhd_bitmap_size(512) == 512);
    CHECK(vhd_bitmap_size(2 * kMiB) == 512);
    CHECK(vhd_bitmap_size(4 * kMiB) == 1024);
    CHECK(vhd_bitmap_size(256 * kMiB) == 64 * kKiB);
    CHECK(vhd_block_count(2 * kMiB, 2 * kMiB) == 1);
    CHECK(vhd_block_count(2 * kMiB + 512, 2 * kMiB) == 2);
}

TEST_CASE("timestamps count from the year 2000") {
    CHECK(vhd_timestamp(946684800) == 0);
    CHECK(vhd_timestamp(0) == 0);
    CHECK(unix_seconds_of(vhd_timestamp(1795000000)) == 1795000000);
    CHECK(vhd_timestamp(i64{1} << 40) == 0xFFFFFFFF);
    CHECK(vhd_id_text({0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 2, 3, 4, 5, 6, 7, 8}) ==
          "01234567-89ab-cdef-0102-030405060708");
}
