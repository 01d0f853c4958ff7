// Compact, resize, rebase and commit on images as other programs make them, and where they have to fail. What they do
// to lodge's own images, under crashes too, is for lodge_image_trials.
#include "disks/check_image.h"
#include "disks/commit_image.h"
#include "disks/compact_image.h"
#include "disks/range.h"
#include "disks/rebase_image.h"
#include "disks/resize_image.h"
#include "disks/vhd_dynamic.h"
#include "disks/vhd_editor.h"
#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::test;

namespace {

constexpr u64 kSize = 30 * 4 * kKiB;
constexpr u32 kBlockSize = 4 * kKiB;

bool go_on(u64, u64) {
    return true;
}

VhdLayout layout_of(File& file) {
    return must(read_vhd_layout(file, VhdSizeRule::by_creator));
}

void write(File& file, u64 offset, std::span<const u8> bytes) {
    must(open_shared(file, for_writing())->write(offset, bytes));
}

std::vector<u8> read(File& file) {
    return content_of(*open_shared(file));
}

// A chain of two in memory, both with data.
struct Pair {
    MemoryFolder folder;
    File& base = folder.add("/m/base");
    File& child = folder.add("/m/child");
    std::vector<u8> bytes;

    explicit Pair(ImageFormat format = ImageFormat::vhd_dynamic) {
        CreateOptions create;
        create.format = format;
        create.size = kSize;
        create.block_size = kBlockSize;
        create.unique_id = {1};
        auto device = must(create_image(must(folder.open("/m/base")), create));
        must(device->write(0, pattern(kSize, 1)));
        must(finish_image(*device));
        device.reset();
        must(create_child(child, {"/m/child", "/m/base", kBlockSize, 0, {2}}, folder.options()));
        must(open_child(ImageMode::private_writes)->write(5000, pattern(20000, 2)));
        bytes = content_of(*open_child());
    }
    std::unique_ptr<BlockDevice> open_child(ImageMode mode = ImageMode::read_only) {
        return must(open_image("/m/child", folder.options(mode)));
    }
};

}  // namespace

TEST_CASE("compacting leaves a file of what is needed") {
    auto file = dynamic_vhd(kSize, kBlockSize);
    for (u64 block = 30; block-- > 0;) write(*file, block * kBlockSize, pattern(kBlockSize, static_cast<u32>(block)));
    auto device = open_shared(*file, for_writing());
    for (u64 block = 0; block < 30; block += 3) must(device->zero(block * kBlockSize, kBlockSize));
    device.reset();
    const auto before = read(*file);
    const CompactReport report = must(compact_image(*file, {}, go_on));
    CHECK(report.blocks_dropped == 10);
    CHECK(report.size_after < report.size_before);
    const VhdLayout layout = layout_of(*file);
    CHECK(layout.problem_count() == 0);
    // 20 blocks, each with room for its data to begin on a page.
    CHECK(layout.file_size <= layout.header.table_offset + 512 + 20 * 8192 + 4096 + 512);
    CHECK(read(*file) == before);
    CHECK(must(compact_image(*file, {}, go_on)).blocks_dropped == 0);
}

TEST_CASE("compacting a child drops what its parent has, and keeps zeros over the parent's data") {
    Pair pair;
    {
        auto device = pair.open_child(ImageMode::private_writes);
        must(device->write(40960, std::span(pair.bytes).subspan(40960, 8192)));
        must(device->zero(81920, 4096));
    }
    auto expected = pair.bytes;
    std::fill_n(expected.begin() + 81920, 4096, u8{0});
    const u64 dropped = must(compact_image(pair.child, pair.folder.options(), go_on)).blocks_dropped;
    CHECK(dropped == 2);
    CHECK(content_of(*pair.open_child()) == expected);
}

TEST_CASE("a stopped compaction leaves the disk as it was") {
    auto file = dynamic_vhd(kSize, kBlockSize);
    write(*file, 0, pattern(kSize, 1));
    const auto stopped = compact_image(*file, {}, [](u64, u64) { return false; });
    CHECK(stopped.error().kind == ErrorKind::usage);
    CHECK(read(*file) == pattern(kSize, 1));
}

