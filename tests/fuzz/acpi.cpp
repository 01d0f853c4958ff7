// The power management function under random accesses, time, power buttons and states.
#include "devices/acpi.h"
#include "tests/fuzz/device_harness.h"

using namespace lodge;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    test::TestBoard board;
    const Platform platform = board.platform();
    Acpi acpi(platform, IrqLine{board.lines, 9});
    acpi.config_write(Acpi::kPmBase, 4, Acpi::kFirmwareBase | 1);
    acpi.config_write(Acpi::kPmMiscellaneous, 1, 1);
    acpi.config_write(Acpi::kSmbusBase, 4, Acpi::kFirmwareSmbusBase | 1);
    acpi.config_write(Acpi::kSmbusConfiguration, 1, 1);
    test::DeviceFuzzer fuzzer(board, acpi);
    fuzzer.add_ports(Acpi::kFirmwareBase, Acpi::kBlockSize);
    fuzzer.add_ports(Acpi::kFirmwareSmbusBase, 16);
    fuzzer.add_ports(Acpi::kSmiCommandPort, 2);
    fuzzer.add_action([&](u8) {
        acpi.press_power_button();
        board.inputs.apply_all(0);
    });
    u8 offset = 0;
    fuzzer.add_action([&](u8 choice) { offset = choice; });
    fuzzer.add_action([&](u8 choice) { acpi.config_write(offset, 1, choice); });
    fuzzer.run({data, size});
    return 0;
}
