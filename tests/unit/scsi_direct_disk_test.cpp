#include "disks/scsi/direct_disk.h"

#include <doctest/doctest.h>

#include "tests/unit/scsi_fixture.h"

using namespace lodge;
using namespace lodge::scsi_test;

namespace {

constexpr u64 kBlocks = 8192;
constexpr size_t kBlock = DirectDisk::kBlock;
constexpr Nexus kOther = 3;

struct Bench {
    explicit Bench(bool read_only = false, UnitOptions options = {})
        : disk({.product = "Disk", .serial = "S"}, {.bytes = kBlocks * kBlock, .read_only = read_only}, options),
          owner(disk, kBlocks * kBlock) {
        for (u64 block = 0; block < 64; ++block) owner.medium[block * kBlock] = static_cast<u8>(block + 1);
        owner.run({0x00});
        owner.run({0x00}, {}, kOther);
        owner.requests.clear();
    }
    Answer run(std::vector<u8> cdb, std::vector<u8> out = {}) { return owner.run(std::move(cdb), std::move(out)); }
    Answer other(std::vector<u8> cdb, std::vector<u8> out = {}) {
        return owner.run(std::move(cdb), std::move(out), kOther);
    }
    u8 first_of(u64 block) const { return owner.medium[block * kBlock]; }

    DirectDisk disk;
    Owner owner;
};

void check_sense(const Answer& answer, SenseKey key, SenseCode code) {
    CHECK(answer.status == Status::check_condition);
    CHECK(answer.sense.key == key);
    CHECK(answer.sense.code == code);
}

std::vector<u8> cdb16(u8 code, u64 lba, u32 count, u8 flags = 0) {
    std::vector<u8> cdb(16);
    cdb[0] = code;
    cdb[1] = flags;
    store_big_endian(&cdb[2], lba);
    store_big_endian(&cdb[10], count);
    return cdb;
}

// PERSISTENT RESERVE OUT and its parameters.
std::vector<u8> reserve_out(u8 action, u8 type) {
    return {0x5F, action, type, 0, 0, 0, 0, 0, 24, 0};
}
std::vector<u8> keys(u64 key, u64 service_key, u8 flags = 0) {
    std::vector<u8> list(24);
    store_big_endian(&list[0], key);
    store_big_endian(&list[8], service_key);
    list[20] = flags;
    return list;
}

}  // namespace

TEST_CASE("scsi disk: reads of all sizes of command") {
    Bench bench;
    CHECK(bench.run({0x08, 0, 0, 5, 1, 0}).data[0] == 6);
    CHECK(bench.run({0x08, 0, 0, 0, 0, 0}).data.size() == 256 * kBlock);
    CHECK(bench.run({0x28, 0, 0, 0, 0, 7, 0, 0, 2, 0}).data[kBlock] == 9);
    CHECK(bench.run({0xA8, 0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0}).data[0] == 9);
    CHECK(bench.run(cdb16(0x88, 9, 1)).data[0] == 10);
    CHECK(bench.run({0x28, 0, 0, 0, 0, 7, 0, 0, 0, 0}).status == Status::good);
    bench.owner.requests.clear();
    CHECK(bench.run(cdb16(0x88, 0, 1024)).data.size() == 1024 * kBlock);
    CHECK(bench.owner.requests.size() == 2);
    CHECK(bench.owner.requests[1].length == 256 * kKiB);
    const auto beyond = bench.run(cdb16(0x88, kBlocks - 1, 2));
    check_sense(beyond, SenseKey::illegal_request, kLbaOutOfRange);
    CHECK(beyond.sense.information == kBlocks);
    check_sense(bench.run(cdb16(0x88, ~u64{0}, 2)), SenseKey::illegal_request, kLbaOutOfRange);
    check_sense(bench.run(cdb16(0x88, 0, 1, 0x20)), SenseKey::illegal_request, kInvalidFieldInCdb);
    bench.owner.failure = MediumStatus::failed;
    const auto failed = bench.run(cdb16(0x88, 3, 1));
    check_sense(failed, SenseKey::medium_error, kUnrecoveredReadError);
    CHECK(failed.sense.information == 3);
}

