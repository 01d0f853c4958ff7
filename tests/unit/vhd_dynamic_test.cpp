#include "disks/vhd_dynamic.h"

#include <map>

#include "disks/range.h"
#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::test;

namespace {

constexpr u64 kDiskSize = 40 * 4 * kKiB + 3 * 512;  // the last block is a part of one
constexpr u32 kBlockSize = 4 * kKiB;

VhdLayout layout_of(File& file) {
    return must(read_vhd_layout(file, VhdSizeRule::by_creator));
}

// A dynamic VHD as another program may leave it: one block, some bits set, junk where the bits are not.
std::unique_ptr<HostFile> vhd_with_mixed_block(std::span<const u8> data, std::initializer_list<u32> sectors_set) {
    auto file = dynamic_vhd(kDiskSize, kBlockSize);
    const VhdLayout layout = layout_of(*file);
    std::vector<u8> block(512 + kBlockSize);
    for (const u32 sector : sectors_set) block[sector / 8] |= static_cast<u8>(0x80 >> sector % 8);
    std::copy(data.begin(), data.end(), block.begin() + 512);
    std::array<u8, 4> entry;
    store_big_endian<u32>(entry.data(), static_cast<u32>(layout.append_offset / 512));
    must(file->write(layout.header.table_offset, entry));
    must(file->write(layout.append_offset, block));
    must(file->write(layout.append_offset + block.size(), layout.footer_bytes));
    return file;
}

// The device, and what it should hold.
struct Model {
    std::unique_ptr<BlockDevice> device;
    std::vector<u8> bytes;

    void write(u64 offset, std::span<const u8> from) {
        must(device->write(offset, from));
        std::copy(from.begin(), from.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    void zero(u64 offset, u64 length) {
        must(device->zero(offset, length));
        std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), length, u8{0});
    }
};

// A range of the disk, often on sector or block boundaries.
std::pair<u64, u64> random_range(std::mt19937& random, u64 size, u64 most) {
    u64 offset = random() % size;
    u64 length = random() % most + 1;
    const u64 align = std::array<u64, 3>{1, 512, kBlockSize}[random() % 3];
    offset = align_down(offset, align);
    length = std::min(align_up(length, align), size - offset);
    return {offset, length};
}

}  // namespace

TEST_CASE("a new dynamic image reads as zeros and says so") {
    auto file = dynamic_vhd(kDiskSize, kBlockSize);
    auto device = open_shared(*file);
    CHECK(device->size() == kDiskSize);
    CHECK(all_zero(content_of(*device)));
    const Extent extent = must(device->extent(512));
    CHECK(extent.zero);
    CHECK(extent.length == kDiskSize - 512);
}

TEST_CASE("writing zeros to an absent block stores nothing") {
    auto file = dynamic_vhd(kDiskSize, kBlockSize);
    const auto before = content_of(*file);
    auto device = open_shared(*file, for_writing());
    must(device->write(0, std::vector<u8>(3 * kBlockSize)));
    must(device->zero(0, kDiskSize));
    must(device->discard(0, kDiskSize));
    must(device->flush());
    device.reset();
    CHECK(content_of(*file) == before);
}

TEST_CASE("after closing, the footer follows the last block") {
    auto file = dynamic_vhd(kDiskSize, kBlockSize);
    auto device = open_shared(*file, for_writing());
    must(device->write(5 * kBlockSize + 100, pattern(10, 1)));
    device.reset();
    const VhdLayout layout = layout_of(*file);
    CHECK(layout.problems.empty());
    CHECK(layout.footer_at_end);
    CHECK(layout.footer_offset == layout.append_offset);
    CHECK((u64{layout.table[5]} * 512 + 512) % 4096 == 0);  // data on a page of the host
}

TEST_CASE("ranges past the end are refused and nothing is written") {
    auto file = dynamic_vhd(kDiskSize, kBlockSize);
    auto device = open_shared(*file, for_writing());
    const auto bytes = pattern(1024, 1);
    CHECK(device->write(kDiskSize - 512, bytes).error().kind == ErrorKind::usage);
    CHECK(device->write(~u64{0}, bytes).error().kind == ErrorKind::usage);
    CHECK(device->zero(512, ~u64{0}).error().kind == ErrorKind::usage);
    CHECK(device->extent(kDiskSize).error().kind == ErrorKind::usage);
    CHECK(all_zero(content_of(*device)));
    CHECK(open_shared(*file)->write(0, bytes).error().kind == ErrorKind::usage);
}

