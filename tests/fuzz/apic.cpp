#include "devices/apic.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    TestBoard board;
    FixedVector pic(0x30);
    ApicBus bus;
    LocalApic apic(board.scheduler, board.cpu, bus, pic, board.log, 0);
    if (!apic.attach(board.mmio).ok()) std::abort();
    DeviceFuzzer fuzzer(board, apic);
    fuzzer.add_memory(LocalApic::kDefaultBase, 4096);
    fuzzer.add_action([&](u8) { apic.acknowledge(); });
    fuzzer.add_action([&](u8 choice) { apic.set_irq(choice & 3, choice & 0x80); });
    fuzzer.add_action([&](u8 choice) { apic.set_task_priority(choice); });
    fuzzer.add_action([&](u8 choice) { apic.set_base_msr(LocalApic::kDefaultBase | u64{choice} << 4); });
    fuzzer.run({data, size});
    return 0;
}
