// What all SCSI units share, tried out on a disk: sense, unit attentions, mode pages, task sets, the state walk.
#include "disks/scsi/unit.h"

#include <doctest/doctest.h>

#include "disks/scsi/direct_disk.h"
#include "disks/scsi/target.h"
#include "tests/unit/scsi_fixture.h"

using namespace lodge;
using namespace lodge::scsi_test;

namespace {

constexpr size_t kBytes = 2 * kMiB;
constexpr Nexus kOther = 3;

UnitIdentity identity() {
    return {.product = "Disk", .serial = "S-1"};
}

struct Bench {
    explicit Bench(UnitOptions options = {}) : disk(identity(), {.bytes = kBytes}, options), owner(disk, kBytes) {
        owner.run({0x00});  // takes the unit attention of power-on
    }
    Answer run(std::vector<u8> cdb, std::vector<u8> out = {}) { return owner.run(std::move(cdb), std::move(out)); }
    std::vector<u8> save() {
        StateIo io;
        disk.state(io, "unit");
        return io.take();
    }
    bool load(std::span<const u8> saved) {
        StateIo io(saved);
        disk.state(io, "unit");
        return !io.failed();
    }
    Task& submit(std::vector<u8> cdb, TaskAttribute attribute, u64 tag, Nexus nexus = 7) {
        Command command{.nexus = nexus, .tag = tag, .attribute = attribute};
        std::copy(cdb.begin(), cdb.end(), command.cdb.begin());
        return disk.submit(command);
    }

    DirectDisk disk;
    Owner owner;
};

const std::vector<u8> kRead = {0x28, 0, 0, 0, 0, 4, 0, 0, 1, 0};

void check_sense(const Answer& answer, SenseKey key, SenseCode code) {
    CHECK(answer.status == Status::check_condition);
    CHECK(answer.sense.key == key);
    CHECK(answer.sense.code == code);
}

}  // namespace

TEST_CASE("scsi sense: fixed and descriptor formats") {
    Sense sense = Sense::invalid_cdb(0x1234, 5);
    sense.information = 0x11223344;
    const auto fixed = sense.fixed();
    CHECK(fixed == std::vector<u8>{0xF0, 0, 5, 0x11, 0x22, 0x33, 0x44, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xCD, 0x12, 0x34});
    const auto descriptors = sense.descriptors();
    CHECK(descriptors == std::vector<u8>{0x72, 5, 0x24, 0,    0,    0,    0, 20, 0, 10, 0x80, 0,    0,    0,
                                         0,    0, 0x11, 0x22, 0x33, 0x44, 2, 6,  0, 0,  0xCD, 0x12, 0x34, 0});
    sense.information = 0x1'0000'0000;
    CHECK(sense.fixed()[0] == 0x70);
    sense = {.key = SenseKey::no_sense, .incorrect_length = true};
    CHECK(sense.fixed()[2] == 0x20);
}

TEST_CASE("scsi unit: power-on is told once to each nexus, and not in the way of INQUIRY") {
    DirectDisk disk(identity(), {.bytes = kBytes}, {});
    Owner owner(disk, kBytes);
    CHECK(owner.run({0x12, 0, 0, 0, 36, 0}).status == Status::good);
    check_sense(owner.run({0x00}), SenseKey::unit_attention, kPowerOn);
    CHECK(owner.run({0x00}).status == Status::good);
    check_sense(owner.run({0x00}, {}, kOther), SenseKey::unit_attention, kPowerOn);
    disk.reset(Unit::Reset::bus);
    CHECK(owner.run({0x03, 0, 0, 0, 18, 0}).data[12] == 0x29);
    CHECK(owner.run({0x00}).status == Status::good);
    check_sense(owner.run({0x00}, {}, kOther), SenseKey::unit_attention, kBusResetOccurred);
}

TEST_CASE("scsi unit: sense waits for REQUEST SENSE until the next command") {
    Bench bench;
    check_sense(bench.run({0xFF}), SenseKey::illegal_request, kInvalidOperationCode);
    auto sense = bench.run({0x03, 0, 0, 0, 0xFF, 0}).data;
    REQUIRE(sense.size() == 18);
    CHECK(sense[2] == 5);
    CHECK(sense[12] == 0x20);
    CHECK(bench.run({0x03, 0, 0, 0, 18, 0}).data[2] == 0);
    bench.run({0x9E, 0x1F});
    bench.run({0x00});
    CHECK(bench.run({0x03, 1, 0, 0, 8, 0}).data == std::vector<u8>{0x72, 0, 0, 0, 0, 0, 0, 0});
    check_sense(bench.run({0x9E, 0x1F}), SenseKey::illegal_request, kInvalidFieldInCdb);
    check_sense(bench.run({0x00, 0, 0, 0, 0, 4}), SenseKey::illegal_request, kInvalidFieldInCdb);
}

