#include "devices/apic.h"

#include <doctest/doctest.h>

#include "devices/ioapic.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

namespace {

struct Fixture : TestBoard {
    Fixture() {
        REQUIRE(apic.attach(mmio).ok());
        REQUIRE(ioapic.attach(mmio).ok());
        apic.reset();
        ioapic.reset();
        set(0x0F0, 0x1FF);
    }
    u32 get(u64 offset) { return static_cast<u32>(mmio.read(0xFEE00000 + offset, 4)); }
    void set(u64 offset, u32 value) { mmio.write(0xFEE00000 + offset, 4, value); }
    u32 io(u8 index) {
        mmio.write(0xFEC00000, 4, index);
        return static_cast<u32>(mmio.read(0xFEC00010, 4));
    }
    void io(u8 index, u32 value) {
        mmio.write(0xFEC00000, 4, index);
        mmio.write(0xFEC00010, 4, value);
    }
    void redirect(unsigned pin, u32 low, u8 destination = 0) {
        io(static_cast<u8>(0x11 + 2 * pin), u32{destination} << 24);
        io(static_cast<u8>(0x10 + 2 * pin), low);
    }
    int take() {
        const auto vector = apic.acknowledge();
        return vector ? *vector : -1;
    }
    void end() { set(0x0B0, 0); }

