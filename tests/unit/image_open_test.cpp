#include "disks/open_image.h"

#include "disks/range.h"
#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::test;

namespace {

constexpr u64 kSize = 64 * kKiB;
constexpr u32 kBlockSize = 4 * kKiB;
constexpr size_t kHeaderAt = 512, kTableAt = 1536;

std::vector<u8> fixed_vhd() {
    auto file = memory_file("fixed");
    CreateOptions options;
    options.format = ImageFormat::vhd_fixed;
    options.size = kSize;
    auto device = must(create_image(std::make_unique<SharedFile>(*file), options));
    must(device->write(0, pattern(kSize, 1)));
    must(finish_image(*device));
    return content_of(*file);
}

// With blocks 0 and 1 stored.
std::vector<u8> dynamic_vhd_bytes() {
    auto file = dynamic_vhd(kSize, kBlockSize);
    auto device = open_shared(*file, for_writing());
    must(device->write(0, pattern(2 * kBlockSize, 1)));
    device.reset();
    return content_of(*file);
}

void put(std::vector<u8>& bytes, size_t at, u32 value) {
    store_big_endian<u32>(&bytes[at], value);
}

// Changes a field of the footer at `at` (and nothing of the other one).
void change_footer(std::vector<u8>& bytes, size_t at, size_t field, u64 value, size_t width) {
    for (size_t i = 0; i < width; ++i) bytes[at + field + i] = static_cast<u8>(value >> 8 * (width - 1 - i));
    put(bytes, at + 64, vhd_checksum(std::span(bytes).subspan(at, 512), 64));
}

void change_both_footers(std::vector<u8>& bytes, size_t field, u64 value, size_t width) {
    change_footer(bytes, 0, field, value, width);
    change_footer(bytes, bytes.size() - 512, field, value, width);
}

void change_header(std::vector<u8>& bytes, size_t field, u32 value) {
    put(bytes, kHeaderAt + field, value);
    put(bytes, kHeaderAt + 36, vhd_checksum(std::span(bytes).subspan(kHeaderAt, 1024), 36));
}

// Opening these bytes in each mode fails with one line that says `words`, and changes nothing.
void check_refused(const std::vector<u8>& bytes, ErrorKind kind, const std::string& words) {
    TemporaryFolder folder;
    write_content(folder / "x.vhd", bytes);
    for (const ImageMode mode : {ImageMode::read_only, ImageMode::private_writes, ImageMode::shared}) {
        OpenOptions options;
        options.mode = mode;
        const auto result = open_image(folder / "x.vhd", options);
        REQUIRE_FALSE(result);
        INFO(result.error().context);
        CHECK(result.error().kind == kind);
        CHECK(is_one_line(result.error()));
        CHECK(mentions(result.error(), words));
        CHECK(mentions(result.error(), "x.vhd: "));
    }
    CHECK(content_of(folder / "x.vhd") == bytes);
    CHECK(folder.entries() == 1);
}

}  // namespace

TEST_CASE("each kind of image is told by its content and holds what is written") {
    TemporaryFolder folder;
    for (const ImageFormat format : {ImageFormat::raw, ImageFormat::vhd_fixed, ImageFormat::vhd_dynamic}) {
        const std::string path = folder / (std::string("misleading.qcow2.") + name_of(format));
        CreateOptions options;
        options.format = format;
        options.size = kSize;
        {
            auto made = must(NewFile::create(path, false));
            auto device = must(create_image(made->take_file(), options));
            CHECK(device->size() == kSize);
            CHECK(all_zero(content_of(*device)));
            must(finish_image(*device));
            must(made->commit());
        }
        CHECK(must(inspect_image(path, {})).format == format);
        auto expected = pattern(kSize, 2);
        {
            auto device = must(open_image(path, for_writing()));
            CHECK(mentions({ErrorKind::io, device->describe()}, name_of(format)));
            must(device->write(0, expected));
            must(device->zero(1000, 20000));
            std::fill_n(expected.begin() + 1000, 20000, u8{0});
            must(device->flush());
        }
        CHECK(content_of(*must(open_image(path, {}))) == expected);
        const auto bytes = content_of(path);
        OpenOptions shared;
        shared.mode = ImageMode::shared;
        {
            auto one = must(open_image(path, shared)), other = must(open_image(path, shared));
            must(one->write(0, pattern(5000, 3)));
            CHECK(content_of(*other) == expected);
            CHECK(open_image(path, for_writing()).error().kind == ErrorKind::locked);
            CHECK(folder.entries() >= 1);
        }
        CHECK(content_of(path) == bytes);
        auto writer = must(open_image(path, for_writing()));
        CHECK(open_image(path, for_writing()).error().kind == ErrorKind::locked);
        CHECK(open_image(path, shared).error().kind == ErrorKind::locked);
    }
}

