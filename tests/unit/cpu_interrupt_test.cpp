// The CPU's pins and what they lead to: INTR, NMI and its blocking, HLT, INIT and STARTUP, A20; and the models' CPUID.
#include <doctest/doctest.h>

#include <initializer_list>

#include "core/bus.h"
#include "core/interp/interpreter.h"

using namespace lodge;

namespace {

constexpr u64 kMemory = 2 * kMiB;
constexpr u32 kStart = 0x1000;

struct FakeController final : InterruptController {
    std::optional<u8> acknowledge() override {
        ++asked;
        return vector;
    }
    std::optional<u8> vector = u8{0x20};
    int asked = 0;
};

// Real mode; vector n leads to 0:8000h + 16 n, where there is an IRET unless a test puts something else.
struct Rig {
    explicit Rig(const char* model = "pentium4") : cpu{log, *memory, ports, clock, *find_cpu_model(model)} {
        cpu.connect(controller, nullptr);
        memory->map(0, kMemory, 0, true);
        for (u32 vector = 0; vector < 64; ++vector) {
            memory->write_value<u32>(vector * 4, 0x8000 + vector * 16);
            put(0x8000 + vector * 16, {0xCF});
        }
        cpu.set_real_mode_segment(Segment::cs, 0);
        cpu.state.gpr[kRsp] = 0x7000;
        cpu.state.ip = kStart;
    }
    void put(u32 address, std::initializer_list<u8> code) { memory->write(address, {code.begin(), code.size()}); }
    u64 reg(u8 number) const { return cpu.state.gpr[number]; }

    Log log;
    Bus ports{log, "port"};
    Bus mmio{log, "memory"};
    GuestClock clock{ClockMode::virtual_time};
    FakeController controller;
    std::unique_ptr<PhysicalMemory> memory = std::move(*PhysicalMemory::create(kMemory, mmio));
    Cpu cpu;
    Interpreter engine{cpu};
};

}  // namespace

TEST_CASE("INTR waits for IF and for the instruction after STI, and HLT waits for it") {
    Rig rig;
    rig.put(kStart, {0x40, 0xFB, 0x40, 0x40, 0xF4, 0x43, 0xF4});  // INC AX; STI; INC AX; INC AX; HLT; INC BX; HLT
    rig.put(0x8200, {0x89, 0xC1, 0x41, 0xCF});                    // MOV CX, AX; INC CX; IRET
    rig.cpu.set_interrupt(true);
    CHECK(rig.engine.run(3) == ExitReason::budget);
    CHECK(rig.controller.asked == 0);
    CHECK(rig.engine.run(1) == ExitReason::budget);
    CHECK(rig.controller.asked == 1);
    CHECK(rig.cpu.state.ip == 0x8202);
    CHECK(rig.reg(kRcx) == 2);
    rig.cpu.set_interrupt(false);
    CHECK(rig.engine.run(100) == ExitReason::halted);
    CHECK(rig.reg(kRax) == 3);
    CHECK(rig.reg(kRbx) == 0);
    CHECK(rig.engine.run(100) == ExitReason::halted);
    rig.cpu.set_interrupt(true);
    CHECK(rig.engine.run(4) == ExitReason::budget);
    rig.cpu.set_interrupt(false);
    CHECK(rig.engine.run(100) == ExitReason::halted);
    CHECK(rig.reg(kRbx) == 1);
}

TEST_CASE("an interrupt that the controller takes back is none") {
    Rig rig;
    rig.put(kStart, {0x40, 0x40, 0xF4});
    rig.controller.vector.reset();
    rig.cpu.set_system_flags(kFlagInterrupt);
    rig.cpu.set_interrupt(true);
    // The line stays up in this fake, so only that nothing is delivered can be seen.
    rig.cpu.take_interrupt();
    rig.cpu.set_interrupt(false);
    CHECK(rig.engine.run(100) == ExitReason::halted);
    CHECK(rig.reg(kRax) == 2);
}

