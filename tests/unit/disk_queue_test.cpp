#include "devices/disk_queue.h"

#include <doctest/doctest.h>

#include <thread>

#include "tests/unit/ide_fixture.h"

using namespace lodge;
using ide_test::MemoryDisk;

namespace {

struct Bench {
    explicit Bench(ClockMode mode, u64 sectors = 4096) : disk(sectors), clock(mode) {}

    void run_until(u64 time) {
        clock.set_position(time);
        scheduler.run_due();
    }
    void wait_for_completions(size_t count) {
        while (completions.size() < count) {
            inputs.wait(kNanosecondsPerSecond);
            inputs.apply_all(0);
        }
    }
    std::vector<u8> save() {
        StateIo io;
        queue.state(io);
        return io.take();
    }
    bool load(std::span<const u8> saved) {
        StateIo io(saved);
        queue.state(io);
        return !io.failed();
    }

    MemoryDisk disk;
    Log log;
    GuestClock clock;
    Scheduler scheduler{clock};
    InputQueue inputs;
    std::vector<DiskCompletion> completions;
    DiskQueue queue{scheduler, inputs,
                    log,       "test",
                    disk,      [this](DiskCompletion completion) { completions.push_back(std::move(completion)); }};
};

DiskRequest read_of(u64 sector, u64 sectors) {
    return {DiskOperation::read, sector * kSectorSize, sectors * kSectorSize, {}};
}

DiskRequest write_of(u64 sector, u8 value) {
    return {DiskOperation::write, sector * kSectorSize, 0, std::vector<u8>(kSectorSize, value)};
}

}  // namespace

TEST_CASE("disk queue, virtual clock: a request completes at its time, however slow the host") {
    Bench bench(ClockMode::virtual_time);
    bench.disk.number_sectors(7, 1);
    bench.disk.delay_milliseconds = 20;
    bench.queue.submit(read_of(7, 1));
    const u64 due = DiskQueue::kLatency + kSectorSize * DiskQueue::kNanosecondsPerByte;
    CHECK(bench.scheduler.next() == due);
    bench.run_until(due - 1);
    CHECK(bench.completions.empty());
    bench.run_until(due);
    REQUIRE(bench.completions.size() == 1);
    CHECK(bench.completions[0].status == DiskStatus::ok);
    CHECK(load<u64>(bench.completions[0].data.data()) == 7);
    CHECK_FALSE(bench.inputs.apply_all(0));
}

TEST_CASE("disk queue, virtual clock: requests follow one another") {
    Bench bench(ClockMode::virtual_time);
    bench.queue.submit({DiskOperation::flush, 0, 0, {}});
    bench.queue.submit({DiskOperation::flush, 0, 0, {}});
    bench.run_until(DiskQueue::kLatency);
    CHECK(bench.completions.size() == 1);
    CHECK(bench.scheduler.next() == 2 * DiskQueue::kLatency);
    bench.run_until(2 * DiskQueue::kLatency);
    CHECK(bench.completions.size() == 2);
    CHECK(bench.disk.flushes == 2);
    CHECK(bench.scheduler.next() == kNever);
}

TEST_CASE("disk queue, realtime: completions are inputs, in order") {
    Bench bench(ClockMode::realtime);
    for (u8 i = 0; i < 50; ++i) bench.queue.submit(write_of(i, i));
    bench.queue.submit(read_of(0, 50));
    CHECK(bench.completions.empty());
    bench.wait_for_completions(51);
    for (size_t i = 0; i < 51; ++i) CHECK(bench.completions[i].tag == i + 1);
    for (size_t i = 0; i < 50; ++i) CHECK(bench.completions[50].data[i * kSectorSize] == i);
    CHECK(bench.queue.in_flight() == 0);
}

TEST_CASE("disk queue: failures arrive, with zeros for what could not be read") {
    Bench bench(ClockMode::realtime);
    bench.disk.number_sectors(0, 4);
    bench.disk.fail_reads = bench.disk.fail_writes = true;
    bench.queue.submit(read_of(1, 2));
    bench.queue.submit({DiskOperation::discard, 4096 * kSectorSize, kSectorSize, {}});
    bench.wait_for_completions(2);
    CHECK(bench.completions[0].status == DiskStatus::failed);
    CHECK(bench.completions[0].data == std::vector<u8>(2 * kSectorSize));
    CHECK(bench.completions[1].status == DiskStatus::failed);
}

