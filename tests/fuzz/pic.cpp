#include "devices/pic.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    TestBoard board;
    PicPair pic(board.log);
    pic.connect(IrqLine(board.lines, 0));
    if (!pic.attach(board.ports).ok()) std::abort();
    pic.reset();
    DeviceFuzzer fuzzer(board, pic);
    fuzzer.add_ports(0x20, 2);
    fuzzer.add_ports(0xA0, 2);
    fuzzer.add_ports(0x4D0, 2);
    fuzzer.add_action([&](u8 choice) { pic.set_irq(choice & 31, choice & 0x80); });
    fuzzer.add_action([&](u8) { pic.acknowledge(); });
    fuzzer.run({data, size});
    return 0;
}
