// The 8254 timer of a PC and port 61h. Channel 0 drives IRQ 0, channel 1 was memory refresh, channel 2 the speaker.
// Source: Intel 8254 data sheet (231164-005); port 61h: 82371SB (PIIX3) data sheet (NMI status and
// control).
//
// All arithmetic is in periods of the input clock ("ticks"), counted exactly from guest time 0, so nothing drifts.
#pragma once

#include <array>

#include "core/device.h"
#include "core/scheduler.h"
#include "devices/claims.h"

namespace lodge {

// One counter of an 8254. Times are ticks; they never go backwards.
class PitChannel {
  public:
    void reset();
    void state(StateIo& io, std::string_view name);

    void write_control(u8 value, u64 now);
    void write_count(u8 value, u64 now);
    u8 read(u64 now);
    void set_gate(bool level, u64 now);
    void latch_count(u64 now);
    void latch_status(u64 now);

    // Takes a new count that was waiting for the end of the period (mode 2) or half cycle (mode 3). Everything that is
    // not const does so by itself.
    void settle(u64 now);
    bool out(u64 now) const;
    // The first tick after `now` at which OUT rises; kNever when it will not without a further access.
    u64 next_rise(u64 now) const;
    // The first tick after `now` at which whoever follows OUT has to look again. A low pulse of one tick counts as one
    // event, at its end.
    u64 next_event(u64 now) const;

  private:
    bool periodic() const { return mode_ == 2 || mode_ == 3; }
    bool gate_triggered() const { return mode_ == 1 || mode_ == 5; }
    u32 full_scale() const { return bcd_ ? 10000 : 65536; }
    u32 to_binary(u16 value) const;
    u16 from_binary(u32 value) const;
    void set_count(u16 value, u64 now);
    void start(u64 when);
    u64 elapsed(u64 now) const;
    u64 position(u64 now) const { return (elapsed(now) + phase_) % period_; }
    u64 high_half() const { return (period_ + 1) / 2; }
    u64 half_end(u64 now) const;
    u16 count(u64 now) const;
    u8 status(u64 now) const;

    u8 mode_ = 0;
    u8 access_ = 3;  // 1 low byte, 2 high byte, 3 low then high
    bool bcd_ = false;
    bool gate_ = true;
    bool write_high_ = false;  // the next count byte written is the high one
    bool read_high_ = false;
    u8 write_low_ = 0;       // a low byte waiting for its high byte
    bool counting_ = false;  // the counting element has been loaded since the control word
    bool stopped_ = false;   // counting is suspended at `frozen_`
    u32 register_ = 65536;   // the count register CR, as a number from 1
    u32 period_ = 65536;     // the count in use
    u32 phase_ = 0;          // position in the period at `start_`: not 0 only in mode 3
    u64 start_ = 0;          // the tick at which the counting element was loaded
    u64 frozen_ = 0;         // ticks elapsed when counting was suspended
    bool reload_ = false;    // a periodic mode takes a new count at `reload_at_`
    u64 reload_at_ = 0;
    u64 null_until_ = 0;    // null count: the tick at which CR reaches the counting element
    u8 latched_bytes_ = 0;  // of the latched count that are still to be read
    u16 latched_count_ = 0;
    bool status_latched_ = false;
    u8 latched_status_ = 0;
};

class Pit final : public Device {
  public:
    static constexpr u64 kHertz = 1'193'182;

    // `irq` follows OUT of channel 0.
    Pit(Scheduler& scheduler, IrqLine irq, Log& log);

    // Claims 40h-43h and 61h.
    Result<void> attach(Bus& ports);

    std::string_view name() const override { return "pit"; }
    void reset() override;
    void state(StateIo& io) override;

    u8 read(unsigned offset);
    void write(unsigned offset, u8 value);
    u8 read_port61();
    void write_port61(u8 value);

  private:
    u64 now_ticks() const;
    void write_control(u8 value);
    void drive_irq();

    Scheduler& scheduler_;
    IrqLine irq_;
    Claims claims_;
    std::array<PitChannel, 3> channels_;
    u8 port61_ = 0;
    u64 driven_until_ = 0;  // the tick up to which channel 0's edges have reached the line
    Event edge_;
};

}  // namespace lodge
