// The board: an i440FX/PIIX3 PC as a list of chips and the wires between them. SeaBIOS, Linux and others know it as
// QEMU's "pc" machine.
//
// How to make one: a PcLayout, a PhysicalMemory of its backing_bytes(), a Platform around that, then the Pc. The
// platform's memory, buses, scheduler, queue, control and CPU pins outlive the Pc.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "devices/acpi.h"
#include "devices/acpi_tables.h"
#include "devices/apic.h"
#include "devices/cmos.h"
#include "devices/debug_port.h"
#include "devices/dma.h"
#include "devices/e1000.h"
#include "devices/exit_port.h"
#include "devices/floppy_controller.h"
#include "devices/fw_cfg.h"
#include "devices/i440fx.h"
#include "devices/ide.h"
#include "devices/ioapic.h"
#include "devices/isa_interrupts.h"
#include "devices/lsi53c895a.h"
#include "devices/pc_layout.h"
#include "devices/pic.h"
#include "devices/piix3.h"
#include "devices/pit.h"
#include "devices/port92.h"
#include "devices/ps2.h"
#include "devices/uart.h"
#include "devices/vga.h"
#include "devices/vga_pci.h"
#include "disks/block_device.h"

namespace lodge {

enum class BootSource : u8 { disk, cdrom, floppy, network };

// A drive for removable media; null: it is empty.
struct RemovableDrive {
    std::unique_ptr<BlockDevice> medium;
};

// A network card, and what it is plugged into; null: nothing.
struct PcNetworkCard {
    MacAddress address{};
    NetworkPort* port = nullptr;
};

struct PcConfig {
    PcLayout layout;
    std::vector<u8> bios;      // at most 256 KiB, ends at 4 GiB; empty when nothing runs it
    std::vector<u8> vga_bios;  // at most 64 KiB; empty: no expansion ROM
    // Primary master, primary slave, secondary master, secondary slave; null where there is none.
    std::array<std::unique_ptr<BlockDevice>, Ide::kDrives> disks;
    // CD-ROM drives, numbered as the disks; where there is a disk there is none.
    std::array<std::optional<RemovableDrive>, Ide::kDrives> cdroms;
    // A: and B:; a medium has one of floppy_format's sizes.
    std::array<std::optional<RemovableDrive>, FloppyController::kDrives> floppies;
    // By SCSI address; kOwnId's stays null. Without any the board has no SCSI adapter.
    std::array<std::unique_ptr<BlockDevice>, Lsi53c895a::kIds> scsi_disks;
    std::array<std::optional<RemovableDrive>, Lsi53c895a::kIds> scsi_cdroms;
    unsigned serial_ports = 1;                 // 0..2
    std::array<CharPort*, 2> serial = {};      // null: nothing is connected
    CharPort* debug = nullptr;                 // ports 402h and E9h; null: there are none
    std::vector<PcNetworkCard> network_cards;  // at most Pc::kMostNetworkCards
    std::vector<u8> network_rom;               // the cards' expansion ROM, at most 128 KiB; empty: none
    std::vector<BootSource> boot = {BootSource::disk, BootSource::cdrom, BootSource::floppy, BootSource::network};
    bool boot_menu = false;           // the firmware offers its menu for a moment
    bool firmware_on_serial = false;  // the firmware's text also goes to the first serial port
};

class Pc {
  public:
    static constexpr size_t kMostNetworkCards = 8;

    // `config` fits: see the comments there (asserted).
    Pc(const Platform& platform, PcConfig config);
    Pc(const Pc&) = delete;

    // All of them, in the order for reset and state.
    const std::vector<Device*>& devices() const { return devices_; }
    void reset();
    void state(StateIo& io);

    // The CPU's side.
    InterruptController& interrupt_controller() { return local_apic_; }
    ApicRegisters& apic_registers() { return local_apic_; }

    Vga& vga() { return vga_; }
    Ps2& ps2() { return ps2_; }
    Acpi& acpi() { return acpi_; }
    // The slot of the CD-ROM drive with that number on the IDE cables, or null.
    MediumSlot* cdrom(unsigned number) { return cdrom_slots_[number].get(); }
    // Of the CD-ROM drive at that SCSI address, or null.
    MediumSlot* scsi_cdrom(unsigned id) { return scsi_cdrom_slots_[id].get(); }
    // The slot of drive A: or B:, or null.
    MediumSlot* floppy(unsigned index) { return floppy_slots_[index].get(); }
    // In the order of PcConfig::network_cards.
    E1000& network_card(size_t index) { return *network_cards_[index]; }
    // The first or second serial port, or null.
    Uart* serial(unsigned index) { return uarts_[index].get(); }
    Cmos& cmos() { return cmos_; }
    FwCfg& fw_cfg() { return fw_cfg_; }
    PciBus& pci() { return pci_; }
    LocalApic& local_apic() { return local_apic_; }
    const PcLayout& layout() const { return layout_; }
    const AcpiTables& acpi_tables() const { return tables_; }
    PhysicalMemory& memory() { return platform_.memory; }
    Bus& ports() { return platform_.ports; }
    unsigned serial_ports() const { return serial_ports_; }

  private:
    std::array<BlockDevice*, Ide::kDrives> disk_pointers() const;
    std::array<MediumSlot*, Ide::kDrives> cdrom_slots(PcConfig& config);
    static AcpiConfig acpi_config(const PcLayout& layout, const PcConfig& config);
    std::array<FloppyController::Bay, FloppyController::kDrives> floppy_bays(PcConfig& config);
    void attach();
    void add_pci_functions();
    void add_scsi_drives(PcConfig& config);
    void add_serial_ports(const PcConfig& config);
    void add_debug_ports(CharPort* output);
    void add_network_cards(const PcConfig& config);
    void list_devices();
    void load_firmware(const PcConfig& config);
    void describe_memory();
    std::string scsi_path(unsigned id) const;
    std::string boot_paths(BootSource source) const;
    void describe_boot(const PcConfig& config);
    void describe_disks();
    void describe_floppies();
    void set_cmos_word(u8 low_index, u64 value);

    Platform platform_;
    PcLayout layout_;
    unsigned serial_ports_;
    std::array<std::unique_ptr<BlockDevice>, Ide::kDrives> disks_;
    std::array<std::unique_ptr<BlockDevice>, Lsi53c895a::kIds> scsi_disks_;
    std::array<std::unique_ptr<MediumSlot>, Lsi53c895a::kIds> scsi_cdrom_slots_;
    std::array<std::unique_ptr<MediumSlot>, Ide::kDrives> cdrom_slots_;
    AcpiTables tables_;

    ApicBus apic_bus_;
    PicPair pic_;
    LocalApic local_apic_;
    IoApic io_apic_;
    IsaInterrupts interrupts_;
    A20Gate a20_;
    Pit pit_;
    Cmos cmos_;
    DmaController dma_;
    std::array<std::unique_ptr<MediumSlot>, FloppyController::kDrives> floppy_slots_;
    FloppyController floppy_;
    Ps2 ps2_;
    Port92 port92_;
    ExitPort exit_port_;
    std::array<std::unique_ptr<Uart>, 2> uarts_;
    std::array<std::unique_ptr<DebugPort>, 2> debug_ports_;
    Vga vga_;
    FwCfg fw_cfg_;
    Piix3 piix3_;
    PciBus pci_;
    I440fx i440fx_;
    Ide ide_;
    Acpi acpi_;
    VgaPci vga_pci_;
    std::unique_ptr<Lsi53c895a> scsi_;
    std::vector<std::unique_ptr<E1000>> network_cards_;
    std::vector<Device*> devices_;
};

}  // namespace lodge
