// What unit tests and fuzz targets of devices stand on: a machine's clockwork on the virtual clock, with lines, pins
// and ports that remember what happened to them.
#pragma once

#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "core/bus.h"
#include "core/device.h"
#include "core/input_queue.h"
#include "core/memory/physical_memory.h"
#include "core/scheduler.h"
#include "devices/platform.h"
#include "devices/ports.h"

namespace lodge::test {

class RecordingLines final : public IrqInput {
  public:
    void set_irq(unsigned pin, bool level) override {
        if (level && !bit(levels, pin)) ++rises[pin];
        levels = level ? levels | 1U << pin : levels & ~(1U << pin);
    }
    bool level(unsigned pin) const { return bit(levels, pin); }

    u32 levels = 0;
    std::array<unsigned, 32> rises{};
};

class RecordingCpu final : public CpuPins {
  public:
    void set_interrupt(bool level) override { interrupt = level; }
    void nmi() override { ++nmis; }
    void init() override { ++inits; }
    void startup(u8 vector) override { startups.push_back(vector); }
    void set_a20(bool enabled) override { a20 = enabled; }

    bool interrupt = false;
    bool a20 = false;
    unsigned nmis = 0;
    unsigned inits = 0;
    std::vector<u8> startups;
};

class RecordingControl final : public MachineControl {
  public:
    void request_reset() override { ++resets; }
    void request_power_off() override { ++power_offs; }
    void request_exit(int status) override { exit_status = status; }
    void request_failure(std::string why) override { failure = std::move(why); }

    unsigned resets = 0;
    unsigned power_offs = 0;
    int exit_status = -1;
    std::string failure;
};

class RecordingPort final : public CharPort {
  public:
    void write(std::span<const u8> bytes) override { text.append(bytes.begin(), bytes.end()); }

    std::string text;
};

// Answers ExtINT acknowledgements with one vector.
class FixedVector final : public InterruptController {
  public:
    explicit FixedVector(u8 vector) : vector_(vector) {}
    std::optional<u8> acknowledge() override { return vector_; }

  private:
    u8 vector_;
};

struct TestBoard {
    explicit TestBoard(u64 backing = 2 * kMiB, ClockMode mode = ClockMode::virtual_time) : clock(mode) {
        auto made = PhysicalMemory::create(backing, mmio);
        if (!made) std::abort();
        memory = std::move(*made);
    }

    Platform platform() { return {log, *memory, ports, mmio, scheduler, inputs, control, cpu}; }

    u8 in(u16 port) { return static_cast<u8>(ports.read(port, 1)); }
    void out(u16 port, u8 value) { ports.write(port, 1, value); }

    // Lets guest time pass, running events when they are due.
    void advance(u64 nanoseconds) {
        const u64 end = clock.now() + nanoseconds;
        while (scheduler.next() <= end) {
            clock.skip_to(scheduler.next());
            scheduler.run_due();
        }
        clock.skip_to(end);
    }
    // Lets guest time pass first, so that events run late.
    void stall(u64 nanoseconds) {
        clock.skip_to(clock.now() + nanoseconds);
        scheduler.run_due();
    }
    void post(InputQueue::SourceId source, std::vector<u8> payload) {
        inputs.post(source, std::move(payload));
        inputs.apply_all(clock.position());
    }

    Log log;
    Bus ports{log, "port"};
    Bus mmio{log, "memory"};
    std::unique_ptr<PhysicalMemory> memory;
    GuestClock clock;
    Scheduler scheduler{clock};
    InputQueue inputs;
    RecordingControl control;
    RecordingCpu cpu;
    RecordingLines lines;
    RecordingPort port;
};

inline std::vector<u8> save(Device& device) {
    StateIo io;
    device.state(io);
    return io.take();
}

inline bool load(Device& device, std::span<const u8> saved) {
    StateIo io(saved);
    device.state(io);
    return !io.failed();
}

// Saves `device`, loads that into `other`, which belongs to another board, and saves again.
inline bool same_after_load(Device& device, Device& other) {
    const auto saved = save(device);
    return load(other, saved) && save(other) == saved;
}

// Does what a fuzzer's bytes say to the board: port and memory-mapped accesses of all sizes, time, inputs, save and
// load.
class DeviceFuzzer {
  public:
    DeviceFuzzer(TestBoard& board, Device& device) : board_(board), device_(device) {}

    // Addresses the fuzzer may use: [base, base + size) of a space.
    void add_ports(u64 base, u64 size) { ranges_.push_back({&board_.ports, base, size}); }
    void add_memory(u64 base, u64 size) { ranges_.push_back({&board_.mmio, base, size}); }
    void add_input(InputQueue::SourceId source) { sources_.push_back(source); }
    // Something else that may happen, with a byte of choice.
    void add_action(std::function<void(u8)> action) { actions_.push_back(std::move(action)); }

    void run(std::span<const u8> bytes) {
        bytes_ = bytes;
        while (!bytes_.empty()) step(take());
        if (!load(device_, save(device_))) std::abort();
    }

  private:
    struct Range {
        Bus* bus;
        u64 base;
        u64 size;
    };

    u8 take() {
        if (bytes_.empty()) return 0;
        const u8 value = bytes_[0];
        bytes_ = bytes_.subspan(1);
        return value;
    }
    u32 take4() { return take() | take() << 8 | take() << 16 | static_cast<u32>(take()) << 24; }

    void step(u8 what) {
        switch (what & 7) {
            case 0:
            case 1:
            case 2:
                return access(what, true);
            case 3:
            case 4:
                return access(what, false);
            case 5:
                return (what & 8) ? board_.stall(u64{take4()} * 16) : board_.advance(take4() % 3'000'000);
            case 6:
                return input();
            default:
                return other(what);
        }
    }

    void access(u8 what, bool write) {
        const Range& range = ranges_[(what >> 5) % ranges_.size()];
        const unsigned size = 1U << ((what >> 3) & 3);
        const u64 address = range.base + (range.size > 256 ? take4() : take()) % range.size;
        if (write) {
            range.bus->write(address, size, size == 1 ? take() : take4() * 0x100000001ULL);
        } else {
            range.bus->read(address, size);
        }
    }

    void input() {
        const u8 length = take() % 40;
        std::vector<u8> payload;
        for (u8 i = 0; i < length; ++i) payload.push_back(take());
        if (!sources_.empty()) board_.post(sources_[length % sources_.size()], std::move(payload));
    }

    void other(u8 what) {
        if ((what >> 3) == 0) return device_.reset();
        if ((what >> 3) == 1) {
            const auto saved = save(device_);
            if (!load(device_, saved) || save(device_) != saved) std::abort();
            return;
        }
        if ((what >> 3) == 2) return tamper();
        const u8 choice = take();
        if (!actions_.empty()) actions_[(what >> 3) % actions_.size()](choice);
    }

    void tamper() {
        auto saved = save(device_);
        for (u8 changes = take() & 7; changes > 0; --changes) saved[(take() | take() << 8) % saved.size()] = take();
        load(device_, saved);
    }

    TestBoard& board_;
    Device& device_;
    std::vector<Range> ranges_;
    std::vector<InputQueue::SourceId> sources_;
    std::vector<std::function<void(u8)>> actions_;
    std::span<const u8> bytes_;
};

}  // namespace lodge::test
