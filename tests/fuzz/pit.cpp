#include "devices/pit.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    TestBoard board;
    Pit pit(board.scheduler, IrqLine(board.lines, 0), board.log);
    if (!pit.attach(board.ports).ok()) std::abort();
    DeviceFuzzer fuzzer(board, pit);
    fuzzer.add_ports(0x40, 4);
    fuzzer.add_ports(0x61, 1);
    fuzzer.run({data, size});
    return 0;
}