TEST_CASE("sectors whose bit is 0 read as zeros and come to be when they are written") {
    const auto data = pattern(kBlockSize, 3);
    auto file = vhd_with_mixed_block(data, {1, 2, 7});
    std::vector<u8> expected(kDiskSize);
    for (const u32 sector : {1, 2, 7}) std::copy_n(&data[sector * 512], 512, &expected[sector * 512]);
    CHECK(content_of(*open_shared(*file)) == expected);
    {
        Model model{open_shared(*file, for_writing()), expected};
        model.write(4 * 512 + 100, pattern(10, 9));   // within one sector
        model.write(5 * 512 + 500, pattern(20, 10));  // the edges of two
        CHECK(content_of(*model.device) == model.bytes);
        expected = model.bytes;
    }
    CHECK(content_of(*open_shared(*file)) == expected);
    {
        Model model{open_shared(*file, for_writing()), expected};
        model.write(0, pattern(kBlockSize, 11));  // now all bits are set
        model.zero(512, 1000);
        CHECK(content_of(*model.device) == model.bytes);
        expected = model.bytes;
    }
    CHECK(content_of(*open_shared(*file)) == expected);
}

TEST_CASE("stray bytes between the last block and the footer do not show up in new blocks") {
    auto file = dynamic_vhd(kDiskSize, kBlockSize);
    const VhdLayout layout = layout_of(*file);
    for (const u64 stray : {u64{1}, u64{700}, u64{5000}, u64{3} * kMiB}) {
        must(file->write(layout.append_offset, pattern(stray, 5)));
        must(file->write(layout.append_offset + stray, layout.footer_bytes));
        Model model{open_shared(*file, for_writing()), content_of(*open_shared(*file))};
        model.write(stray % 30 * kBlockSize + 512, pattern(512, 6));
        CHECK(content_of(*model.device) == model.bytes);
        model.device.reset();
        CHECK(content_of(*open_shared(*file)) == model.bytes);
        CHECK(layout_of(*file).problems.empty());
    }
}

TEST_CASE("a missing end footer comes back with the next growth") {
    auto file = dynamic_vhd(kDiskSize, kBlockSize);
    must(file->truncate(must(file->size()) - 300));
    REQUIRE(layout_of(*file).problem_count() == 1);
    auto device = open_shared(*file, for_writing());
    must(device->write(0, pattern(1, 1)));
    CHECK(layout_of(*file).footer_at_end);
    device.reset();
    CHECK(layout_of(*file).problem_count() == 0);
}

TEST_CASE("random work gives what a plain array gives, across reopening") {
    std::mt19937 random(2);
    for (const u32 block_size : {512u, 4096u, 65536u}) {
        auto file = dynamic_vhd(kDiskSize, block_size);
        Model model{open_shared(*file, for_writing()), std::vector<u8>(kDiskSize)};
        for (u32 i = 0; i < 1500; ++i) {
            const auto [offset, length] = random_range(random, kDiskSize, 20000);
            switch (random() % 8) {
                case 0:
                    model.zero(offset, length);
                    break;
                case 1:
                    if (random() % 8 == 0) {
                        model.device.reset();
                        CHECK(layout_of(*file).problem_count() == 0);
                        model.device = open_shared(*file, for_writing());
                    }
                    break;
                case 2:
                    must(model.device->flush());
                    break;
                case 3: {
                    std::vector<u8> bytes(length);
                    must(model.device->read(offset, bytes));
                    CHECK(std::equal(bytes.begin(), bytes.end(),
                                     model.bytes.begin() + static_cast<std::ptrdiff_t>(offset)));
                    break;
                }
                default:
                    model.write(offset, pattern(length, i));
            }
        }
        CHECK(content_of(*model.device) == model.bytes);
    }
}

namespace {

// A run of requests whose changes to the file are all known.
struct Recording {
    std::vector<u8> initial;  // the file before
    std::vector<Change> changes;
    // Per request: how many changes had been made when it began, the disk's bytes then, and what it is about to write.
    struct Request {
        size_t changes_before;
        std::vector<u8> bytes;
        u64 offset;
        u64 length;
    };
    std::vector<Request> requests;
    std::map<size_t, std::vector<u8>> flushed;  // changes made -> the disk's bytes that a flush promised
};

Recording record_work(u32 seed, bool mixed) {
    auto file = mixed ? vhd_with_mixed_block(pattern(kBlockSize, 3), {0, 3, 4}) : dynamic_vhd(kDiskSize, kBlockSize);
    std::mt19937 random(seed);
    Recording recording;
    recording.initial = content_of(*file);
    int never = -1;
    const auto reopen = [&] {
        return must(open_image(std::make_unique<RecordingFile>(*file, recording.changes, never), for_writing()));
    };
    Model model{reopen(), content_of(*open_shared(*file))};
    recording.flushed[0] = model.bytes;
    for (u32 i = 0; i < 40; ++i) {
        const auto [offset, length] = random_range(random, kDiskSize, 9000);
        recording.requests.push_back({recording.changes.size(), model.bytes, offset, length});
        switch (random() % 8) {
            case 0:
                model.zero(offset, length);
                break;
            case 1:
                must(model.device->flush());
                recording.flushed[recording.changes.size()] = model.bytes;
                break;
            case 2:
                model.device.reset();
                model.device = reopen();
                break;
            default:
                model.write(offset, pattern(length, i));
        }
    }
    model.device.reset();
    recording.requests.push_back({recording.changes.size(), model.bytes, 0, 0});
    return recording;
}

void check_equal_outside(const std::vector<u8>& actual, const std::vector<u8>& expected, u64 offset, u64 length) {
    const auto begin = static_cast<std::ptrdiff_t>(offset), end = static_cast<std::ptrdiff_t>(offset + length);
    CHECK(std::equal(actual.begin(), actual.begin() + begin, expected.begin()));
    CHECK(std::equal(actual.begin() + end, actual.end(), expected.begin() + end));
}

}  // namespace

