// A CD-ROM drive beside a disk, under random register accesses and packets, with discs that come and go.
#include "tests/unit/ide_fixture.h"

#include "tests/fuzz/device_harness.h"

using namespace lodge;
using namespace lodge::test;

namespace {

struct CdBoard : TestBoard {
    CdBoard() {
        memory->map(0, kMiB, 0, true);
        ide.config_write(kPciBar0 + 16, 4, 0xC000);
        ide.config_write(kPciCommand, 2, kPciCommandIo | kPciCommandMaster);
        ide.config_write(0x40, 4, 0x8000'8000);
        for (u16 port : {u16{0x1F6}, u16{0x176}}) out(port, 0xA0);
    }
    static std::unique_ptr<test::MemoryDisk> disc(u64 blocks) {
        auto made = std::make_unique<test::MemoryDisk>(blocks * 4);
        made->write_protected = true;
        return made;
    }
    // A packet of a command that the drive has, to the drive that is selected.
    void send_packet(u8 choice) {
        static constexpr u8 kCodes[] = {0x00, 0x03, 0x12, 0x1B, 0x1E, 0x25, 0x28, 0x28, 0x42, 0x43, 0x46, 0x4A,
                                        0x51, 0x52, 0x55, 0x5A, 0xA8, 0xAD, 0xB9, 0xBD, 0xBE, 0xBE, 0x44, 0xAC};
        const u8 code = kCodes[choice % std::size(kCodes)];
        out(0x171, choice & 1);
        out(0x174, static_cast<u8>(choice << 3));
        out(0x175, choice >> 6);
        out(0x177, 0xA0);
        const u8 packet[12] = {code,
                               static_cast<u8>(choice & 2),
                               0,
                               0,
                               0,
                               static_cast<u8>(choice >> 3),
                               0,
                               static_cast<u8>(choice >> 7),
                               static_cast<u8>(choice | 1),
                               static_cast<u8>(code == 0xBE || code == 0xB9 ? 0xF8 : 0),
                               0,
                               0};
        for (size_t at = 0; at < sizeof packet; at += 2) ports.write(0x170, 2, load<u16>(&packet[at]));
    }
    void start_dma(u8 choice) {
        memory->write_value(0x100, u32{choice} << 10);
        memory->write_value(0x104, choice & 1 ? 0x8000'0000u : 0x0000'0800u);
        ports.write(0xC00C, 4, 0x100);
        out(0xC008, 0);
        out(0xC008, choice & 2 ? 9 : 1);
    }
    void move_data(u8 choice) {
        for (unsigned i = 0; i < choice * 8u; ++i) {
            if (choice & 1) {
                ports.write(0x170, 2, i);
            } else {
                ports.read(0x170, 4);
            }
        }
    }
    void change_disc(u8 choice) {
        if (choice & 1) {
            slot.insert(disc(choice & 2 ? 400'000 : choice));
        } else {
            slot.eject(choice & 2 ? MediumSlot::Eject::force : MediumSlot::Eject::ask);
        }
        inputs.apply_all(clock.position());
    }

    test::MemoryDisk disk{5000};
    MediumSlot slot{inputs, log, "cdrom2", disc(500)};
    Platform board_platform = TestBoard::platform();  // PCI functions keep a reference to it
    Ide ide{board_platform, IrqLine(lines, 14), IrqLine(lines, 15), {&disk}, {nullptr, nullptr, &slot, nullptr}};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    CdBoard board;
    DeviceFuzzer fuzzer(board, board.ide);
    fuzzer.add_ports(0x170, 8);
    fuzzer.add_ports(0x170, 8);
    fuzzer.add_ports(0x376, 1);
    fuzzer.add_ports(0xC000, 16);
    fuzzer.add_action([&](u8 choice) { board.send_packet(choice); });
    fuzzer.add_action([&](u8 choice) { board.move_data(choice); });
    fuzzer.add_action([&](u8 choice) { board.start_dma(choice); });
    fuzzer.add_action([&](u8 choice) { board.change_disc(choice); });
    fuzzer.run({data, size});
    return 0;
}
