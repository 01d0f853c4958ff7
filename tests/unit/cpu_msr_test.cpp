// Model-specific registers as systems find them when they look around.
#include <doctest/doctest.h>

#include "core/bus.h"
#include "core/cpu/cpu.h"

using namespace lodge;

namespace {

struct Rig {
    explicit Rig(const char* model) : cpu{log, *memory, ports, clock, *find_cpu_model(model)} {}

    Log log;
    Bus ports{log, "port"};
    Bus mmio{log, "memory"};
    GuestClock clock{ClockMode::virtual_time};
    std::unique_ptr<PhysicalMemory> memory = std::move(*PhysicalMemory::create(kMiB, mmio));
    Cpu cpu;
};

}  // namespace

TEST_CASE("what a driver of microcode updates reads is there: platform 0, revision 0") {
    for (const char* model : {"pentium3", "x86-64", "x86-64-v2"}) {
        Rig rig{model};
        for (const u32 index : {0x17u, 0x8Bu}) {
            u64 value = 1;
            CHECK(rig.cpu.read_msr(index, value));
            CHECK(value == 0);
        }
    }
}

TEST_CASE("an unknown MSR faults, and so does writing one that cannot be written") {
    Rig rig{"x86-64-v2"};
    u64 value = 0;
    CHECK_FALSE(rig.cpu.read_msr(0x12345678, value));
    CHECK_FALSE(rig.cpu.write_msr(0x12345678, 0));
    CHECK_FALSE(rig.cpu.write_msr(0x17, 0));
}

TEST_CASE("IA32_TSC_ADJUST says how far software has moved the TSC, and moves it") {
    constexpr u32 kTsc = 0x10, kAdjust = 0x3B;
    Rig rig{"x86-64-v2"};
    rig.clock.skip_to(1000);
    rig.cpu.reset();
    u64 value = 1;
    CHECK(rig.cpu.read_msr(kAdjust, value));
    CHECK(value == 0);
    CHECK(rig.cpu.tsc() == 0);
    CHECK(rig.cpu.write_msr(kTsc, 5000));
    CHECK(rig.cpu.read_msr(kAdjust, value));
    CHECK(value == 5000);
    CHECK(rig.cpu.write_msr(kAdjust, 4000));
    CHECK(rig.cpu.tsc() == 4000);
    CHECK(rig.cpu.write_msr(kAdjust, ~u64{0}));
    CHECK(rig.cpu.tsc() == ~u64{0});
    Rig old{"x86-64"};
    CHECK_FALSE(old.cpu.read_msr(kAdjust, value));
}
