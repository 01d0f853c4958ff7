#include "devices/pc.h"

#include <algorithm>
#include <cassert>
#include <cstdio>

#include "devices/ata_identify.h"

namespace lodge {

namespace {

// A claim of the board's own ports cannot fail: the list below does not overlap.
void must(const Result<void>& result) {
    assert(result.ok());
    static_cast<void>(result);
}

// Where SeaBIOS starts to place memory BARs on an i440FX.
u32 pci_memory_start(const PcLayout& layout) {
    return layout.low() <= 2 * kGiB ? 0x80000000 : 0xC0000000;
}

template <class T>
void append(std::vector<u8>& to, T value) {
    const size_t at = to.size();
    to.resize(at + sizeof value);
    store(&to[at], value);
}

constexpr unsigned kScsiSlot = 4;  // the PCI device number of the SCSI adapter

// CMOS bytes that SeaBIOS reads; numbers of its own beside the AT's memory sizes.
constexpr u8 kCmosFloppies = 0x10;  // types of A: in bits 7:4, of B: in 3:0
constexpr u8 kCmosEquipment = 0x14;
constexpr u8 kCmosBaseMemory = 0x15;       // 16 bits, KiB
constexpr u8 kCmosExtendedMemory = 0x17;   // 16 bits, KiB above 1 MiB, at most 63 MiB
constexpr u8 kCmosExtendedMemory2 = 0x30;  // the same
constexpr u8 kCmosMemoryAbove16M = 0x34;   // 16 bits, 64 KiB above 16 MiB
constexpr u8 kCmosMemoryAbove4G = 0x5B;    // 24 bits, 64 KiB above 4 GiB
constexpr u8 kCmosBootFlags = 0x38;        // bits 7:4 third boot source; bit 0: boot floppies without signature too
constexpr u8 kCmosDiskTranslation = 0x39;  // two bits for each IDE drive: 0 is none, 1 is LBA
constexpr u8 kCmosBootOrder = 0x3D;        // first and second boot source
constexpr u8 kCmosCpus = 0x5F;             // less one

unsigned cmos_boot_code(BootSource source) {
    switch (source) {
        case BootSource::floppy:
            return 1;
        case BootSource::disk:
            return 2;
        case BootSource::cdrom:
            return 3;
        case BootSource::network:
            return 4;
    }
    return 0;
}

FloppyDriveType drive_type(const RemovableDrive& drive) {
    return floppy_drive_for(drive.medium ? floppy_format(drive.medium->size()) : nullptr);
}

std::string ide_path(unsigned unit) {
    return "/pci@i0cf8/ide@1,1/drive@" + std::to_string(unit / 2) + "/disk@" + std::to_string(unit % 2) + "\n";
}

// The PCI device number of a network card: the first where QEMU's is, the others behind all else.
unsigned network_card_place(size_t index) {
    return index == 0 ? 3 : 16 + static_cast<unsigned>(index);
}

// SeaBIOS's LBA translation has 16 heads at least, and no cylinder for a disk of less than 16 tracks of 63 sectors; for
// others of up to 1024 cylinders it gives the drive's own geometry.
unsigned cmos_disk_translation(const BlockDevice& disk) {
    constexpr unsigned kNone = 0, kLba = 1, kMostCylinders = 1024;
    return ata_geometry(disk.size() / kSectorSize).cylinders <= kMostCylinders ? kNone : kLba;
}

}  // namespace

Pc::Pc(const Platform& platform, PcConfig config)
    : platform_(platform),
      layout_(config.layout),
      serial_ports_(config.serial_ports),
      disks_(std::move(config.disks)),
      scsi_disks_(std::move(config.scsi_disks)),
      tables_(build_acpi_tables(acpi_config(layout_, config))),
      pic_(platform_.log),
      local_apic_(platform_.scheduler, platform_.cpu, apic_bus_, pic_, platform_.log, 0),
      io_apic_(apic_bus_, platform_.log, 0),
      interrupts_(pic_, io_apic_),
      a20_(platform_.cpu),
      pit_(platform_.scheduler, interrupts_.line(0), platform_.log),
      cmos_(platform_.scheduler, interrupts_.line(8), platform_.log),
      dma_(platform_.memory, platform_.log),
      floppy_(platform_, interrupts_.line(6), dma_.channel(2), floppy_bays(config)),
      ps2_(platform_.scheduler, platform_.inputs, interrupts_.line(1), interrupts_.line(12), a20_, platform_.control,
           platform_.log),
      port92_(a20_, platform_.control, platform_.log),
      exit_port_(platform_.control, platform_.log),
      vga_(platform_.memory, platform_.scheduler, platform_.log, layout_.video(), PcLayout::kVideoSize),
      fw_cfg_(platform_),
      piix3_(platform_, interrupts_.pci()),
      pci_(platform_, piix3_),
      i440fx_(platform_, layout_),
      ide_(platform_, interrupts_.line(14), interrupts_.line(15), disk_pointers(), cdrom_slots(config)),
      acpi_(platform_, interrupts_.line(9)),
      vga_pci_(platform_, vga_, layout_.vga_rom(), config.vga_bios.empty() ? 0 : PcLayout::kVgaRomSize) {
    load_firmware(config);
    add_scsi_drives(config);
    add_serial_ports(config);
    add_debug_ports(config.debug);
    attach();
    add_pci_functions();
    add_network_cards(config);
    describe_memory();
    describe_disks();
    describe_floppies();
    describe_boot(config);
    add_acpi_files(fw_cfg_, tables_);
    list_devices();
    reset();
}

std::array<BlockDevice*, Ide::kDrives> Pc::disk_pointers() const {
    std::array<BlockDevice*, Ide::kDrives> pointers{};
    std::transform(disks_.begin(), disks_.end(), pointers.begin(), [](const auto& disk) { return disk.get(); });
    return pointers;
}

AcpiConfig Pc::acpi_config(const PcLayout& layout, const PcConfig& config) {
    AcpiConfig acpi{.cpus = 1, .pci_memory = pci_memory_start(layout), .serial_ports = config.serial_ports};
    for (unsigned number = 0; number < config.floppies.size(); ++number)
        if (config.floppies[number]) acpi.floppies[number] = drive_type(*config.floppies[number]);
    return acpi;
}

std::array<MediumSlot*, Ide::kDrives> Pc::cdrom_slots(PcConfig& config) {
    std::array<MediumSlot*, Ide::kDrives> slots{};
    for (unsigned number = 0; number < slots.size(); ++number) {
        assert(!disks_[number] || !config.cdroms[number]);
        if (!config.cdroms[number]) continue;
        cdrom_slots_[number] =
            std::make_unique<MediumSlot>(platform_.inputs, platform_.log, "cdrom" + std::to_string(number),
                                         std::move(config.cdroms[number]->medium));
        slots[number] = cdrom_slots_[number].get();
    }
    return slots;
}

// The drives are those that a PC would have for the diskettes they start with.
std::array<FloppyController::Bay, FloppyController::kDrives> Pc::floppy_bays(PcConfig& config) {
    std::array<FloppyController::Bay, FloppyController::kDrives> bays;
    for (unsigned number = 0; number < config.floppies.size(); ++number) {
        if (!config.floppies[number]) continue;
        const FloppyDriveType type = drive_type(*config.floppies[number]);
        floppy_slots_[number] =
            std::make_unique<MediumSlot>(platform_.inputs, platform_.log, "floppy" + std::to_string(number),
                                         std::move(config.floppies[number]->medium));
        bays[number] = {floppy_slots_[number].get(), type};
    }
    return bays;
}

void Pc::load_firmware(const PcConfig& config) {
    assert(config.bios.size() <= PcLayout::kBiosSize && config.vga_bios.size() <= PcLayout::kVgaRomSize);
    assert(platform_.memory.backing_size() == layout_.backing_bytes());
    const std::span<u8> backing = platform_.memory.backing();
    const std::span<u8> roms = backing.subspan(layout_.bios(), layout_.video() - layout_.bios());
    std::fill(roms.begin(), roms.end(), u8{0xFF});
    // A smaller BIOS ends where the ROM ends: at the reset vector's 4 GiB.
    std::copy(config.bios.begin(), config.bios.end(),
              roms.begin() + static_cast<long>(PcLayout::kBiosSize - config.bios.size()));
    std::copy(config.vga_bios.begin(), config.vga_bios.end(),
              roms.begin() + static_cast<long>(layout_.vga_rom() - layout_.bios()));
    assert(config.network_rom.size() <= PcLayout::kNetworkRomSize);
    std::copy(config.network_rom.begin(), config.network_rom.end(),
              roms.begin() + static_cast<long>(layout_.network_rom() - layout_.bios()));
    platform_.memory.touched(layout_.bios(), roms.size());
}

void Pc::add_serial_ports(const PcConfig& config) {
    constexpr u16 kBase[2] = {0x3F8, 0x2F8};
    constexpr unsigned kIrq[2] = {4, 3};
    assert(config.serial_ports <= uarts_.size());
    for (unsigned i = 0; i < config.serial_ports; ++i) {
        uarts_[i] = std::make_unique<Uart>(platform_.scheduler, platform_.inputs, config.serial[i],
                                           interrupts_.line(kIrq[i]), platform_.log, i == 0 ? "com1" : "com2");
        must(uarts_[i]->attach(platform_.ports, kBase[i]));
    }
}

void Pc::add_scsi_drives(PcConfig& config) {
    for (unsigned id = 0; id < scsi_disks_.size(); ++id) {
        std::optional<RemovableDrive>& drive = config.scsi_cdroms[id];
        assert(!scsi_disks_[id] || !drive);
        if ((scsi_disks_[id] || drive) && !scsi_) scsi_ = std::make_unique<Lsi53c895a>(platform_);
        if (scsi_disks_[id]) scsi_->add_disk(id, *scsi_disks_[id]);
        if (!drive) continue;
        scsi_cdrom_slots_[id] = std::make_unique<MediumSlot>(
            platform_.inputs, platform_.log, "scsi_cdrom" + std::to_string(id), std::move(drive->medium));
        scsi_->add_cdrom(id, *scsi_cdrom_slots_[id]);
    }
}

void Pc::add_debug_ports(CharPort* output) {
    if (!output) return;
    debug_ports_[0] = std::make_unique<DebugPort>(*output, platform_.log, "debug_port_402");
    debug_ports_[1] = std::make_unique<DebugPort>(*output, platform_.log, "debug_port_e9");
    must(debug_ports_[0]->attach(platform_.ports, 0x402));
    must(debug_ports_[1]->attach(platform_.ports, 0xE9));
}

void Pc::add_network_cards(const PcConfig& config) {
    assert(config.network_cards.size() <= kMostNetworkCards);
    const u32 rom_size = config.network_rom.empty() ? 0 : u32{PcLayout::kNetworkRomSize};
    for (size_t i = 0; i < config.network_cards.size(); ++i) {
        const PcNetworkCard& card = config.network_cards[i];
        network_cards_.push_back(std::make_unique<E1000>(
            platform_,
            E1000Config{"nic" + std::to_string(i), card.address, card.port, layout_.network_rom(), rom_size}));
        pci_.add(*network_cards_.back(), network_card_place(i), 0);
    }
}

void Pc::attach() {
    Bus& ports = platform_.ports;
    pic_.connect({local_apic_, LocalApic::kLint0});
    must(pic_.attach(ports));
    must(local_apic_.attach(platform_.mmio));
    must(io_apic_.attach(platform_.mmio));
    must(pit_.attach(ports));
    must(cmos_.attach(ports));
    must(dma_.attach(ports));
    must(floppy_.attach(ports));
    must(ps2_.attach(ports));
    must(port92_.attach(ports));
    must(exit_port_.attach(ports, 0xF4));
    must(vga_.attach(platform_));
}

void Pc::add_pci_functions() {
    pci_.add(i440fx_, 0, 0);
    pci_.add(piix3_, 1, 0);
    pci_.add(ide_, 1, 1);
    pci_.add(acpi_, 1, 3);
    pci_.add(vga_pci_, 2, 0);
    if (scsi_) pci_.add(*scsi_, kScsiSlot, 0);
    pci_.set_reset_control([this] { return piix3_.read_reset_control(); },
                           [this](u8 value) { piix3_.write_reset_control(value); });
}

// The interrupt wires and controllers come first, so that the devices behind find them reset; the PCI bus comes before
// its functions.
void Pc::list_devices() {
    devices_ = {&interrupts_, &pic_, &io_apic_, &local_apic_, &pit_,    &cmos_,  &dma_, &floppy_, &port92_, &ps2_,
                &exit_port_,  &vga_, &fw_cfg_,  &pci_,        &i440fx_, &piix3_, &ide_, &acpi_,   &vga_pci_};
    if (scsi_) devices_.push_back(scsi_.get());
    for (const auto& uart : uarts_)
        if (uart) devices_.push_back(uart.get());
    for (const auto& port : debug_ports_)
        if (port) devices_.push_back(port.get());
    for (const auto& card : network_cards_) devices_.push_back(card.get());
}

void Pc::reset() {
    PhysicalMemory::MapChange change(platform_.memory);
    for (Device* device : devices_) device->reset();
}

void Pc::state(StateIo& io) {
    PhysicalMemory::MapChange change(platform_.memory);
    for (Device* device : devices_) device->state(io);
}

void Pc::set_cmos_word(u8 low_index, u64 value) {
    cmos_.set(low_index, static_cast<u8>(value));
    cmos_.set(static_cast<u8>(low_index + 1), static_cast<u8>(value >> 8));
}

void Pc::describe_memory() {
    const u64 above_1m = layout_.low() - kMiB;
    const u64 above_16m = layout_.low() > 16 * kMiB ? layout_.low() - 16 * kMiB : 0;
    set_cmos_word(kCmosBaseMemory, 640);
    set_cmos_word(kCmosExtendedMemory, std::min(above_1m, 63 * kMiB) / kKiB);
    set_cmos_word(kCmosExtendedMemory2, std::min(above_1m, 63 * kMiB) / kKiB);
    set_cmos_word(kCmosMemoryAbove16M, above_16m / (64 * kKiB));
    const u64 above_4g = layout_.high() / (64 * kKiB);
    set_cmos_word(kCmosMemoryAbove4G, above_4g);
    cmos_.set(kCmosMemoryAbove4G + 2, static_cast<u8>(above_4g >> 16));

    // "etc/e820": u64 address, u64 length, u32 type; 1 is RAM. SeaBIOS itself takes out what it knows is not.
    constexpr u32 kRam = 1;
    std::vector<u8> map;
    append(map, u64{0});
    append(map, layout_.low());
    append(map, kRam);
    if (layout_.high() > 0) {
        append(map, 4 * kGiB);
        append(map, layout_.high());
        append(map, kRam);
    }
    fw_cfg_.add_file("etc/e820", std::move(map));
    fw_cfg_.add_integer(FwCfg::kRamSize, layout_.ram, 8);
}

void Pc::describe_disks() {
    unsigned translation = 0;
    for (unsigned i = 0; i < disks_.size(); ++i)
        if (disks_[i]) translation |= cmos_disk_translation(*disks_[i]) << (2 * i);
    cmos_.set(kCmosDiskTranslation, static_cast<u8>(translation));
}

void Pc::describe_floppies() {
    constexpr u8 kPs2Mouse = 0x04, kCoprocessor = 0x02, kFloppies = 0x01;
    u8 equipment = kPs2Mouse | kCoprocessor;
    u8 types = 0;
    unsigned count = 0;
    for (unsigned number = 0; number < floppy_slots_.size(); ++number) {
        types = static_cast<u8>(types << 4 | static_cast<u8>(floppy_.drive_type(number)));
        if (floppy_slots_[number]) ++count;
    }
    if (count) equipment |= static_cast<u8>(kFloppies | (count - 1) << 6);
    cmos_.set(kCmosEquipment, equipment);
    cmos_.set(kCmosFloppies, types);
}

// Firmware device paths of the drives that `source` can boot from, a line each.
std::string Pc::scsi_path(unsigned id) const {
    char line[64];
    std::snprintf(line, sizeof line, "/pci@i0cf8/scsi@%x/channel@0/disk@%x,0\n", kScsiSlot, id);
    return line;
}

std::string Pc::boot_paths(BootSource source) const {
    std::string paths;
    for (unsigned i = 0; i < disks_.size() && source == BootSource::disk; ++i)
        if (disks_[i]) paths += ide_path(i);
    for (unsigned i = 0; i < scsi_disks_.size() && source == BootSource::disk; ++i)
        if (scsi_disks_[i]) paths += scsi_path(i);
    for (unsigned i = 0; i < cdrom_slots_.size() && source == BootSource::cdrom; ++i)
        if (cdrom_slots_[i]) paths += ide_path(i);
    for (unsigned i = 0; i < scsi_cdrom_slots_.size() && source == BootSource::cdrom; ++i)
        if (scsi_cdrom_slots_[i]) paths += scsi_path(i);
    for (unsigned i = 0; i < floppy_slots_.size() && source == BootSource::floppy; ++i)
        if (floppy_slots_[i]) paths += "/pci@i0cf8/isa@1/fdc@03f0/floppy@" + std::to_string(i) + "\n";
    for (size_t i = 0; i < network_cards_.size() && source == BootSource::network; ++i) {
        char line[64];
        std::snprintf(line, sizeof line, "/pci@i0cf8/ethernet@%x/ethernet-phy@0\n", network_card_place(i));
        paths += line;
    }
    return paths;
}

void Pc::describe_boot(const PcConfig& config) {
    unsigned codes[3] = {};
    for (size_t i = 0; i < std::min<size_t>(config.boot.size(), 3); ++i) codes[i] = cmos_boot_code(config.boot[i]);
    cmos_.set(kCmosBootOrder, static_cast<u8>(codes[0] | codes[1] << 4));
    cmos_.set(kCmosBootFlags, static_cast<u8>(codes[2] << 4));
    cmos_.set(kCmosCpus, 0);

    // "bootorder" ends with a zero byte.
    std::string order;
    for (const BootSource source : config.boot) order += boot_paths(source);
    fw_cfg_.add_file("bootorder", std::vector<u8>(order.c_str(), order.c_str() + order.size() + 1));
    fw_cfg_.add_item(FwCfg::kUuid, std::vector<u8>(16));
    fw_cfg_.add_integer(FwCfg::kNoGraphic, config.firmware_on_serial, 2);
    fw_cfg_.add_integer(FwCfg::kCpus, 1, 2);
    fw_cfg_.add_integer(FwCfg::kMostCpus, 1, 2);
    fw_cfg_.add_integer(FwCfg::kNuma, 0, 8);
    fw_cfg_.add_integer(FwCfg::kBootMenu, config.boot_menu, 2);
    fw_cfg_.add_integer(FwCfg::kIrq0Override, 1, 1);
}

}  // namespace lodge
