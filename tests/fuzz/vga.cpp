#include "devices/vga.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    TestBoard board;
    constexpr u64 kVramSize = kMiB;
    Vga vga(*board.memory, board.scheduler, board.log, kMiB, kVramSize);
    auto platform = board.platform();
    if (!vga.attach(platform).ok()) std::abort();
    auto block = board.mmio.claim(
        0xFEB00000, Vga::kRegisterBlock, "vga registers",
        [&](u64 offset, unsigned width) { return vga.read_registers(offset, width); },
        [&](u64 offset, unsigned width, u64 value) { vga.write_registers(offset, width, value); });
    if (!block.ok()) std::abort();
    DeviceFuzzer fuzzer(board, vga);
    fuzzer.add_ports(0x3B0, 0x30);
    fuzzer.add_ports(0x3C0, 0x20);
    fuzzer.add_ports(0x1CE, 4);
    fuzzer.add_memory(0xA0000, 0x20000);
    fuzzer.add_memory(0xFEB00400, 0x20);
    fuzzer.add_memory(0xFEB00500, 0x18);
    bool rendered = false;
    fuzzer.add_action([&](u8) { vga.text_screen(); });
    fuzzer.add_action([&](u8) {
        if (!rendered) vga.render();
        rendered = true;
    });
    fuzzer.run({data, size});
    vga.render();
    return 0;
}
