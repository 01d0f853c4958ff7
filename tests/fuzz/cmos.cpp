#include "devices/cmos.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    TestBoard board;
    Cmos cmos(board.scheduler, IrqLine(board.lines, 8), board.log);
    if (!cmos.attach(board.ports).ok()) std::abort();
    DeviceFuzzer fuzzer(board, cmos);
    fuzzer.add_ports(0x70, 4);
    fuzzer.add_action([&](u8 choice) { board.stall(u64{choice} * choice * 86'400 * kNanosecondsPerSecond); });
    fuzzer.add_action([&](u8) { board.advance(kNanosecondsPerSecond / 128); });
    fuzzer.run({data, size});
    return 0;
}
