// Devices by their register tables and by their saved states.
#include "debug/inspector.h"
#include "debug/state_tree.h"
#include "debug/text.h"

namespace lodge::debug {

namespace {

// "uart1" names the claims "uart1", "uart1.bar0" and "uart1 something".
bool is_of(std::string_view claim, std::string_view device) {
    if (!claim.starts_with(device)) return false;
    return claim.size() == device.size() || claim[device.size()] == ' ' || claim[device.size()] == '.';
}

// "RBR/THR/DLL" is called by any of its names.
bool is_called(std::string_view names, std::string_view name) {
    const std::string all = "/" + lower_case(names) + "/";
    return all.find("/" + lower_case(name) + "/") != std::string::npos || lower_case(names) == lower_case(name);
}

}  // namespace

std::vector<Inspector::DeviceRegister> Inspector::device_registers(std::string_view device) {
    std::vector<DeviceRegister> found;
    for (Bus* bus : {&machine_.ports(), &machine_.mmio()})
        bus->visit([&](const BusClaim& claim) {
            if (!device.empty() && !is_of(claim.name, device)) return;
            for (const RegisterInfo& info : claim.registers)
                if (info.offset < claim.size)
                    found.push_back({std::string(claim.name), bus, claim.base + info.offset, info});
        });
    return found;
}

// Two words, or one with a dot before the register's name; names of claims may hold both.
std::optional<Inspector::DeviceRegister> Inspector::find_device_register(std::string_view text) {
    const size_t space = text.find_last_of(" .");
    if (space == std::string_view::npos) return {};
    const std::string device = lower_case(text.substr(0, space)), name(text.substr(space + 1));
    for (const DeviceRegister& candidate : device_registers(device))
        if (is_called(candidate.info.name, name)) return candidate;
    return {};
}

u64 Inspector::read_device_register(const DeviceRegister& which) {
    const unsigned bytes = which.info.bits / 8;
    if (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8) return which.bus->read_unobserved(which.address, bytes);
    u64 value = 0;
    for (unsigned i = 0; i < bytes; ++i) value |= which.bus->read_unobserved(which.address + i, 1) << (8 * i);
    return value;
}

std::string Inspector::device_registers_text(std::string_view device) {
    std::string text;
    u64 claim = kNever;
    for (const DeviceRegister& which : device_registers(device)) {
        if (which.address - which.info.offset != claim) {
            claim = which.address - which.info.offset;
            text += which.device + " (" + which.bus->name() + " " + hex(claim) + "):\n";
        }
        text += format("  +%04X %-20s ", which.info.offset, which.info.name);
        if (which.info.read == RegisterRead::changes)
            text += "(reading it has effects)\n";
        else
            text += hex(read_device_register(which), which.info.bits / 4) + "\n";
    }
    return text;
}

std::optional<std::string> Inspector::device_state_text(std::string_view device) {
    for (Device* candidate : machine_.devices())
        if (candidate->name() == device) return state_text(state_of(*candidate));
    return {};
}

std::vector<std::string_view> Inspector::device_names() {
    std::vector<std::string_view> names;
    for (const Device* device : machine_.devices()) names.push_back(device->name());
    return names;
}

}  // namespace lodge::debug
