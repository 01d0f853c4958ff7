// String instructions where user-mode tests (tests/insn) cannot go: ports, wrapping 16-bit offsets, interruption.
#include <doctest/doctest.h>

#include <vector>

#include "core/interp/interpreter.h"

using namespace lodge;

namespace {

// Ports and unbacked memory: reads count up, writes are noted and may kick.
class Recorder final : public AddressSpace {
  public:
    u64 read(u64, unsigned) override { return next++; }
    void write(u64, unsigned, u64 value) override {
        written.push_back(static_cast<u32>(value));
        if (kicked) kicked->request_attention(kAttentionKick);
        if (interrupted && written.size() == 3) interrupted->set_interrupt(true);
    }
    u64 next = 0x41;
    std::vector<u32> written;
    Cpu* kicked = nullptr;
    Cpu* interrupted = nullptr;
};

struct OneVector final : InterruptController {
    std::optional<u8> acknowledge() override {
        cpu->set_interrupt(false);
        return u8{0x20};
    }
    Cpu* cpu = nullptr;
};

constexpr u16 kCodeSegment = 0x100, kDataSegment = 0x1000, kExtraSegment = 0x2000;

// Real mode, one instruction or a few at 100:0, data at 1000:0, ES 2000.
struct RealMode {
    RealMode() {
        memory = std::move(*PhysicalMemory::create(512 * kKiB, recorder));
        memory->map(0, 512 * kKiB, 0, true);
        cpu = std::make_unique<Cpu>(log, *memory, recorder, clock, cpu_models().back());
        cpu->reset();
        cpu->set_real_mode_segment(Segment::cs, kCodeSegment);
        cpu->set_real_mode_segment(Segment::ds, kDataSegment);
        cpu->set_real_mode_segment(Segment::es, kExtraSegment);
        cpu->mode_changed();
        cpu->state.ip = 0;
        interpreter = std::make_unique<Interpreter>(*cpu);
    }
    void code(std::initializer_list<u8> bytes) { memory->write(kCodeSegment * 16, {bytes.begin(), bytes.size()}); }
    u64& reg(unsigned number) { return cpu->state.gpr[number]; }
    u8 extra(u64 offset) { return memory->read_value<u8>(kExtraSegment * 16 + offset); }

    Recorder recorder;
    Log log;
    GuestClock clock{ClockMode::virtual_time};
    std::unique_ptr<PhysicalMemory> memory;
    std::unique_ptr<Cpu> cpu;
    std::unique_ptr<Interpreter> interpreter;
};

}  // namespace

TEST_CASE("rep insb stores what the port gives, in order") {
    RealMode machine;
    machine.code({0xF3, 0x6C});
    machine.reg(kRcx) = 5;
    machine.reg(kRdi) = 0xFFFE;  // wraps within the segment
    CHECK(machine.interpreter->run(1) == ExitReason::budget);
    CHECK(machine.extra(0xFFFE) == 0x41);
    CHECK(machine.extra(0xFFFF) == 0x42);
    CHECK(machine.extra(0) == 0x43);
    CHECK(machine.extra(2) == 0x45);
    CHECK(machine.reg(kRcx) == 0);
    CHECK(machine.reg(kRdi) == 3);
    CHECK(machine.cpu->state.ip == 2);
}

TEST_CASE("rep outsw sends words downwards when DF is set") {
    RealMode machine;
    machine.code({0xFD, 0xF3, 0x6F});
    machine.memory->write_value<u32>(kDataSegment * 16, 0x22221111);
    machine.reg(kRcx) = 2;
    machine.reg(kRsi) = 2;
    machine.interpreter->run(2);
    CHECK(machine.recorder.written == std::vector<u32>{0x2222, 0x1111});
    CHECK(machine.reg(kRsi) == 0xFFFE);
}

