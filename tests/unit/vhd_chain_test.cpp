// Differencing images: how parents are found, and what a chain reads as.
#include <sys/stat.h>
#include <utime.h>

#include "disks/range.h"
#include "disks/vhd_parent.h"
#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::test;

namespace {

constexpr u64 kSize = 40 * 4 * kKiB + 3 * 512;  // the last block is a part of one
constexpr u32 kBlockSize = 4 * kKiB;

void make_base(const std::string& path, ImageFormat format = ImageFormat::vhd_dynamic, u64 size = kSize,
               u32 block_size = kBlockSize) {
    CreateOptions options;
    options.format = format;
    options.size = size;
    options.block_size = block_size;
    options.unique_id = must(random_unique_id());
    auto made = must(NewFile::create(path, false));
    must(finish_image(*must(create_image(made->take_file(), options))));
    must(made->commit());
}

void make_child(const std::string& path, const std::string& parent, std::optional<u32> block_size = {}) {
    auto made = must(NewFile::create(path, false));
    const auto file = made->take_file();
    must(create_child(*file, {path, parent, block_size, 0, must(random_unique_id())}, {}));
    must(made->commit());
}

void write(const std::string& path, u64 offset, std::span<const u8> bytes) {
    auto device = must(open_image(path, for_writing()));
    must(device->write(offset, bytes));
    must(device->flush());
}

std::vector<u8> read(const std::string& path) {
    return content_of(*must(open_image(path, {})));
}

VhdLayout layout_of(const std::string& path) {
    return must(read_vhd_layout(*must(HostFile::open(path, FileAccess::read)), VhdSizeRule::by_creator));
}

void put(std::vector<u8>& into, u64 offset, std::span<const u8> bytes) {
    std::copy(bytes.begin(), bytes.end(), into.begin() + static_cast<std::ptrdiff_t>(offset));
}

// Puts other locators and another name into a child.
void rename_parent(const std::string& path, const std::vector<std::pair<u32, std::string>>& locators,
                   const std::string& name) {
    auto file = must(HostFile::open(path, FileAccess::read_write));
    const VhdLayout layout = must(read_vhd_layout(*file, VhdSizeRule::by_creator));
    VhdParentLink link;
    link.unique_id = layout.header.parent_unique_id;
    for (size_t i = 0; i < name.size(); ++i) link.file_name[2 * i + 1] = static_cast<u8>(name[i]);
    for (const auto& [code, text] : locators) {
        VhdParentLink::Path locator{code, {}};
        for (const char letter : text) {
            locator.text.push_back(static_cast<u8>(letter));
            if (code != kVhdMacUrl) locator.text.push_back(0);
        }
        link.paths.push_back(locator);
    }
    VhdHeader header = layout.header;
    const u64 place = layout.append_offset;
    const u64 end = name_parent(header, link, place);
    for (size_t i = 0; i < link.paths.size(); ++i)
        must(file->write(header.locators[i].data_offset, link.paths[i].text));
    must(file->write(kVhdFooterSize, build_vhd_header(header)));
    must(file->write(end, layout.footer_bytes));
}

void make_folders(const std::string& path) {
    std::filesystem::create_directories(path);
}

}  // namespace

