#include "disks/scsi/cdrom.h"

#include <doctest/doctest.h>

#include <numeric>

#include "disks/scsi/cd_sector.h"
#include "tests/unit/scsi_fixture.h"

using namespace lodge;
using namespace lodge::scsi_test;

namespace {

constexpr u64 kBlocks = 400;

struct Fixture {
    explicit Fixture(u64 blocks = kBlocks)
        : unit({.product = "lodge CD-ROM", .serial = "LODGE-2"},
               blocks ? std::optional(Medium{blocks * CdRom::kBlock, true}) : std::nullopt, CdRom::Interface::atapi,
               {.chunk_bytes = 64 * 1024}),
          owner(unit, static_cast<size_t>(std::min<u64>(blocks, kBlocks) * CdRom::kBlock)) {
        for (size_t at = 0; at < owner.medium.size(); at += 8) store(&owner.medium[at], u64{at / CdRom::kBlock});
        run({0x00});  // the power-on attention
    }
    Answer run(std::vector<u8> cdb, std::vector<u8> out = {}) { return owner.run(std::move(cdb), std::move(out)); }
    std::vector<u8> data(std::vector<u8> cdb) {
        const Answer answer = run(std::move(cdb));
        CHECK(answer.status == Status::good);
        return answer.data;
    }
    void check_fails(std::vector<u8> cdb, SenseKey key, SenseCode code) {
        const Answer answer = run(std::move(cdb));
        CHECK(answer.status == Status::check_condition);
        CHECK(answer.sense.key == key);
        CHECK(answer.sense.code == code);
    }
    bool ready() { return run({0x00}).status == Status::good; }
    std::vector<u8> event() { return data({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8}); }

    CdRom unit;
    Owner owner;
};

}  // namespace