    FixedVector pic{0x30};
    ApicBus bus;
    LocalApic apic{scheduler, cpu, bus, pic, log, 0};
    IoApic ioapic{bus, log, 1};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "apic: priorities, TPR and EOI") {
    set(0x300, 0x00044041);  // self, fixed
    set(0x300, 0x00044052);
    CHECK(cpu.interrupt);
    CHECK(get(0x220) == 0x00040002);
    CHECK(take() == 0x52);
    CHECK(get(0x0A0) == 0x50);
    CHECK_FALSE(cpu.interrupt);
    end();
    CHECK(cpu.interrupt);
    apic.set_task_priority(0x40);
    CHECK_FALSE(cpu.interrupt);
    CHECK(take() == -1);
    CHECK(get(0x080) == 0x40);
    set(0x080, 0x3F);
    CHECK(cpu.interrupt);
    CHECK(take() == 0x41);
    end();
    CHECK(take() == -1);
}

TEST_CASE_FIXTURE(Fixture, "apic: one-shot and periodic timer") {
    set(0x3E0, 0x0B);  // divide by 1
    set(0x320, 0x000000E0);
    set(0x380, 1000);
    advance(4'000);
    CHECK(get(0x390) == 600);
    CHECK_FALSE(cpu.interrupt);
    advance(6'000);
    CHECK(take() == 0xE0);
    end();
    CHECK(get(0x390) == 0);
    advance(100'000);
    CHECK_FALSE(cpu.interrupt);
    set(0x320, 0x000200E0);
    set(0x3E0, 0x03);  // divide by 16
    set(0x380, 100);
    for (int i = 0; i < 5; ++i) {
        advance(16'000);
        CHECK(take() == 0xE0);
        end();
    }
    set(0x320, 0x000300E0);
    advance(100'000);
    CHECK_FALSE(cpu.interrupt);
    set(0x380, 0);
    CHECK(scheduler.next() == kNever);
}

TEST_CASE_FIXTURE(Fixture, "apic: a count that has run out before its event counts as run out") {
    set(0x3E0, 0x0B);
    set(0x320, 0xE0);
    set(0x380, 1000);
    clock.skip_to(clock.now() + 10'000);  // no scheduler in between
    set(0x320, 0x000200E1);               // periodic: too late for that one
    CHECK(get(0x390) == 0);
    CHECK(take() == 0xE0);
    end();
    advance(100'000);
    CHECK_FALSE(cpu.interrupt);
    set(0x320, 0xE0);
    set(0x380, 1000);
    clock.skip_to(clock.now() + 10'000);
    CHECK(get(0x390) == 0);
    CHECK(take() == 0xE0);  // who sees the zero finds the interrupt, once
    end();
    advance(100'000);
    CHECK_FALSE(cpu.interrupt);
}

TEST_CASE_FIXTURE(Fixture, "apic: the timer keeps its count when the divider changes") {
    set(0x3E0, 0x0B);
    set(0x320, 0xE0);
    set(0x380, 1000);
    advance(5'000);
    set(0x3E0, 0x00);  // divide by 2
    CHECK(get(0x390) == 500);
    advance(9'999);
    CHECK_FALSE(cpu.interrupt);
    advance(1);
    CHECK(cpu.interrupt);
}

TEST_CASE_FIXTURE(Fixture, "apic: ExtINT through LINT0, NMI through LINT1, and both when globally disabled") {
    apic.set_irq(LocalApic::kLint0, true);
    CHECK_FALSE(cpu.interrupt);  // masked after reset
    apic.enable_virtual_wire();
    CHECK(cpu.interrupt);
    CHECK(take() == 0x30);
    apic.set_irq(LocalApic::kLint0, false);
    CHECK_FALSE(cpu.interrupt);
    apic.set_irq(LocalApic::kLint1, true);
    CHECK(cpu.nmis == 1);
    apic.set_irq(LocalApic::kLint1, false);
    CHECK(apic.set_base_msr(0xFEE00000));
    apic.set_irq(LocalApic::kLint0, true);
    CHECK(cpu.interrupt);
    CHECK(take() == 0x30);
    apic.set_irq(LocalApic::kLint1, true);
    CHECK(cpu.nmis == 2);
    CHECK(get(0x030) == 0xFFFFFFFF);  // the page is gone
}

TEST_CASE_FIXTURE(Fixture, "apic: the base MSR moves the page and refuses reserved bits") {
    CHECK(apic.base_msr() == 0xFEE00900);
    CHECK_FALSE(apic.set_base_msr(0xFEE00C00));
    CHECK_FALSE(apic.set_base_msr(0x10FEE00900));
    CHECK(apic.set_base_msr(0xFED00800));
    CHECK(apic.base_msr() == 0xFED00900);
    CHECK(mmio.read(0xFED00030, 4) == 0x00050014);
    CHECK(get(0x030) == 0xFFFFFFFF);
}

TEST_CASE_FIXTURE(Fixture, "apic: software disable masks the LVT and refuses interrupts") {
    set(0x320, 0xE0);
    set(0x0F0, 0x0FF);
    CHECK(get(0x320) == 0x000100E0);
    set(0x320, 0xE0);
    CHECK(get(0x320) == 0x000100E0);
    set(0x300, 0x00044041);
    CHECK_FALSE(cpu.interrupt);
}

TEST_CASE_FIXTURE(Fixture, "apic: errors") {
    set(0x370, 0xFE);
    set(0x300, 0x00044005);  // illegal vector
    CHECK(take() == 0xFE);
    end();
    CHECK(get(0x280) == 0);
    set(0x280, 0);
    CHECK(get(0x280) == 0x20);
    set(0x280, 0);
    CHECK(get(0x280) == 0);
    get(0x3F0);
    set(0x280, 0);
    CHECK(get(0x280) == 0x80);
}

TEST_CASE_FIXTURE(Fixture, "apic: INIT, SIPI and NMI to a second CPU; lowest priority and logical destinations") {
    RecordingCpu second_cpu;
    LocalApic second(scheduler, second_cpu, bus, pic, log, 1);
    second.write(0x0F0, 0x1FF);
    set(0x310, 1u << 24);
    set(0x300, 0x00004500);
    CHECK(second_cpu.inits == 1);
    set(0x300, 0x00008500);  // de-assert
    CHECK(second_cpu.inits == 1);
    set(0x300, 0x0000469A);
    CHECK(second_cpu.startups == std::vector<u8>{0x9A});
    set(0x300, 0x00004400);
    CHECK(second_cpu.nmis == 1);
    second.write(0x0F0, 0x1FF);
    set(0x300, 0x000C4061);  // all but self
    CHECK(second_cpu.interrupt);
    CHECK_FALSE(cpu.interrupt);
    CHECK(*second.acknowledge() == 0x61);
    set(0x0D0, 0x01000000);
    second.write(0x0D0, 0x02000000);
    set(0x310, 0x03000000);
    set(0x300, 0x00004970);  // lowest priority, logical: the second is at priority 60h
    CHECK(take() == 0x70);
    end();
    set(0x0E0, 0x0FFFFFFF);  // cluster model
    set(0x0D0, 0x21000000);
    set(0x310, 0x21000000);
    set(0x300, 0x00004871);
    CHECK(take() == 0x71);
}

TEST_CASE_FIXTURE(Fixture, "ioapic: registers") {
    CHECK(io(0x01) == 0x00170011);
    CHECK(io(0x00) == 0x01000000);
    io(0x00, 0x05000000);
    CHECK(io(0x00) == 0x05000000);
    CHECK(io(0x10) == 0x00010000);
    io(0x3E, 0xFFFFFFFF);
    CHECK(io(0x3E) == 0x0001AFFF);
    CHECK(io(0x40) == 0);
}

TEST_CASE_FIXTURE(Fixture, "ioapic: edges, masked edges") {
    ioapic.set_irq(4, true);
    redirect(4, 0x44);
    CHECK_FALSE(cpu.interrupt);  // the edge came while masked
    ioapic.set_irq(4, false);
    ioapic.set_irq(4, true);
    CHECK(take() == 0x44);
    end();
    ioapic.set_irq(4, true);
    CHECK_FALSE(cpu.interrupt);
}

TEST_CASE_FIXTURE(Fixture, "ioapic: level interrupts come again until the line falls; remote IRR") {
    redirect(10, 0x0000A051);
    ioapic.set_irq(10, true);
    CHECK(io(0x24) == 0x0000E051);
    CHECK(take() == 0x51);
    CHECK_FALSE(cpu.interrupt);
    end();
    CHECK(cpu.interrupt);
    CHECK(take() == 0x51);
    ioapic.set_irq(10, false);
    end();
    CHECK_FALSE(cpu.interrupt);
    CHECK(io(0x24) == 0x0000A051);
    // Going through edge mode clears remote IRR, as drivers for old chips do.
    ioapic.set_irq(10, true);
    CHECK(take() == 0x51);
    io(0x24, 0x00012051);
    io(0x24, 0x0000A051);
    CHECK((io(0x24) & 0x4000) != 0);
}

TEST_CASE_FIXTURE(Fixture, "ioapic: ExtINT and NMI entries") {
    redirect(0, 0x00000700);
    ioapic.set_irq(0, true);
    CHECK(cpu.interrupt);
    CHECK(take() == 0x30);
    CHECK_FALSE(cpu.interrupt);
    redirect(1, 0x00000400);
    ioapic.set_irq(1, true);
    CHECK(cpu.nmis == 1);
}

TEST_CASE_FIXTURE(Fixture, "apic and ioapic: save, load, save") {
    redirect(10, 0x0000A051);
    ioapic.set_irq(10, true);
    set(0x320, 0x000200E0);
    set(0x380, 12345);
    advance(777);
    TestBoard second;
    ApicBus second_bus;
    LocalApic other(second.scheduler, second.cpu, second_bus, pic, second.log, 0);
    IoApic other_io(second_bus, second.log, 1);
    CHECK(same_after_load(apic, other));
    CHECK(same_after_load(ioapic, other_io));
}
