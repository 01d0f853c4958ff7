// A machine without CPU for tests of board parts: memory, buses, virtual clock, and pins that remember what was asked.
#pragma once

#include <string>
#include <vector>

#include "devices/platform.h"

namespace lodge {

struct FakeCpu final : CpuPins {
    void set_interrupt(bool level) override { interrupt = level; }
    void nmi() override { ++nmis; }
    void init() override { ++inits; }
    void startup(u8) override {}
    void set_a20(bool enabled) override { a20 = enabled; }
    bool interrupt = false;
    bool a20 = false;
    int nmis = 0;
    int inits = 0;
};

struct FakeControl final : MachineControl {
    void request_reset() override { ++resets; }
    void request_power_off() override { ++power_offs; }
    void request_exit(int status) override { exit_status = status; }
    void request_failure(std::string why) override { failure = std::move(why); }
    int resets = 0;
    int power_offs = 0;
    int exit_status = -1;
    std::string failure;
};

// Remembers the levels of its pins.
struct FakeInterrupts final : IrqInput {
    void set_irq(unsigned pin, bool level) override {
        levels = replace_bits(levels, 1u << pin, level ? ~0u : 0u);
        if (level) raised.push_back(pin);
    }
    u32 levels = 0;
    std::vector<unsigned> raised;
};

struct BoardFixture {
    explicit BoardFixture(u64 backing = 4 * kMiB)
        : memory(std::move(*PhysicalMemory::create(backing, mmio))), platform{log,       *memory, ports,   mmio,
                                                                              scheduler, inputs,  control, cpu} {}

    u32 in(u16 port, unsigned size) { return static_cast<u32>(ports.read(port, size)); }
    void out(u16 port, unsigned size, u32 value) { ports.write(port, size, value); }
    void pass(u64 nanoseconds) {
        clock.set_position(clock.position() + nanoseconds);
        scheduler.run_due();
    }

    Log log;
    Bus ports{log, "port"};
    Bus mmio{log, "memory"};
    GuestClock clock{ClockMode::virtual_time};
    Scheduler scheduler{clock};
    InputQueue inputs;
    FakeControl control;
    FakeCpu cpu;
    std::unique_ptr<PhysicalMemory> memory;
    Platform platform;
};

inline std::vector<u8> saved(Device& device) {
    StateIo io;
    device.state(io);
    return io.take();
}

// Loads `state` into `device`; what a save then gives.
inline std::vector<u8> loaded(Device& device, const std::vector<u8>& state) {
    StateIo io(state);
    device.state(io);
    return io.failed() ? std::vector<u8>{} : saved(device);
}

}  // namespace lodge
