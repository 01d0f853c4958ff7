// The MC146818 real-time clock with 256 bytes of battery-backed memory (ports 70h/71h, extended bank at 72h/73h).
// Source: Motorola MC146818A data sheet; 82371SB (PIIX3) data sheet for the ports. Byte 32h holds the
// century, as PC firmware expects.
//
// Time is guest time on top of GuestClock::wall_base(), in UTC. The registers are bytes that are brought up to date
// when looked at; events exist only while an interrupt is enabled.
#pragma once

#include <array>

#include "core/device.h"
#include "core/scheduler.h"
#include "devices/claims.h"

namespace lodge {

class Cmos final : public Device {
  public:
    // `irq`: IRQ 8.
    Cmos(Scheduler& scheduler, IrqLine irq, Log& log);

    // Claims 70h-73h.
    Result<void> attach(Bus& ports);

    std::string_view name() const override { return "cmos"; }
    // The RESET pin: interrupts off; time and memory are kept by the battery.
    void reset() override;
    void state(StateIo& io) override;

    // What the board's firmware needs to find (memory sizes, boot order): index 0Eh..FFh, 80h and up is the extended
    // bank.
    void set(u8 index, u8 value) { bytes_[index] = value; }
    u8 get(u8 index) { return read_register(index); }
    // Bit 7 of port 70h: NMI is masked.
    bool nmi_masked() const { return nmi_masked_; }

    u8 read(unsigned offset);
    void write(unsigned offset, u8 value);

  private:
    u8 read_register(u8 index);
    void write_register(u8 index, u8 value);
    void write_a(u8 value);
    void write_b(u8 value);
    u8 read_c();
    bool oscillating() const;
    bool update_in_progress() const;
    u8 encode(u64 value) const;
    unsigned decode(u8 value) const;
    u8 encode_hour(u64 hour) const;
    unsigned decode_hour(u8 value) const;
    u64 second_of_day() const;
    void set_second_of_day(u64 second);
    i64 date() const;
    void set_date(i64 days);
    void add_seconds(u64 seconds);
    bool alarm_within(u64 first, u64 seconds) const;
    bool alarm_field(u8 index, u64 value) const;
    u64 periodic_ticks(u64 when) const;
    u64 periodic_rate() const;
    void catch_up();
    void update_line();
    void schedule();

    Scheduler& scheduler_;
    IrqLine irq_;
    Claims claims_;
    std::array<u8, 256> bytes_{};
    u8 index_ = 0;
    u8 extended_index_ = 0x80;
    bool nmi_masked_ = false;
    u64 second_start_ = 0;  // guest time at which the second shown began
    u64 ticks_seen_ = 0;    // of the 32768 Hz oscillator: PF is accounted for up to here
    Event event_;
};

}  // namespace lodge