TEST_CASE("a process killed at any write leaves a good image with all that was written before") {
    for (u32 seed = 0; seed < 6; ++seed) {
        const Recording recording = record_work(seed, seed % 2 == 1);
        auto file = memory_file(recording.initial);
        size_t request = 0;
        for (size_t made = 0; made <= recording.changes.size(); ++made) {
            if (made > 0) recording.changes[made - 1].apply_to(*file);
            while (request + 1 < recording.requests.size() && recording.requests[request + 1].changes_before <= made)
                ++request;
            const VhdLayout layout = layout_of(*file);
            CHECK(layout.problem_count() == 0);
            const auto& at = recording.requests[request];
            check_equal_outside(content_of(*open_shared(*file)), at.bytes, at.offset, at.length);
        }
    }
}

TEST_CASE(
    "a host that dies and keeps any of the unflushed writes leaves an image that opens with all that was flushed") {
    std::mt19937 random(7);
    for (u32 seed = 0; seed < 40; ++seed) {
        const Recording recording = record_work(seed, seed % 2 == 1);
        const size_t made = random() % (recording.changes.size() + 1);
        size_t synced = 0;
        for (size_t i = 0; i < made; ++i)
            if (recording.changes[i].kind == Change::Kind::sync) synced = i + 1;
        auto file = memory_file(recording.initial);
        for (size_t i = 0; i < synced; ++i) recording.changes[i].apply_to(*file);
        for (size_t i = synced; i < made; ++i)
            if (random() % 2) recording.changes[i].apply_to(*file);
        const VhdLayout layout = layout_of(*file);
        CHECK(layout.first_fatal() == nullptr);
        // Sectors that nobody wrote to since the last flush are those of the flush.
        auto expected = std::prev(recording.flushed.upper_bound(made))->second;
        const size_t flushed_at = std::prev(recording.flushed.upper_bound(made))->first;
        auto actual = content_of(*open_shared(*file));
        for (const auto& request : recording.requests) {
            if (request.changes_before < flushed_at || request.changes_before > made) continue;
            const u64 begin = align_down(request.offset, 512);
            const u64 end = align_up(request.offset + request.length, 512);
            std::fill(expected.begin() + static_cast<std::ptrdiff_t>(begin),
                      expected.begin() + static_cast<std::ptrdiff_t>(end), u8{0});
            std::fill(actual.begin() + static_cast<std::ptrdiff_t>(begin),
                      actual.begin() + static_cast<std::ptrdiff_t>(end), u8{0});
        }
        CHECK(actual == expected);
    }
}

TEST_CASE("a full disk fails the write, and what comes later is right") {
    for (int until = 0; until < 12; ++until) {
        auto file = dynamic_vhd(kDiskSize, kBlockSize);
        std::vector<Change> changes;
        int until_failure = until;
        Model model{must(open_image(std::make_unique<RecordingFile>(*file, changes, until_failure), for_writing())),
                    std::vector<u8>(kDiskSize)};
        int failures = 0;
        for (u32 block = 0; block < 4; ++block) {
            const auto bytes = pattern(512, block);
            const u64 offset = block * kBlockSize + block * 512;
            const auto first = model.device->write(offset, bytes);
            if (!first) {
                ++failures;
                CHECK(first.error().kind == ErrorKind::no_space);
                CHECK(layout_of(*file).first_fatal() == nullptr);
                // Another block takes the place; what the failed one left there must not show.
                model.write((block + 20) * kBlockSize + 7 * 512, pattern(100, 50));
                must(model.device->write(offset, bytes));
            }
            std::copy(bytes.begin(), bytes.end(), model.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        }
        CHECK(failures <= 1);
        CHECK(content_of(*model.device) == model.bytes);
        until_failure = -1;
        model.device.reset();
        CHECK(layout_of(*file).problem_count() == 0);
        CHECK(content_of(*open_shared(*file)) == model.bytes);
    }
}
