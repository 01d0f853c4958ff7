#include "devices/dma.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    TestBoard board;
    board.memory->map(0, kMiB, 0, true);
    board.memory->map(0xF0000, 0x10000, kMiB, false);
    DmaController dma(*board.memory, board.log);
    if (!dma.attach(board.ports).ok()) std::abort();
    DeviceFuzzer fuzzer(board, dma);
    fuzzer.add_ports(0x00, 16);
    fuzzer.add_ports(0x80, 16);
    fuzzer.add_ports(0xC0, 32);
    std::array<u8, 2048> bytes{};
    fuzzer.add_action([&](u8 choice) { dma.channel(choice & 7).request(choice & 8); });
    fuzzer.add_action([&](u8 choice) { dma.channel(choice & 7).to_memory(std::span(bytes).first(choice * 8U)); });
    fuzzer.add_action([&](u8 choice) { dma.channel(choice & 7).from_memory(std::span(bytes).first(choice * 8U)); });
    fuzzer.run({data, size});
    return 0;
}
