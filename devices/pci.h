// The PCI bus of the board: one bus (number 0), configuration mechanism #1, and what every function has in common.
// Sources: PCI Local Bus Specification 3.0, chapter 6 (configuration space, table 6-1) and 3.2.2.3.2 (mechanism #1).
//
// A function is a class derived from PciDevice. Its constructor fills the configuration space (power-on values and
// which bits the guest may write) and declares its base address registers (BARs):
//
//     Ide::Ide(...) : PciDevice(platform, "ide", {.vendor = 0x8086, .device = 0x7010, ...}) {
//         add_io_bar(4, 16, read, write);
//         set_writable(0x40, 0xFFFF, 2);
//     }
//
// The board then gives it a place: `bus.add(ide, 1, 1)`. Ranges of BARs appear in Platform::ports and Platform::mmio
// (or, backed by guest memory, in Platform::memory) while the command register enables them, and follow the guest's
// writes. A BAR whose range meets another claim or RAM stays unreachable, with a notice, until one of them moves.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/bus.h"
#include "core/device.h"
#include "devices/platform.h"

namespace lodge {

class PciBus;

// Offsets of the type 0 header, PCI 3.0 figure 6-1.
constexpr unsigned kPciVendor = 0x00;           // 16 bits
constexpr unsigned kPciDevice = 0x02;           // 16 bits
constexpr unsigned kPciCommand = 0x04;          // 16 bits
constexpr unsigned kPciStatus = 0x06;           // 16 bits
constexpr unsigned kPciRevision = 0x08;         // 8 bits
constexpr unsigned kPciClass = 0x09;            // 24 bits: programming interface, subclass, class
constexpr unsigned kPciHeaderType = 0x0E;       // 8 bits
constexpr unsigned kPciBar0 = 0x10;             // 32 bits each, six of them
constexpr unsigned kPciSubsystemVendor = 0x2C;  // 16 bits
constexpr unsigned kPciSubsystem = 0x2E;        // 16 bits
constexpr unsigned kPciRom = 0x30;              // 32 bits
constexpr unsigned kPciInterruptLine = 0x3C;    // 8 bits
constexpr unsigned kPciInterruptPin = 0x3D;     // 8 bits: 0 none, 1 INTA .. 4 INTD

// The command register's bits that lodge knows, PCI 3.0 table 6-1.
constexpr u16 kPciCommandIo = 0x0001;
constexpr u16 kPciCommandMemory = 0x0002;
constexpr u16 kPciCommandMaster = 0x0004;
constexpr u16 kPciCommandNoInterrupt = 0x0400;
constexpr u16 kPciStatusInterrupt = 0x0008;

// What a function is; goes into the read-only part of its header.
struct PciIdentity {
    u16 vendor = 0xFFFF;
    u16 device = 0xFFFF;
    u8 revision = 0;
    u32 class_code = 0;  // 24 bits: class << 16 | subclass << 8 | programming interface
    u16 subsystem_vendor = 0x1AF4;
    u16 subsystem = 0x1100;
    bool multifunction = false;  // function 0 of a device that has others
    u8 interrupt_pin = 0;        // 0 none, 1 INTA .. 4 INTD
};

class PciDevice : public Device {
  public:
    static constexpr unsigned kConfigSize = 256;
    static constexpr unsigned kBars = 6;

    // `platform` outlives the device; `name` is the Device's name, unique in its machine.
    PciDevice(const Platform& platform, std::string name, const PciIdentity& identity);
    ~PciDevice() override;
    PciDevice(const PciDevice&) = delete;
    PciDevice& operator=(const PciDevice&) = delete;

    std::string_view name() const override { return name_; }
    // The configuration space as constructed, BARs unmapped, INTx low. Derived classes call it from theirs.
    void reset() override;
    // A section named name() with the configuration space. A derived class with state of its own writes the section
    // itself and calls config_state in it.
    void state(StateIo& io) override;

    // A guest's access: offset + size <= 256, size 1, 2 or 4. Writes change only writable bits. Derived classes may
    // override them to see accesses, calling these for the ordinary work.
    virtual u32 config_read(unsigned offset, unsigned size);
    virtual void config_write(unsigned offset, unsigned size, u32 value);

    // Whether this function may read and write guest memory (command register, bus master).
    bool bus_master() const { return command() & kPciCommandMaster; }
    u16 command() const { return load<u16>(&config_[kPciCommand]); }
    // The address the guest gave BAR `index`, whether or not it is reachable now.
    u32 bar_address(unsigned index) const;
    // Whether BAR `index` answers at its address now.
    bool bar_mapped(unsigned index) const { return bars_[index].range.claimed(); }
    // What is asserted on the function's interrupt pin (before the command register's interrupt disable).
    bool intx() const { return intx_; }
    // After the command register: what the bus sees.
    bool intx_asserted() const { return intx_ && !(command() & kPciCommandNoInterrupt); }

  protected:
    const Platform& platform() const { return platform_; }