TEST_CASE("disk queue, realtime: a full host disk holds the machine until there is room") {
    Bench bench(ClockMode::realtime);
    std::vector<bool> held;
    bench.inputs.on_hold([&](bool hold) { held.push_back(hold); });
    bench.disk.failure = ErrorKind::no_space;
    bench.disk.fail_writes = true;
    bench.queue.submit(write_of(1, 0x11));
    bench.queue.submit(write_of(2, 0x22));
    while (held.empty()) {
        bench.inputs.wait(kNanosecondsPerSecond);
        bench.inputs.apply_all(0);
    }
    CHECK(held == std::vector<bool>{true});
    CHECK(bench.completions.empty());
    bench.disk.fail_writes = false;
    bench.wait_for_completions(2);
    CHECK(held == std::vector<bool>{true, false});
    for (const DiskCompletion& completion : bench.completions) CHECK(completion.status == DiskStatus::ok);
    CHECK(bench.disk.content[1][0] == 0x11);
    CHECK(bench.disk.content[2][0] == 0x22);
}

TEST_CASE("disk queue, virtual clock: on a full host disk the CPU thread waits") {
    Bench bench(ClockMode::virtual_time);
    bench.disk.failure = ErrorKind::no_space;
    bench.disk.fail_writes = true;
    bench.queue.submit(write_of(1, 0x11));
    std::thread room([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        bench.disk.fail_writes = false;
    });
    bench.run_until(kNanosecondsPerSecond);
    room.join();
    REQUIRE(bench.completions.size() == 1);
    CHECK(bench.completions[0].status == DiskStatus::ok);
    CHECK(bench.disk.content[1][0] == 0x11);
}

TEST_CASE("disk queue: a machine that waits for room can be saved, and the loaded one does what was not done") {
    for (const ClockMode mode : {ClockMode::virtual_time, ClockMode::realtime}) {
        Bench bench(mode);
        bench.disk.failure = ErrorKind::no_space;
        bench.disk.fail_writes = true;
        bench.queue.submit(write_of(1, 0x11));
        bench.queue.submit(write_of(2, 0x22));
        bench.queue.cancel();
        bench.queue.submit(write_of(2, 0x33));
        bench.queue.submit(read_of(2, 1));
        const auto saved = bench.save();
        bench.inputs.abandon();

        Bench other(mode);
        REQUIRE(other.load(saved));
        if (mode == ClockMode::virtual_time) {
            for (int i = 1; i <= 2; ++i) other.run_until(i * kNanosecondsPerSecond);
        } else {
            other.wait_for_completions(2);
        }
        CHECK(other.disk.content[1][0] == 0x11);
        REQUIRE(other.completions.size() == 2);
        CHECK(other.completions[0].operation == DiskOperation::write);
        CHECK(other.completions[1].data[0] == 0x33);
        CHECK(other.queue.submit(read_of(0, 1)) == 5);
    }
}

TEST_CASE("disk queue: what the host has in memory is read at once, if nothing is ahead of it") {
    for (const ClockMode mode : {ClockMode::virtual_time, ClockMode::realtime}) {
        Bench bench(mode);
        bench.disk.number_sectors(0, 16);
        bench.disk.knows_patience = true;
        const auto complete = [&](size_t count) {
            if (mode == ClockMode::virtual_time) bench.run_until(count * kNanosecondsPerSecond);
            if (mode == ClockMode::realtime) bench.wait_for_completions(count);
            REQUIRE(bench.completions.size() == count);
            CHECK(bench.completions.back().status == DiskStatus::ok);
        };
        bench.queue.submit(read_of(7, 1));
        CHECK(bench.completions.empty());
        CHECK(bench.disk.reader.load() == std::this_thread::get_id());
        complete(1);
        CHECK(load<u64>(bench.completions[0].data.data()) == 7);

        bench.disk.cold = true;
        bench.queue.submit(read_of(8, 1));
        complete(2);
        CHECK(bench.disk.reader.load() != std::this_thread::get_id());
        CHECK(load<u64>(bench.completions[1].data.data()) == 8);

        bench.disk.cold = false;
        bench.disk.delay_milliseconds = 20;
        bench.queue.submit(write_of(9, 0x99));
        bench.queue.submit(read_of(9, 1));
        if (mode == ClockMode::virtual_time) bench.run_until(2 * kNanosecondsPerSecond + DiskQueue::kLatency * 2);
        complete(4);
        CHECK(bench.disk.reader.load() != std::this_thread::get_id());
        CHECK(bench.completions[3].data[0] == 0x99);

        bench.disk.fail_reads = true;
        bench.disk.delay_milliseconds = 0;
        bench.queue.submit(read_of(0, 1));
        if (mode == ClockMode::virtual_time) bench.run_until(10 * kNanosecondsPerSecond);
        if (mode == ClockMode::realtime) bench.wait_for_completions(5);
        CHECK(bench.completions.back().status == DiskStatus::failed);
    }
}

