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

TEST_CASE("machine check: five banks that never met an error; what can be set up reads back") {
    Rig rig{"x86-64-v2"};
    const auto read = [&](u32 index) {
        u64 value = ~u64{0};
        CHECK(rig.cpu.read_msr(index, value));
        return value;
    };
    CHECK(read(0x179) == 0x105);
    CHECK_FALSE(rig.cpu.write_msr(0x179, 0));
    CHECK(rig.cpu.write_msr(0x17A, 4));
    CHECK(read(0x17A) == 4);
    CHECK_FALSE(rig.cpu.write_msr(0x17A, 8));
    CHECK(rig.cpu.write_msr(0x17B, ~u64{0}));
    CHECK(read(0x17B) == ~u64{0});
    for (u32 bank = 0; bank < 5; ++bank) {
        const u32 control = 0x400 + 4 * bank;
        CHECK(rig.cpu.write_msr(control, 0x123 + bank));
        for (u32 other = control + 1; other < control + 4; ++other) {
            CHECK(rig.cpu.write_msr(other, 0));
            CHECK_FALSE(rig.cpu.write_msr(other, 1));
            CHECK(read(other) == 0);
        }
    }
    CHECK(read(0x404) == 0x124);
    u64 value = 0;
    CHECK_FALSE(rig.cpu.read_msr(0x400 + 4 * 5, value));
    CHECK(rig.cpu.set_cr4(kCr4Mce));
    rig.cpu.reset();
    CHECK(read(0x404) == 0);
}

TEST_CASE("machine check: a 486 has none of it") {
    Rig rig{"486"};
    u64 value = 0;
    CHECK_FALSE(rig.cpu.read_msr(0x179, value));
    CHECK_FALSE(rig.cpu.set_cr4(kCr4Mce));
}

TEST_CASE("IA32_TSC_ADJUST and the time-stamp counter move together") {
    Rig rig{"x86-64-v2"};
    const auto read = [&](u32 index) {
        u64 value = 0;
        CHECK(rig.cpu.read_msr(index, value));
        return value;
    };
    const u64 began = read(0x10);
    CHECK(read(0x3B) == 0);
    CHECK(rig.cpu.write_msr(0x10, began + 1000));
    CHECK(read(0x3B) == 1000);
    CHECK(rig.cpu.write_msr(0x3B, 250));
    CHECK(read(0x10) == began + 250);
    CHECK(read(0x3B) == 250);
    rig.cpu.reset();
    CHECK(read(0x3B) == 0);
    u64 value = 0;
    Rig older{"x86-64"};
    CHECK_FALSE(older.cpu.read_msr(0x3B, value));
    CHECK_FALSE(older.cpu.write_msr(0x3B, 0));
}
