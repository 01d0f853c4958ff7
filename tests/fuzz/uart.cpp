#include "devices/uart.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    TestBoard board;
    Uart uart(board.scheduler, board.inputs, &board.port, IrqLine(board.lines, 4), board.log, "com1");
    if (!uart.attach(board.ports, 0x3F8).ok()) std::abort();
    uart.reset();
    DeviceFuzzer fuzzer(board, uart);
    fuzzer.add_ports(0x3F8, 8);
    fuzzer.add_input(uart.input_source());
    fuzzer.add_action([&](u8 choice) { board.post(uart.input_source(), std::vector<u8>(choice * 64U)); });
    fuzzer.run({data, size});
    return 0;
}
