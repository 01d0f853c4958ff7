// What networks make of a guest's frames and a peer's bytes: the DHCP server and the frame stream.
#include <cstdlib>

#include "net/dhcp_server.h"
#include "net/frame_stream.h"

using namespace lodge;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    const std::span<const u8> bytes(data, size);
    DhcpConfig config;
    config.boot_file = "file";
    config.root_path = "iscsi:10.0.2.2::::iqn.2026-11.io.lodge:disk";
    DhcpServer server(config);
    FrameReader reader;
    reader.feed(bytes, [&](std::span<const u8> frame) {
        if (frame.size() > kLongestStreamFrame) std::abort();
        if (const auto answer = server.answer(frame); answer && !find_layers(*answer)) std::abort();
    });
    // The bytes as a DHCP message, in a frame that leads there.
    std::vector<u8> frame(42);
    store_big_endian(&frame[12], kEtherTypeIpv4);
    frame[14] = 0x45;
    store_big_endian(&frame[16], static_cast<u16>(28 + size));
    frame[23] = 17;
    store_big_endian(&frame[36], u16{67});
    frame.insert(frame.end(), data, data + size);
    for (int again = 0; again < 2; ++again) {
        const auto answer = server.answer(frame);
        if (answer && !transport_checksum_right(*answer, *find_layers(*answer))) std::abort();
    }
    return 0;
}