TEST_CASE("cdrom: inquiry, capacity and reads of all lengths") {
    Fixture drive;
    const auto inquiry = drive.data({0x12, 0, 0, 0, 96});
    CHECK(inquiry[0] == 0x05);
    CHECK(inquiry[1] == 0x80);
    const auto capacity = drive.data({0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    CHECK(load_big_endian<u32>(&capacity[0]) == kBlocks - 1);
    CHECK(load_big_endian<u32>(&capacity[4]) == 2048);
    auto read = drive.data({0x28, 0, 0, 0, 1, 0x8F, 0, 0, 1, 0});
    CHECK(read.size() == 2048);
    CHECK(load<u64>(read.data()) == 399);
    read = drive.data({0xA8, 0, 0, 0, 0, 100, 0, 0, 0, 200, 0, 0});
    REQUIRE(read.size() == 200 * 2048);
    for (u64 block = 0; block < 200; ++block) CHECK(load<u64>(&read[block * 2048]) == 100 + block);
    CHECK(drive.data({0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0}).empty());
    drive.check_fails({0x28, 0, 0, 0, 1, 0x90, 0, 0, 1, 0}, SenseKey::illegal_request, kLbaOutOfRange);
    drive.check_fails({0xA8, 0, 0, 0, 1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0}, SenseKey::illegal_request, kLbaOutOfRange);
    drive.check_fails({0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0}, SenseKey::illegal_request, kInvalidOperationCode);
    CHECK(drive.run({0x2B, 0, 0, 0, 0, 9, 0, 0, 0, 0}).status == Status::good);
    drive.owner.failure = MediumStatus::failed;
    const Answer failed = drive.run({0x28, 0, 0, 0, 0, 33, 0, 0, 4, 0});
    CHECK(failed.sense.key == SenseKey::medium_error);
    CHECK(failed.sense.information == 33);
}

TEST_CASE("cdrom: tables of contents") {
    Fixture drive;
    CHECK(drive.data({0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0}) ==
          std::vector<u8>{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xAA, 0, 0, 0, 1, 0x90});
    // 400 + 150 frames are 7 seconds and 25 frames.
    CHECK(drive.data({0x43, 2, 0, 0, 0, 0, 0xAA, 0, 255, 0}) ==
          std::vector<u8>{0, 10, 1, 1, 0, 0x14, 0xAA, 0, 0, 0, 7, 25});
    CHECK(drive.data({0x43, 0, 1, 0, 0, 0, 0, 0, 255, 0}) == std::vector<u8>{0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0});
    CHECK(drive.data({0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0x40}).size() == 12);
    const auto full = drive.data({0x43, 2, 2, 0, 0, 0, 0, 0, 255, 0});
    CHECK(full.size() == 4 + 4 * 11);
    CHECK(full[4 + 22 + 3] == 0xA2);
    CHECK(full[4 + 22 + 9] == 7);
    drive.check_fails({0x43, 0, 0, 0, 0, 0, 2, 0, 255, 0}, SenseKey::illegal_request, kInvalidFieldInCdb);
    drive.check_fails({0x43, 0, 4, 0, 0, 0, 0, 0, 255, 0}, SenseKey::illegal_request, kInvalidFieldInCdb);
    CHECK(drive.data({0x43, 0, 0, 0, 0, 0, 0, 0, 4, 0}) == std::vector<u8>{0, 18, 1, 1});
}

TEST_CASE("cdrom: sectors as they are on the disc") {
    Fixture drive;
    CHECK(drive.data({0xBE, 0, 0, 0, 0, 5, 0, 0, 2, 0x10, 0, 0}).size() == 4096);
    CHECK(drive.data({0xBE, 0x08, 0, 0, 0, 5, 0, 0, 2, 0x10, 0, 0}).size() == 4096);
    CHECK(drive.data({0xBE, 0, 0, 0, 0, 5, 0, 0, 2, 0x00, 0, 0}).empty());
    CHECK(drive.data({0xBE, 0, 0, 0, 0, 5, 0, 0, 2, 0x20, 0, 0}) == std::vector<u8>{0, 2, 5, 1, 0, 2, 6, 1});
    const auto raw = drive.data({0xBE, 0, 0, 0, 0, 5, 0, 0, 40, 0xF8, 0, 0});
    REQUIRE(raw.size() == 40 * 2352);
    CHECK(raw[0] == 0);
    CHECK(raw[1] == 0xFF);
    CHECK(raw[11] == 0);
    CHECK(raw[14] == 0x05);
    CHECK(load<u64>(&raw[39 * 2352 + 16]) == 44);
    const auto by_time = drive.data({0xB9, 0, 0, 0, 2, 5, 0, 2, 45, 0xF8, 0, 0});
    CHECK(by_time == raw);
    drive.check_fails({0xBE, 0x04, 0, 0, 0, 5, 0, 0, 2, 0x10, 0, 0}, SenseKey::illegal_request, {0x64, 0x00});
    drive.check_fails({0xBE, 0, 0, 0, 0, 5, 0, 0, 2, 0x12, 0, 0}, SenseKey::illegal_request, kInvalidFieldInCdb);
    drive.check_fails({0xBE, 0, 0, 0, 0, 5, 0, 0, 2, 0x90, 0, 0}, SenseKey::illegal_request, kInvalidFieldInCdb);
    drive.check_fails({0xBE, 0, 0, 0, 0, 5, 0, 0, 2, 0x10, 1, 0}, SenseKey::illegal_request, kInvalidFieldInCdb);
    drive.check_fails({0xB9, 0, 0, 0, 0, 5, 0, 2, 45, 0x10, 0, 0}, SenseKey::illegal_request, kInvalidFieldInCdb);
}

// The sums that ECMA-130 annex A wants to be zero: for each code word the sum of its bytes, and the sum of them times
// ascending powers of x.
TEST_CASE("cdrom: the parity of a sector holds for every code word") {
    std::vector<u8> data(2048);
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(i * 7 + i / 256);
    const auto sector = scsi::cd_sector(1234, data);
    const u8* bytes = &sector[12];
    const auto twice = [](u8 value) { return static_cast<u8>(value << 1 ^ (value & 0x80 ? 0x1D : 0)); };
    const auto check = [&](const std::vector<size_t>& word) {
        u8 sum = 0, weighted = 0;
        for (const size_t at : word) {
            sum ^= bytes[at];
            weighted = static_cast<u8>(twice(weighted) ^ bytes[at]);
        }
        return sum == 0 && weighted == 0;
    };
    bool all = true;
    for (size_t plane = 0; plane < 2; ++plane) {
        for (size_t column = 0; column < 43; ++column) {
            std::vector<size_t> word;
            for (size_t row = 0; row < 26; ++row) word.push_back(2 * (43 * row + column) + plane);
            all &= check(word);
        }
        for (size_t diagonal = 0; diagonal < 26; ++diagonal) {
            std::vector<size_t> word;
            for (size_t i = 0; i < 43; ++i) word.push_back(2 * ((44 * i + 43 * diagonal) % 1118) + plane);
            word.push_back(2 * (43 * 26 + diagonal) + plane);
            word.push_back(2 * (44 * 26 + diagonal) + plane);
            all &= check(word);
        }
    }
    CHECK(all);
}

TEST_CASE("cdrom: features, and the profile of what is in the drive") {
    Fixture drive;
    auto features = drive.data({0x46, 0, 0, 0, 0, 0, 0, 1, 0, 0});
    CHECK(load_big_endian<u32>(&features[0]) == features.size() - 4);
    CHECK(load_big_endian<u16>(&features[6]) == 0x0008);
    CHECK(load_big_endian<u16>(&features[8]) == 0x0000);
    CHECK(drive.data({0x46, 2, 0, 0x1F, 0, 0, 0, 1, 0, 0}).size() == 12);
    CHECK(drive.data({0x46, 2, 0, 0x20, 0, 0, 0, 1, 0, 0}).size() == 8);
    const auto current = drive.data({0x46, 1, 0, 0, 0, 0, 0, 1, 0, 0});
    CHECK(current.size() == features.size() - 4);  // all but the DVD's
    CHECK(drive.data({0x46, 0, 0, 0, 0, 0, 0, 0, 8, 0}).size() == 8);
    drive.check_fails({0x46, 3, 0, 0, 0, 0, 0, 0, 8, 0}, SenseKey::illegal_request, kInvalidFieldInCdb);
    drive.check_fails({0xAD, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0}, SenseKey::illegal_request, {0x30, 0x00});
    Fixture dvd(2'000'000);
    features = dvd.data({0x46, 0, 0, 0, 0, 0, 0, 1, 0, 0});
    CHECK(load_big_endian<u16>(&features[6]) == 0x0010);
    const auto structure = dvd.data({0xAD, 0, 0, 0, 0, 0, 0, 0, 8, 20, 0, 0});
    CHECK(structure.size() == 2052);
    CHECK(load_big_endian<u32>(&structure[12]) == 0x30000 + 2'000'000 - 1);
    CHECK(dvd.data({0xAD, 0, 0, 0, 0, 0, 0, 1, 0, 20, 0, 0}).size() == 8);
    dvd.check_fails({0xAD, 0, 0, 0, 0, 0, 0, 3, 0, 20, 0, 0}, SenseKey::illegal_request, kInvalidFieldInCdb);
    Fixture empty(0);
    CHECK(load_big_endian<u16>(&empty.data({0x46, 0, 0, 0, 0, 0, 0, 1, 0, 0})[6]) == 0);
}

TEST_CASE("cdrom: what it says of disc and track") {
    Fixture drive;
    const auto disc = drive.data({0x51, 0, 0, 0, 0, 0, 0, 0, 255, 0});
    CHECK(disc.size() == 34);
    CHECK(disc[2] == 0x0E);
    const auto track = drive.data({0x52, 1, 0, 0, 0, 1, 0, 0, 255, 0});
    CHECK(track.size() == 36);
    CHECK(load_big_endian<u32>(&track[24]) == kBlocks);
    CHECK(drive.data({0x52, 0, 0, 0, 0, 9, 0, 0, 255, 0}) == track);
    drive.check_fails({0x52, 1, 0, 0, 0, 2, 0, 0, 255, 0}, SenseKey::illegal_request, kInvalidFieldInCdb);
    CHECK(drive.data({0x44, 2, 0, 0, 0, 5, 0, 0, 8, 0}) == std::vector<u8>{1, 0, 0, 0, 0, 0, 2, 5});
    drive.data({0x28, 0, 0, 0, 0, 75, 0, 0, 1, 0});
    CHECK(drive.data({0x42, 2, 0x40, 1, 0, 0, 0, 0, 16, 0}) ==
          std::vector<u8>{0, 0x15, 0, 12, 1, 0x14, 1, 1, 0, 0, 3, 0, 0, 0, 1, 0});
    CHECK(drive.data({0x42, 0, 0x40, 2, 0, 0, 0, 0, 255, 0}).size() == 24);
    CHECK(drive.data({0x42, 0, 0, 1, 0, 0, 0, 0, 255, 0}) == std::vector<u8>{0, 0x15, 0, 0});
    CHECK(drive.data({0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0}) == std::vector<u8>{0, 0, 0, 0, 75, 0, 0, 0});
    const auto capabilities = drive.data({0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 255, 0});
    CHECK(capabilities[2] == 0x01);
    CHECK(capabilities[7] == 0);  // no block descriptor
    CHECK(capabilities[8] == 0x2A);
    CHECK((capabilities[8 + 6] >> 5) == 1);
    CHECK(drive.run({0xBB, 0, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0}).status == Status::good);
    CHECK(drive.data({0xAC, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}).size() == 24);
}

TEST_CASE("cdrom: the tray, by command") {
    Fixture drive;
    CHECK(drive.event() == std::vector<u8>{0, 6, 4, 0x10, 0, 2, 0, 0});
    CHECK(drive.run({0x1B, 0, 0, 0, 0x02, 0}).status == Status::good);
    CHECK(drive.unit.tray_open());
    CHECK(drive.event() == std::vector<u8>{0, 6, 4, 0x10, 3, 1, 0, 0});
    CHECK(drive.event()[4] == 0);
    drive.check_fails({0x00}, SenseKey::not_ready, kMediumNotPresentTrayOpen);
    drive.check_fails({0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, SenseKey::not_ready, kMediumNotPresentTrayOpen);
    CHECK(drive.run({0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 255, 0}).data[2] == 0x71);
    CHECK(drive.data({0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0})[1] == 0x10);
    CHECK(drive.run({0x1B, 0, 0, 0, 0x03, 0}).status == Status::good);
    CHECK(drive.event() == std::vector<u8>{0, 6, 4, 0x10, 2, 2, 0, 0});
    CHECK(drive.ready());
    // Start and stop without a tray do nothing.
    CHECK(drive.run({0x1B, 0, 0, 0, 0x00, 0}).status == Status::good);
    CHECK(drive.run({0x1B, 0, 0, 0, 0x01, 0}).status == Status::good);
    CHECK(drive.ready());
}

TEST_CASE("cdrom: a locked tray") {
    Fixture drive;
    CHECK(drive.run({0x1E, 0, 0, 0, 1, 0}).status == Status::good);
    CHECK(drive.unit.locked());
    drive.check_fails({0x1B, 0, 0, 0, 0x02, 0}, SenseKey::illegal_request, kMediumRemovalPrevented);
    drive.unit.request_eject();
    CHECK(drive.event() == std::vector<u8>{0, 6, 4, 0x10, 1, 2, 0, 0});
    CHECK(drive.event()[4] == 0);
    CHECK(drive.run({0x1E, 0, 0, 0, 0, 0}).status == Status::good);
    CHECK(drive.run({0x1B, 0, 0, 0, 0x02, 0}).status == Status::good);
    CHECK(drive.unit.tray_open());
    drive.check_fails({0x4A, 0, 0, 0, 0x10, 0, 0, 0, 8, 0}, SenseKey::illegal_request, kInvalidFieldInCdb);
    CHECK(drive.data({0x4A, 1, 0, 0, 0x02, 0, 0, 0, 8, 0}) == std::vector<u8>{0, 2, 0x80, 0x10});
}

TEST_CASE("cdrom: discs that the owner changes") {
    Fixture drive;
    drive.unit.change_disc(std::nullopt);
    CHECK(drive.event() == std::vector<u8>{0, 6, 4, 0x10, 3, 0, 0, 0});
    drive.check_fails({0x00}, SenseKey::not_ready, kMediumNotPresentTrayClosed);
    CHECK(drive.run({0x1B, 0, 0, 0, 0x02, 0}).status == Status::good);
    drive.unit.change_disc(Medium{100 * 2048 + 512, true});
    CHECK_FALSE(drive.unit.tray_open());
    drive.check_fails({0x00}, SenseKey::unit_attention, kMediumMayHaveChanged);
    CHECK(load_big_endian<u32>(&drive.data({0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0})[0]) == 99);
    // INQUIRY and what asks for events do not take the attention away.
    drive.unit.change_disc(Medium{50 * 2048, true});
    drive.data({0x12, 0, 0, 0, 36, 0});
    CHECK(drive.event()[4] == 2);
    drive.check_fails({0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, SenseKey::unit_attention, kMediumMayHaveChanged);
    CHECK(drive.ready());
}

TEST_CASE("cdrom: saved and loaded") {
    Fixture drive, other;
    drive.run({0x1B, 0, 0, 0, 0x02, 0});
    StateIo out;
    drive.unit.state(out, "unit");
    const auto saved = out.take();
    StateIo in(saved);
    other.unit.state(in, "unit");
    CHECK_FALSE(in.failed());
    CHECK(other.unit.tray_open());
    other.check_fails({0x00}, SenseKey::not_ready, kMediumNotPresentTrayOpen);
    StateIo again;
    Fixture third;
    StateIo in2(saved);
    third.unit.state(in2, "unit");
    third.unit.state(again, "unit");
    CHECK(again.take() == saved);
}
