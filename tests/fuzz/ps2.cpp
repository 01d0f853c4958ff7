#include "devices/ps2.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    TestBoard board;
    A20Gate gate(board.cpu);
    Ps2 ps2(board.scheduler, board.inputs, IrqLine(board.lines, 1), IrqLine(board.lines, 12), gate, board.control,
            board.log);
    if (!ps2.attach(board.ports).ok()) std::abort();
    ps2.reset();
    DeviceFuzzer fuzzer(board, ps2);
    fuzzer.add_ports(0x60, 1);
    fuzzer.add_ports(0x64, 1);
    fuzzer.add_input(ps2.keyboard_source());
    fuzzer.add_input(ps2.mouse_source());
    fuzzer.add_action([&](u8) { board.advance(50'000); });
    fuzzer.run({data, size});
    return 0;
}
