// The PCI-to-ISA bridge of the 82371SB (PIIX3): which interrupt the PCI bus's PIRQ lines raise, and the reset control
// register at port CF9h.
// Source: Intel 82371FB/82371SB datasheet, 290550: PIRQRC 2.2.7, RCR 2.5.6.3.
#pragma once

#include "devices/pci.h"

namespace lodge {

class Piix3 final : public PciDevice, public IrqInput {
  public:
    static constexpr unsigned kPirqRoute = 0x60;  // PIRQRC A..D, 60h..63h
    static constexpr u8 kPirqDisabled = 0x80;

    // `interrupts` has 16 pins: the levels PCI drives on IRQ 0..15 (several PIRQs on one IRQ are joined here).
    Piix3(const Platform& platform, IrqInput& interrupts);

    void reset() override;
    void state(StateIo& io) override;
    void config_write(unsigned offset, unsigned size, u32 value) override;

    // PIRQA..PIRQD are pins 0..3.
    void set_irq(unsigned pin, bool level) override;

    // The reset control register, a byte at CF9h.
    u8 read_reset_control() const { return reset_control_; }
    void write_reset_control(u8 value);

  private:
    u16 routed_levels() const;
    void update();

    IrqInput& interrupts_;
    u8 reset_control_ = 0;
    u8 pirqs_ = 0;    // levels of PIRQA..D, one bit each
    u16 driven_ = 0;  // levels on IRQ 0..15
};

}  // namespace lodge