TEST_CASE("a fixed VHD keeps its footer") {
    auto bytes = fixed_vhd();
    auto file = memory_file(bytes);
    auto device = open_shared(*file, for_writing());
    must(device->write(kSize - 1, pattern(1, 9)));
    CHECK_FALSE(device->write(kSize, pattern(1, 9)));
    std::copy_n(pattern(1, 9).begin(), 1, bytes.begin() + kSize - 1);
    must(device->zero(4096, 8192));
    std::fill_n(bytes.begin() + 4096, 8192, u8{0});
    CHECK(content_of(*file) == bytes);
    CHECK(must(file->host_space()) >= kSize);  // zeros do not make it sparse
    must(device->discard(0, kSize));
    CHECK(must(file->host_space()) < kSize);
    std::fill_n(bytes.begin(), kSize, u8{0});
    CHECK(content_of(*file) == bytes);
}

TEST_CASE("a footer of 511 bytes is a footer") {
    for (auto bytes : {fixed_vhd(), dynamic_vhd_bytes()}) {
        bytes.pop_back();
        auto file = memory_file(bytes);
        auto expected = content_of(*open_shared(*file));
        CHECK(expected.size() == kSize);
        {
            auto device = open_shared(*file, for_writing());
            must(device->write(kSize - 100, pattern(100, 4)));
        }
        const auto written = pattern(100, 4);
        std::copy(written.begin(), written.end(), expected.end() - 100);
        CHECK(content_of(*open_shared(*file)) == expected);
    }
}

TEST_CASE("raw is raw when told so") {
    auto file = memory_file(fixed_vhd());
    OpenOptions options;
    options.raw = true;
    CHECK(open_shared(*file, options)->size() == kSize + 512);
}

TEST_CASE("what is not a whole image is refused") {
    check_refused({}, ErrorKind::bad_format, "is empty");
    check_refused(pattern(513, 1), ErrorKind::bad_format, "ends in mid-sector at byte 513");
    check_refused(pattern(100, 1), ErrorKind::bad_format, "mid-sector");
    CHECK(open_image("/nowhere/at/all", {}).error().kind == ErrorKind::not_found);
    CHECK(open_image("/", {}).error().kind == ErrorKind::bad_format);
}

