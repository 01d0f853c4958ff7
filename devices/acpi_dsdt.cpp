// The DSDT: the PCI bus with its windows and interrupt routing, the ISA devices that cannot be found otherwise, soft
// off. Interrupt routing is the same with PICs and I/O APIC: PIRQ links choose an ISA interrupt, whose pin both have.
#include "devices/acpi_tables.h"
#include "devices/aml.h"
#include "devices/pci.h"

namespace lodge {

namespace {

using aml::Bytes;
using aml::Terms;

constexpr unsigned kSlots = 32;
constexpr unsigned kPins = 4;
constexpr u64 kPirqDisable = 0x80;
constexpr u64 kPresentEnabledShown = 0x0B;
constexpr u64 kPresentDisabled = 0x09;
constexpr char kLinkNames[4][5] = {"LNKA", "LNKB", "LNKC", "LNKD"};
constexpr char kRouteNames[4][5] = {"PRQ0", "PRQ1", "PRQ2", "PRQ3"};

// _PRT: for each slot and pin the link device it is wired to.
Bytes routing_table() {
    Terms entries;
    for (unsigned slot = 1; slot < kSlots; ++slot) {
        for (unsigned pin = 0; pin < kPins; ++pin) {
            const char* link = kLinkNames[PciBus::pirq_of(slot, pin + 1)];
            entries.push_back(aml::package(
                {aml::integer(u64{slot} << 16 | 0xFFFF), aml::integer(pin), aml::path(link), aml::integer(0)}));
        }
    }
    return aml::package(entries);
}

// A PIRQ link device over its byte of the PIIX3's configuration space.
Bytes link_device(unsigned index) {
    const Bytes route = aml::path(kRouteNames[index]);
    // _SRS gets a resource buffer like _PRS's: the interrupt number is at byte 5.
    constexpr u64 kInterruptNumber = 5;
    return aml::device(kLinkNames[index],
                       {aml::name("_HID", aml::eisa_id("PNP0C0F")), aml::name("_UID", aml::integer(index)),
                        aml::name("_PRS", aml::resources({aml::level_interrupts({5, 10, 11})})),
                        aml::method("_STA", 0, {aml::return_(aml::call("PSTA", {route}))}),
                        aml::method("_DIS", 0, {aml::or_(route, aml::integer(kPirqDisable), route)}),
                        aml::method("_CRS", 0, {aml::return_(aml::call("PCRS", {route}))}),
                        aml::method("_SRS", 1,
                                    {aml::create_dword_field(aml::argument(0), kInterruptNumber, "PRRI"),
                                     aml::store(aml::path("PRRI"), route)})});
}

// What the link devices share: status and current resources of a route byte.
Terms link_methods() {
    const Bytes discard{0};
    return {
        aml::method("PSTA", 1,
                    {aml::if_(aml::and_(aml::argument(0), aml::integer(kPirqDisable), discard),
                              {aml::return_(aml::integer(kPresentDisabled))}),
                     aml::return_(aml::integer(kPresentEnabledShown))}),
        aml::method("PCRS", 1,
                    {aml::store(aml::resources({aml::level_interrupts({0})}), aml::local(0)),
                     aml::create_dword_field(aml::local(0), 5, "PRRI"),
                     aml::and_(aml::argument(0), aml::integer(0x0F), aml::path("PRRI")), aml::return_(aml::local(0))})};
}

Bytes simple_device(std::string_view name, std::string_view id, const Terms& resources) {
    return aml::device(name, {aml::name("_HID", aml::eisa_id(id)), aml::name("_CRS", aml::resources(resources))});
}

Bytes serial_port(unsigned index) {
    constexpr u16 kBase[2] = {0x3F8, 0x2F8};
    constexpr unsigned kIrq[2] = {4, 3};
    return aml::device(index == 0 ? "COM1" : "COM2",
                       {aml::name("_HID", aml::eisa_id("PNP0501")), aml::name("_UID", aml::integer(index + 1)),
                        aml::name("_CRS", aml::resources({aml::io(kBase[index], 8), aml::irq(kIrq[index])}))});
}

// _FDI of a drive: its number, type, last cylinder, sectors and last head, and the BIOS's parameter table for it (as at
// interrupt vector 1Eh). ACPI 2.0 10.9.2.
Bytes floppy_drive(unsigned number, FloppyDriveType type) {
    struct Geometry {
        u8 last_cylinder, sectors;
    };
    static constexpr Geometry kGeometry[] = {{0, 0}, {39, 9}, {79, 15}, {79, 9}, {79, 18}, {79, 36}};
    const Geometry geometry = kGeometry[static_cast<unsigned>(type)];
    const unsigned values[] = {number, static_cast<unsigned>(type), geometry.last_cylinder, geometry.sectors, 1,
                               // Step rate and head times, motor off; sector size, last sector, gap, length; format
                               // gap and filler; head settling, motor start.
                               0xAF, 0x02, 0x25, 0x02, geometry.sectors, 0x1B, 0xFF, 0x6C, 0xF6, 0x0F, 0x08};
    Terms information;
    for (const unsigned value : values) information.push_back(aml::integer(value));
    return aml::device(number == 0 ? "FLPA" : "FLPB",
                       {aml::name("_ADR", aml::integer(number)), aml::name("_FDI", aml::package(information))});
}

// _FDE says which drives there are: a dword for each of four and one for a tape, which 2 says must be looked for.
Bytes floppy_controller(const AcpiConfig& config) {
    constexpr u8 kDynamicTape = 2;
    Bytes present(20);
    present[16] = kDynamicTape;
    Terms terms{aml::name("_HID", aml::eisa_id("PNP0700")),
                aml::name("_CRS", aml::resources({aml::io(0x3F2, 4), aml::io(0x3F7, 1), aml::irq(6), aml::dma(2)}))};
    for (unsigned number = 0; number < config.floppies.size(); ++number) {
        if (config.floppies[number] == FloppyDriveType::none) continue;
        present[4 * number] = 1;
        terms.push_back(floppy_drive(number, config.floppies[number]));
    }
    terms.push_back(aml::name("_FDE", aml::buffer(present)));
    return aml::device("FDC0", terms);
}

bool has_floppy(const AcpiConfig& config) {
    return config.floppies != std::array<FloppyDriveType, 2>{};
}

Bytes isa_bridge(const AcpiConfig& config) {
    Terms terms{
        aml::name("_ADR", aml::integer(0x00010000)),
        aml::operation_region("PIRQ", aml::Space::pci_config, 0x60, 4),
        simple_device("PIC", "PNP0000", {aml::io(0x20, 2), aml::io(0xA0, 2), aml::io(0x4D0, 2), aml::irq(2)}),
        simple_device("TIMR", "PNP0100", {aml::io(0x40, 4), aml::irq(0)}),
        simple_device("DMAC", "PNP0200", {aml::io(0x00, 16), aml::io(0x81, 15), aml::io(0xC0, 32)}),
        simple_device("RTC", "PNP0B00", {aml::io(0x70, 8), aml::irq(8)}),
        simple_device("SPKR", "PNP0800", {aml::io(0x61, 1)}),
        simple_device("KBD", "PNP0303", {aml::io(0x60, 1), aml::io(0x64, 1), aml::irq(1)}),
        simple_device("MOU", "PNP0F13", {aml::irq(12)}),
        // The power management registers, fw_cfg's and the debug and exit ports: not for others.
        simple_device("MBRD", "PNP0C02",
                      {aml::io(0x92, 1), aml::io(0xB2, 2), aml::io(0xF4, 4), aml::io(0x402, 1), aml::io(0x510, 12),
                       aml::io(0x600, 64), aml::io(0x700, 16)}),
    };
    for (unsigned port = 0; port < config.serial_ports; ++port) terms.push_back(serial_port(port));
    if (has_floppy(config)) terms.push_back(floppy_controller(config));
    return aml::device("ISA", terms);
}

Bytes pci_root(const AcpiConfig& config) {
    constexpr u32 kWindowEnd = 0xFEBFFFFF;  // below the I/O APIC
    return aml::device(
        "PCI0",
        {aml::name("_HID", aml::eisa_id("PNP0A03")), aml::name("_UID", aml::integer(0)),
         aml::name("_CRS", aml::resources({aml::bus_window(0, 0xFF), aml::io(0xCF8, 8), aml::io_window(0, 0xCF7),
                                           aml::io_window(0xD00, 0xFFFF), aml::memory_window(0xA0000, 0xBFFFF, true),
                                           aml::memory_window(config.pci_memory, kWindowEnd, false)})),
         aml::name("_PRT", routing_table()), isa_bridge(config)});
}

}  // namespace

std::vector<u8> build_dsdt(const AcpiConfig& config) {
    Terms system{pci_root(config), aml::field("PCI0.ISA.PIRQ", {{"PRQ0", 8}, {"PRQ1", 8}, {"PRQ2", 8}, {"PRQ3", 8}})};
    for (const Bytes& method : link_methods()) system.push_back(method);
    for (unsigned link = 0; link < kPins; ++link) system.push_back(link_device(link));
    for (unsigned cpu = 0; cpu < config.cpus; ++cpu) {
        const char digits[] = "0123456789ABCDEF";
        const char name[] = {'C', 'P', digits[cpu >> 4 & 0xF], digits[cpu & 0xF], 0};
        system.push_back(aml::processor(name, static_cast<u8>(cpu)));
    }
    // Soft off is SLP_TYP 0 of the PIIX4.
    const Bytes soft_off =
        aml::name("_S5", aml::package({aml::integer(0), aml::integer(0), aml::integer(0), aml::integer(0)}));
    std::vector<u8> block = aml::scope("\\_SB", system);
    block.insert(block.end(), soft_off.begin(), soft_off.end());
    return block;
}

}  // namespace lodge
