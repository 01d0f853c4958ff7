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

// PERSISTENT RESERVE OUT with a parameter list of that length.
std::vector<u8> reserve_out_for(u8 action, u8 type, const std::vector<u8>& list) {
    return {0x5F, action, type, 0, 0, 0, 0, static_cast<u8>(list.size() >> 8), static_cast<u8>(list.size()), 0};
}

// An iSCSI port's TransportID, form 01b.
std::vector<u8> iscsi_port(std::string name) {
    name.resize(align_up(name.size() + 1, 4));
    std::vector<u8> id(4 + name.size());
    id[0] = 0x45;
    id[3] = static_cast<u8>(name.size());
    std::copy(name.begin(), name.end(), id.begin() + 4);
    return id;
}

// SPEC_I_PT: registers other ports too.
std::vector<u8> keys_for(u64 service_key, const std::vector<std::vector<u8>>& ids, u8 flags = 0x08) {
    std::vector<u8> list = keys(0, service_key, flags);
    list.resize(28);
    for (const auto& id : ids) list.insert(list.end(), id.begin(), id.end());
    store_big_endian(&list[24], static_cast<u32>(list.size() - 28));
    return list;
}

// REGISTER AND MOVE.
std::vector<u8> move_to(u64 key, u64 service_key, const std::vector<u8>& id, u8 flags = 0) {
    std::vector<u8> list = keys(key, service_key);
    list[17] = flags;
    store_big_endian(&list[18], u16{1});
    store_big_endian(&list[20], static_cast<u32>(id.size()));
    list.insert(list.end(), id.begin(), id.end());
    return list;
}

const std::vector<u8> kReadKeys = {0x5E, 0, 0, 0, 0, 0, 0, 1, 0, 0};
const std::vector<u8> kReadReservation = {0x5E, 1, 0, 0, 0, 0, 0, 1, 0, 0};
const std::vector<u8> kReportCapabilities = {0x5E, 2, 0, 0, 0, 0, 0, 1, 0, 0};

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
    CHECK(bench.run({0x34, 0, 0, 0, 0, 0, 0, 0, 1, 0}).status == Status::good);
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

TEST_CASE("scsi disk: registering for other ports, all or none") {
    Bench bench;
    bench.disk.set_transport_id(7, iscsi_port("iqn.one,i,0x1"));
    bench.disk.set_transport_id(kOther, iscsi_port("iqn.two,i,0x1"));
    const auto both = keys_for(0xAA, {iscsi_port("iqn.one,i,0x1"), iscsi_port("iqn.two,i,0x1")});
    const auto unknown = keys_for(0xAA, {iscsi_port("iqn.two,i,0x1"), iscsi_port("iqn.three,i,0x1")});
    check_sense(bench.run(reserve_out_for(0, 0, unknown), unknown), SenseKey::illegal_request,
                kInvalidFieldInParameterList);
    CHECK(bench.run(kReadKeys).data.size() == 8);
    CHECK(bench.run(reserve_out_for(0, 0, both), both).status == Status::good);
    CHECK(bench.run(kReadKeys).data.size() == 8 + 16);
    CHECK(bench.run(kReadKeys).data[3] == 1);  // one generation
    check_sense(bench.run(reserve_out_for(6, 0, both), both), SenseKey::illegal_request, kInvalidFieldInParameterList);
    CHECK(bench.run(reserve_out(1, 3), keys(0xAA, 0)).status == Status::good);
    CHECK(bench.other(reserve_out(1, 3), keys(0xAA, 0)).status == Status::reservation_conflict);
    auto cut = both;
    cut.resize(cut.size() - 1);
    check_sense(bench.run(reserve_out_for(6, 0, cut), cut), SenseKey::illegal_request, kParameterListLengthError);
    auto liar = both;
    liar[31] = 0xFF;  // a TransportID longer than the list
    check_sense(bench.run(reserve_out_for(6, 0, liar), liar), SenseKey::illegal_request, kInvalidFieldInParameterList);
    CHECK(bench.run(kReportCapabilities).data[2] == 0x08);
}