TEST_CASE("scsi disk: writes, with and without the cache") {
    Bench bench;
    const std::vector<u8> data(2 * kBlock, 0xAA);
    CHECK(bench.run({0x0A, 0, 0, 20, 2, 0}, data).taken == 2 * kBlock);
    CHECK(bench.first_of(21) == 0xAA);
    CHECK(bench.owner.requests.size() == 1);
    bench.run({0x2A, 0x08, 0, 0, 0, 22, 0, 0, 2, 0}, data);
    CHECK(bench.owner.requests.back().operation == MediumOperation::flush);
    CHECK(bench.run({0x2E, 0x02, 0, 0, 0, 24, 0, 0, 2, 0}, data).status == Status::good);
    CHECK(bench.run(cdb16(0x8A, 30, 2), data).status == Status::good);
    CHECK(bench.first_of(31) == 0xAA);
    bench.owner.most_out = kBlock + 100;  // an initiator that sends less than it says
    CHECK(bench.run(cdb16(0x8A, 40, 2), data).taken == kBlock);
    CHECK(bench.first_of(41) == 42);
    bench.owner.most_out = Command::kUnlimited;
    bench.owner.failure = MediumStatus::no_space;
    check_sense(bench.run(cdb16(0x8A, 40, 2), data), SenseKey::data_protect, kSpaceAllocationFailed);
    Bench protect(true);
    check_sense(protect.run(cdb16(0x8A, 40, 2), data), SenseKey::data_protect, kWriteProtected);
    CHECK((protect.run({0x1A, 0, 0x3F, 0, 4, 0}).data[2] & 0x80) == 0x80);
}

TEST_CASE("scsi disk: verify, compare and write, orwrite") {
    Bench bench;
    CHECK(bench.run({0x2F, 0, 0, 0, 0, 0, 0, 4, 0, 0}).status == Status::good);
    std::vector<u8> data(bench.owner.medium.begin(), bench.owner.medium.begin() + 3 * kBlock);
    CHECK(bench.run({0x2F, 2, 0, 0, 0, 0, 0, 0, 3, 0}, data).status == Status::good);
    data[1030] ^= 1;
    const auto wrong = bench.run({0x2F, 2, 0, 0, 0, 0, 0, 0, 3, 0}, data);
    check_sense(wrong, SenseKey::miscompare, kMiscompareDuringVerify);
    CHECK(wrong.sense.information == 1030);
    CHECK(bench.run(cdb16(0x8F, 100, 50, 6), std::vector<u8>(kBlock)).status == Status::good);
    check_sense(bench.run(cdb16(0x8F, 0, 1, 4)), SenseKey::illegal_request, kInvalidFieldInCdb);

    std::vector<u8> both(2 * kBlock, 0x77);
    std::copy_n(bench.owner.medium.begin() + 5 * kBlock, kBlock, both.begin());
    auto cas = cdb16(0x89, 5, 0);
    cas[13] = 1;
    CHECK(bench.run(cas, both).status == Status::good);
    CHECK(bench.first_of(5) == 0x77);
    const auto lost = bench.run(cas, both);
    check_sense(lost, SenseKey::miscompare, kMiscompareDuringVerify);
    CHECK(lost.sense.information == 0);
    CHECK(bench.run(cdb16(0x8B, 5, 1), std::vector<u8>(kBlock, 0x88)).status == Status::good);
    CHECK(bench.first_of(5) == 0xFF);
}

