// The PCI function around the VGA: 1234:1111, as Bochs and QEMU show it. BAR 0 is video memory, BAR 2 the registers,
// the expansion ROM the VGA BIOS.
#pragma once

#include "devices/pci.h"
#include "devices/vga.h"

namespace lodge {

class VgaPci final : public PciDevice {
  public:
    // The ROM is in the backing at `rom_offset`; 0 bytes when there is none.
    VgaPci(const Platform& platform, Vga& vga, u64 rom_offset, u32 rom_size)
        : PciDevice(platform, "vga_pci", {.vendor = 0x1234, .device = 0x1111, .revision = 2, .class_code = 0x030000}) {
        add_backed_bar(0, static_cast<u32>(vga.vram_size()), vga.vram_offset());
        add_memory_bar(
            2, Vga::kRegisterBlock, [&vga](u64 offset, unsigned size) { return vga.read_registers(offset, size); },
            [&vga](u64 offset, unsigned size, u64 value) { vga.write_registers(offset, size, value); });
        if (rom_size) add_rom(rom_size, rom_offset);
    }
};

}  // namespace lodge
