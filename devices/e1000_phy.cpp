#include "devices/e1000_phy.h"

namespace lodge::e1000 {

namespace {

constexpr u32 kControl = 0, kStatus = 1, kId1 = 2, kId2 = 3, kAdvertisement = 4, kPartner = 5, kExpansion = 6;
constexpr u32 kGigabitControl = 9, kGigabitStatus = 10, kExtendedStatus = 15;
constexpr u32 kSpecificControl = 16, kSpecificStatus = 17, kExtendedSpecificControl = 20;

constexpr u16 kControlReset = 0x8000;
constexpr u16 kControlLoopback = 0x4000;
constexpr u16 kControlNegotiate = 0x1000;
constexpr u16 kControlPowerDown = 0x0800;
constexpr u16 kControlIsolate = 0x0400;
constexpr u16 kControlRestart = 0x0200;

constexpr u16 kStatusLink = 0x0004;
constexpr u16 kStatusNegotiated = 0x0020;

// Bits that software may set; the rest of each register is as at power-on.
u16 writable_bits(u32 index) {
    switch (index) {
        case kControl:
            return 0x7DC0;  // but reset and restart, which clear themselves
        case kAdvertisement:
            return 0xBFFF;
        case kStatus:
        case kId1:
        case kId2:
        case kPartner:
        case kExpansion:
        case 8:
        case kGigabitStatus:
        case kExtendedStatus:
        case kSpecificStatus:
        case 19:
        case 21:
            return 0;
        default:
            return 0xFFFF;
    }
}

}  // namespace

Phy::Phy(Scheduler& scheduler, const std::string& name, std::function<void()> changed)
    : changed_(std::move(changed)), negotiated_(scheduler, name + ".negotiated", [this](u64) { settle(); }) {
    power_on_values();
}

void Phy::power_on_values() {
    values_.fill(0);
    values_[kControl] = 0x1140;  // negotiation, full duplex, 1000 Mb/s
    values_[kStatus] = 0x7949;   // what it can; link and negotiation are added in status()
    values_[kId1] = 0x0141;
    values_[kId2] = 0x0C24;
    values_[kAdvertisement] = 0x0DE1;
    values_[kPartner] = 0x45E1;
    values_[kExpansion] = 0x0001;
    values_[7] = 0x2001;
    values_[kGigabitControl] = 0x0E00;
    values_[kGigabitStatus] = 0x3C00;
    values_[kExtendedStatus] = 0x3000;
    values_[kSpecificControl] = 0x0360;
    values_[kExtendedSpecificControl] = 0x0D60;
}

bool Phy::loopback() const {
    return values_[kControl] & kControlLoopback;
}

u16 Phy::status() {
    u16 value = values_[kStatus];
    if (link_) value |= kStatusNegotiated;
    if (link_ && !link_lost_) value |= kStatusLink;
    link_lost_ = false;
    return value;
}

// Speed 1000, full duplex, resolved, link.
u16 Phy::specific_status() const {
    return link_ ? 0xAC00 : 0x0000;
}

u16 Phy::read(u32 index) {
    if (index == kStatus) return status();
    if (index == kSpecificStatus) return specific_status();
    // What the partner can is known only once it has been asked.
    if ((index == kPartner || index == kGigabitStatus) && !link_) return 0;
    return values_[index % kRegisters];
}

void Phy::write(u32 index, u16 value) {
    u16& target = values_[index % kRegisters];
    target = replace_bits(target, writable_bits(index), value);
    if (index != kControl) return;
    if (value & kControlReset) return restart();
    if (target & (kControlPowerDown | kControlIsolate)) {
        negotiated_.cancel();
        set_link(false);
    } else if ((value & kControlNegotiate) && (value & kControlRestart)) {
        negotiate();
    } else if (!link_ && !negotiated_.pending()) {
        negotiate();
    }
}

void Phy::restart() {
    power_on_values();
    negotiate();
}

void Phy::negotiate() {
    set_link(false);
    if (cable_) negotiated_.schedule_in(kNegotiation);
}

void Phy::settle() {
    set_link(cable_);
}

void Phy::set_link(bool link) {
    if (link_ == link) return;
    link_ = link;
    if (!link) link_lost_ = true;
    changed_();
}

void Phy::set_cable(bool plugged) {
    if (cable_ == plugged) return;
    cable_ = plugged;
    negotiated_.cancel();
    if (!plugged) return set_link(false);
    if (!(values_[kControl] & (kControlPowerDown | kControlIsolate))) negotiate();
}

void Phy::reset() {
    power_on_values();
    negotiated_.cancel();
    link_ = cable_;
    link_lost_ = false;
}

void Phy::state(StateIo& io) {
    io.section("phy", 1, [&] {
        io.field("values", values_);
        io.field("cable", cable_);
        io.field("link", link_);
        io.field("link_lost", link_lost_);
        negotiated_.state(io);
    });
}

}  // namespace lodge::e1000
