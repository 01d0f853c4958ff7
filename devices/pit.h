// The 8254 timer of a PC and port 61h. Channel 0 drives IRQ 0, channel 1 was memory refresh, channel 2 the speaker.
// Source: Intel 8254 data sheet (231164-005); port 61h: 82371SB (PIIX3) data sheet section 2.5.5 (NMI status and
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

    bool gate() const { return gate_; }
    bool out(u64 now) const;
    // The first tick after `now` at which OUT rises; kNever when it will not without a further access.
    u64 next_rise(u64 now) const;
    u64 next_fall(u64 now) const;

  private:
    bool counting() const { return loaded_ && !stopped_; }
    u32 full_scale() const { return bcd_ ? 10000 : 65536; }
    u32 to_binary(u16 value) const;
    u16 from_binary(u32 value) const;
    void load_count(u64 now);
    void settle(u64 now);
    u64 elapsed(u64 now) const;
    u16 count(u64 now) const;
    bool null_count(u64 now) const;
    bool periodic() const { return mode_ == 2 || mode_ == 3; }
    u64 next_change(u64 now, bool rise) const;

    u8 mode_ = 0;
    u8 access_ = 3;  // 1 low byte, 2 high byte, 3 low then high
    bool bcd_ = false;
    bool gate_ = true;
    bool write_high_ = false;  // the next count byte is the high one
    bool read_high_ = false;
    u8 write_low_ = 0;        // a low byte waiting for its high byte
    bool loaded_ = false;     // a count has been written since the control word
    bool stopped_ = false;    // counting is suspended at `frozen_`
    bool triggered_ = false;  // modes 1 and 5: the gate has risen
    u32 register_ = 0;        // the count register CR: 1..full_scale
    u32 period_ = 0;          // the count in use
    u64 start_ = 0;           // the tick at which the counting element held `period_`
    u64 frozen_ = 0;          // ticks elapsed when counting was suspended
    bool reload_ = false;     // a periodic mode takes `register_` at `reload_at_`
    u64 reload_at_ = 0;
    bool count_latched_ = false;
    bool latched_high_next_ = false;
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