TEST_CASE("scsi disk: write same and unmap") {
    Bench bench;
    CHECK(bench.run(cdb16(0x93, 10, 600), std::vector<u8>(kBlock, 0x33)).status == Status::good);
    CHECK(bench.first_of(609) == 0x33);
    CHECK(bench.first_of(9) == 10);
    bench.owner.requests.clear();
    CHECK(bench.run(cdb16(0x93, 10, 600), std::vector<u8>(kBlock)).status == Status::good);
    REQUIRE(bench.owner.requests.size() == 1);
    CHECK(bench.owner.requests[0].operation == MediumOperation::zero);
    CHECK(bench.run(cdb16(0x93, 0, 8, 0x09)).taken == 0);  // UNMAP, no data
    CHECK(bench.first_of(0) == 0);
    CHECK(bench.run({0x41, 0, 0, 0, 0x1F, 0xFF, 0, 0, 0, 0}, std::vector<u8>(kBlock, 1)).status == Status::good);
    check_sense(bench.run(cdb16(0x93, 0, 8, 0x01)), SenseKey::illegal_request, kInvalidFieldInCdb);
    check_sense(bench.run(cdb16(0x93, kBlocks, 1), {}), SenseKey::illegal_request, kLbaOutOfRange);

    std::vector<u8> list(8 + 32);
    store_big_endian(&list[0], u16{38});
    store_big_endian(&list[2], u16{32});
    store_big_endian(&list[8], u64{20});
    store_big_endian(&list[16], u32{4});
    store_big_endian(&list[24], u64{40});
    store_big_endian(&list[32], u32{1});
    const std::vector<u8> unmap = {0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0};
    bench.owner.requests.clear();
    CHECK(bench.run(unmap, list).status == Status::good);
    REQUIRE(bench.owner.requests.size() == 2);
    CHECK(bench.owner.requests[1].offset == 40 * kBlock);
    store_big_endian(&list[24], u64{kBlocks});
    check_sense(bench.run(unmap, list), SenseKey::illegal_request, kLbaOutOfRange);
    CHECK(bench.owner.requests.size() == 2);
}

TEST_CASE("scsi disk: capacity, mapping and pages") {
    Bench bench;
    CHECK(bench.run({0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}).data == std::vector<u8>{0, 0, 0x1F, 0xFF, 0, 0, 2, 0});
    const auto capacity = bench.run({0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}).data;
    REQUIRE(capacity.size() == 32);
    CHECK(load_big_endian<u64>(&capacity[0]) == kBlocks - 1);
    CHECK(capacity[14] == 0x80);
    std::fill(bench.owner.medium.begin(), bench.owner.medium.begin() + 4 * kBlock, u8{1});
    std::fill(bench.owner.medium.begin() + 4 * kBlock, bench.owner.medium.end(), u8{0});
    const auto status = bench.run({0x9E, 0x12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0}).data;
    REQUIRE(status.size() == 40);
    CHECK(load_big_endian<u64>(&status[8]) == 1);
    CHECK(load_big_endian<u32>(&status[16]) == 3);
    CHECK(status[20] == 0);
    CHECK(load_big_endian<u64>(&status[24]) == 4);
    CHECK(status[36] == 1);
    CHECK(bench.run({0x34, 0, 0, 0, 0, 0, 0, 0, 1, 0}).status == Status::condition_met);
    CHECK(bench.run({0x04, 0x10, 0, 0, 0, 0}, {0, 0, 0, 0}).status == Status::good);
    CHECK(bench.first_of(0) == 0);
}

TEST_CASE("scsi disk: stopped and started") {
    Bench bench;
    CHECK(bench.run({0x1B, 0, 0, 0, 0, 0}).status == Status::good);
    CHECK(bench.owner.requests.back().operation == MediumOperation::flush);
    check_sense(bench.run({0x00}), SenseKey::not_ready, kInitializingCommandRequired);
    check_sense(bench.run({0x08, 0, 0, 5, 1, 0}), SenseKey::not_ready, kInitializingCommandRequired);
    CHECK(bench.run({0x1B, 0, 0, 0, 1, 0}).status == Status::good);
    CHECK(bench.run({0x00}).status == Status::good);
    check_sense(bench.run({0x1B, 0, 0, 0, 2, 0}), SenseKey::illegal_request, kInvalidFieldInCdb);
}