TEST_CASE("scsi unit: INQUIRY and its vital product data") {
    Bench bench({.parallel = true});
    const auto data = bench.run({0x12, 0, 0, 0, 0xFF, 0}).data;
    REQUIRE(data.size() == 74);
    CHECK(data[0] == 0);
    CHECK(data[4] == 69);
    CHECK(data[7] == 0x32);
    CHECK(std::string(data.begin() + 8, data.begin() + 36) == "LODGE   Disk            1.0 ");
    CHECK(bench.run({0x12, 0, 0, 0, 5, 0}).data.size() == 5);
    CHECK(bench.run({0x12, 1, 0, 0, 0xFF, 0}).data == std::vector<u8>{0, 0, 0, 6, 0, 0x80, 0x83, 0xB0, 0xB1, 0xB2});
    CHECK(bench.run({0x12, 1, 0x80, 0, 0xFF, 0}).data == std::vector<u8>{0, 0x80, 0, 3, 'S', '-', '1'});
    CHECK(bench.run({0x12, 1, 0xB0, 0, 0xFF, 0}).data.size() == 64);
    check_sense(bench.run({0x12, 1, 0xC0, 0, 0xFF, 0}), SenseKey::illegal_request, kInvalidFieldInCdb);
    check_sense(bench.run({0x12, 0, 0x80, 0, 0xFF, 0}), SenseKey::illegal_request, kInvalidFieldInCdb);
}

TEST_CASE("scsi unit: mode pages are shown and changed") {
    Bench bench;
    const auto six = bench.run({0x1A, 0, 0x08, 0, 0xFF, 0}).data;
    REQUIRE(six.size() == 4 + 8 + 20);
    CHECK(six[0] == six.size() - 1);
    CHECK(six[3] == 8);
    CHECK(six[12] == 0x08);
    CHECK(six[14] == 0x04);
    const auto changeable = bench.run({0x5A, 8, 0x48, 0, 0, 0, 0, 0, 0xFF, 0}).data;
    REQUIRE(changeable.size() == 8 + 20);
    CHECK(changeable[8 + 2] == 0x04);
    CHECK(changeable[8 + 4] == 0);
    check_sense(bench.run({0x1A, 0, 0xC8, 0, 0xFF, 0}), SenseKey::illegal_request, kSavingParametersNotSupported);
    check_sense(bench.run({0x1A, 0, 0x21, 0, 0xFF, 0}), SenseKey::illegal_request, kInvalidFieldInCdb);

    bench.owner.run({0x00}, {}, kOther);
    auto list = six;
    list[0] = 0;
    list[14] = 0;  // WCE
    const std::vector<u8> select = {0x15, 0x10, 0, 0, static_cast<u8>(list.size()), 0};
    CHECK(bench.run(select, list).status == Status::good);
    CHECK(bench.run({0x1A, 8, 0x08, 0, 0xFF, 0}).data[6] == 0);
    check_sense(bench.owner.run({0x00}, {}, kOther), SenseKey::unit_attention, kModeParametersChanged);
    list[15] = 1;
    const auto wrong = bench.run(select, list);
    check_sense(wrong, SenseKey::illegal_request, kInvalidFieldInParameterList);
    CHECK(wrong.sense.field_byte == 15);
    list.resize(20);
    check_sense(bench.run({0x15, 0x10, 0, 0, 20, 0}, list), SenseKey::illegal_request, kParameterListLengthError);
    bench.disk.reset(Unit::Reset::device);
    bench.run({0x00});
    CHECK(bench.run({0x1A, 8, 0x08, 0, 0xFF, 0}).data[6] == 0x04);
    CHECK(bench.run({0x1A, 0, 0x3F, 0, 0xFF, 0}).status == Status::good);
}

TEST_CASE("scsi unit: what it can do, it tells") {
    Bench bench;
    const auto all = bench.run({0xA3, 0x0C, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0}).data;
    CHECK(load_big_endian<u32>(all.data()) == all.size() - 4);
    CHECK(all.size() > 8 * 40);
    const auto one = bench.run({0xA3, 0x0C, 1, 0x28, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0}).data;
    REQUIRE(one.size() == 14);
    CHECK(one[1] == 3);
    CHECK(one[4] == 0x28);
    CHECK(bench.run({0xA3, 0x0C, 1, 0xFE, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0}).data[1] == 1);
    CHECK(bench.run({0xA3, 0x0C, 2, 0x9E, 0, 0x10, 0, 0, 0xFF, 0xFF, 0, 0}).data[1] == 3);
    check_sense(bench.run({0xA3, 0x0C, 1, 0x9E, 0, 0x10, 0, 0, 0xFF, 0xFF, 0, 0}), SenseKey::illegal_request,
                kInvalidFieldInCdb);
    CHECK(bench.run({0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}).data.size() == 16);
    const std::vector<u8> echo(40, 0x5A);
    CHECK(bench.run({0x3B, 0x0A, 0, 0, 0, 0, 0, 0, 40, 0}, echo).status == Status::good);
    CHECK(bench.run({0x3C, 0x0A, 0, 0, 0, 0, 0, 0, 40, 0}).data == echo);
    CHECK(bench.run({0x1D, 4, 0, 0, 0, 0}).status == Status::good);
}

