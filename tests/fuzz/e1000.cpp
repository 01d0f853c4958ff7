// The network card under random register accesses, descriptors, frames, guest time and states: nothing may crash, hang
// or grow.
#include "tests/unit/e1000_fixture.h"

using namespace lodge;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    e1000_test::Board board;
    const bool started = size > 0 && (data[0] & 1);
    if (started) board.start();
    test::DeviceFuzzer fuzzer(board, board.card);
    // Registers lie where the first two of these are; the third holds all of them.
    fuzzer.add_memory(e1000_test::Board::kBar, 0x100);
    fuzzer.add_memory(e1000_test::Board::kBar + 0x2800, 0x100);
    fuzzer.add_memory(e1000_test::Board::kBar + 0x3800, 0x100);
    fuzzer.add_memory(e1000_test::Board::kBar, e1000::RegisterFile::kSize);
    fuzzer.add_ports(e1000_test::Board::kIo, 64);
    fuzzer.add_input(board.card.input_source());
    // A descriptor of any kind, sent; each choice is made from the same bytes of the fuzzer's.
    u64 last = 0x9E3779B97F4A7C15;
    fuzzer.add_action([&](u8 choice) {
        last = last * 0xD1342543DE82EF95 + choice;
        const u8 command = static_cast<u8>(choice | (choice & 1 ? e1000_test::Board::kDext : 0));
        board.transmit_raw(last >> 40, (last >> 44) | u64{command} << 24 | last << 40);
    });
    fuzzer.add_action([&](u8 choice) {
        last = last * 0xD1342543DE82EF95 + choice;
        board.transmit_context(static_cast<u8>(last), static_cast<u8>(last >> 8), static_cast<u16>(last >> 16),
                               static_cast<u8>(last >> 32), static_cast<u8>(last >> 40), 0, choice & 1,
                               static_cast<u16>(choice * 8), static_cast<u8>(last >> 48));
    });
    fuzzer.add_action([&](u8 choice) { board.transmit_data(0x1000, choice * 64u, choice | 0x04, choice & 3); });
    fuzzer.add_action([&](u8 choice) {
        std::vector<u8> frame(choice * 40u + 14, choice);
        std::copy(e1000_test::kAddress.begin(), e1000_test::kAddress.end(), frame.begin());
        board.receive(frame);
    });
    // The bus may be mastered or not.
    fuzzer.add_action([&](u8 choice) { board.card.config_write(kPciCommand, 2, choice & 7); });
    fuzzer.run({data, size});
    return 0;
}