TEST_CASE("a child reads as its parent, and hides what is written to it") {
    TemporaryFolder folder;
    for (const ImageFormat format : {ImageFormat::vhd_dynamic, ImageFormat::vhd_fixed}) {
        const std::string base = folder / (std::string("base") + name_of(format)), child = base + ".child";
        make_base(base, format);
        auto expected = pattern(kSize, 1);
        write(base, 0, expected);
        make_child(child, base);
        CHECK(must(inspect_image(child, {})).format == ImageFormat::vhd_differencing);
        CHECK(read(child) == expected);
        const auto base_bytes = content_of(base);
        for (const auto& [offset, length] : {std::pair<u64, u64>{0, 1}, {5000, 3000}, {kSize - 700, 700}, {512, 512}}) {
            write(child, offset, pattern(length, 7));
            put(expected, offset, pattern(length, 7));
            CHECK(read(child) == expected);
        }
        {
            auto device = must(open_image(child, for_writing()));
            must(device->zero(4096, 4096));
            must(device->zero(20000, 100));
            must(device->write(30000, std::vector<u8>(1000)));
            for (const auto& [offset, length] : {std::pair<u64, u64>{4096, 4096}, {20000, 100}, {30000, 1000}})
                put(expected, offset, std::vector<u8>(length));
            CHECK(content_of(*device) == expected);
            CHECK(mentions({ErrorKind::io, device->describe()}, "differencing VHD"));
        }
        CHECK(read(child) == expected);
        CHECK(content_of(base) == base_bytes);
        const VhdLayout layout = layout_of(child);
        CHECK(layout.problem_count() == 0);
        CHECK(layout.footer_offset == layout.append_offset);
    }
}

TEST_CASE("what a discard leaves is zeros or as before, never what the parent had and the child hid") {
    TemporaryFolder folder;
    make_base(folder / "base");
    write(folder / "base", 0, pattern(kSize, 1));
    make_child(folder / "child", folder / "base");
    auto expected = pattern(kSize, 1);
    write(folder / "child", 8192, pattern(4096, 2));
    put(expected, 8192, pattern(4096, 2));
    {
        auto device = must(open_image(folder / "child", for_writing()));
        must(device->discard(0, kSize));
    }
    const auto after = read(folder / "child");
    for (u64 at = 0; at < kSize; at += 512) {
        const auto sector = std::span(after).subspan(at, 512);
        CHECK((all_zero(sector) ||
               std::equal(sector.begin(), sector.end(), expected.begin() + static_cast<std::ptrdiff_t>(at))));
    }
    CHECK(all_zero(std::span(after).subspan(8192, 4096)));
}

TEST_CASE("a chain as deep as lodge allows opens, and one image more is refused") {
    TemporaryFolder folder;
    make_base(folder / "0");
    auto expected = std::vector<u8>(kSize);
    for (size_t i = 1; i <= kMostImagesInChain; ++i) {
        make_child(folder / std::to_string(i), folder / std::to_string(i - 1));
        if (i % 50 != 0) continue;
        write(folder / std::to_string(i), i * 512, pattern(512, static_cast<u32>(i)));
        put(expected, i * 512, pattern(512, static_cast<u32>(i)));
    }
    CHECK(read(folder / std::to_string(kMostImagesInChain - 1)) == expected);
    const auto refused = open_image(folder / std::to_string(kMostImagesInChain), {});
    REQUIRE_FALSE(refused);
    CHECK(mentions(refused.error(), "more than 256 images"));
}

TEST_CASE("parents and children may differ in size and in the size of their blocks") {
    TemporaryFolder folder;
    make_base(folder / "a", ImageFormat::vhd_dynamic, kSize, 512);
    write(folder / "a", 0, pattern(kSize, 1));
    make_child(folder / "b", folder / "a", 64 * kKiB);
    write(folder / "b", 70000, pattern(3000, 2));
    make_child(folder / "c", folder / "b", 1024);
    write(folder / "c", 69000, pattern(3000, 3));
    auto expected = pattern(kSize, 1);
    put(expected, 70000, pattern(3000, 2));
    put(expected, 69000, pattern(3000, 3));
    CHECK(read(folder / "c") == expected);
}

TEST_CASE("extents of a chain say zero only where it reads as zeros") {
    TemporaryFolder folder;
    make_base(folder / "a");
    write(folder / "a", 10000, pattern(20000, 1));
    make_child(folder / "b", folder / "a");
    {
        auto device = must(open_image(folder / "b", for_writing()));
        must(device->zero(12000, 9000));
        must(device->write(100000, pattern(600, 2)));
    }
    auto device = must(open_image(folder / "b", {}));
    const auto bytes = content_of(*device);
    u64 zeros = 0;
    for (u64 at = 0; at < kSize;) {
        const Extent extent = must(device->extent(at));
        REQUIRE(extent.length > 0);
        REQUIRE(extent.length <= kSize - at);
        if (extent.zero) {
            CHECK(all_zero(std::span(bytes).subspan(at, extent.length)));
            zeros += extent.length;
        }
        at += extent.length;
    }
    CHECK(zeros > kSize / 2);
}