TEST_CASE("scsi task set: order follows from attributes") {
    Bench bench;
    bench.submit(kRead, TaskAttribute::simple, 1);
    bench.submit(kRead, TaskAttribute::simple, 2);
    bench.submit(kRead, TaskAttribute::ordered, 3);
    bench.submit(kRead, TaskAttribute::simple, 4);
    Task* first = bench.disk.take_ready();
    Task* second = bench.disk.take_ready();
    REQUIRE(first);
    REQUIRE(second);
    CHECK(first->command().tag == 1);
    CHECK(second->command().tag == 2);
    CHECK(bench.disk.take_ready() == nullptr);
    bench.submit(kRead, TaskAttribute::head_of_queue, 5);
    Task* head = bench.disk.take_ready();
    REQUIRE(head);
    CHECK(head->command().tag == 5);
    for (Task* task : {first, second, head}) bench.owner.serve(*task);
    std::vector<u64> order;
    while (Task* task = bench.disk.take_ready()) {
        if (task->need() == Task::Need::medium && task->command().tag != 5) order.push_back(task->command().tag);
        bench.owner.serve(*task);
    }
    CHECK(order == std::vector<u64>{3, 4});
    CHECK(bench.disk.tasks() == 0);
}

TEST_CASE("scsi task set: limits, overlapped tags and aborts") {
    Bench bench({.most_tasks = 4});
    for (u64 tag = 1; tag <= 4; ++tag) bench.submit(kRead, TaskAttribute::simple, tag);
    CHECK(bench.submit(kRead, TaskAttribute::simple, 5).status() == Status::task_set_full);
    CHECK_FALSE(bench.disk.abort_task(7, TaskAttribute::simple, 99));
    CHECK(bench.disk.abort_task(7, TaskAttribute::simple, 2));
    while (bench.owner.serve()) {
    }
    CHECK(bench.disk.tasks() == 0);

    bench.submit(kRead, TaskAttribute::simple, 1);
    Task& again = bench.submit(kRead, TaskAttribute::simple, 1);
    CHECK(again.status() == Status::check_condition);
    CHECK(again.sense().code == kOverlappedCommands);
    while (bench.owner.serve()) {
    }

    bench.owner.run({0x00}, {}, kOther);
    bench.submit(kRead, TaskAttribute::simple, 1);
    bench.submit(kRead, TaskAttribute::simple, 1, kOther);
    bench.disk.clear_task_set(7);
    while (bench.owner.serve()) {
    }
    CHECK(bench.disk.tasks() == 0);
    check_sense(bench.owner.run({0x00}, {}, kOther), SenseKey::unit_attention, kTasksClearedByAnotherInitiator);
    CHECK(bench.run({0x00}).status == Status::good);
}

TEST_CASE("scsi unit: a state in mid-command, saved, loaded and saved again") {
    Bench bench;
    bench.owner.medium[4 * 512] = 0xAB;
    bench.submit(kRead, TaskAttribute::simple, 1);
    Task& write = bench.submit({0x2A, 0, 0, 0, 0, 8, 0, 0, 2, 0}, TaskAttribute::simple, 2);
    bench.submit(kRead, TaskAttribute::ordered, 3);
    Task* task = bench.disk.take_ready();
    bench.owner.serve(*task);  // read from the medium
    REQUIRE(bench.disk.take_ready() == &write);
    std::fill_n(write.data_out().begin(), 600, u8{0x77});
    bench.disk.data_moved(write, 600);
    const auto saved = bench.save();
    Bench other;
    REQUIRE(other.load(saved));
    CHECK(other.save() == saved);
    Task* restored = other.disk.find(write.id());
    REQUIRE(restored);
    CHECK(restored->left_in_piece() == 424);
    CHECK(other.disk.take_ready()->data_in()[0] == 0xAB);
    other.owner.serve(*restored);
    while (other.owner.serve()) {
    }
    CHECK(other.owner.medium[8 * 512 + 599] == 0x77);
    for (size_t at = 0; at < saved.size(); ++at) {
        auto damaged = saved;
        damaged[at] ^= 0x55;
        Bench third;
        third.load(damaged);
        for (int steps = 0; steps < 100 && third.owner.serve(); ++steps) {
        }
    }
}

TEST_CASE("scsi target: units by number, and an answer for the missing") {
    DirectDisk disk(identity(), {.bytes = kBytes}, {});
    Target target({});
    target.add(0, disk);
    CHECK(&target.unit(0) == &disk);
    Owner absent(target.unit(1), 0);
    CHECK(absent.run({0x12, 0, 0, 0, 36, 0}).data[0] == 0x7F);
    check_sense(absent.run({0x00}), SenseKey::illegal_request, kLogicalUnitNotSupported);
    CHECK(absent.run({0x03, 0, 0, 0, 18, 0}).data[12] == 0x25);
    DirectDisk second(identity(), {.bytes = kBytes}, {});
    target.add(5, second);
    Owner owner(disk, kBytes);
    CHECK(owner.run({0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}).data ==
          std::vector<u8>{0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0});
}
