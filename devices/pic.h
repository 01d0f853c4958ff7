// The pair of 8259A interrupt controllers of a PC, master and slave, with the ELCR of the PIIX3.
// Source: Intel 8259A data sheet (231468-003); 82371SB (PIIX3) data sheet (ELCR).
#pragma once

#include "core/device.h"
#include "devices/claims.h"

namespace lodge {

// One 8259A. Pins in, INT out; knows nothing of ports or of the other chip.
class Pic {
  public:
    // `master`: of the cascade (the SP/EN pin); pin 2 carries the slave.
    explicit Pic(bool master) : master_(master) {}

    void reset();
    void state(StateIo& io, std::string_view name);

    void write(unsigned a0, u8 value);
    // May end a poll: reads are not free of effects.
    u8 read(unsigned a0);

    // `level` of an input pin 0..7.
    void set_input(unsigned pin, bool level);
    // Pins whose bit is set are level triggered, whatever ICW1 said.
    void set_level_mask(u8 mask);
    u8 level_mask() const { return level_mask_; }
    bool output() const { return pending().has_value(); }

    struct Acknowledged {
        u8 pin;
        u8 vector;
    };
    // The INTA sequence: takes the request into service. Without a request: pin 7, and nothing comes into service.
    Acknowledged acknowledge();

  private:
    Pic(bool master, u8 inputs) : master_(master), inputs_(inputs) {}
    // The pin to interrupt for, by mask, priority and what is in service.
    std::optional<unsigned> pending() const;
    bool level_triggered(unsigned pin) const { return level_all_ || bit(level_mask_, pin); }
    unsigned rank(unsigned pin) const { return (pin - lowest_priority_ - 1) & 7; }
    std::optional<unsigned> highest(u8 set) const;
    void initialise(u8 icw1);
    void write_icw(u8 value);
    void write_ocw2(u8 value);
    void write_ocw3(u8 value);
    void end_of_interrupt(unsigned pin, bool rotate);
    void take(unsigned pin);
    u8 poll();

    bool master_;
    u8 inputs_ = 0;              // levels of the pins
    u8 request_ = 0;             // IRR
    u8 in_service_ = 0;          // ISR
    u8 mask_ = 0;                // IMR
    u8 level_mask_ = 0;          // ELCR
    u8 vector_base_ = 0;         // ICW2 bits 7:3
    u8 lowest_priority_ = 7;     // the pin with the lowest priority
    u8 icw_step_ = 0;            // the ICW expected next (2..4); 0 when initialised
    bool level_all_ = false;     // ICW1 LTIM
    bool single_ = false;        // ICW1 SNGL
    bool needs_icw4_ = false;    // ICW1 IC4
    bool auto_eoi_ = false;      // ICW4 AEOI
    bool fully_nested_ = false;  // ICW4 SFNM
    bool rotate_on_auto_eoi_ = false;
    bool special_mask_ = false;
    bool poll_ = false;
    bool read_in_service_ = false;
};

class PicPair final : public Device, public IrqInput, public InterruptController {
  public:
    explicit PicPair(Log& log);

    // Where the master's INT goes: the CPU's INTR (see InterruptPin) or a local APIC's LINT0.
    void connect(IrqLine interrupt) { interrupt_ = interrupt; }
    // Claims 20h-21h, A0h-A1h and 4D0h-4D1h.
    Result<void> attach(Bus& ports);

    std::string_view name() const override { return "pic"; }
    void reset() override;
    void state(StateIo& io) override;

    // Pins 0..15; pin 2 is the slave's and cannot be driven.
    void set_irq(unsigned pin, bool level) override;
    // Always has a vector: a request that went away reads as a spurious IRQ 7 or 15.
    std::optional<u8> acknowledge() override;

  private:
    void write_trigger(unsigned chip, u8 value);
    void update();

    Pic master_{true};
    Pic slave_{false};
    IrqLine interrupt_;
    Claims claims_;
};

// For machines without a local APIC: one pin, the CPU's INTR.
class InterruptPin final : public IrqInput {
  public:
    explicit InterruptPin(CpuPins& cpu) : cpu_(cpu) {}
    void set_irq(unsigned, bool level) override { cpu_.set_interrupt(level); }

  private:
    CpuPins& cpu_;
};

}  // namespace lodge