TEST_CASE("a child names its parent as Windows does") {
    TemporaryFolder folder;
    make_folders(folder / "sub");
    make_base(folder / "b\xc3\xa4se.vhd");
    make_child(folder / "sub/child.vhd", folder / "b\xc3\xa4se.vhd");
    const VhdLayout layout = layout_of(folder / "sub/child.vhd");
    CHECK(layout.footer.type == VhdType::differencing);
    CHECK(layout.header.parent_unique_id == layout_of(folder / "b\xc3\xa4se.vhd").footer.unique_id);
    const std::vector<u8> name = {0, 'b', 0, 0xe4, 0, 's', 0, 'e', 0, '.', 0, 'v', 0, 'h', 0, 'd', 0, 0};
    CHECK(std::equal(name.begin(), name.end(), layout.header.parent_name.begin()));
    auto file = must(HostFile::open(folder / "sub/child.vhd", FileAccess::read));
    for (const VhdLocator& locator : layout.header.locators) {
        if (locator.platform_code == 0) continue;
        CHECK(locator.data_space % 512 == 0);
        CHECK(locator.data_space >= locator.data_length);
        CHECK(locator.data_offset % 512 == 0);
        CHECK(locator.data_offset + locator.data_space <= layout.header.table_offset);
    }
    std::vector<u8> text(layout.header.locators[1].data_length);
    CHECK(layout.header.locators[1].platform_code == kVhdRelativePath);
    must(file->read(layout.header.locators[1].data_offset, text));
    CHECK(text ==
          std::vector<u8>{'.', 0, '.', 0, '\\', 0, 'b', 0, 0xe4, 0, 's', 0, 'e', 0, '.', 0, 'v', 0, 'h', 0, 'd', 0});
    file.reset();
    CHECK(read(folder / "sub/child.vhd").size() == kSize);
}

TEST_CASE("a parent is found by each kind of path, and beside the child") {
    TemporaryFolder folder;
    make_folders(folder / "Disks/Parents");
    make_folders(folder / "children");
    make_base(folder / "Disks/Parents/Base Disk.vhd");
    write(folder / "Disks/Parents/Base Disk.vhd", 0, pattern(5000, 1));
    const std::string child = folder / "children/child.vhd";
    make_child(child, folder / "Disks/Parents/Base Disk.vhd");
    std::string absolute = folder / "Disks/Parents/Base Disk.vhd";
    std::replace(absolute.begin(), absolute.end(), '/', '\\');
    using Names = std::vector<std::pair<u32, std::string>>;
    const auto opens = [&](const Names& locators, const std::string& name) {
        rename_parent(child, locators, name);
        const auto device = open_image(child, {});
        if (!device) CHECK(device.error().kind == ErrorKind::not_found);
        if (!device) return false;
        std::vector<u8> bytes(5000);
        must((*device)->read(0, bytes));
        CHECK(bytes == pattern(5000, 1));
        return true;
    };
    CHECK(opens({{kVhdRelativePath, "..\\Disks\\Parents\\Base Disk.vhd"}}, ""));
    CHECK(opens({{kVhdRelativePath, "..\\disks\\PARENTS\\base disk.VHD"}}, ""));
    CHECK(opens({{kVhdAbsolutePath, absolute}}, ""));
    CHECK(opens({{kVhdAbsolutePath, "D:" + absolute}}, ""));
    CHECK(opens({{kVhdAbsolutePath, "\\\\?\\D:" + absolute}}, ""));
    CHECK(opens({{kVhdRelativePath, "nowhere.vhd"}, {kVhdAbsolutePath, "d:" + absolute}}, "x"));
    CHECK(opens({{kVhdMacUrl, "file://localhost" + folder.path() + "/Disks/Parents/Base%20Disk.vhd"}}, ""));
    CHECK_FALSE(opens({{kVhdAbsolutePath, "C:\\Elsewhere\\Base Disk.vhd"}}, "Base Disk.vhd"));
    CHECK_FALSE(opens({}, ""));
    std::filesystem::rename(folder / "Disks/Parents/Base Disk.vhd", folder / "children/Base Disk.vhd");
    CHECK(opens({{kVhdAbsolutePath, "C:\\Elsewhere\\Base Disk.vhd"}}, ""));
    CHECK(opens({}, "base disk.vhd"));
    CHECK(opens({}, "C:\\Elsewhere\\Base Disk.vhd"));
}

