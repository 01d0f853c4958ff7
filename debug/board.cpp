#include "debug/board.h"

#include "debug/state_tree.h"
#include "debug/text.h"

namespace lodge::debug {

namespace {

using Wide = unsigned long long;

std::string function_line(PciDevice& function, unsigned device, unsigned number) {
    const u32 id = function.config_read(kPciVendor, 4);
    std::string text = format("00:%02x.%u %04x:%04x class %06x %-14s", device, number, id & 0xFFFF, id >> 16,
                              function.config_read(kPciClass - 1, 4) >> 8, std::string(function.name()).c_str());
    const u32 pin = function.config_read(kPciInterruptPin, 1);
    if (pin)
        text += format(" INT%c -> PIRQ%c, line %u%s", 'A' + static_cast<int>(pin) - 1,
                       'A' + static_cast<int>(PciBus::pirq_of(device, pin)), function.config_read(kPciInterruptLine, 1),
                       function.intx() ? ", asserted" : "");
    const u16 command = function.command();
    if (command & kPciCommandIo) text += " io";
    if (command & kPciCommandMemory) text += " memory";
    if (command & kPciCommandMaster) text += " master";
    return text + "\n";
}

std::string bar_lines(PciDevice& function) {
    std::string text;
    for (unsigned index = 0; index < PciDevice::kBars; ++index) {
        const u32 raw = function.config_read(kPciBar0 + 4 * index, 4);
        if (raw == 0) continue;
        const bool io = raw & 1;
        text += format("        bar%u %s %08X%s\n", index, io ? "ports " : "memory", io ? raw & ~3u : raw & ~15u,
                       function.bar_mapped(index) ? "" : ", does not answer");
    }
    return text;
}

std::string bits_text(u64 set) {
    std::string text;
    for (unsigned i = 0; i < 64; ++i)
        if (bit(set, i)) text += (text.empty() ? "" : ",") + std::to_string(i);
    return text.empty() ? "none" : text;
}

std::string pic_text(const StateTree& tree) {
    std::string text;
    for (const char* chip : {"master", "slave"}) {
        const auto field = [&](const char* name) {
            return tree.number(std::string("pic/") + chip + "/" + name).value_or(0);
        };
        text += format("8259 %-6s vectors %02llX-%02llX", chip, static_cast<Wide>(field("vector_base")),
                       static_cast<Wide>(field("vector_base") + 7));
        text += ", masked " + bits_text(field("mask")) + ", requested " + bits_text(field("request")) +
                ", in service " + bits_text(field("in_service")) + ", inputs high " + bits_text(field("inputs")) + "\n";
    }
    return text;
}

// 82093AA, 3.2.4 "I/O Redirection Table".
std::string ioapic_text(const StateTree& tree) {
    static constexpr const char* kDelivery[] = {"fixed", "lowest", "SMI", "3", "NMI", "INIT", "6", "ExtINT"};
    const StateTree* entries = tree.find("ioapic/entries");
    const u64 levels = tree.number("ioapic/levels").value_or(0);
    std::string text = "I/O APIC\n";
    for (unsigned pin = 0; entries && pin < entries->bytes.size() / 8; ++pin) {
        const u64 entry = load<u64>(&entries->bytes[pin * 8]);
        text += format("  pin %2u -> vector %02llX %s, %s, destination %s %02llX%s%s%s%s\n", pin,
                       static_cast<Wide>(entry & 0xFF), kDelivery[bits(entry, 8, 3)], bit(entry, 15) ? "level" : "edge",
                       bit(entry, 11) ? "logical" : "CPU", static_cast<Wide>(entry >> 56),
                       bit(entry, 16) ? ", masked" : "", bit(entry, 14) ? ", in service" : "",
                       bit(entry, 13) ? ", active low" : "", bit(levels, pin) ? ", asserted" : "");
    }
    return text;
}

std::string vectors_text(const StateTree* set) {
    std::string text;
    for (unsigned vector = 0; set && vector < set->bytes.size() * 8; ++vector)
        if (set->bytes[vector / 8] & (1u << vector % 8)) text += format(text.empty() ? "%02X" : ",%02X", vector);
    return text.empty() ? "none" : text;
}

std::string local_apic_text(const std::string& name, const StateTree& tree) {
    static constexpr const char* kNames[] = {"timer", "thermal", "performance", "LINT0", "LINT1", "error"};
    const auto field = [&](const char* of) { return tree.number(name + "/" + of).value_or(0); };
    std::string text =
        format("local APIC at %llX%s, TPR %02llX\n", static_cast<Wide>(field("base_msr") & ~u64{0xFFF}),
               bit(field("spurious"), 8) ? "" : ", disabled by software", static_cast<Wide>(field("task_priority")));
    text += "  requested " + vectors_text(tree.find(name + "/request")) + ", in service " +
            vectors_text(tree.find(name + "/in_service")) + "\n";
    const StateTree* lvt = tree.find(name + "/lvt");
    for (unsigned i = 0; lvt && i < std::size(kNames) && (i + 1) * 4 <= lvt->bytes.size(); ++i) {
        const u32 entry = load<u32>(&lvt->bytes[i * 4]);
        text += format("  %-11s vector %02X%s%s\n", kNames[i], entry & 0xFF, bit(entry, 16) ? ", masked" : "",
                       i == 0 && bit(entry, 17) ? ", periodic" : "");
    }
    return text;
}

Device* find_device(Pc& pc, std::string_view name) {
    for (Device* device : pc.devices())
        if (device->name() == name) return device;
    return nullptr;
}

}  // namespace

std::string pci_text(Pc& pc) {
    std::string text;
    for (unsigned device = 0; device < 32; ++device)
        for (unsigned number = 0; number < 8; ++number)
            if (PciDevice* function = pc.pci().find(device, number))
                text += function_line(*function, device, number) + bar_lines(*function);
    return text;
}

std::string interrupts_text(Pc& pc) {
    std::string text;
    if (Device* pic = find_device(pc, "pic")) text += pic_text(state_of(*pic));
    if (Device* piix = find_device(pc, "piix3")) {
        auto& bridge = static_cast<PciDevice&>(*piix);
        const u64 levels = state_of(*piix).number("piix3/pirqs").value_or(0);
        for (unsigned i = 0; i < 4; ++i) {
            const u32 route = bridge.config_read(Piix3::kPirqRoute + i, 1);
            text += format("PIRQ%c -> ", static_cast<char>('A' + i)) +
                    (route & Piix3::kPirqDisabled ? std::string("not routed") : "IRQ " + std::to_string(route & 15)) +
                    (bit(levels, i) ? ", asserted\n" : "\n");
        }
    }
    if (Device* ioapic = find_device(pc, "ioapic")) text += ioapic_text(state_of(*ioapic));
    return text + local_apic_text(std::string(pc.local_apic().name()), state_of(pc.local_apic()));
}

void add_board_topics(Monitor& monitor, Pc& pc) {
    monitor.add("info pci", "", "the PCI tree", [&pc](const std::vector<std::string>&, const Monitor::Output& out) {
        out(pci_text(pc));
        return true;
    });
    monitor.add("info interrupts", "", "where interrupts go, and which wait",
                [&pc](const std::vector<std::string>&, const Monitor::Output& out) {
                    out(interrupts_text(pc));
                    return true;
                });
    monitor.add("powerdown", "", "the power button", [&pc](const std::vector<std::string>&, const Monitor::Output&) {
        pc.acpi().press_power_button();
        return true;
    });
}

}  // namespace lodge::debug
