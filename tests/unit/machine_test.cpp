// The run loop with a small CPU program: ends of a run, time, inputs, save and load.
#include "core/machine.h"

#include <doctest/doctest.h>

#include <thread>

#include "core/interp/interpreter.h"

using namespace lodge;

namespace {

constexpr u64 kMemory = kMiB;
constexpr u64 kProgram = 0xF0000;  // physical, F000:0000

// A chip with one register and one event, to see that devices are reset, saved and run.
struct Chip final : Device {
    explicit Chip(Scheduler& scheduler) : tick(scheduler, "tick", [this](u64) { ++ticks; }) {}
    std::string_view name() const override { return "chip"; }
    void reset() override { value = 1, ++resets; }
    void state(StateIo& io) override {
        io.section("chip", 1, [&] {
            io.field("value", value);
            io.field("ticks", ticks);
            tick.state(io);
        });
    }
    u32 value = 0, ticks = 0;
    int resets = 0;
    Event tick;
};

// 1 MiB of memory with the program at F000:0000, where the reset vector jumps; ports 10h (the chip's register),
// F4h (exit), F5h (power off), F6h (reset).
struct Fixture {
    explicit Fixture(std::vector<u8> program, ClockMode clock = ClockMode::virtual_time, bool reboot = true) {
        MachineConfig config;
        config.backing_bytes = kMemory;
        config.clock = clock;
        config.cpu = &cpu_models().front();
        config.reboot = reboot;
        machine = std::move(*Machine::create(config, log));
        chip = std::make_unique<Chip>(machine->scheduler());
        PhysicalMemory& memory = machine->memory();
        memory.map(0, kMemory, 0, true);
        memory.map(0xFFFF0000, 0x10000, kProgram, true);
        memory.write(kProgram, program);
        memory.write(0xFFFF0, std::vector<u8>{0xEA, 0x00, 0x00, 0x00, 0xF0});  // JMP F000:0000
        machine->add_device(*chip);
        ranges.push_back(std::move(*machine->ports().claim(
            0x10, 1, "chip", [this](u64, unsigned) { return chip->value; },
            [this](u64, unsigned, u64 value) { chip->value = static_cast<u32>(value); })));
        ranges.push_back(std::move(*machine->ports().claim(
            0xF4, 3, "control", [](u64, unsigned) { return u64{0}; },
            [this](u64 offset, unsigned, u64 value) { control(offset, value); })));
        machine->set_executor(std::make_unique<Interpreter>(machine->cpu()));
        machine->reset();
    }
    void control(u64 offset, u64 value) {
        if (offset == 0) machine->request_exit(static_cast<int>(value));
        if (offset == 1) machine->request_power_off();
        if (offset == 2) machine->request_reset();
    }
    u64 retired() const { return machine->cpu().state.retired; }

    Log log;
    std::unique_ptr<Machine> machine;
    std::unique_ptr<Chip> chip;
    std::vector<BusRange> ranges;
};

const std::vector<u8> kCount = {0x40, 0xE6, 0x10, 0xEB, 0xFB};       // INC AX; OUT 10h, AL; JMP back
const std::vector<u8> kHalt = {0xFA, 0xF4, 0xEB, 0xFD};              // CLI; HLT; JMP to HLT
const std::vector<u8> kExit = {0xB0, 0x21, 0xE6, 0xF4, 0xEB, 0xFE};  // MOV AL, 21h; OUT F4h, AL; JMP itself
const std::vector<u8> kPowerOff = {0xE6, 0xF5, 0xEB, 0xFE};
const std::vector<u8> kReset = {0xE6, 0xF6, 0xEB, 0xFE};
// LIDT of an empty table at F000:0010, INT 3: a triple fault.
const std::vector<u8> kTripleFault = {0x2E, 0x0F, 0x01, 0x1E, 0x10, 0x00, 0xCC, 0x90, 0, 0, 0,
                                      0,    0,    0,    0,    0,    0,    0,    0,    0, 0, 0};

}  // namespace

TEST_CASE("machine: the guest ends the run by power-off or the exit port") {
    Fixture exit(kExit);
    const RunResult result = exit.machine->run();
    CHECK(result.why == RunEnd::exit_port);
    CHECK(result.exit_status == 0x21);
    CHECK(exit.retired() == 3);  // at the instruction that asked for it
    CHECK(Fixture(kPowerOff).machine->run().why == RunEnd::power_off);
}

TEST_CASE("machine: a reset ends the run, or resets devices and CPU and then calls after_reset") {
    Fixture ending(kReset, ClockMode::virtual_time, false);
    CHECK(ending.machine->run().why == RunEnd::reset);
    CHECK(Fixture(kTripleFault, ClockMode::virtual_time, false).machine->run().why == RunEnd::reset);

    for (const auto& program : {kReset, kTripleFault}) {
        Fixture f(program);
        int calls = 0;
        f.chip->value = 7;
        f.machine->after_reset([&] {
            CHECK(f.chip->value == 1);
            if (++calls == 3) f.machine->end();
        });
        CHECK(f.machine->run().why == RunEnd::stopped);
        CHECK(calls == 3);
        CHECK(f.chip->resets == 4);
    }
}

TEST_CASE("machine: a failure of the host ends the run with its reason") {
    Fixture f(kCount);
    f.chip->tick.schedule_at(1000);
    f.machine->inputs().post_command([&] { f.machine->request_failure("the disk is full"); });
    const RunResult result = f.machine->run();
    CHECK(result.why == RunEnd::failure);
    CHECK(result.message == "the disk is full");
    CHECK(f.retired() == 0);
}