TEST_CASE("the unique id decides, the time stamp warns") {
    TemporaryFolder folder;
    make_folders(folder / "other");
    make_base(folder / "base");
    make_base(folder / "other/base");
    make_child(folder / "child", folder / "base");
    std::vector<std::string> warnings;
    OpenOptions options;
    options.warn = [&](const std::string& line) { warnings.push_back(line); };
    CHECK(open_image(folder / "child", options).ok());
    CHECK(warnings.empty());
    const utimbuf times{1000000000, 1000000000};
    ::utime((folder / "base").c_str(), &times);
    CHECK(open_image(folder / "child", options).ok());
    REQUIRE(warnings.size() == 1);
    CHECK(warnings[0].find("time stamp") != std::string::npos);
    std::filesystem::rename(folder / "other/base", folder / "base");
    const auto refused = open_image(folder / "child", {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().kind == ErrorKind::bad_format);
    CHECK(is_one_line(refused.error()));
    CHECK(mentions(refused.error(), "is not the parent of"));
}

TEST_CASE("loops are refused") {
    TemporaryFolder folder;
    make_base(folder / "a");
    make_child(folder / "b", folder / "a");
    make_child(folder / "c", folder / "b");
    std::filesystem::rename(folder / "a", folder / "old");
    // a becomes a child of c, with the unique id that b looks for.
    {
        auto made = must(NewFile::create(folder / "a", false));
        const auto file = made->take_file();
        must(create_child(*file, {folder / "a", folder / "c", {}, 0, layout_of(folder / "old").footer.unique_id}, {}));
        must(made->commit());
    }
    for (const char* name : {"a", "b", "c"}) {
        for (const ImageMode mode : {ImageMode::read_only, ImageMode::private_writes}) {
            OpenOptions options;
            options.mode = mode;
            const auto refused = open_image(folder / name, options);
            REQUIRE_FALSE(refused);
            CHECK(mentions(refused.error(), "loop"));
        }
    }
    make_child(folder / "self", folder / "old");
    rename_parent(folder / "self", {{kVhdRelativePath, ".\\self"}}, "self");
    CHECK(mentions(open_image(folder / "self", for_writing()).error(), "names itself"));
}

TEST_CASE("parents are locked for reading") {
    TemporaryFolder folder;
    make_base(folder / "a");
    make_child(folder / "b", folder / "a");
    make_child(folder / "c", folder / "b");
    {
        auto device = must(open_image(folder / "c", for_writing()));
        CHECK(open_image(folder / "a", for_writing()).error().kind == ErrorKind::locked);
        CHECK(open_image(folder / "b", for_writing()).error().kind == ErrorKind::locked);
        CHECK(open_image(folder / "c", {}).error().kind == ErrorKind::locked);
        CHECK(open_image(folder / "b", {}).ok());
    }
    auto writer = must(open_image(folder / "a", for_writing()));
    CHECK(open_image(folder / "c", {}).error().kind == ErrorKind::locked);
}

TEST_CASE("children are made of VHDs only, and at paths that can be said") {
    TemporaryFolder folder;
    write_content(folder / "raw", pattern(1024, 1));
    const auto attempt = [&](const std::string& parent) {
        return create_child(*memory_file(), {folder / "child", parent, {}, 0, {}}, {}).error();
    };
    CHECK(attempt(folder / "raw").kind == ErrorKind::usage);
    CHECK(attempt(folder / "none").kind == ErrorKind::not_found);
    make_base(folder / "back\\slash");
    CHECK(mentions(attempt(folder / "back\\slash"), "backslash"));
    make_base(folder / "no\xff utf8");
    CHECK(mentions(attempt(folder / "no\xff utf8"), "UTF-8"));
}

TEST_CASE("undo disks and footers of 511 bytes") {
    TemporaryFolder folder;
    make_base(folder / "base.vhd");
    write(folder / "base.vhd", 0, pattern(kSize, 1));
    make_child(folder / "VirtualPCUndo_base.vud", folder / "base.vhd");
    write(folder / "VirtualPCUndo_base.vud", 1000, pattern(2000, 2));
    auto expected = pattern(kSize, 1);
    put(expected, 1000, pattern(2000, 2));
    for (const char* name : {"base.vhd", "VirtualPCUndo_base.vud"}) {
        auto bytes = content_of(folder / name);
        bytes.pop_back();
        write_content(folder / name, bytes);
    }
    CHECK(read(folder / "VirtualPCUndo_base.vud") == expected);
    write(folder / "VirtualPCUndo_base.vud", 90000, pattern(2000, 3));
    put(expected, 90000, pattern(2000, 3));
    CHECK(read(folder / "VirtualPCUndo_base.vud") == expected);
    auto bytes = content_of(folder / "VirtualPCUndo_base.vud");
    bytes[bytes.size() - 400] ^= 1;  // the copy in front rescues it
    write_content(folder / "VirtualPCUndo_base.vud", bytes);
    CHECK(read(folder / "VirtualPCUndo_base.vud") == expected);
}

TEST_CASE("random work on a chain gives what a plain array gives, across reopening") {
    std::mt19937 random(3);
    for (const auto& blocks : {std::array<u32, 3>{4096, 4096, 4096}, {512, 65536, 4096}, {65536, 512, 2048}}) {
        TemporaryFolder folder;
        make_base(folder / "0", ImageFormat::vhd_dynamic, kSize, blocks[0]);
        auto expected = std::vector<u8>(kSize);
        for (u32 level = 0; level < 3; ++level) {
            const std::string path = folder / std::to_string(level);
            if (level > 0) make_child(path, folder / std::to_string(level - 1), blocks[level]);
            auto device = must(open_image(path, for_writing()));
            for (u32 i = 0; i < 700; ++i) {
                const u64 align = std::array<u64, 3>{1, 512, 4096}[random() % 3];
                const u64 offset = align_down(random() % kSize, align);
                const u64 length = std::min(align_up(random() % 9000 + 1, align), kSize - offset);
                switch (random() % 8) {
                    case 0:
                        must(device->zero(offset, length));
                        put(expected, offset, std::vector<u8>(length));
                        break;
                    case 1:
                        must(device->flush());
                        break;
                    case 2:
                        if (random() % 8 != 0) break;
                        device.reset();
                        CHECK(layout_of(path).problem_count() == 0);
                        device = must(open_image(path, for_writing()));
                        break;
                    case 3:
                        must(device->write(offset, std::vector<u8>(length)));
                        put(expected, offset, std::vector<u8>(length));
                        break;
                    default:
                        must(device->write(offset, pattern(length, i)));
                        put(expected, offset, pattern(length, i));
                }
                if (i % 100 == 0) CHECK(content_of(*device) == expected);
                if (!device->set_patience(Patience::none)) continue;  // /tmp on a file system that cannot tell
                std::vector<u8> at_once(length);
                const auto done = device->read(offset, at_once);
                if (done)
                    CHECK(std::equal(at_once.begin(), at_once.end(), expected.begin() + static_cast<long>(offset)));
                if (!done) CHECK(done.error().kind == ErrorKind::would_wait);
                REQUIRE(device->set_patience(Patience::wait));
            }
            CHECK(content_of(*device) == expected);
        }
        CHECK(read(folder / "2") == expected);
    }
}
