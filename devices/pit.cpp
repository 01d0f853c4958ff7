#include "devices/pit.h"

#include <algorithm>

namespace lodge {

namespace {

// Port 61h (PIIX3 data sheet, NMI status and control).
constexpr u8 kGate2 = 0x01;
constexpr u8 kWritable61 = 0x0F;
constexpr u8 kRefreshToggle = 0x10;
constexpr u8 kOut2 = 0x20;
// Refresh requests come every 15.085 microseconds on a PC: channel 1 with its customary count.
constexpr u64 kRefreshTicks = 18;

constexpr RegisterInfo kRegisters[] = {{0, 8, "COUNTER0", RegisterRead::changes},
                                       {1, 8, "COUNTER1", RegisterRead::changes},
                                       {2, 8, "COUNTER2", RegisterRead::changes},
                                       {3, 8, "CONTROL"}};
constexpr RegisterInfo kPort61Registers[] = {{0, 8, "NMI_STATUS_CONTROL"}};

// Far beyond any guest's life, and what still fits 64 bits as nanoseconds.
constexpr u64 kLastTick = u64{1} << 53;

// The next tick after `now` of those that are `first` plus multiples of `period`.
u64 next_multiple(u64 first, u64 period, u64 now) {
    return now < first ? first : first + ((now - first) / period + 1) * period;
}

u64 if_after(u64 tick, u64 now) {
    return tick > now ? tick : kNever;
}

}  // namespace

void PitChannel::reset() {
    const bool gate = gate_;
    *this = PitChannel();
    gate_ = gate;
}

void PitChannel::state(StateIo& io, std::string_view name) {
    io.section(name, 1, [&] {
        io.field("mode", mode_);
        io.field("access", access_);
        io.field("bcd", bcd_);
        io.field("gate", gate_);
        io.field("write_high", write_high_);
        io.field("read_high", read_high_);
        io.field("write_low", write_low_);
        io.field("counting", counting_);
        io.field("stopped", stopped_);
        io.field("register", register_);
        io.field("period", period_);
        io.field("phase", phase_);
        io.field("start", start_);
        io.field("frozen", frozen_);
        io.field("reload", reload_);
        io.field("reload_at", reload_at_);
        io.field("null_until", null_until_);
        io.field("latched_bytes", latched_bytes_);
        io.field("latched_count", latched_count_);
        io.field("status_latched", status_latched_);
        io.field("latched_status", latched_status_);
    });
    const bool sound = mode_ <= 5 && access_ >= 1 && access_ <= 3 && register_ - 1 < 65536 && period_ - 1 < 65536 &&
                       phase_ < 65536 && latched_bytes_ <= 2 && std::max({start_, frozen_, reload_at_}) <= kLastTick;
    if (sound) return;
    io.fail("pit: counter values out of range");
    reset();
}

u32 PitChannel::to_binary(u16 value) const {
    if (!bcd_) return value ? value : 65536;
    const u32 number = bits<u32>(value, 12, 4) * 1000 + bits<u32>(value, 8, 4) * 100 + bits<u32>(value, 4, 4) * 10 +
                       bits<u32>(value, 0, 4);
    return number ? number : 10000;
}

u16 PitChannel::from_binary(u32 value) const {
    if (!bcd_) return static_cast<u16>(value);
    return static_cast<u16>((value / 1000 % 10) << 12 | (value / 100 % 10) << 8 | (value / 10 % 10) << 4 | value % 10);
}

u64 PitChannel::elapsed(u64 now) const {
    if (stopped_) return frozen_;
    return now < start_ ? 0 : now - start_;
}

// Mode 3: the tick at which the half cycle that `now` is in ends.
u64 PitChannel::half_end(u64 now) const {
    const u64 at = position(now);
    return std::max(now, start_) + (at < high_half() ? high_half() - at : period_ - at);
}

// The counting element takes the count register at tick `when`.
void PitChannel::start(u64 when) {
    period_ = register_;
    phase_ = 0;
    start_ = when;
    null_until_ = when;
    counting_ = true;
    reload_ = false;
    stopped_ = !gate_ && !gate_triggered();
    frozen_ = 0;
}

void PitChannel::settle(u64 now) {
    if (!reload_ || now < reload_at_) return;
    const bool was_high = mode_ == 3 && position(reload_at_ - 1) < high_half();
    start(reload_at_);
    if (was_high) phase_ = static_cast<u32>(high_half() % period_);
}

void PitChannel::write_control(u8 value, u64 now) {
    settle(now);
    access_ = bits<u8>(value, 4, 2);
    const u8 mode = bits<u8>(value, 1, 3);
    mode_ = mode > 5 ? mode - 4 : mode;  // the top bit is "don't care" for modes 2 and 3
    bcd_ = bit(value, 0);
    write_high_ = access_ == 2;
    read_high_ = access_ == 2;
    counting_ = false;
    stopped_ = false;
    reload_ = false;
    null_until_ = kNever;
    latched_bytes_ = 0;
    status_latched_ = false;
}

void PitChannel::write_count(u8 value, u64 now) {
    settle(now);
    if (access_ == 3 && !write_high_) {
        write_low_ = value;
        write_high_ = true;
        // Mode 0: the first byte stops the count and OUT goes low at once (data sheet, mode 0).
        if (mode_ == 0) counting_ = false;
        return;
    }
    const u16 count = access_ == 1   ? value
                      : access_ == 2 ? static_cast<u16>(value << 8)
                                     : static_cast<u16>(value << 8 | write_low_);
    write_high_ = access_ == 2;
    set_count(count, now);
}

void PitChannel::set_count(u16 value, u64 now) {
    register_ = to_binary(value);
    if (gate_triggered()) {
        null_until_ = kNever;
        return;
    }
    if (!periodic() || !counting_) return start(now + 1);
    if (stopped_) return;  // the rising gate will load it
    reload_ = true;
    reload_at_ = mode_ == 2 ? next_multiple(start_ + period_, period_, now) : half_end(now);
    null_until_ = reload_at_;
}

void PitChannel::set_gate(bool level, u64 now) {
    settle(now);
    if (level == gate_) return;
    gate_ = level;
    if (gate_triggered()) {
        if (level) start(now + 1);
        return;
    }
    if (!counting_) return;
    if (!level) {
        frozen_ = elapsed(now);
        stopped_ = true;
        reload_ = false;
    } else if (periodic()) {
        start(now + 1);
    } else {
        start_ = now - std::min(now, frozen_);
        stopped_ = false;
    }
}

bool PitChannel::out(u64 now) const {
    if (!counting_) return mode_ != 0;
    const u64 gone = elapsed(now);
    switch (mode_) {
        case 0:
            return gone >= period_;
        case 1:
            return now < start_ || gone >= period_;
        case 2:
            return stopped_ || position(now) + 1 != period_ || period_ == 1;
        case 3:
            return stopped_ || position(now) < high_half();
        default:
            return gone != period_;
    }
}

u64 PitChannel::next_rise(u64 now) const {
    if (!counting_ || stopped_) return kNever;
    switch (mode_) {
        case 0:
        case 1:
            return if_after(start_ + period_, now);
        case 2:
        case 3:
            return period_ == 1 ? kNever : next_multiple(start_ + period_ - phase_, period_, now);
        default:
            return if_after(start_ + period_ + 1, now);
    }
}

u64 PitChannel::next_event(u64 now) const {
    u64 next = next_rise(now);
    if (mode_ == 3 && counting_ && !stopped_ && period_ > 1) next = std::min(next, half_end(now));
    if (reload_) next = std::min(next, std::max(reload_at_, now + 1));
    return next;
}

u16 PitChannel::count(u64 now) const {
    if (!counting_) return from_binary(register_ % full_scale());
    if (mode_ == 2) return from_binary(static_cast<u32>((period_ - position(now)) % full_scale()));
    if (mode_ == 3) {
        const u64 at = position(now);
        const u64 in_half = at < high_half() ? at : at - high_half();
        return from_binary(static_cast<u32>(((period_ & ~1U) - 2 * in_half) % full_scale()));
    }
    return from_binary(static_cast<u32>((period_ + full_scale() - elapsed(now) % full_scale()) % full_scale()));
}

u8 PitChannel::status(u64 now) const {
    const bool null_count = now < null_until_;
    return static_cast<u8>(out(now) << 7 | null_count << 6 | access_ << 4 | mode_ << 1 | (bcd_ ? 1 : 0));
}

void PitChannel::latch_count(u64 now) {
    settle(now);
    if (latched_bytes_) return;
    latched_count_ = count(now);
    latched_bytes_ = access_ == 3 ? 2 : 1;
}

void PitChannel::latch_status(u64 now) {
    settle(now);
    if (status_latched_) return;
    latched_status_ = status(now);
    status_latched_ = true;
}

u8 PitChannel::read(u64 now) {
    settle(now);
    if (status_latched_) {
        status_latched_ = false;
        return latched_status_;
    }
    const u16 value = latched_bytes_ ? latched_count_ : count(now);
    if (latched_bytes_) --latched_bytes_;
    const bool high = read_high_;
    if (access_ == 3) read_high_ = !read_high_;
    return static_cast<u8>(high ? value >> 8 : value);
}

Pit::Pit(Scheduler& scheduler, IrqLine irq, Log& log)
    : scheduler_(scheduler),
      irq_(irq),
      claims_(log, LogChannel::pit),
      edge_(scheduler, "edge", [this](u64) { drive_irq(); }) {
    reset();
}

Result<void> Pit::attach(Bus& ports) {
    LODGE_TRY(claims_.bytes(
        ports, 0x40, 4, "pit", kRegisters, [this](u64 offset) { return read(static_cast<unsigned>(offset)); },
        [this](u64 offset, u8 value) { write(static_cast<unsigned>(offset), value); }));
    return claims_.bytes(
        ports, 0x61, 1, "port61", kPort61Registers, [this](u64) { return read_port61(); },
        [this](u64, u8 value) { write_port61(value); });
}

void Pit::reset() {
    for (auto& channel : channels_) channel.reset();
    port61_ = 0;
    channels_[2].set_gate(false, now_ticks());
    driven_until_ = now_ticks();
    drive_irq();
}

void Pit::state(StateIo& io) {
    io.section("pit", 1, [&] {
        channels_[0].state(io, "counter0");
        channels_[1].state(io, "counter1");
        channels_[2].state(io, "counter2");
        io.field("port61", port61_);
        io.field("driven_until", driven_until_);
        edge_.state(io);
    });
}

u64 Pit::now_ticks() const {
    return static_cast<u64>(u128{scheduler_.now()} * kHertz / kNanosecondsPerSecond);
}

// Brings channel 0's OUT to the interrupt line. A late event may have missed whole pulses: they merge into one.
void Pit::drive_irq() {
    const u64 now = now_ticks();
    PitChannel& channel = channels_[0];
    if (channel.next_rise(driven_until_) <= now) {
        irq_.lower();
        irq_.raise();
    }
    channel.settle(now);
    irq_.set(channel.out(now));
    driven_until_ = now;
    const u64 next = channel.next_event(now);
    if (next == kNever) return edge_.cancel();
    const auto when = static_cast<u64>((u128{next} * kNanosecondsPerSecond + kHertz - 1) / kHertz);
    edge_.schedule_at(std::max(when, scheduler_.now() + 1));
}

u8 Pit::read(unsigned offset) {
    if (offset == 3) return 0xFF;  // the control word register cannot be read
    return channels_[offset].read(now_ticks());
}

void Pit::write(unsigned offset, u8 value) {
    drive_irq();  // what the old programming did until now
    if (offset == 3) {
        write_control(value);
    } else {
        channels_[offset].write_count(value, now_ticks());
    }
    drive_irq();
}

void Pit::write_control(u8 value) {
    const u64 now = now_ticks();
    const unsigned select = bits<u8>(value, 6, 2);
    if (select == 3) {  // read-back
        for (unsigned i = 0; i < 3; ++i) {
            if (!bit(value, i + 1)) continue;
            if (!bit(value, 5)) channels_[i].latch_count(now);
            if (!bit(value, 4)) channels_[i].latch_status(now);
        }
        return;
    }
    if (bits<u8>(value, 4, 2) == 0) return channels_[select].latch_count(now);
    channels_[select].write_control(value, now);
}

u8 Pit::read_port61() {
    const u64 now = now_ticks();
    channels_[2].settle(now);
    u8 value = port61_;
    if (now / kRefreshTicks % 2) value |= kRefreshToggle;
    if (channels_[2].out(now)) value |= kOut2;
    return value;
}

void Pit::write_port61(u8 value) {
    port61_ = value & kWritable61;
    channels_[2].set_gate(value & kGate2, now_ticks());
}

}  // namespace lodge
