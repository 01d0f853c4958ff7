#include "devices/pc.h"

#include <doctest/doctest.h>

#include "devices/linux_loader.h"
#include "tests/unit/board_fixture.h"
#include "tests/unit/memory_disk.h"

namespace lodge {
namespace {

constexpr u64 kRam = 32 * kMiB;

struct Board : BoardFixture {
    explicit Board(std::vector<u8> bios = std::vector<u8>(128 * kKiB, 0xEA), std::vector<u64> disk_sectors = {})
        : BoardFixture(PcLayout{kRam}.backing_bytes()) {
        PcConfig config;
        for (size_t i = 0; i < disk_sectors.size(); ++i)
            if (disk_sectors[i]) config.disks[i] = std::make_unique<test::MemoryDisk>(disk_sectors[i]);
        config.layout = PcLayout{kRam};
        config.bios = std::move(bios);
        config.vga_bios = {0x55, 0xAA, 1};
        config.serial_ports = 2;
        config.serial = {&serial, nullptr};
        config.debug = &debug;
        pc = std::make_unique<Pc>(platform, std::move(config));
    }
    u32 pci(unsigned device, unsigned function, unsigned offset) {
        return pc->pci().config_read(0x80000000 | device << 11 | function << 8 | offset, 0, 4);
    }
    void pci(unsigned device, unsigned function, unsigned offset, u32 value) {
        pc->pci().config_write(0x80000000 | device << 11 | function << 8 | offset, 0, 4, value);
    }
    std::vector<u8> save() {
        StateIo io;
        pc->state(io);
        return io.take();
    }

