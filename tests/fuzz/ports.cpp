#include "devices/debug_port.h"
#include "devices/exit_port.h"
#include "devices/port92.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    TestBoard board;
    A20Gate gate(board.cpu);
    Port92 port92(gate, board.control, board.log);
    DebugPort debug(board.port, board.log, "debug");
    ExitPort exit(board.control, board.log);
    if (!port92.attach(board.ports).ok()) std::abort();
    if (!debug.attach(board.ports, 0x402).ok() || !exit.attach(board.ports, 0xF4).ok()) std::abort();
    DeviceFuzzer fuzzer(board, port92);
    fuzzer.add_ports(0x92, 1);
    fuzzer.add_ports(0x402, 1);
    fuzzer.add_ports(0xF4, 4);
    fuzzer.run({data, size});
    return 0;
}
