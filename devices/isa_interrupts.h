// The board's interrupt wires: IRQ 0..15 go to the 8259 pair and to the I/O APIC, whose pin 2 takes IRQ 0. An IRQ is
// high while an ISA device or a PCI interrupt routed to it holds it high.
#pragma once

#include "core/device.h"

namespace lodge {

class IsaInterrupts final : public Device {
  public:
    IsaInterrupts(IrqInput& pic, IrqInput& io_apic) : pic_(pic), io_apic_(io_apic) {}

    // The wire of an ISA device.
    IrqLine line(unsigned irq) { return {isa_, irq}; }
    // Sixteen pins for what PCI drives.
    IrqInput& pci() { return pci_; }

    std::string_view name() const override { return "interrupts"; }
    void reset() override { isa_.levels = pci_.levels = 0; }
    void state(StateIo& io) override {
        io.section(name(), 1, [&] {
            io.field("isa", isa_.levels);
            io.field("pci", pci_.levels);
        });
    }

  private:
    struct Side final : IrqInput {
        explicit Side(IsaInterrupts& owner) : owner(owner) {}
        void set_irq(unsigned pin, bool level) override {
            levels = replace_bits(levels, static_cast<u16>(1u << pin), static_cast<u16>(level ? 0xFFFF : 0));
            owner.drive(pin);
        }
        IsaInterrupts& owner;
        u16 levels = 0;
    };

    void drive(unsigned irq) {
        const bool level = bit(static_cast<u16>(isa_.levels | pci_.levels), irq);
        pic_.set_irq(irq, level);
        io_apic_.set_irq(irq == 0 ? 2 : irq, level);
    }

    IrqInput& pic_;
    IrqInput& io_apic_;
    Side isa_{*this};
    Side pci_{*this};
};

}  // namespace lodge