    test::RecordingPort serial;
    test::RecordingPort debug;
    std::unique_ptr<Pc> pc;
};

TEST_CASE("the functions a guest looks for are where QEMU's board has them") {
    Board board;
    CHECK(board.pci(0, 0, 0) == 0x12378086);
    CHECK(board.pci(1, 0, 0) == 0x70008086);
    CHECK(board.pci(1, 1, 0) == 0x70108086);
    CHECK(board.pci(1, 3, 0) == 0x71138086);
    CHECK(board.pci(2, 0, 0) == 0x11111234);
    CHECK(board.pci(3, 0, 0) == 0xFFFFFFFF);
    CHECK(board.pci(0, 0, 0x2C) == 0x11001AF4);
}

TEST_CASE("ROMs: the BIOS ends at 4 GiB and at 1 MiB, the VGA BIOS is an expansion ROM") {
    Board board;
    CHECK(board.memory->read_value<u8>(0xFFFFFFF0) == 0xEA);
    CHECK(board.memory->read_value<u8>(0xFFFF0) == 0xEA);
    CHECK(board.memory->read_value<u8>(0xFFFC0000) == 0xFF);
    board.pci(2, 0, kPciRom, 0xFEBE0001);
    board.pci(2, 0, kPciCommand, kPciCommandMemory);
    CHECK(board.memory->read_value<u16>(0xFEBE0000) == 0xAA55);
}

TEST_CASE("what firmware reads: CMOS and fw_cfg") {
    Board board;
    CHECK(board.pc->cmos().get(0x15) == 0x80);
    CHECK(board.pc->cmos().get(0x16) == 0x02);
    CHECK((board.pc->cmos().get(0x30) | board.pc->cmos().get(0x31) << 8) == 31 * 1024);
    CHECK((board.pc->cmos().get(0x34) | board.pc->cmos().get(0x35) << 8) == 16 * 16);
    CHECK(board.pc->cmos().get(0x3D) == 0x32);
    for (const char* name : {"etc/e820", "bootorder", "etc/acpi/tables", "etc/acpi/rsdp", "etc/table-loader"})
        CHECK(board.pc->fw_cfg().file(name) != nullptr);
    const std::vector<u8>& map = *board.pc->fw_cfg().file("etc/e820");
    REQUIRE(map.size() == 20);
    CHECK(load<u64>(&map[8]) == kRam);
    CHECK(board.pc->fw_cfg().file("bootorder")->back() == 0);
}

TEST_CASE("the firmware is told to translate the geometry of large disks, not of small ones") {
    constexpr u64 kLast = 1025 * 16 * 63 - 1;  // the last size with 1024 cylinders
    const auto translation = [](std::vector<u64> sectors) {
        Board board(std::vector<u8>(128 * kKiB), std::move(sectors));
        return board.pc->cmos().get(0x39);
    };
    CHECK(translation({}) == 0);
    CHECK(translation({1, 256, 2880, kLast}) == 0);
    CHECK(translation({kLast + 1}) == 0x01);
    CHECK(translation({256, u64{1} << 22, 0, u64{1} << 32}) == 0x44);
}

TEST_CASE("diskette drives in CMOS, the boot order and the ACPI tables") {
    const auto board = [](std::optional<u64> first, std::optional<u64> second) {
        BoardFixture parts(PcLayout{kRam}.backing_bytes());
        PcConfig config;
        config.layout = PcLayout{kRam};
        config.boot = {BootSource::floppy, BootSource::disk};
        config.disks[0] = std::make_unique<test::MemoryDisk>(5000);
        if (first) config.floppies[0].emplace();
        if (first && *first) config.floppies[0]->medium = std::make_unique<test::MemoryDisk>(*first * 2);
        if (second) config.floppies[1].emplace();
        if (second && *second) config.floppies[1]->medium = std::make_unique<test::MemoryDisk>(*second * 2);
        Pc pc(parts.platform, std::move(config));
        const auto contains = [](const std::vector<u8>& bytes, std::string_view text) {
            return std::search(bytes.begin(), bytes.end(), text.begin(), text.end()) != bytes.end();
        };
        const std::vector<u8>& order = *pc.fw_cfg().file("bootorder");
        CHECK(contains(order, "/pci@i0cf8/isa@1/fdc@03f0/floppy@0\n/pci@i0cf8") == first.has_value());
        CHECK(contains(order, "floppy@1\n/pci@i0cf8/ide@1,1/drive@0/disk@0\n") == second.has_value());
        CHECK(contains(*pc.fw_cfg().file("etc/acpi/tables"), "FDC0") == (first || second));
        return std::pair(pc.cmos().get(0x10), pc.cmos().get(0x14));
    };
    CHECK(board({}, {}) == std::pair<u8, u8>(0x00, 0x06));
    CHECK(board(1440, {}) == std::pair<u8, u8>(0x40, 0x07));
    CHECK(board(0, 1200) == std::pair<u8, u8>(0x42, 0x47));
    CHECK(board({}, 2880) == std::pair<u8, u8>(0x05, 0x07));
    CHECK(board(360, 720) == std::pair<u8, u8>(0x14, 0x47));
}

TEST_CASE("debug and exit ports, serial lines") {
    Board board;
    board.out(0x402, 1, 'S');
    board.out(0xE9, 1, 'B');
    CHECK(board.debug.text == "SB");
    CHECK(board.in(0x402, 1) == 0xE9);
    board.out(0xF4, 1, 16);
    CHECK(board.control.exit_status == 33);
    board.out(0x3F8, 1, 'x');
    CHECK(board.serial.text == "x");
    CHECK(board.in(0x2FB, 1) != 0xFF);
}

TEST_CASE("a PCI interrupt reaches PIC and I/O APIC through its PIRQ") {
    Board board;
    // The PIC: base 8, all masked but the cascade and IRQ 9..11, level triggered.
    for (const auto& [port, value] : {std::pair<u16, u8>{0x20, 0x11},
                                      {0x21, 0x08},
                                      {0x21, 0x04},
                                      {0x21, 0x01},
                                      {0xA0, 0x11},
                                      {0xA1, 0x70},
                                      {0xA1, 0x02},
                                      {0xA1, 0x01},
                                      {0x21, 0xFB},
                                      {0xA1, 0xF1},
                                      {0x4D1, 0x0E}})
        board.out(port, 1, value);
    board.pc->local_apic().enable_virtual_wire();
    // The power management timer's and power button's SCI is IRQ 9.
    board.pci(1, 3, Acpi::kPmBase, 0x601);
    board.pci(1, 3, Acpi::kPmMiscellaneous, 1);
    board.out(0x602, 2, Acpi::kPowerButton);
    board.out(0xB2, 1, Acpi::kEnableCommand);
    board.pc->acpi().press_power_button();
    board.inputs.apply_all(0);
    CHECK(board.cpu.interrupt);
    const auto vector = board.pc->interrupt_controller().acknowledge();
    REQUIRE(vector.has_value());
    CHECK(*vector == 0x71);
}

TEST_CASE("reset brings back the ROM and unmaps BARs") {
    Board board;
    board.pci(0, 0, 0x58, 0x3000);
    board.memory->write_value<u8>(0xFFFF0, 1);
    CHECK(board.memory->read_value<u8>(0xFFFF0) == 1);
    board.pci(2, 0, kPciBar0, 0xFD000000);
    board.pci(2, 0, kPciCommand, kPciCommandMemory);
    CHECK(board.memory->is_backed(0xFD000000));
    board.pc->reset();
    CHECK(board.memory->read_value<u8>(0xFFFF0) == 0xEA);
    CHECK_FALSE(board.memory->is_backed(0xFD000000));
}

TEST_CASE("the whole board's state, also after use") {
    Board board;
    const auto fresh = board.save();
    board.advance(123'456'789);
    board.pci(0, 0, 0x58, 0x3000);
    board.pci(2, 0, kPciBar0, 0xFD000000);
    board.pci(2, 0, kPciCommand, kPciCommandMemory);
    board.out(0x43, 1, 0x34);
    board.out(0x40, 1, 0x00);
    board.out(0x40, 1, 0x10);
    board.out(0x70, 1, 0x10);
    board.advance(10'000'000);
    const auto used = board.save();
    CHECK(used != fresh);
    Board other;
    other.advance(133'456'789);
    StateIo io(used);
    other.pc->state(io);
    CHECK_FALSE(io.failed());
    CHECK(other.save() == used);
    CHECK(other.memory->is_backed(0xFD000000));
    StateIo again(fresh);
    other.pc->state(again);
    CHECK_FALSE(other.memory->is_backed(0xFD000000));
}

// A bzImage of protocol 2.15 with `code` as its protected-mode part.
std::vector<u8> make_kernel(const std::vector<u8>& code) {
    constexpr size_t kSetup = 1024;
    std::vector<u8> file(kSetup + code.size());
    file[0x1F1] = 1;
    store(&file[0x1FE], u16{0xAA55});
    file[0x201] = 0x6A;
    std::memcpy(&file[0x202], "HdrS", 4);
    store(&file[0x206], u16{0x020F});
    file[0x211] = 1;
    store(&file[0x214], u32{0x100000});
    store(&file[0x22C], u32{0x37FFFFFF});
    file[0x234] = 1;
    store(&file[0x238], u32{64});
    store(&file[0x258], u64{16 * kMiB});
    store(&file[0x260], u32{8 * kMiB});
    std::copy(code.begin(), code.end(), file.begin() + kSetup);
    return file;
}

TEST_CASE("direct boot places kernel, initrd, command line and tables") {
    Board board(std::vector<u8>{});
    const std::vector<u8> kernel = make_kernel({1, 2, 3, 4});
    const std::vector<u8> initrd(5000, 0x77);
    const auto state = load_linux(*board.pc, {.kernel = kernel, .initrd = initrd, .command_line = "console=ttyS0"});
    REQUIRE(state.ok());
    PhysicalMemory& memory = *board.memory;
    CHECK(memory.read_value<u32>(state->eip) == 0x04030201);
    CHECK(memory.read_value<u64>(state->gdt_base + state->code_selector) == 0x00CF9B000000FFFF);
    const u32 page = state->esi;
    CHECK(memory.read_value<u32>(page + 0x202) == 0x53726448);
    CHECK(memory.read_value<u8>(page + 0x210) == 0xFF);
    std::string line(13, ' ');
    memory.read(memory.read_value<u32>(page + 0x228), {reinterpret_cast<u8*>(line.data()), line.size()});
    CHECK(line == "console=ttyS0");
    const u32 start = memory.read_value<u32>(page + 0x218);
    CHECK(memory.read_value<u32>(page + 0x21C) == 5000);
    CHECK(start + 5000 <= kRam);
    CHECK(start >= 24 * kMiB);
    CHECK(memory.read_value<u8>(start + 4999) == 0x77);
    CHECK(memory.read_value<u64>(memory.read_value<u64>(page + 0x70)) == 0x2052545020445352);  // "RSD PTR "
    // The map: all RAM, in order, and nothing twice.
    u64 last = 0;
    u64 ram = 0;
    for (unsigned i = 0; i < memory.read_value<u8>(page + 0x1E8); ++i) {
        const u64 entry = page + 0x2D0 + 20 * i;
        CHECK(memory.read_value<u64>(entry) >= last);
        last = memory.read_value<u64>(entry) + memory.read_value<u64>(entry + 8);
        if (memory.read_value<u32>(entry + 16) == 1) ram += memory.read_value<u64>(entry + 8);
    }
    CHECK(ram == kRam - kMiB + 0x9FC00);
    // And the board: registers where the tables say, A20 open, channels on.
    CHECK(board.in(0x604, 2) == 0);
    CHECK(board.cpu.a20);
    CHECK(board.pci(1, 1, 0x40) == 0x80008000);
    CHECK((board.pci(1, 0, 0x60)) == 0x0B0B0A0A);
    CHECK(memory.is_backed(0xFD000000));
}

TEST_CASE("direct boot refuses what cannot be booted") {
    Board board(std::vector<u8>{});
    const std::vector<u8> kernel = make_kernel({1, 2, 3, 4});
    const auto kind = [&](std::span<const u8> bytes, size_t initrd, std::string line) {
        const std::vector<u8> ramdisk(initrd);
        const auto result =
            load_linux(*board.pc, {.kernel = bytes, .initrd = ramdisk, .command_line = std::move(line)});
        return result.ok() ? std::optional<ErrorKind>() : result.error().kind;
    };
    for (size_t size = 0; size <= 1024; size += 64)
        CHECK(kind(std::span(kernel).first(size), 0, "") == ErrorKind::bad_format);
    CHECK(kind(kernel, 9 * kMiB, "") == ErrorKind::usage);
    CHECK(kind(kernel, 0, std::string(65, 'a')) == ErrorKind::usage);
    CHECK_FALSE(kind(kernel, 7 * kMiB, std::string(64, 'a')).has_value());
    const auto patched = [&](size_t offset, auto value) {
        std::vector<u8> bytes = kernel;
        store(&bytes[offset], value);
        return kind(bytes, 0, "");
    };
    CHECK(patched(0x1FE, u16{0}) == ErrorKind::bad_format);
    CHECK(patched(0x206, u16{0x0203}) == ErrorKind::bad_format);
    CHECK(patched(0x211, u8{0}) == ErrorKind::bad_format);
    CHECK(patched(0x214, u32{0x10000}) == ErrorKind::bad_format);
    CHECK(patched(0x258, ~u64{0}) == ErrorKind::bad_format);
    CHECK(patched(0x260, ~u32{0}) == ErrorKind::usage);
    CHECK(patched(0x1F1, u8{0xFF}) == ErrorKind::bad_format);
}

}  // namespace
}  // namespace lodge
