#include "devices/ioapic.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    TestBoard board;
    FixedVector pic(0x30);
    ApicBus bus;
    LocalApic apic(board.scheduler, board.cpu, bus, pic, board.log, 0);
    apic.enable_virtual_wire();
    IoApic ioapic(bus, board.log, 1);
    if (!ioapic.attach(board.mmio).ok()) std::abort();
    DeviceFuzzer fuzzer(board, ioapic);
    fuzzer.add_memory(IoApic::kDefaultBase, 0x20);
    fuzzer.add_action([&](u8 choice) { ioapic.set_irq(choice & 31, choice & 0x80); });
    fuzzer.add_action([&](u8) { apic.acknowledge(); });
    fuzzer.add_action([&](u8) { apic.write(0xB0, 0); });
    fuzzer.run({data, size});
    return 0;
}