TEST_CASE("rep movsw wraps at the end of a 64 KiB segment and faults across it") {
    RealMode machine;
    machine.code({0xF3, 0xA5});
    machine.memory->write_value<u16>(kDataSegment * 16 + 0xFFFE, 0x1234);
    machine.memory->write_value<u16>(kDataSegment * 16, 0x5678);
    machine.reg(kRcx) = 2;
    machine.reg(kRsi) = 0xFFFE;
    machine.interpreter->run(1);
    CHECK(machine.memory->read_value<u32>(kExtraSegment * 16) == 0x56781234);
    CHECK(machine.reg(kRsi) == 2);

    machine.cpu->state.ip = 0;
    machine.reg(kRcx) = 2;
    machine.reg(kRsi) = 0xFFFD;
    machine.reg(kRdi) = 0x10;
    machine.memory->write_value<u32>(13 * 4, 0x0300'0000);  // #GP goes to 300:0
    machine.interpreter->run(1);
    CHECK(machine.cpu->state.segment(Segment::cs).selector == 0x300);
    CHECK(machine.reg(kRcx) == 1);  // one element was good
    CHECK(machine.reg(kRsi) == 0xFFFF);
    CHECK(machine.reg(kRdi) == 0x12);
}

TEST_CASE("a kick interrupts a repetition without retiring it") {
    RealMode machine;
    machine.code({0x90, 0xF3, 0xAA, 0x90});
    machine.memory->unmap(kExtraSegment * 16, 64 * kKiB);
    machine.recorder.kicked = machine.cpu.get();
    machine.reg(kRcx) = 10000;
    const u64 before = machine.cpu->state.retired;
    CHECK(machine.interpreter->run(100) == ExitReason::kicked);
    CHECK(machine.cpu->state.ip == 1);
    CHECK(machine.cpu->state.retired == before + 1);
    CHECK(machine.reg(kRcx) == 10000 - machine.recorder.written.size());
    CHECK(machine.reg(kRdi) == machine.recorder.written.size());
    CHECK(machine.reg(kRcx) > 0);
    machine.recorder.kicked = nullptr;
    while (machine.interpreter->run(1) == ExitReason::kicked) CHECK(machine.cpu->state.retired == before + 1);
    CHECK(machine.reg(kRcx) == 0);
    CHECK(machine.recorder.written.size() == 10000);
    CHECK(machine.cpu->state.ip == 3);
    CHECK(machine.cpu->state.retired == before + 2);
}

TEST_CASE("an interrupt comes after the element that raises it, and the repetition goes on behind it") {
    RealMode machine;
    machine.code({0xF3, 0x6E, 0x90});  // REP OUTSB
    machine.memory->write_value<u32>(0x20 * 4, 0x0300'0000);
    machine.memory->write_value<u8>(0x3000, 0xCF);  // IRET
    OneVector controller;
    controller.cpu = machine.cpu.get();
    machine.cpu->connect(controller, nullptr);
    machine.cpu->set_system_flags(kFlagInterrupt);
    machine.reg(kRsp) = 0x1000;
    machine.recorder.interrupted = machine.cpu.get();
    machine.reg(kRcx) = 10;
    const u64 before = machine.cpu->state.retired;
    CHECK(machine.interpreter->run(1) == ExitReason::budget);  // the handler's IRET
    CHECK(machine.recorder.written.size() == 3);
    CHECK(machine.reg(kRcx) == 7);
    CHECK(machine.cpu->state.ip == 0);
    CHECK(machine.interpreter->run(1) == ExitReason::budget);
    CHECK(machine.recorder.written.size() == 10);
    CHECK(machine.reg(kRcx) == 0);
    CHECK(machine.cpu->state.ip == 2);
    CHECK(machine.cpu->state.retired == before + 2);
}

TEST_CASE("a long repetition lets the machine look at its devices") {
    RealMode machine;
    machine.code({0x67, 0xF3, 0xAA, 0x90});         // REP STOSB with 32-bit addresses
    machine.cpu->set_system_flags(kFlagDirection);  // single elements
    machine.reg(kRcx) = 0xC000;
    machine.reg(kRdi) = 0xFFFF;
    unsigned returns = 0;
    while (machine.interpreter->run(1) == ExitReason::kicked) {
        CHECK(machine.cpu->state.retired == 0);
        ++returns;
    }
    CHECK(returns == 0xC000 / 0x4000 - 1);
    CHECK(machine.cpu->state.retired == 1);
    CHECK(machine.reg(kRcx) == 0);
    CHECK(machine.reg(kRdi) == 0x3FFF);
}