TEST_CASE("NMI ignores IF, wakes HLT, and blocks NMIs until IRET") {
    Rig rig;
    rig.put(kStart, {0xF4, 0x40, 0xF4});
    rig.put(0x8020, {0x43, 0x43, 0xCF});  // INC BX; INC BX; IRET
    CHECK(rig.engine.run(100) == ExitReason::halted);
    rig.cpu.nmi();
    CHECK(rig.engine.run(1) == ExitReason::budget);
    CHECK(rig.reg(kRbx) == 1);
    CHECK(rig.cpu.state.ip == 0x8021);
    rig.cpu.nmi();
    CHECK(rig.engine.run(2) == ExitReason::budget);  // the rest of the first handler
    CHECK(rig.reg(kRbx) == 2);
    CHECK(rig.cpu.state.ip == kStart + 1);
    CHECK(rig.engine.run(3) == ExitReason::budget);  // the second handler
    CHECK(rig.reg(kRbx) == 4);
    CHECK(rig.reg(kRax) == 0);
    CHECK(rig.engine.run(100) == ExitReason::halted);
    CHECK(rig.reg(kRax) == 1);
}

TEST_CASE("an IRET that faults ends the blocking of NMIs too") {
    Rig rig;
    rig.put(0x8020, {0x41, 0xBC, 0xFD, 0xFF, 0xCF});  // INC CX; MOV SP, FFFDh; IRET: #SS
    rig.put(0x80C0, {0x43, 0xF4});                    // #SS: INC BX; HLT
    rig.cpu.nmi();
    CHECK(rig.engine.run(1) == ExitReason::budget);
    rig.cpu.nmi();
    CHECK(rig.engine.run(100) == ExitReason::halted);
    CHECK(rig.reg(kRcx) == 2);
    CHECK(rig.reg(kRbx) == 1);
}

TEST_CASE("INIT waits for nothing, STARTUP only for INIT's wait") {
    Rig rig;
    rig.put(kStart, {0xFA, 0xF4});
    CHECK(rig.engine.run(100) == ExitReason::halted);
    rig.cpu.startup(0x12);
    CHECK(rig.cpu.state.ip == kStart + 2);
    rig.cpu.init();
    CHECK(rig.cpu.state.ip == 0xFFF0);
    CHECK_FALSE(rig.cpu.state.halted);
}

TEST_CASE("A20 off: bit 20 of every physical address is 0, for data, code and page tables") {
    Rig rig;
    rig.put(0x2000, {1});
    rig.put(0x102000, {2});
    u8 value = 0;
    REQUIRE(rig.cpu.read_linear<u8>(0x102000, value));
    CHECK(value == 2);
    rig.cpu.set_a20(false);
    REQUIRE(rig.cpu.read_linear<u8>(0x102000, value));
    CHECK(value == 1);
    REQUIRE(rig.cpu.write_linear<u8>(0x102000, 7));
    rig.cpu.set_a20(true);
    REQUIRE(rig.cpu.read_linear<u8>(0x2000, value));
    CHECK(value == 7);
    REQUIRE(rig.cpu.read_linear<u8>(0x102000, value));
    CHECK(value == 2);
}

TEST_CASE("the models that let EFLAGS.ID change, all but the 486, have CPUID") {
    for (const CpuModel& model : cpu_models()) {
        CAPTURE(model.name);
        Rig rig(std::string(model.name).c_str());
        rig.put(kStart, {0x66, 0x31, 0xC0, 0x0F, 0xA2, 0xF4});  // XOR EAX, EAX; CPUID; HLT
        rig.put(0x8060, {0xF4});                                // #UD
        CHECK(rig.engine.run(10) == ExitReason::halted);
        rig.cpu.set_system_flags(kFlagId);
        const bool has_id = (rig.cpu.eflags() & kFlagId) != 0;
        CHECK((rig.reg(kRbx) == 0x756E6547) == has_id);
        CHECK(has_id == (model.name != "486"));
    }
}
