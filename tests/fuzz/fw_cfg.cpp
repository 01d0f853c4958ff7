// fw_cfg's selector, data and DMA ports; descriptors and targets lie anywhere.
#include "devices/fw_cfg.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    test::TestBoard board;
    const Platform platform = board.platform();
    board.memory->map(0, kMiB, 0, true);
    FwCfg fw_cfg(platform);
    fw_cfg.add_file("etc/some", {1, 2, 3, 4, 5});
    fw_cfg.add_file("etc/more", std::vector<u8>(5000, 7));
    test::DeviceFuzzer fuzzer(board, fw_cfg);
    fuzzer.add_ports(0x510, 12);
    // A transfer with a well-formed descriptor at 100h.
    u8 descriptor[16] = {};
    fuzzer.add_action([&](u8 choice) { descriptor[choice & 15] ^= static_cast<u8>(1u << (choice >> 4 & 7)); });
    fuzzer.add_action([&](u8 choice) {
        store_big_endian(descriptor, static_cast<u32>(0x20 + (choice >> 5)) << 16 | (choice & 0x1F));
        board.memory->write(0x100, descriptor);
        board.ports.write(0x514, 4, 0);
        board.ports.write(0x518, 4, 0x00010000);
    });
    fuzzer.run({data, size});
    return 0;
}