TEST_CASE("scsi disk: a reservation moves to another port") {
    Bench bench;
    const auto id = iscsi_port("iqn.two,i,0x1");
    bench.disk.set_transport_id(kOther, id);
    CHECK(bench.run(reserve_out(0, 0), keys(0, 0xAA)).status == Status::good);
    const auto list = move_to(0xAA, 0xBB, id);
    check_sense(bench.run(reserve_out_for(7, 0, list), list), SenseKey::illegal_request, kInvalidFieldInCdb);
    CHECK(bench.run(reserve_out(1, 1), keys(0xAA, 0)).status == Status::good);
    const auto wrong_key = move_to(0xAB, 0xBB, id), no_key = move_to(0xAA, 0, id);
    CHECK(bench.run(reserve_out_for(7, 0, wrong_key), wrong_key).status == Status::reservation_conflict);
    check_sense(bench.run(reserve_out_for(7, 0, no_key), no_key), SenseKey::illegal_request,
                kInvalidFieldInParameterList);
    auto elsewhere = list;
    elsewhere[19] = 2;  // another target port
    check_sense(bench.run(reserve_out_for(7, 0, elsewhere), elsewhere), SenseKey::illegal_request,
                kInvalidFieldInParameterList);
    CHECK(bench.run(reserve_out_for(7, 0, list), list).status == Status::good);
    CHECK(bench.run(kReadReservation).data[15] == 0xBB);
    CHECK(bench.run(kReadReservation).data[21] == 1);
    CHECK(bench.run({0x0A, 0, 0, 5, 1, 0}).status == Status::reservation_conflict);
    CHECK(bench.other({0x0A, 0, 0, 5, 1, 0}).status == Status::good);
    // And back, with the old holder's registration gone.
    bench.disk.set_transport_id(7, iscsi_port("iqn.one,i,0x1"));
    const auto back = move_to(0xBB, 0xCC, iscsi_port("iqn.one,i,0x1"), 0x02);
    CHECK(bench.other(reserve_out_for(7, 0, back), back).status == Status::good);
    CHECK(bench.run(kReadKeys).data.size() == 8 + 8);
    CHECK(bench.run({0x0A, 0, 0, 5, 1, 0}).status == Status::good);
    CHECK(bench.run(reserve_out(2, 1), keys(0xCC, 0)).status == Status::good);
    CHECK(bench.run(reserve_out(1, 8), keys(0xCC, 0)).status == Status::good);
    const auto all = move_to(0xCC, 0xDD, id);
    CHECK(bench.run(reserve_out_for(7, 0, all), all).status == Status::reservation_conflict);
}

TEST_CASE("scsi disk: reservations outlast power where the owner keeps them and the initiator asks for it") {
    Bench bench;
    std::vector<u8> kept;
    bool safe = true;
    const auto keep = [&](std::span<const u8> bytes) {
        if (safe) kept.assign(bytes.begin(), bytes.end());
        return safe;
    };
    bench.disk.keep_reservations(keep);
    bench.disk.set_transport_id(7, iscsi_port("iqn.one,i,0x1"));
    bench.disk.set_transport_id(kOther, iscsi_port("iqn.two,i,0x1"));
    CHECK(bench.run(kReportCapabilities).data[2] == 0x09);
    CHECK(bench.run(reserve_out(0, 0), keys(0, 0xAA)).status == Status::good);
    CHECK(kept.empty());
    CHECK(bench.run(reserve_out(6, 0), keys(0, 0xAA, 1)).status == Status::good);
    CHECK(bench.run(kReportCapabilities).data[3] == 0x81);
    CHECK(bench.other(reserve_out(6, 0), keys(0, 0xBB, 1)).status == Status::good);
    CHECK(bench.run(reserve_out(1, 3), keys(0xAA, 0)).status == Status::good);

    Bench later;
    std::map<std::vector<u8>, Nexus> ports;  // the owner numbers whom it has not met
    later.disk.find_nexus_by([&](std::span<const u8> id) -> std::optional<Nexus> {
        return ports.try_emplace({id.begin(), id.end()}, ports.empty() ? kOther : Nexus{7}).first->second;
    });
    REQUIRE(later.disk.restore_reservations(kept));
    CHECK(later.run(kReadKeys).data.size() == 8 + 16);
    CHECK(later.run(kReadKeys).data[3] == 3);
    CHECK(later.run(kReadReservation).data[15] == 0xAA);
    CHECK(later.other({0x08, 0, 0, 5, 1, 0}).status == Status::good);  // now the number of the first
    CHECK(later.run({0x08, 0, 0, 5, 1, 0}).status == Status::reservation_conflict);

    // What is not safe has not happened.
    safe = false;
    const auto before = kept;
    check_sense(bench.run(reserve_out(2, 3), keys(0xAA, 0)), SenseKey::illegal_request,
                kInsufficientRegistrationResources);
    CHECK(bench.run(kReadReservation).data.size() == 24);
    safe = true;
    CHECK(bench.run(reserve_out(3, 0), keys(0xAA, 0)).status == Status::good);
    CHECK(kept.empty());

    for (size_t at = 0; at < before.size(); ++at) {
        auto damaged = before;
        damaged[at] ^= 0xFF;
        Bench other;
        other.disk.set_transport_id(7, iscsi_port("iqn.one,i,0x1"));
        if (!other.disk.restore_reservations(damaged)) CHECK(other.run(kReadKeys).data.size() == 8);
    }
    Bench nobody;
    CHECK_FALSE(nobody.disk.restore_reservations(before));
    check_sense(nobody.run(reserve_out(0, 0), keys(0, 1, 1)), SenseKey::illegal_request, kInvalidFieldInParameterList);
}