TEST_CASE("growing moves blocks out of the way of the table, or the table away from what cannot move") {
    for (const bool locator_behind_table : {false, true}) {
        auto file = dynamic_vhd(kSize, 512);
        auto expected = pattern(kSize, 1);
        if (locator_behind_table) {
            const VhdLayout layout = layout_of(*file);
            VhdHeader header = layout.header;
            header.locators[0] = {kVhdRelativePath, 512, 10, layout.append_offset};
            must(file->write(kVhdFooterSize, build_vhd_header(header)));
            must(file->write(layout.append_offset + 512, layout.footer_bytes));
        }
        write(*file, 0, expected);
        const u64 table_before = layout_of(*file).header.table_offset;
        for (const u64 size : {kSize + 512, kSize * 2, kSize * 20, kSize * 40}) {
            must(resize_image(*file, size, Shrinking::refuse_to_lose_data, {}));
            expected.resize(size);
            const VhdLayout layout = layout_of(*file);
            CHECK(layout.problem_count() == 0);
            CHECK(layout.header.max_table_entries == size / 512);
            CHECK(layout.footer.geometry == vhd_geometry(size / 512));
            CHECK(read(*file) == expected);
        }
        CHECK((layout_of(*file).header.table_offset != table_before) == locator_behind_table);
        write(*file, kSize * 40 - 1000, pattern(1000, 2));
        std::copy_n(pattern(1000, 2).begin(), 1000, expected.end() - 1000);
        CHECK(read(*file) == expected);
    }
}

TEST_CASE("what was cut off does not come back") {
    for (const ImageFormat format : {ImageFormat::raw, ImageFormat::vhd_fixed, ImageFormat::vhd_dynamic}) {
        auto file = memory_file("x");
        CreateOptions create;
        create.format = format;
        create.size = kSize;
        create.block_size = kBlockSize;
        auto device = must(create_image(std::make_unique<SharedFile>(*file), create));
        must(device->write(0, pattern(kSize, 1)));
        must(finish_image(*device));
        device.reset();
        OpenOptions options;
        options.raw = format == ImageFormat::raw;
        CHECK_FALSE(resize_image(*file, 10240, Shrinking::refuse_to_lose_data, options));
        CHECK(must(open_image(std::make_unique<SharedFile>(*file), options))->size() == kSize);
        must(resize_image(*file, 10240, Shrinking::lose_data, options));
        must(resize_image(*file, kSize, Shrinking::lose_data, options));
        auto expected = pattern(10240, 1);
        expected.resize(kSize);
        CHECK(content_of(*must(open_image(std::make_unique<SharedFile>(*file), options))) == expected);
        CHECK(must(check_image(*file, options, false)).problem_count == 0);
    }
}

TEST_CASE("a child that shrank and grew does not show its parent's data") {
    Pair pair;
    const OpenOptions options = pair.folder.options();
    must(resize_image(pair.child, 10240, Shrinking::lose_data, options));
    must(resize_image(pair.child, kSize + 51200, Shrinking::lose_data, options));
    auto expected = pair.bytes;
    expected.resize(10240);
    expected.resize(kSize + 51200);
    CHECK(content_of(*pair.open_child()) == expected);
    // The parent grows with a commit.
    const CommitReport report = must(commit_image(pair.child, options, go_on));
    CHECK(report.parent_grew);
    CHECK(content_of(*must(open_image("/m/base", options))) == expected);
    CHECK(content_of(*pair.open_child()) == expected);
}

TEST_CASE("a size that the geometry told is the footer's after a resize") {
    auto file = dynamic_vhd(4 * 17 * 512 * 2, kBlockSize);
    VhdLayout layout = layout_of(*file);
    layout.footer.creator_application = {'v', 'p', 'c', ' '};
    const auto record = change_vhd_footer(layout.footer_bytes, layout.footer);
    must(file->write(0, record));
    must(file->write(layout.footer_offset, record));
    REQUIRE(layout_of(*file).disk_size == 4 * 17 * 512 * 2);
    must(resize_image(*file, 100 * kKiB, Shrinking::refuse_to_lose_data, {}));
    CHECK(layout_of(*file).disk_size == 100 * kKiB);
}

