// The I/O APIC: 24 inputs, each with a redirection entry that says which local APICs get which vector.
// Source: Intel 82093AA data sheet (290566-001).
#pragma once

#include <array>

#include "core/device.h"
#include "devices/apic.h"
#include "devices/claims.h"

namespace lodge {

class IoApic final : public Device, public IrqInput, public EoiListener {
  public:
    static constexpr u64 kDefaultBase = 0xFEC00000;
    static constexpr unsigned kPins = 24;

    // Joins `bus` as a listener for EOIs. `id` as the MADT announces it.
    IoApic(ApicBus& bus, Log& log, u8 id);

    // Claims 4 KiB at `base`.
    Result<void> attach(Bus& mmio, u64 base = kDefaultBase);

    std::string_view name() const override { return "ioapic"; }
    void reset() override;
    void state(StateIo& io) override;

    // Pins 0..23, active high (the board has already inverted active-low lines).
    void set_irq(unsigned pin, bool level) override;
    void end_of_interrupt(u8 vector) override;

    u32 read(u64 offset);
    void write(u64 offset, u32 value);

  private:
    u32 read_register(u8 index) const;
    void write_register(u8 index, u32 value);
    void write_entry(unsigned pin, unsigned half, u32 value);
    bool level_triggered(unsigned pin) const { return bit(entries_[pin], 15); }
    void service(unsigned pin);

    ApicBus& bus_;
    Claims claims_;
    u8 initial_id_;

    u8 id_ = 0;
    u8 index_ = 0;
    u32 levels_ = 0;  // of the pins
    std::array<u64, kPins> entries_{};
};

}  // namespace lodge