TEST_CASE("scsi disk: RESERVE and RELEASE") {
    Bench bench;
    CHECK(bench.run({0x16, 0, 0, 0, 0, 0}).status == Status::good);
    CHECK(bench.other({0x08, 0, 0, 5, 1, 0}).status == Status::reservation_conflict);
    CHECK(bench.other({0x16, 0, 0, 0, 0, 0}).status == Status::reservation_conflict);
    CHECK(bench.other({0x17, 0, 0, 0, 0, 0}).status == Status::good);
    CHECK(bench.other({0x12, 0, 0, 0, 36, 0}).status == Status::good);
    CHECK(bench.run({0x17, 0, 0, 0, 0, 0}).status == Status::good);
    CHECK(bench.other({0x08, 0, 0, 5, 1, 0}).status == Status::good);
}

TEST_CASE("scsi disk: persistent reservations") {
    Bench bench;
    const std::vector<u8> read = {0x08, 0, 0, 5, 1, 0}, write = {0x0A, 0, 0, 5, 1, 0};
    const std::vector<u8> read_keys = {0x5E, 0, 0, 0, 0, 0, 0, 1, 0, 0},
                          read_reservation = {0x5E, 1, 0, 0, 0, 0, 0, 1, 0, 0};
    CHECK(bench.run(reserve_out(1, 1), keys(0, 0)).status == Status::reservation_conflict);
    CHECK(bench.run(reserve_out(0, 0), keys(0, 0xAA)).status == Status::good);
    CHECK(bench.run(reserve_out(0, 0), keys(1, 0xAB)).status == Status::reservation_conflict);
    CHECK(bench.other(reserve_out(6, 0), keys(0x99, 0xBB)).status == Status::good);
    CHECK(bench.run(read_keys).data ==
          std::vector<u8>{0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0xAA, 0, 0, 0, 0, 0, 0, 0, 0xBB});
    CHECK(bench.run(reserve_out(1, 1), keys(0xAA, 0)).status == Status::good);
    CHECK(bench.other(read).status == Status::good);
    CHECK(bench.other(write).status == Status::reservation_conflict);
    CHECK(bench.run(write).status == Status::good);
    CHECK(bench.run(read_reservation).data.size() == 24);
    CHECK(bench.run(read_reservation).data[21] == 1);
    CHECK(bench.run({0x5E, 3, 0, 0, 0, 0, 0, 2, 0, 0}).data.size() == 8 + 2 * 48);
    check_sense(bench.run(reserve_out(2, 3), keys(0xAA, 0)), SenseKey::illegal_request, kInvalidReleaseOfReservation);
    // The other port preempts.
    CHECK(bench.other(reserve_out(4, 5), keys(0xBB, 0xAA)).status == Status::good);
    check_sense(bench.run({0x00}), SenseKey::unit_attention, kRegistrationsPreempted);
    CHECK(bench.run(write).status == Status::reservation_conflict);
    CHECK(bench.run(reserve_out(6, 0), keys(0, 0xCC)).status == Status::good);
    CHECK(bench.run(write).status == Status::good);
    CHECK(bench.other(reserve_out(2, 5), keys(0xBB, 0)).status == Status::good);
    check_sense(bench.run({0x00}), SenseKey::unit_attention, kReservationsReleased);
    CHECK(bench.other(reserve_out(3, 0), keys(0xBB, 0)).status == Status::good);
    check_sense(bench.run({0x00}), SenseKey::unit_attention, kReservationsPreempted);
    CHECK(bench.run(read_keys).data.size() == 8);
    check_sense(bench.run(reserve_out(0, 0), keys(0, 1, 1)), SenseKey::illegal_request, kInvalidFieldInParameterList);
    check_sense(bench.run({0x5F, 0, 0, 0, 0, 0, 0, 0, 23, 0}), SenseKey::illegal_request, kParameterListLengthError);
}
