#include "devices/pic.h"

namespace lodge {

namespace {

constexpr u8 kIcw1 = 0x10;
constexpr u8 kIcw1NeedsIcw4 = 0x01;
constexpr u8 kIcw1Single = 0x02;
constexpr u8 kIcw1Level = 0x08;
constexpr u8 kIcw4AutoEoi = 0x02;
constexpr u8 kIcw4FullyNested = 0x10;
constexpr u8 kOcw3 = 0x08;
constexpr unsigned kSlavePin = 2;

// ELCR bits that PIIX3 ties to edge: IRQ 0, 1, 2, 8 and 13.
constexpr u8 kMasterTrigger = 0xF8;
constexpr u8 kSlaveTrigger = 0xDE;

constexpr RegisterInfo kChipRegisters[] = {{0, 8, "ICW1/OCW2/OCW3", RegisterRead::changes},
                                           {1, 8, "ICW2..4/OCW1", RegisterRead::changes}};
constexpr RegisterInfo kTriggerRegisters[] = {{0, 8, "ELCR1"}, {1, 8, "ELCR2"}};

}  // namespace

void Pic::reset() {
    const u8 inputs = inputs_;
    *this = Pic(master_, inputs);
}

void Pic::state(StateIo& io, std::string_view name) {
    io.section(name, 1, [&] {
        io.field("inputs", inputs_);
        io.field("request", request_);
        io.field("in_service", in_service_);
        io.field("mask", mask_);
        io.field("level_mask", level_mask_);
        io.field("vector_base", vector_base_);
        io.field("lowest_priority", lowest_priority_);
        io.field("icw_step", icw_step_);
        io.field("level_all", level_all_);
        io.field("single", single_);
        io.field("needs_icw4", needs_icw4_);
        io.field("auto_eoi", auto_eoi_);
        io.field("fully_nested", fully_nested_);
        io.field("rotate_on_auto_eoi", rotate_on_auto_eoi_);
        io.field("special_mask", special_mask_);
        io.field("poll", poll_);
        io.field("read_in_service", read_in_service_);
    });
    if (lowest_priority_ <= 7 && icw_step_ <= 4) return;
    io.fail("pic: no such priority or initialisation step");
    reset();
}

void Pic::write(unsigned a0, u8 value) {
    if (a0 == 1 && icw_step_) return write_icw(value);
    if (a0 == 1) {
        mask_ = value;
    } else if (value & kIcw1) {
        initialise(value);
    } else if (value & kOcw3) {
        write_ocw3(value);
    } else {
        write_ocw2(value);
    }
}

u8 Pic::read(unsigned a0) {
    if (poll_) return poll();
    if (a0 == 1) return mask_;
    return read_in_service_ ? in_service_ : request_;
}

void Pic::set_input(unsigned pin, bool level) {
    const u8 one = static_cast<u8>(1 << pin);
    const bool was = inputs_ & one;
    inputs_ = level ? inputs_ | one : inputs_ & ~one;
    // A request stands only while its pin does (data sheet: IR must stay high until the first INTA); in edge mode the
    // next one needs a new rise.
    if (!level) {
        request_ &= ~one;
    } else if (level_triggered(pin) || !was) {
        request_ |= one;
    }
}

void Pic::set_level_mask(u8 mask) {
    level_mask_ = mask;
    for (unsigned pin = 0; pin < 8; ++pin)
        if (level_triggered(pin)) request_ = static_cast<u8>((request_ & ~(1 << pin)) | (inputs_ & (1 << pin)));
}

std::optional<unsigned> Pic::highest(u8 set) const {
    for (unsigned i = 1; i <= 8; ++i) {
        const unsigned pin = (lowest_priority_ + i) & 7;
        if (bit(set, pin)) return pin;
    }
    return std::nullopt;
}

std::optional<unsigned> Pic::pending() const {
    if (icw_step_) return std::nullopt;
    // Special mask mode: a pin that is in service and masked no longer holds back the others.
    const u8 holding = special_mask_ ? in_service_ & ~mask_ : in_service_;
    const auto pin = highest(request_ & ~mask_);
    if (!pin) return std::nullopt;
    const auto serving = highest(holding);
    if (!serving || rank(*pin) < rank(*serving)) return pin;
    // Special fully nested mode: a slave in service may ask again for something it ranks higher.
    if (fully_nested_ && master_ && *pin == kSlavePin && *serving == kSlavePin) return pin;
    return std::nullopt;
}

void Pic::take(unsigned pin) {
    const u8 one = static_cast<u8>(1 << pin);
    if (!level_triggered(pin)) request_ &= ~one;
    if (!auto_eoi_) {
        in_service_ |= one;
    } else if (rotate_on_auto_eoi_) {
        lowest_priority_ = static_cast<u8>(pin);
    }
}

Pic::Acknowledged Pic::acknowledge() {
    const auto pin = pending();
    if (pin) take(*pin);
    const u8 number = static_cast<u8>(pin.value_or(7));
    return {number, static_cast<u8>(vector_base_ | number)};
}

u8 Pic::poll() {
    poll_ = false;
    const auto pin = pending();
    if (!pin) return 0;
    take(*pin);
    return static_cast<u8>(0x80 | *pin);
}

void Pic::initialise(u8 icw1) {
    // Data sheet, "Initialization command word 1": the edge sense circuit is reset, IMR cleared, IR7 gets priority 7,
    // special mask mode and status read go to IRR, and without ICW4 its functions are zero.
    level_all_ = icw1 & kIcw1Level;
    single_ = icw1 & kIcw1Single;
    needs_icw4_ = icw1 & kIcw1NeedsIcw4;
    mask_ = 0;
    in_service_ = 0;
    lowest_priority_ = 7;
    special_mask_ = false;
    read_in_service_ = false;
    poll_ = false;
    rotate_on_auto_eoi_ = false;
    auto_eoi_ = false;
    fully_nested_ = false;
    request_ = 0;
    for (unsigned pin = 0; pin < 8; ++pin)
        if (level_triggered(pin)) request_ |= inputs_ & (1 << pin);
    icw_step_ = 2;
}

void Pic::write_icw(u8 value) {
    switch (icw_step_) {
        case 2:
            vector_base_ = value & 0xF8;
            icw_step_ = !single_ ? 3 : needs_icw4_ ? 4 : 0;
            break;
        case 3:
            // ICW3 says where the slave hangs; on this board that is wired.
            icw_step_ = needs_icw4_ ? 4 : 0;
            break;
        default:
            auto_eoi_ = value & kIcw4AutoEoi;
            fully_nested_ = value & kIcw4FullyNested;
            icw_step_ = 0;
    }
}

void Pic::end_of_interrupt(unsigned pin, bool rotate) {
    in_service_ &= static_cast<u8>(~(1 << pin));
    if (rotate) lowest_priority_ = static_cast<u8>(pin);
}

void Pic::write_ocw2(u8 value) {
    const bool rotate = bit(value, 7);
    const bool specific = bit(value, 6);
    const bool end = bit(value, 5);
    const unsigned pin = value & 7;
    if (end && specific) return end_of_interrupt(pin, rotate);
    if (end) {
        // In special mask mode a masked level in service is not cleared by a non-specific EOI.
        const auto serving = highest(special_mask_ ? in_service_ & ~mask_ : in_service_);
        if (serving) end_of_interrupt(*serving, rotate);
        return;
    }
    if (specific) {
        if (rotate) lowest_priority_ = static_cast<u8>(pin);
        return;
    }
    rotate_on_auto_eoi_ = rotate;
}

void Pic::write_ocw3(u8 value) {
    if (bit(value, 6)) special_mask_ = bit(value, 5);
    poll_ = bit(value, 2);
    if (bit(value, 1)) read_in_service_ = bit(value, 0);
}

PicPair::PicPair(Log& log) : claims_(log, LogChannel::pic) {}

Result<void> PicPair::attach(Bus& ports) {
    const auto claim_chip = [&](Pic& chip, u64 base, const char* name) {
        return claims_.bytes(
            ports, base, 2, name, kChipRegisters,
            [this, &chip](u64 offset) {
                const u8 value = chip.read(static_cast<unsigned>(offset));
                update();
                return value;
            },
            [this, &chip](u64 offset, u8 value) {
                chip.write(static_cast<unsigned>(offset), value);
                update();
            });
    };
    LODGE_TRY(claim_chip(master_, 0x20, "pic master"));
    LODGE_TRY(claim_chip(slave_, 0xA0, "pic slave"));
    return claims_.bytes(
        ports, 0x4D0, 2, "pic trigger", kTriggerRegisters,
        [this](u64 offset) { return offset ? slave_.level_mask() : master_.level_mask(); },
        [this](u64 offset, u8 value) { write_trigger(static_cast<unsigned>(offset), value); });
}

void PicPair::reset() {
    master_.reset();
    slave_.reset();
    update();
}

void PicPair::state(StateIo& io) {
    io.section("pic", 1, [&] {
        master_.state(io, "master");
        slave_.state(io, "slave");
    });
}

void PicPair::write_trigger(unsigned chip, u8 value) {
    if (chip == 0) {
        master_.set_level_mask(value & kMasterTrigger);
    } else {
        slave_.set_level_mask(value & kSlaveTrigger);
    }
    update();
}

void PicPair::update() {
    master_.set_input(kSlavePin, slave_.output());
    interrupt_.set(master_.output());
}

void PicPair::set_irq(unsigned pin, bool level) {
    if (pin == kSlavePin || pin > 15) return;
    (pin < 8 ? master_ : slave_).set_input(pin & 7, level);
    update();
}

std::optional<u8> PicPair::acknowledge() {
    const auto from_master = master_.acknowledge();
    // A spurious IRQ 7 never reaches the slave; a spurious IRQ 15 leaves pin 2 of the master in service.
    u8 vector = from_master.vector;
    if (from_master.pin == kSlavePin) {
        vector = slave_.acknowledge().vector;
        // INT drops at the INTA, so that a further request of the slave is an edge again.
        master_.set_input(kSlavePin, false);
    }
    update();
    return vector;
}

}  // namespace lodge
