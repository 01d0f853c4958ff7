#include "devices/ioapic.h"

namespace lodge {

namespace {

constexpr u64 kSelect = 0x00;  // IOREGSEL
constexpr u64 kWindow = 0x10;  // IOWIN
constexpr RegisterInfo kRegisters[] = {{kSelect, 8, "IOREGSEL"}, {kWindow, 32, "IOWIN"}};

constexpr u8 kId = 0;
constexpr u8 kVersion = 1;
constexpr u8 kArbitration = 2;
constexpr u8 kRedirection = 0x10;
constexpr u32 kVersionValue = (IoApic::kPins - 1) << 16 | 0x11;  // 82093AA data sheet 3.2.2

constexpr u64 kMasked = 1U << 16;
constexpr u64 kRemoteIrr = 1U << 14;
// Bits software can set: vector, delivery mode, destination mode, polarity, trigger, mask; destination (3.2.4).
constexpr u64 kWritable = 0xFF0000000001AFFF;

}  // namespace

IoApic::IoApic(ApicBus& bus, Log& log, u8 id) : bus_(bus), claims_(log, LogChannel::apic), initial_id_(id) {
    bus.add(*this);
    reset();
}

Result<void> IoApic::attach(Bus& mmio, u64 base) {
    return claims_.any(
        mmio, base, 4096, "ioapic", kRegisters, [this](u64 offset, unsigned) { return u64{read(offset)}; },
        [this](u64 offset, unsigned, u64 value) { write(offset, static_cast<u32>(value)); });
}

void IoApic::reset() {
    id_ = initial_id_ & 0x0F;
    index_ = 0;
    entries_.fill(kMasked);
}

void IoApic::state(StateIo& io) {
    io.section("ioapic", 1, [&] {
        io.field("id", id_);
        io.field("index", index_);
        io.field("levels", levels_);
        io.field("entries", entries_);
    });
}

void IoApic::set_irq(unsigned pin, bool level) {
    if (pin >= kPins) return;
    const u32 one = 1U << pin;
    const bool rises = level && !(levels_ & one);
    levels_ = level ? levels_ | one : levels_ & ~one;
    // Edges at a masked pin are lost (data sheet 3.2.4, interrupt mask).
    if (level && (rises || level_triggered(pin))) service(pin);
}

// Sends the interrupt of an active pin, unless it is masked or still being served.
void IoApic::service(unsigned pin) {
    u64& entry = entries_[pin];
    if (entry & (kMasked | kRemoteIrr)) return;
    ApicMessage message;
    message.destination = static_cast<u8>(entry >> 56);
    message.logical = bit(entry, 11);
    message.delivery = static_cast<ApicDelivery>(bits<u64>(entry, 8, 3));
    message.vector = static_cast<u8>(entry);
    const bool has_vector =
        message.delivery == ApicDelivery::fixed || message.delivery == ApicDelivery::lowest_priority;
    // All other delivery modes are edges whatever the trigger bit says (data sheet 3.2.4, delivery mode).
    message.level_triggered = has_vector && level_triggered(pin);
    const bool taken = bus_.deliver(message);
    if (taken && message.level_triggered) entry |= kRemoteIrr;
}

void IoApic::end_of_interrupt(u8 vector) {
    for (unsigned pin = 0; pin < kPins; ++pin) {
        u64& entry = entries_[pin];
        if (!(entry & kRemoteIrr) || static_cast<u8>(entry) != vector) continue;
        entry &= ~kRemoteIrr;
        if (bit(levels_, pin)) service(pin);
    }
}

u32 IoApic::read(u64 offset) {
    if (offset == kSelect) return index_;
    return offset == kWindow ? read_register(index_) : 0;
}

void IoApic::write(u64 offset, u32 value) {
    if (offset == kSelect) index_ = static_cast<u8>(value);
    if (offset == kWindow) write_register(index_, value);
}

u32 IoApic::read_register(u8 index) const {
    if (index >= kRedirection && index < kRedirection + 2 * kPins)
        return static_cast<u32>(entries_[(index - kRedirection) / 2] >> (index % 2 ? 32 : 0));
    switch (index) {
        case kId:
        case kArbitration:
            return u32{id_} << 24;
        case kVersion:
            return kVersionValue;
        default:
            return 0;
    }
}

void IoApic::write_register(u8 index, u32 value) {
    if (index == kId) id_ = static_cast<u8>(bits(value, 24, 4));
    if (index >= kRedirection && index < kRedirection + 2 * kPins)
        write_entry((index - kRedirection) / 2U, index % 2U, value);
}

void IoApic::write_entry(unsigned pin, unsigned half, u32 value) {
    u64& entry = entries_[pin];
    const u64 mask = kWritable & (half ? 0xFFFFFFFF00000000 : 0x00000000FFFFFFFF);
    entry = replace_bits<u64>(entry, mask, u64{value} << (half ? 32 : 0));
    // Remote IRR means nothing for edges; system software clears it by going through edge mode.
    if (!level_triggered(pin)) entry &= ~kRemoteIrr;
    if (level_triggered(pin) && bit(levels_, pin)) service(pin);
}

}  // namespace lodge
