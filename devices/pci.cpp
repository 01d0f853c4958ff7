#include "devices/pci.h"

#include <algorithm>
#include <cassert>

namespace lodge {

namespace {

// Flags in the low bits of a BAR, PCI 3.0 6.2.5.1.
constexpr u32 kBarIo = 0x1;
constexpr u32 kBarPrefetchable = 0x8;
constexpr u32 kRomEnable = 0x1;

// The address register's fields, PCI 3.0 3.2.2.3.2.
constexpr u32 kAddressEnable = 0x80000000;
constexpr u32 kAddressBits = 0x80FFFFFC;

constexpr u16 kAddressPort = 0xCF8;
constexpr u16 kDataPort = 0xCFC;
constexpr unsigned kResetControlOffset = 1;  // CF9h

u32 ones(unsigned size) {
    return size == 4 ? ~u32{0} : (u32{1} << (8 * size)) - 1;
}

u32 load_bytes(const u8* from, unsigned size) {
    u32 value = 0;
    std::memcpy(&value, from, size);
    return value;
}

void store_bytes(u8* to, u32 value, unsigned size) {
    std::memcpy(to, &value, size);
}

constexpr RegisterInfo kAddressRegisters[] = {{0, 32, "CONFADD"}};
constexpr RegisterInfo kDataRegisters[] = {{0, 32, "CONFDATA"}};

}  // namespace

PciDevice::PciDevice(const Platform& platform, std::string name, const PciIdentity& identity)
    : platform_(platform), name_(std::move(name)) {
    set_config(kPciVendor, identity.vendor, 2);
    set_config(kPciDevice, identity.device, 2);
    set_config(kPciRevision, identity.revision, 1);
    set_config(kPciClass, identity.class_code, 3);
    set_config(kPciHeaderType, identity.multifunction ? 0x80 : 0, 1);
    set_config(kPciSubsystemVendor, identity.subsystem_vendor, 2);
    set_config(kPciSubsystem, identity.subsystem, 2);
    set_config(kPciInterruptPin, identity.interrupt_pin, 1);
    set_writable(kPciCommand, kPciCommandIo | kPciCommandMemory | kPciCommandMaster | kPciCommandNoInterrupt, 2);
    set_writable(kPciInterruptLine, 0xFF, 1);
}

PciDevice::~PciDevice() {
    release_bars();
    if (bus_) bus_->remove(*this);
}

void PciDevice::set_config(unsigned offset, u32 value, unsigned size) {
    assert(offset + size <= kConfigSize);
    store_bytes(&initial_[offset], value, size);
    store_bytes(&config_[offset], value, size);
}

void PciDevice::set_writable(unsigned offset, u32 mask, unsigned size) {
    assert(offset + size <= kConfigSize);
    store_bytes(&writable_[offset], mask, size);
}

void PciDevice::set_write_1_to_clear(unsigned offset, u32 mask, unsigned size) {
    assert(offset + size <= kConfigSize);
    store_bytes(&write_1_to_clear_[offset], mask, size);
}

void PciDevice::declare_bar(unsigned index, Bar bar, u32 flags) {
    assert(index <= kRomBar && std::has_single_bit(bar.size) && bars_[index].kind == BarKind::none);
    set_config(bar_offset(index), flags, 4);
    set_writable(bar_offset(index), ~(bar.size - 1) | (index == kRomBar ? kRomEnable : 0), 4);
    bars_[index] = std::move(bar);
}

void PciDevice::add_io_bar(unsigned index, u32 size, BusRead read, BusWrite write, RegisterTable registers) {
    assert(size >= 4 && size <= 256);
    declare_bar(index, {BarKind::io, size, 0, std::move(read), std::move(write), {}, registers}, kBarIo);
}

void PciDevice::add_memory_bar(unsigned index, u32 size, BusRead read, BusWrite write, RegisterTable registers) {
    assert(size >= 16);
    declare_bar(index, {BarKind::memory, size, 0, std::move(read), std::move(write), {}, registers}, 0);
}

void PciDevice::add_backed_bar(unsigned index, u32 size, u64 backing_offset) {
    assert(size >= kPageSize && (backing_offset & kPageMask) == 0);
    declare_bar(index, {BarKind::backed, size, backing_offset, nullptr, nullptr, {}, {}}, kBarPrefetchable);
}

void PciDevice::add_rom(u32 size, u64 backing_offset) {
    assert(size >= kPageSize && (backing_offset & kPageMask) == 0);
    declare_bar(kRomBar, {BarKind::rom, size, backing_offset, nullptr, nullptr, {}, {}}, 0);
}

u32 PciDevice::config(unsigned offset, unsigned size) const {
    assert(offset + size <= kConfigSize);
    return load_bytes(&config_[offset], size);
}

void PciDevice::put_config(unsigned offset, u32 value, unsigned size) {
    assert(offset + size <= kConfigSize);
    store_bytes(&config_[offset], value, size);
}

u32 PciDevice::config_read(unsigned offset, unsigned size) {
    u32 value = config(offset, size);
    // The interrupt status bit shows the pin itself, PCI 3.0 6.2.3.
    if (offset <= kPciStatus && offset + size > kPciStatus && intx_)
        value |= u32{kPciStatusInterrupt} << (8 * (kPciStatus - offset));
    return value;
}

void PciDevice::config_write(unsigned offset, unsigned size, u32 value) {
    assert(offset + size <= kConfigSize);
    for (unsigned i = 0; i < size; ++i) {
        const u8 byte = static_cast<u8>(value >> (8 * i));
        u8& target = config_[offset + i];
        target = replace_bits(target, writable_[offset + i], byte);
        target = static_cast<u8>(target & ~(byte & write_1_to_clear_[offset + i]));
    }
    // Only the command register, the BARs and the ROM's BAR decide about mappings and the pin.
    if (offset >= kPciRom + 4 || (offset + size <= kPciBar0 && offset >= kPciStatus)) return;
    update_bars();
    if (bus_) bus_->update_intx();
}

u32 PciDevice::bar_address(unsigned index) const {
    return config(bar_offset(index), 4) & ~(bars_[index].size - 1);
}

std::optional<u64> PciDevice::wanted_address(unsigned index) const {
    const Bar& bar = bars_[index];
    const u16 needed = bar.kind == BarKind::io ? kPciCommandIo : kPciCommandMemory;
    if (bar.kind == BarKind::none || !(command() & needed)) return std::nullopt;
    if (bar.kind == BarKind::rom && !(config(kPciRom, 4) & kRomEnable)) return std::nullopt;
    const u32 base = bar_address(index);
    // All ones is a guest asking for the size; zero is "not assigned".
    const bool sizing = base + (bar.size - 1) == ~u32{0};
    if (base == 0 || sizing || (bar.kind == BarKind::io && base > 0xFFFF)) return std::nullopt;
    return base;
}

void PciDevice::release_bar(unsigned index) {
    Bar& bar = bars_[index];
    if (!bar.range.claimed()) return;
    if (bar.kind == BarKind::backed || bar.kind == BarKind::rom) platform_.memory.unmap(bar.range.base(), bar.size);
    bar.range.release();
}

void PciDevice::release_bars() {
    for (unsigned index = 0; index <= kRomBar; ++index) release_bar(index);
}

void PciDevice::release_moved_bars() {
    for (unsigned index = 0; index <= kRomBar; ++index) {
        const BusRange& range = bars_[index].range;
        if (range.claimed() && wanted_address(index) != range.base()) release_bar(index);
    }
}

bool PciDevice::meets_ram(u64 base, u64 size) const {
    for (u64 at = align_down(base, kPageSize); at < base + size; at += kPageSize)
        if (platform_.memory.is_backed(at)) return true;
    return false;
}

void PciDevice::map_bar(unsigned index, u64 base) {
    Bar& bar = bars_[index];
    const std::string name = name_ + (index == kRomBar ? ".rom" : ".bar" + std::to_string(index));
    const bool io = bar.kind == BarKind::io;
    if (!io && meets_ram(base, bar.size)) {
        platform_.log.once(LogChannel::pci, "%s at %llX lies over memory and stays unreachable", name.c_str(),
                           static_cast<unsigned long long>(base));
        return;
    }
    // A backed range is claimed too, so that no other BAR takes its addresses; its handlers are never asked.
    Bus& bus = io ? platform_.ports : platform_.mmio;
    Result<BusRange> claimed = bus.claim(base, bar.size, name, bar.read, bar.write, bar.registers);
    if (!claimed) {
        platform_.log.once(LogChannel::pci, "BAR stays unreachable: %s", claimed.error().context.c_str());
        return;
    }
    bar.range = std::move(*claimed);
    if (bar.kind == BarKind::backed) platform_.memory.map(base, bar.size, bar.backing_offset, true);
    if (bar.kind == BarKind::rom) platform_.memory.map(base, bar.size, bar.backing_offset, false);
}

void PciDevice::map_bars() {
    for (unsigned index = 0; index <= kRomBar; ++index) {
        if (bars_[index].range.claimed()) continue;
        if (const std::optional<u64> base = wanted_address(index)) map_bar(index, *base);
    }
}

void PciDevice::update_bars() {
    if (bus_) return bus_->bars_changed();
    release_moved_bars();
    map_bars();
}

void PciDevice::set_intx(bool level) {
    if (intx_ == level) return;
    intx_ = level;
    if (bus_) bus_->update_intx();
}

void PciDevice::reset() {
    config_ = initial_;
    intx_ = false;
    update_bars();
    if (bus_) bus_->update_intx();
}

void PciDevice::config_state(StateIo& io) {
    io.bytes("config", config_);
    io.field("intx", intx_);
    if (!io.loading()) return;
    // What the guest cannot write is as constructed, whatever the state says.
    for (unsigned offset : {kPciVendor, kPciDevice, kPciClass, kPciHeaderType})
        store_bytes(&config_[offset], load_bytes(&initial_[offset], 2), 2);
    for (unsigned index = 0; index <= kRomBar; ++index) {
        const unsigned offset = bar_offset(index);
        const u32 initial = load_bytes(&initial_[offset], 4);
        const u32 mask = load_bytes(&writable_[offset], 4);
        put_config(offset, replace_bits(initial, mask, config(offset, 4)), 4);
    }
    update_bars();
}

void PciDevice::state(StateIo& io) {
    io.section(name_, 1, [&] { config_state(io); });
}

PciBus::PciBus(const Platform& platform, IrqInput& pirq) : memory_(platform.memory), pirq_(pirq) {
    auto address = platform.ports.claim(
        kAddressPort, 4, "pci address", [this](u64 offset, unsigned size) { return read_address(offset, size); },
        [this](u64 offset, unsigned size, u64 value) { write_address(offset, size, value); }, kAddressRegisters);
    auto data = platform.ports.claim(
        kDataPort, 4, "pci data",
        [this](u64 offset, unsigned size) -> u64 { return config_read(address_, static_cast<unsigned>(offset), size); },
        [this](u64 offset, unsigned size, u64 value) {
            config_write(address_, static_cast<unsigned>(offset), size, static_cast<u32>(value));
        },
        kDataRegisters);
    assert(address && data);
    address_range_ = std::move(*address);
    data_range_ = std::move(*data);
}

PciBus::~PciBus() {
    for (PciDevice* function : functions_)
        if (function) function->bus_ = nullptr;
}

void PciBus::add(PciDevice& function, unsigned device, unsigned number) {
    assert(device < 32 && number < 8 && !find(device, number) && !function.bus_);
    functions_[device * 8 + number] = &function;
    function.bus_ = this;
    function.device_number_ = static_cast<u8>(device);
}

void PciBus::remove(PciDevice& function) {
    std::replace(functions_.begin(), functions_.end(), &function, static_cast<PciDevice*>(nullptr));
}

void PciBus::set_reset_control(std::function<u8()> read, std::function<void(u8)> write) {
    read_reset_control_ = std::move(read);
    write_reset_control_ = std::move(write);
}

PciDevice* PciBus::addressed(u32 address) const {
    if (!(address & kAddressEnable) || bits(address, 16, 8) != 0) return nullptr;
    return functions_[bits(address, 8, 8)];
}

u32 PciBus::config_read(u32 address, unsigned offset, unsigned size) {
    PciDevice* function = addressed(address);
    if (!function) return ones(size);  // master abort, PCI 3.0 6.1
    return function->config_read((address & 0xFC) + offset, size);
}

void PciBus::config_write(u32 address, unsigned offset, unsigned size, u32 value) {
    if (PciDevice* function = addressed(address)) function->config_write((address & 0xFC) + offset, size, value);
}

// The address register answers only to aligned 32-bit accesses (PCI 3.0 3.2.2.3.2); smaller ones are other ports.
u64 PciBus::read_address(u64 offset, unsigned size) {
    if (size == 4) return address_;
    if (size == 1 && offset == kResetControlOffset && read_reset_control_) return read_reset_control_();
    return ones(size);
}

void PciBus::write_address(u64 offset, unsigned size, u64 value) {
    if (size == 4) address_ = static_cast<u32>(value) & kAddressBits;
    if (size == 1 && offset == kResetControlOffset && write_reset_control_)
        write_reset_control_(static_cast<u8>(value));
}

void PciBus::update_intx() {
    std::array<bool, 4> levels{};
    for (const PciDevice* function : functions_) {
        if (!function || !function->intx_asserted()) continue;
        levels[pirq_of(function->device_number_, function->config(kPciInterruptPin, 1))] = true;
    }
    for (unsigned pin = 0; pin < 4; ++pin) pirq_.set_irq(pin, levels[pin]);
}

void PciBus::bars_changed() {
    // All that moved goes away before anything is mapped: two BARs may have changed places.
    PhysicalMemory::MapChange change(memory_);
    for (PciDevice* function : functions_)
        if (function) function->release_moved_bars();
    for (PciDevice* function : functions_)
        if (function) function->map_bars();
}

void PciBus::reset() {
    address_ = 0;
}

void PciBus::state(StateIo& io) {
    io.section(name(), 1, [&] { io.field("address", address_); });
    if (!io.loading()) return;
    address_ &= kAddressBits;
    for (PciDevice* function : functions_)
        if (function) function->release_bars();
}

}  // namespace lodge