TEST_CASE("other programs' formats are refused, unless they are meant to be raw") {
    for (const auto& [at, mark] : {std::pair<size_t, std::string>{0, "QFI\xfb"},
                                   {0, "KDMV"},
                                   {0, "vhdxfile"},
                                   {64, std::string("\x7f\x10\xda\xbe")}}) {
        std::vector<u8> bytes(2048);
        std::copy(mark.begin(), mark.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
        check_refused(bytes, ErrorKind::unsupported, "format=raw");
        auto file = memory_file(bytes);
        OpenOptions options;
        options.raw = true;
        CHECK(content_of(*open_shared(*file, options)) == bytes);
    }
}

TEST_CASE("a damaged end footer is replaced by the copy at the front") {
    auto bytes = dynamic_vhd_bytes();
    auto expected = pattern(2 * kBlockSize, 1);
    expected.resize(kSize);
    bytes[bytes.size() - 512 + 50] ^= 1;
    CHECK(content_of(*open_shared(*memory_file(bytes))) == expected);
    bytes.erase(bytes.end() - 512, bytes.end());  // no footer at all
    CHECK(content_of(*open_shared(*memory_file(bytes))) == expected);
}

TEST_CASE("a damaged copy at the front does not matter") {
    auto bytes = dynamic_vhd_bytes();
    std::fill_n(bytes.begin(), 512, u8{0});
    CHECK(open_shared(*memory_file(bytes))->size() == kSize);
}

TEST_CASE("footers damaged in both places, or in the only one") {
    auto bytes = dynamic_vhd_bytes();
    bytes[50] ^= 1;
    bytes[bytes.size() - 512 + 50] ^= 1;
    check_refused(bytes, ErrorKind::bad_format, "wrong checksum");
    bytes = fixed_vhd();
    bytes[kSize + 50] ^= 1;
    check_refused(bytes, ErrorKind::bad_format, "footer at byte 65536: wrong checksum");
    bytes = fixed_vhd();
    bytes.erase(bytes.begin(), bytes.begin() + 512);
    check_refused(bytes, ErrorKind::bad_format, "cut short");
}

TEST_CASE("a VHD cut short anywhere is refused, except where only the footer is missing") {
    const auto whole = dynamic_vhd_bytes();
    const size_t blocks_end = whole.size() - 512;
    for (size_t length = 512; length < whole.size(); length += 211) {
        std::vector<u8> bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
        const auto result = open_image(memory_file(bytes), {});
        CHECK(result.ok() == (length >= blocks_end));
        if (!result) CHECK(result.error().kind == ErrorKind::bad_format);
    }
}

TEST_CASE("a damaged header") {
    auto bytes = dynamic_vhd_bytes();
    bytes[kHeaderAt + 100] ^= 1;
    check_refused(bytes, ErrorKind::bad_format, "header at byte 512: wrong checksum");
    for (const u32 block_size : {0u, 511u, 768u, 3u << 20}) {
        bytes = dynamic_vhd_bytes();
        change_header(bytes, 32, block_size);
        check_refused(bytes, ErrorKind::bad_format, "not a power of two");
    }
    bytes = dynamic_vhd_bytes();
    change_header(bytes, 32, 512 * kMiB);
    check_refused(bytes, ErrorKind::unsupported, "above 256 MiB");
    for (const u64 offset : {u64{0}, u64{511}, u64{1} << 40, ~u64{0}, ~u64{0} - 1023}) {
        bytes = dynamic_vhd_bytes();
        change_both_footers(bytes, 16, offset, 8);
        check_refused(bytes, ErrorKind::bad_format, "not within the file");
    }
}

TEST_CASE("a damaged block allocation table") {
    auto bytes = dynamic_vhd_bytes();
    change_header(bytes, 28, 15);
    check_refused(bytes, ErrorKind::bad_format, "15 entries are too few");
    for (const u32 table_high : {1u, 0xFFFFFFFFu}) {
        bytes = dynamic_vhd_bytes();
        change_header(bytes, 16, table_high);
        check_refused(bytes, ErrorKind::bad_format, "past the end of the file");
    }
    bytes = dynamic_vhd_bytes();
    change_header(bytes, 28, 0xFFFFFFFF);
    check_refused(bytes, ErrorKind::bad_format, "past the end of the file");
    for (const u32 sector : {0xFFFFFFFEu, 100u, 0x7FFFFFFFu}) {
        bytes = dynamic_vhd_bytes();
        put(bytes, kTableAt + 5 * 4, sector);
        check_refused(bytes, ErrorKind::bad_format, "block 5 of the block allocation table");
    }
    bytes = dynamic_vhd_bytes();
    put(bytes, kTableAt + 2 * 4, load_big_endian<u32>(&bytes[kTableAt]) + 1);
    check_refused(bytes, ErrorKind::bad_format, "overlaps block");
    bytes = dynamic_vhd_bytes();
    put(bytes, kTableAt + 2 * 4, load_big_endian<u32>(&bytes[kTableAt]));
    check_refused(bytes, ErrorKind::bad_format, "overlaps block");
    for (const u32 sector : {0u, 1u, 2u, 3u}) {
        bytes = dynamic_vhd_bytes();
        put(bytes, kTableAt + 2 * 4, sector);
        check_refused(bytes, ErrorKind::bad_format, "overlaps");
    }
}

TEST_CASE("sizes that no file can have") {
    for (const u64 size : {u64{0}, u64{513}, 2040 * kGiB + 512, ~u64{0}, ~u64{0} - 511}) {
        auto bytes = dynamic_vhd_bytes();
        change_both_footers(bytes, 48, size, 8);
        check_refused(bytes, ErrorKind::bad_format, "the footer declares a disk of");
        bytes = fixed_vhd();
        change_footer(bytes, kSize, 48, size, 8);
        check_refused(bytes, ErrorKind::bad_format, "the footer declares a disk of");
    }
    auto bytes = dynamic_vhd_bytes();
    change_both_footers(bytes, 48, 2040 * kGiB, 8);
    check_refused(bytes, ErrorKind::bad_format, "entries are too few");
}

TEST_CASE("a table larger than lodge holds is refused before it is read") {
    auto file = memory_file("huge");
    const VhdFooter footer = new_vhd_footer(VhdType::dynamic, 2040 * kGiB, 0, {});
    VhdHeader header;
    header.block_size = 512;
    header.table_offset = kTableAt;
    header.max_table_entries = 0xFFFFFFFF;
    must(file->write(0, build_vhd_footer(footer)));
    must(file->write(512, build_vhd_header(header)));
    must(file->write(u64{1} << 36, build_vhd_footer(footer)));
    CHECK(open_image(std::move(file), {}).error().kind == ErrorKind::unsupported);
}

TEST_CASE("a differencing image without a parent is refused, never opened as a plain disk") {
    auto bytes = dynamic_vhd_bytes();
    change_both_footers(bytes, 60, 4, 4);
    change_both_footers(bytes, 68, 1, 8);
    check_refused(bytes, ErrorKind::not_found, "its parent is not named");
}

TEST_CASE("the size rule can be overridden") {
    auto bytes = dynamic_vhd_bytes();
    std::vector<u8> creator = {'v', 'p', 'c', ' '};
    change_both_footers(bytes, 28, load_big_endian<u32>(creator.data()), 4);
    change_both_footers(bytes, 56, u64{1} << 16 | 4 << 8 | 17, 4);  // 1 cylinder, 4 heads, 17 sectors
    auto file = memory_file(bytes);
    CHECK(open_shared(*file)->size() == 4 * 17 * 512);
    OpenOptions options;
    options.size_rule = VhdSizeRule::current_size;
    CHECK(open_shared(*file, options)->size() == kSize);
}

TEST_CASE("sizes that cannot be made are refused") {
    const auto kind = [](const CreateOptions& options) {
        const auto result = create_image(memory_file("new"), options);
        REQUIRE_FALSE(result);
        return result.error().kind;
    };
    for (const u64 size : {u64{0}, u64{100}, 2040 * kGiB + 512})
        CHECK(kind({ImageFormat::vhd_dynamic, size}) == ErrorKind::usage);
    CHECK(kind({ImageFormat::vhd_fixed, 2041 * kGiB}) == ErrorKind::usage);
    CHECK(kind({ImageFormat::raw, 3}) == ErrorKind::usage);
    for (const u32 block : {0u, 256u, 5000u, u32{512 * kMiB}})
        CHECK(kind({ImageFormat::vhd_dynamic, kGiB, block}) == ErrorKind::usage);
    CHECK(kind({ImageFormat::vhd_dynamic, 2040 * kGiB, 4096}) == ErrorKind::usage);
}

TEST_CASE("the largest VHD can be made and written to its end") {
    auto file = dynamic_vhd(kVhdMostSize, kVhdDefaultBlockSize);
    {
        auto device = open_shared(*file, for_writing());
        must(device->write(kVhdMostSize - 512, pattern(512, 1)));
    }
    std::vector<u8> bytes(512);
    must(open_shared(*file)->read(kVhdMostSize - 512, bytes));
    CHECK(bytes == pattern(512, 1));
}

TEST_CASE("identities differ") {
    const auto one = must(random_unique_id()), other = must(random_unique_id());
    CHECK(one != other);
    CHECK((one[6] >> 4) == 4);
}
