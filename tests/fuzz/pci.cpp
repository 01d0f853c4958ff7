// Configuration accesses and what BARs make of them: mechanism 1, host bridge (PAM, SMRAM), ISA bridge (PIRQ routing,
// reset control) and a function with every kind of BAR. Nothing may crash, and a state must save again to the same
// bytes after it was loaded.
#include "devices/i440fx.h"
#include "devices/piix3.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;

namespace {

constexpr u64 kRam = kMiB;

struct Function final : PciDevice {
    Function(const Platform& platform, std::string name, u64 backing)
        : PciDevice(platform, std::move(name), {.vendor = 1, .device = 2, .interrupt_pin = 1}) {
        const BusRead read = [](u64 offset, unsigned) { return offset; };
        const BusWrite write = [this](u64, unsigned, u64 value) { set_intx(value & 1); };
        add_io_bar(0, 16, read, write);
        add_memory_bar(1, 4096, read, write);
        add_backed_bar(2, 0x4000, backing);
        add_rom(0x1000, backing);
    }
};

// All of the bus as one device: loading in the board's order.
struct All final : Device {
    explicit All(test::TestBoard& board)
        : platform(board.platform()),
          layout{kRam},
          isa(platform, board.lines),
          bus(platform, isa),
          host(platform, layout),
          first(platform, "first", layout.video()),
          second(platform, "second", layout.bios()) {
        bus.add(host, 0, 0);
        bus.add(isa, 1, 0);
        bus.add(first, 2, 0);
        bus.add(second, 3, 0);
        bus.set_reset_control([this] { return isa.read_reset_control(); },
                              [this](u8 value) { isa.write_reset_control(value); });
    }
    std::string_view name() const override { return "all"; }
    void reset() override {
        for (Device* device : devices()) device->reset();
    }
    void state(StateIo& io) override {
        for (Device* device : devices()) device->state(io);
    }
    std::array<Device*, 5> devices() { return {&bus, &host, &isa, &first, &second}; }

    Platform platform;
    PcLayout layout;
    Piix3 isa;
    PciBus bus;
    I440fx host;
    Function first;
    Function second;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    // Made once, as mapping 4 GiB costs more than a run.
    static test::TestBoard board(PcLayout{kRam}.backing_bytes());
    static All all(board);
    all.reset();
    test::DeviceFuzzer fuzzer(board, all);
    fuzzer.add_ports(0xCF8, 8);
    fuzzer.add_ports(0, 0x10000);
    fuzzer.add_memory(0, 4 * kGiB);
    // What a driver does: a register of a function, written whole.
    u8 device = 0;
    fuzzer.add_action([&](u8 choice) { device = choice & 3; });
    fuzzer.add_action([&](u8 choice) {
        board.ports.write(0xCF8, 4, 0x80000000 | device << 11 | (choice & 0xFC));
        board.ports.write(0xCFC, 4, 0x01010101u * choice);
    });
    fuzzer.add_action([&](u8 choice) { board.memory->write_value(u64{choice} << 12, u32{choice}); });
    fuzzer.run({data, size});
    return 0;
}
