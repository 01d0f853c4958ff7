#include "devices/i440fx.h"

namespace lodge {

namespace {

constexpr unsigned kDramRowBoundary = 0x60;  // DRB0..DRB7
constexpr u64 kLegacyVideo = 0xA0000;
constexpr u64 kLegacyVideoSize = 0x20000;
constexpr u64 kPamBase = 0xC0000;
constexpr u64 kPamSegment = 0x4000;
constexpr u64 kBiosSegment = 0xE0000;  // the last 128 KiB of the BIOS ROM show here
constexpr u64 kTopSegment = 0xF0000;   // PAM0, one segment of 64 KiB
constexpr u64 k4GiB = 4 * kGiB;

// SMRAM register.
constexpr u8 kSmramOpen = 0x40;    // D_OPEN: A0000h..BFFFFh is RAM outside system management mode too
constexpr u8 kSmramClosed = 0x20;  // D_CLS
constexpr u8 kSmramLock = 0x10;    // D_LCK: the register keeps its value until reset, D_OPEN is cleared
constexpr u8 kSmramEnable = 0x08;  // G_SMRAME

}  // namespace

I440fx::I440fx(const Platform& platform, const PcLayout& layout)
    : PciDevice(platform, "i440fx", {.vendor = 0x8086, .device = 0x1237, .revision = 2, .class_code = 0x060000}),
      layout_(layout) {
    // Memory access and bus mastering cannot be turned off; datasheet 3.2.3.
    set_config(kPciCommand, kPciCommandMemory | kPciCommandMaster, 2);
    set_writable(kPciCommand, 0x0140, 2);
    set_config(kPciStatus, 0x0280, 2);
    set_writable(kPciInterruptLine, 0, 1);
    for (unsigned i = 0; i < kPams; ++i) set_writable(kPam0 + i, i == 0 ? 0x30 : 0x33, 1);
    for (unsigned i = 0; i < 8; ++i) {
        set_config(kDramRowBoundary + i, 0x01, 1);
        set_writable(kDramRowBoundary + i, 0xFF, 1);
    }
    set_config(kSmram, 0x02, 1);
    set_writable(kSmram, kSmramOpen | kSmramClosed | kSmramLock | kSmramEnable, 1);
    map_fixed();
    map_pams();
}

void I440fx::map_fixed() {
    PhysicalMemory& memory = platform().memory;
    PhysicalMemory::MapChange change(memory);
    memory.map(0, kLegacyVideo, 0, true);
    if (layout_.low() > kMiB) memory.map(kMiB, layout_.low() - kMiB, kMiB, true);
    if (layout_.high() > 0) memory.map(k4GiB, layout_.high(), layout_.low(), true);
    memory.map(k4GiB - PcLayout::kBiosSize, PcLayout::kBiosSize, layout_.bios(), false);
}

void I440fx::map_segment(u64 physical, u64 size, unsigned attributes) {
    PhysicalMemory& memory = platform().memory;
    const bool has_rom = physical >= kBiosSegment;
    const u64 rom = has_rom ? layout_.bios() + PcLayout::kBiosSize - (kMiB - physical) : layout_.empty();
    const bool reads_ram = attributes & kPamRead;
    const bool writes_ram = attributes & kPamWrite;
    if (reads_ram) return memory.map(physical, size, physical, writes_ram);
    if (writes_ram) return memory.map_split(physical, size, rom, physical);
    if (has_rom) return memory.map(physical, size, rom, false);
    memory.unmap(physical, size);  // goes to the PCI bus
}

void I440fx::map_pams() {
    PhysicalMemory::MapChange change(platform().memory);
    map_segment(kTopSegment, kMiB - kTopSegment, config(kPam0, 1) >> 4);
    for (unsigned i = 1; i < kPams; ++i) {
        const u64 base = kPamBase + (i - 1) * 2 * kPamSegment;
        map_segment(base, kPamSegment, config(kPam0 + i, 1) & 0xF);
        map_segment(base + kPamSegment, kPamSegment, config(kPam0 + i, 1) >> 4);
    }
}

void I440fx::map_smram() {
    const bool open = config(kSmram, 1) & kSmramOpen;
    if (open == smram_open_) return;
    smram_open_ = open;
    if (open)
        platform().memory.map(kLegacyVideo, kLegacyVideoSize, kLegacyVideo, true);
    else
        platform().memory.unmap(kLegacyVideo, kLegacyVideoSize);
}

void I440fx::update(u8 smram_before) {
    const u8 smram = static_cast<u8>(config(kSmram, 1));
    if (smram_before & kSmramLock)
        put_config(kSmram, smram_before, 1);
    else if (smram & kSmramLock)
        put_config(kSmram, smram & ~u32{kSmramOpen}, 1);
    map_smram();
}

void I440fx::config_write(unsigned offset, unsigned size, u32 value) {
    const u8 smram_before = static_cast<u8>(config(kSmram, 1));
    const u32 pams_low = config(0x58, 4);
    const u32 pams_high = config(0x5C, 4);
    PciDevice::config_write(offset, size, value);
    if (pams_low != config(0x58, 4) || pams_high != config(0x5C, 4)) map_pams();
    update(smram_before);
}

void I440fx::reset() {
    PciDevice::reset();
    map_pams();
    map_smram();
}

void I440fx::state(StateIo& io) {
    PciDevice::state(io);
    if (!io.loading()) return;
    map_pams();
    map_smram();
}

}  // namespace lodge