TEST_CASE("a disk with a machine's saved state, or with a problem, is not changed") {
    Pair pair;
    VhdLayout layout = layout_of(pair.child);
    layout.footer.saved_state = true;
    const auto saved = change_vhd_footer(layout.footer_bytes, layout.footer);
    must(pair.child.write(0, saved));
    must(pair.child.write(layout.footer_offset, saved));
    const auto refused = [&](const std::string& words) {
        const auto before = content_of(pair.child);
        const OpenOptions options = pair.folder.options();
        for (const Error& error :
             {compact_image(pair.child, options, go_on).error(),
              resize_image(pair.child, kSize * 2, Shrinking::lose_data, options).error(),
              rebase_image(pair.child, "/m/base", RebaseKind::metadata_only, options, go_on).error(),
              commit_image(pair.child, options, go_on).error()})
            CHECK(mentions(error, words));
        CHECK(content_of(pair.child) == before);
    };
    refused("saved");
    must(pair.child.write(layout.footer_offset, layout.footer_bytes));
    refused("--repair");
}

TEST_CASE("a rebase stores what the new parent has otherwise") {
    Pair pair;
    File& other = pair.folder.add("/m/other");
    CreateOptions create;
    create.size = kSize * 2;
    create.block_size = 512;
    create.unique_id = {3};
    {
        auto device = must(create_image(must(pair.folder.open("/m/other")), create));
        must(device->write(0, pattern(60000, 1)));
        must(finish_image(*device));
    }
    const OpenOptions options = pair.folder.options();
    must(rebase_image(pair.child, "/m/other", RebaseKind::keep_content, options, go_on));
    CHECK(layout_of(pair.child).header.parent_unique_id == layout_of(other).footer.unique_id);
    CHECK(content_of(*pair.open_child()) == pair.bytes);
    // Paths are again where they were, and the file no larger for it.
    const VhdLayout layout = layout_of(pair.child);
    for (const VhdLocator& locator : layout.header.locators)
        if (locator.platform_code != 0) CHECK(locator.data_offset < layout.header.table_offset);
    CHECK(layout.footer_offset == layout.append_offset);
    // Nothing is compared here.
    must(rebase_image(pair.child, "/m/base", RebaseKind::metadata_only, options, go_on));
    CHECK(content_of(*pair.open_child()) == pair.bytes);
    CHECK(rebase_image(pair.child, "/m/child", RebaseKind::metadata_only, options, go_on).error().kind ==
          ErrorKind::usage);
    CHECK(rebase_image(pair.child, "/m/none", RebaseKind::metadata_only, options, go_on).error().kind ==
          ErrorKind::not_found);
}

TEST_CASE("a commit that fails or is stopped puts back what the parent had") {
    for (const ImageFormat format : {ImageFormat::vhd_dynamic, ImageFormat::vhd_fixed}) {
        Pair pair(format);
        const OpenOptions options = pair.folder.options();
        const auto base_disk = read(pair.base);
        {
            auto device = pair.open_child(ImageMode::private_writes);
            must(device->write(50000, pattern(20000, 3)));
            must(device->zero(0, 3000));
        }
        const auto expected = content_of(*pair.open_child());
        CHECK(commit_image(pair.child, options, [](u64 done, u64) { return done < 60000; }).error().kind ==
              ErrorKind::usage);
        CHECK(read(pair.base) == base_disk);
        CHECK(content_of(*pair.open_child()) == expected);
        const CommitReport report = must(commit_image(pair.child, options, go_on));
        CHECK(report.parent == "/m/base");
        CHECK_FALSE(report.parent_grew);
        CHECK(read(pair.base) == expected);
        CHECK(content_of(*pair.open_child()) == expected);
        CHECK(layout_of(pair.child).file_size < 8192);  // it is empty
    }
}

TEST_CASE("the first difference of two disks") {
    auto one = dynamic_vhd(kSize, kBlockSize), other = dynamic_vhd(kSize * 2, 512);
    const auto compare = [&] { return must(compare_disks(*open_shared(*one), *open_shared(*other), go_on)); };
    CHECK_FALSE(compare());
    write(*one, 70000, pattern(100, 1));
    write(*other, 70000, pattern(100, 1));
    CHECK_FALSE(compare());
    write(*other, kSize + 5, std::vector<u8>{7});
    REQUIRE(compare());
    CHECK(compare()->offset == kSize + 5);
    CHECK(compare()->second == 7);
    write(*one, 70099, std::vector<u8>{0});
    CHECK(compare()->offset == 70099);
}