// Where initiators say how much they send (iSCSI), these commands want neither less nor more.
TEST_CASE("scsi disk: a block for all, and a compare and write, are as long as they are") {
    Bench bench;
    for (const u64 bytes : {u64{kBlock / 2}, u64{2 * kBlock}}) {
        bench.owner.most_out = bytes;
        check_sense(bench.run(cdb16(0x93, 0, 1, 0x08), std::vector<u8>(bytes)), SenseKey::illegal_request,
                    kParameterListLengthError);
    }
    bench.owner.most_out = kBlock;
    CHECK(bench.run(cdb16(0x93, 0, 1, 0x08), std::vector<u8>(kBlock)).status == Status::good);
    bench.owner.most_out = 0;
    CHECK(bench.run(cdb16(0x93, 0, 1, 0x09)).status == Status::good);
    bench.owner.most_out = 4 * kBlock;
    for (const u8 blocks : {1, 3}) {
        std::vector<u8> compare = cdb16(0x89, 0, 0);
        compare[13] = blocks;
        check_sense(bench.run(compare, std::vector<u8>(4 * kBlock)), SenseKey::illegal_request,
                    kParameterListLengthError);
    }
}

TEST_CASE("scsi disk: what it says of its limits keeps to what initiators call sane") {
    Bench bench;
    const auto limits = bench.run({0x12, 1, 0xB0, 0, 0xFF, 0}).data;
    REQUIRE(limits.size() == 64);
    CHECK(load_big_endian<u32>(&limits[20]) <= kMiB);
    CHECK(load_big_endian<u32>(&limits[20]) > 0);
    CHECK(load_big_endian<u32>(&limits[24]) > 0);
    const auto provisioning = bench.run({0x12, 1, 0xB2, 0, 0xFF, 0}).data;
    REQUIRE(provisioning.size() == 8);
    CHECK(provisioning[5] == 0xE0);
    const auto capacity = bench.run({0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}).data;
    REQUIRE(capacity.size() == 32);
    CHECK(capacity[14] == 0x80);
    CHECK(bench.run({0xB7, 0x0D, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}).data == std::vector<u8>{0, 0x0D, 0, 0, 0, 0, 0, 0});
    // Every command that is listed is found when it is asked for alone, and the other way of asking fails.
    const auto all = bench.run({0xA3, 0x0C, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0}).data;
    for (size_t at = 4; at + 8 <= all.size(); at += 8) {
        const bool has_action = all[at + 5] & 0x01;
        for (const u8 way : {1, 2}) {
            const auto one = bench.run({0xA3, 0x0C, way, all[at], 0, all[at + 3], 0, 0, 0xFF, 0xFF, 0, 0});
            if ((way == 2) != has_action) {
                check_sense(one, SenseKey::illegal_request, kInvalidFieldInCdb);
                continue;
            }
            REQUIRE(one.data.size() >= 4u + all[at + 7]);
            CHECK(one.data[1] == 0x03);
            CHECK(one.data[4] == all[at]);
        }
    }
}