    // For constructors. Power-on value of `size` (1..4) bytes at `offset`.
    void set_config(unsigned offset, u32 value, unsigned size);
    // Which bits the guest may write; nothing at first but command, interrupt line and BARs.
    void set_writable(unsigned offset, u32 mask, unsigned size);
    // Which bits a written 1 clears (status registers).
    void set_write_1_to_clear(unsigned offset, u32 mask, unsigned size);

    // For constructors: BAR `index` (0..5). Sizes are powers of two; I/O 4..256 bytes, memory at least 16 bytes.
    // `registers` outlive the device.
    void add_io_bar(unsigned index, u32 size, BusRead read, BusWrite write, RegisterTable registers = {});
    void add_memory_bar(unsigned index, u32 size, BusRead read, BusWrite write, RegisterTable registers = {});
    // Backed by guest memory's [backing_offset, +size): at least a page; prefetchable.
    void add_backed_bar(unsigned index, u32 size, u64 backing_offset);
    // The expansion ROM, in the backing at `backing_offset`: at least a page.
    void add_rom(u32 size, u64 backing_offset);

    // The current value, without the hooks of config_read.
    u32 config(unsigned offset, unsigned size) const;
    // Changes the current value past the write masks (status bits that hardware sets). Not for BARs or command.
    void put_config(unsigned offset, u32 value, unsigned size);

    // Drives the function's interrupt pin. Level-triggered: stays until set to false.
    void set_intx(bool level);

    // Configuration space and interrupt pin, within the section of the derived class; loading maps the BARs again.
    void config_state(StateIo& io);

  private:
    friend class PciBus;
    enum class BarKind : u8 { none, io, memory, backed, rom };
    struct Bar {
        BarKind kind = BarKind::none;
        u32 size = 0;
        u64 backing_offset = 0;
        BusRead read;
        BusWrite write;
        BusRange range;  // claimed while reachable
        RegisterTable registers;
    };
    static constexpr unsigned kRomBar = kBars;  // the expansion ROM is kept as a seventh BAR

    static unsigned bar_offset(unsigned index) { return index == kRomBar ? kPciRom : kPciBar0 + 4 * index; }
    void declare_bar(unsigned index, Bar bar, u32 flags);
    // Where the BAR should answer now; nothing when it is disabled, unset or being sized.
    std::optional<u64> wanted_address(unsigned index) const;
    bool meets_ram(u64 base, u64 size) const;
    void release_bar(unsigned index);
    void release_bars();
    // Unmaps what moved or was disabled / maps what can be mapped.
    void release_moved_bars();
    void map_bars();
    void map_bar(unsigned index, u64 base);
    void update_bars();

    const Platform& platform_;
    std::string name_;
    std::array<u8, kConfigSize> initial_{};
    std::array<u8, kConfigSize> writable_{};
    std::array<u8, kConfigSize> write_1_to_clear_{};
    std::array<u8, kConfigSize> config_{};
    std::array<Bar, kBars + 1> bars_;
    bool intx_ = false;

    PciBus* bus_ = nullptr;
    u8 device_number_ = 0;
};

// The bus and the host bridge's ports CF8h..CFFh. It must come before its functions in the list of devices: loading a
// state first frees every BAR's addresses.
class PciBus final : public Device {
  public:
    // `pirq` has four pins, PIRQA..PIRQD. All outlive the bus.
    PciBus(const Platform& platform, IrqInput& pirq);
    ~PciBus() override;
    PciBus(const PciBus&) = delete;
    PciBus& operator=(const PciBus&) = delete;

    std::string_view name() const override { return "pci"; }
    void reset() override;
    void state(StateIo& io) override;

    // Puts a function at device 0..31, function 0..7 of bus 0; the place is free. The function outlives the bus's use.
    void add(PciDevice& function, unsigned device, unsigned number);
    // The function there, or null.
    PciDevice* find(unsigned device, unsigned number) const { return functions_[device * 8 + number]; }

    // Byte accesses to CF9h, which lies within the address register, go to whoever owns the reset control register.
    void set_reset_control(std::function<u8()> read, std::function<void(u8)> write);

    // Which PIRQ (0 = A) interrupt pin 1..4 of a device is wired to: the PIIX boards' rotation.
    static unsigned pirq_of(unsigned device, unsigned interrupt_pin) { return (interrupt_pin - 1 + device - 1) & 3; }

    u32 config_read(u32 address, unsigned offset, unsigned size);
    void config_write(u32 address, unsigned offset, unsigned size, u32 value);

  private:
    friend class PciDevice;
    static constexpr unsigned kFunctions = 32 * 8;

    PciDevice* addressed(u32 address) const;
    u64 read_address(u64 offset, unsigned size);
    void write_address(u64 offset, unsigned size, u64 value);
    void update_intx();
    void bars_changed();
    void remove(PciDevice& function);

    PhysicalMemory& memory_;
    IrqInput& pirq_;
    std::array<PciDevice*, kFunctions> functions_{};
    std::function<u8()> read_reset_control_;
    std::function<void(u8)> write_reset_control_;
    u32 address_ = 0;
    BusRange address_range_;
    BusRange data_range_;
};

}  // namespace lodge