TEST_CASE("disk queue: nobody waits for room when the run is to end, or the queue goes") {
    for (const ClockMode mode : {ClockMode::virtual_time, ClockMode::realtime}) {
        Bench bench(mode);
        bench.disk.failure = ErrorKind::no_space;
        bench.disk.fail_writes = true;
        bench.queue.submit(write_of(1, 0x11));
        bench.inputs.abandon();
        if (mode == ClockMode::virtual_time) bench.run_until(kNanosecondsPerSecond);
        bench.wait_for_completions(1);
        CHECK(bench.completions[0].status == DiskStatus::no_space);
        bench.inputs.abandon(false);
        bench.queue.submit(write_of(1, 0x11));  // and the queue ends with its bench
    }
}

TEST_CASE("disk queue: cancelled requests are done but not told") {
    Bench bench(ClockMode::virtual_time);
    bench.queue.submit(write_of(3, 0x33));
    bench.queue.cancel();
    bench.queue.settle();
    CHECK(bench.disk.content[3][0] == 0x33);
    CHECK(bench.scheduler.next() == kNever);
    bench.run_until(kNanosecondsPerSecond);
    CHECK(bench.completions.empty());
}

TEST_CASE("disk queue: destruction finishes what was submitted") {
    MemoryDisk disk(16);
    disk.delay_milliseconds = 2;
    Log log;
    GuestClock clock(ClockMode::virtual_time);
    Scheduler scheduler(clock);
    InputQueue inputs;
    {
        DiskQueue queue(scheduler, inputs, log, "test", disk, [](DiskCompletion) {});
        for (u8 i = 0; i < 8; ++i) queue.submit(write_of(i, 1));
    }
    CHECK(disk.content.size() == 8);
    CHECK(scheduler.next() == kNever);
}

TEST_CASE("disk queue: requests in flight survive save and load, each with what it read") {
    for (const ClockMode mode : {ClockMode::virtual_time, ClockMode::realtime}) {
        Bench bench(mode);
        bench.disk.number_sectors(0, 4);
        bench.disk.delay_milliseconds = 5;
        bench.queue.submit(read_of(2, 1));
        bench.queue.submit(write_of(2, 0xEE));
        bench.queue.submit(read_of(2, 1));
        const auto saved = bench.save();
        CHECK(bench.completions.empty());
        Bench other(mode);
        REQUIRE(other.load(saved));
        CHECK(other.save() == saved);
        CHECK(other.disk.content.empty());
        if (mode == ClockMode::virtual_time) {
            for (int i = 1; i <= 3; ++i) other.run_until(i * kNanosecondsPerSecond);
        } else {
            other.wait_for_completions(3);
        }
        REQUIRE(other.completions.size() == 3);
        CHECK(load<u64>(other.completions[0].data.data()) == 2);
        CHECK(other.completions[2].data[0] == 0xEE);
        CHECK(other.queue.submit(read_of(0, 1)) == 4);
    }
}

TEST_CASE("disk queue: stale and foreign inputs do no harm") {
    Bench bench(ClockMode::realtime);
    const auto empty = bench.save();
    bench.queue.submit(read_of(0, 1));
    bench.queue.settle();
    REQUIRE(bench.load(empty));  // the old completion of tag 1 is still queued
    bench.disk.number_sectors(5, 1);
    CHECK(bench.queue.submit(read_of(5, 1)) == 1);
    bench.inputs.post(0, {1, 2, 3});
    bench.inputs.post(0, std::vector<u8>(9, 0xFF));
    bench.wait_for_completions(1);
    bench.queue.settle();
    bench.inputs.apply_all(0);
    REQUIRE(bench.completions.size() == 1);
    CHECK(load<u64>(bench.completions[0].data.data()) == 5);
}

TEST_CASE("disk queue: a damaged state is refused") {
    Bench bench(ClockMode::virtual_time);
    bench.queue.submit(write_of(1, 1));
    bench.queue.submit(read_of(1, 1));
    const auto saved = bench.save();
    for (size_t at = 0; at < saved.size(); ++at) {
        auto damaged = saved;
        damaged[at] ^= 0xFF;
        Bench other(ClockMode::virtual_time);
        if (!other.load(damaged)) CHECK(other.queue.in_flight() == 0);
        other.run_until(kNever - 1);
    }
}
