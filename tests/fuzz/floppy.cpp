#include "tests/unit/floppy_fixture.h"

using namespace lodge;
using namespace lodge::test;

namespace {

// Commands that go on for a while come more often when they are whole.
void send_command(floppy_test::FloppyBoard& board, u8 choice) {
    static constexpr u8 kCodes[] = {0xE6, 0xC5, 0x46, 0x45, 0x42, 0x4A, 0x4D, 0xD6,
                                    0x51, 0x59, 0x5D, 0x4C, 0xC9, 0x07, 0x0F, 0xCF};
    board.out(0x3F5, kCodes[choice & 15]);
    for (const u8 byte : {choice >> 4 & 5, choice >> 6 & 1, choice >> 4 & 1, (choice & 7) + 1, 2, 18, 0x1B, 2})
        board.out(0x3F5, static_cast<u8>(byte));
}

void program_dma(floppy_test::FloppyBoard& board, u8 choice) {
    board.out(0x0A, 0x06);
    board.out(0x0B, choice & 1 ? 0x46 : 0x4A);
    for (const u16 port : {0x04, 0x04, 0x05, 0x05}) board.out(port, choice);
    board.out(0x0A, 0x02);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    floppy_test::FloppyBoard board(1440, 360, FloppyDriveType::k1440, FloppyDriveType::k1200);
    board.out(0x3F2, 0x3C);
    DeviceFuzzer fuzzer(board, board.floppy);
    fuzzer.add_ports(0x3F0, 8);
    fuzzer.add_ports(0x3F5, 1);
    fuzzer.add_ports(0x00, 16);
    fuzzer.add_action([&](u8 choice) { send_command(board, choice); });
    fuzzer.add_action([&](u8 choice) { program_dma(board, choice); });
    fuzzer.add_action([&](u8 choice) {
        static constexpr u64 kSizes[] = {160, 360, 720, 1200, 1440, 2880, 100, 1680};
        if (choice & 8) {
            board.slots[choice & 1].insert(floppy_test::diskette(kSizes[choice >> 4 & 7]));
        } else {
            board.slots[choice & 1].eject(MediumSlot::Eject::ask);
        }
        board.inputs.apply_all(board.clock.position());
    });
    fuzzer.run({data, size});
    return 0;
}