TEST_CASE("machine: run_until stops at exactly that instruction, in both modes") {
    for (const ClockMode mode : {ClockMode::virtual_time, ClockMode::realtime}) {
        Fixture f(kCount, mode);
        for (const u64 target : {u64{1}, u64{2}, u64{12'345}, u64{3'000'001}}) {
            CHECK_FALSE(f.machine->run_until(target).has_value());
            CHECK(f.retired() == target);
        }
        CHECK_FALSE(f.machine->run_until(5).has_value());  // long gone
        CHECK(f.retired() == 3'000'001);
    }
    Fixture exit(kExit);
    const auto result = exit.machine->run_until(1000);
    REQUIRE(result.has_value());
    CHECK(result->why == RunEnd::exit_port);
}

TEST_CASE("machine: virtual time is instructions; events run at their instruction; HLT jumps") {
    Fixture f(kCount);
    f.chip->tick.schedule_at(500);
    f.machine->run_until(500);
    CHECK(f.chip->ticks == 0);
    f.machine->run_until(501);
    CHECK(f.chip->ticks == 1);

    Fixture halted(kHalt);
    halted.chip->tick.schedule_at(3600 * kNanosecondsPerSecond);
    Event end(halted.machine->scheduler(), "end", [&](u64) { halted.machine->end(); });
    end.schedule_at(3601 * kNanosecondsPerSecond);
    CHECK(halted.machine->run().why == RunEnd::stopped);
    CHECK(halted.chip->ticks == 1);
    CHECK(halted.machine->clock().now() == 3601 * kNanosecondsPerSecond);
    CHECK(halted.retired() == 3);
}

TEST_CASE("machine: real time: HLT waits for events and inputs") {
    Fixture f(kHalt, ClockMode::realtime);
    f.chip->tick.schedule_in(2'000'000);
    std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        f.machine->end();
    });
    CHECK(f.machine->run().why == RunEnd::stopped);
    other.join();
    CHECK(f.chip->ticks == 1);
    CHECK(f.machine->clock().now() >= 2'000'000);
}

TEST_CASE("machine: paused, nothing runs and inputs still come; it goes on where it was") {
    Fixture f(kCount, ClockMode::realtime);
    f.machine->set_paused(true);
    const u64 stopped = f.machine->clock().now();
    int commands = 0;
    std::thread other([&] {
        for (int i = 0; i < 3; ++i) {
            f.machine->inputs().post_command([&] { ++commands; });
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
        f.machine->end();
    });
    CHECK(f.machine->run().why == RunEnd::stopped);
    other.join();
    CHECK(commands == 3);
    CHECK(f.retired() == 0);
    CHECK(f.machine->clock().now() == stopped);
    f.machine->set_paused(false);
    CHECK_FALSE(f.machine->run_until(100'000).has_value());
}

TEST_CASE("machine: slow motion gives the host its time back") {
    Fixture f(kCount, ClockMode::realtime);
    f.machine->set_speed(10'000);  // a tenth
    const u64 host = GuestClock::host_now(), guest = f.machine->clock().now();
    f.machine->run_until(1'000'000);
    // The host's two readings enclose the guest's, so that no pause of this thread can matter.
    const u64 guest_passed = f.machine->clock().now() - guest;
    const u64 host_passed = GuestClock::host_now() - host;
    CHECK(guest_passed <= host_passed / 10 + 1000);
}

TEST_CASE("machine: save, load, save: equal bytes, and both go on alike") {
    Fixture f(kCount);
    f.chip->tick.schedule_at(5000);
    f.machine->memory().write_value<u32>(0x1234, 0xDEADBEEF);
    f.machine->run_until(4321);
    const auto saved = f.machine->save();
    CHECK(f.machine->save() == saved);

    Fixture g(kHalt);  // another program in memory: all of it is replaced
    g.machine->memory().write_value<u32>(0x5000, 1);
    g.machine->run_until(2);
    REQUIRE(g.machine->load(saved).ok());
    CHECK(g.machine->save() == saved);
    CHECK(g.machine->memory().read_value<u32>(0x5000) == 0);
    f.machine->run_until(10'000);
    g.machine->run_until(10'000);
    CHECK(g.chip->ticks == 1);
    CHECK(g.machine->save() == f.machine->save());
}

TEST_CASE("machine: a reset that was asked for just before the save is not forgotten") {
    Fixture f(kReset);
    f.machine->run_until(2);  // the jump and the OUT
    const auto saved = f.machine->save();
    Fixture g(kReset);
    REQUIRE(g.machine->load(saved).ok());
    const int before = g.chip->resets;
    g.machine->run_until(3);
    CHECK(g.chip->resets == before + 1);
}

TEST_CASE("machine: a damaged state is an error, whatever is wrong with it") {
    Fixture f(kCount);
    f.machine->run_until(100);
    const auto saved = f.machine->save();
    const auto refused = [](std::span<const u8> bytes) {
        Fixture g(kCount);
        const auto loaded = g.machine->load(bytes);
        return !loaded.ok() && loaded.error().kind == ErrorKind::bad_format;
    };
    CHECK(refused({}));
    const u64 tree = load<u64>(saved.data());
    for (const size_t length :
         {size_t{7}, size_t{8}, size_t{100}, static_cast<size_t>(tree), saved.size() - 8, saved.size() - 1})
        CHECK(refused(std::span(saved).first(length)));
    auto longer = saved;
    store(longer.data(), ~u64{0});
    CHECK(refused(longer));
    auto page = saved;  // the number of the first page
    store(page.data() + 8 + tree, kMemory / kPageSize);
    CHECK(refused(page));
    auto renamed = saved;  // of the section "machine"
    renamed[8 + 1 + 1] ^= 1;
    CHECK(refused(renamed));
}
