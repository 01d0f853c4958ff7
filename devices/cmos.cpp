#include "devices/cmos.h"

#include <algorithm>
#include <chrono>

namespace lodge {

namespace {

enum Index : u8 {
    kSeconds = 0x00,
    kSecondsAlarm,
    kMinutes,
    kMinutesAlarm,
    kHours,
    kHoursAlarm,
    kDayOfWeek,
    kDayOfMonth,
    kMonth,
    kYear,
    kA,
    kB,
    kC,
    kD,
    kCentury = 0x32,
};

constexpr u8 kUpdateInProgress = 0x80;  // A
constexpr u8 kSet = 0x80;               // B
constexpr u8 kPeriodicEnable = 0x40;
constexpr u8 kAlarmEnable = 0x20;
constexpr u8 kUpdateEnable = 0x10;
constexpr u8 kSquareWave = 0x08;
constexpr u8 kBinary = 0x04;
constexpr u8 k24Hours = 0x02;
constexpr u8 kRequest = 0x80;  // C
constexpr u8 kPeriodicFlag = 0x40;
constexpr u8 kAlarmFlag = 0x20;
constexpr u8 kUpdateFlag = 0x10;
constexpr u8 kValidTime = 0x80;  // D

constexpr u8 kAfternoon = 0x80;  // in the hour registers in 12-hour mode
constexpr u64 kSecondsPerDay = 86400;
constexpr u64 kOscillatorHertz = 32768;
// Data sheet, update cycle: with a 32.768 kHz crystal it takes 1984 microseconds, and UIP goes up 244 before it.
constexpr u64 kUipTime = (1984 + 244) * 1000;
// After the divider was held in reset the first update comes half a second later.
constexpr u64 kHalfSecond = kNanosecondsPerSecond / 2;

constexpr RegisterInfo kRegisters[] = {
    {0, 8, "INDEX"}, {1, 8, "DATA", RegisterRead::changes}, {2, 8, "EXTENDED_INDEX"}, {3, 8, "EXTENDED_DATA"}};

}  // namespace

Cmos::Cmos(Scheduler& scheduler, IrqLine irq, Log& log)
    : scheduler_(scheduler), irq_(irq), claims_(log, LogChannel::cmos), event_(scheduler, "tick", [this](u64) {
          catch_up();
          update_line();
      }) {
    bytes_[kA] = 0x26;  // 32768 Hz crystal, 1024 Hz periodic rate: what PC firmware leaves
    bytes_[kB] = k24Hours;
    second_start_ = align_down(scheduler.now(), kNanosecondsPerSecond);
    const u64 seconds = scheduler.clock().wall_base() + second_start_ / kNanosecondsPerSecond;
    set_second_of_day(seconds % kSecondsPerDay);
    const i64 days = static_cast<i64>(seconds / kSecondsPerDay);
    set_date(days);
    bytes_[kDayOfWeek] = encode(static_cast<u64>((days + 4) % 7 + 1));  // 1970-01-01 was a Thursday, day 5
}

Result<void> Cmos::attach(Bus& ports) {
    return claims_.bytes(
        ports, 0x70, 4, "cmos", kRegisters, [this](u64 offset) { return read(static_cast<unsigned>(offset)); },
        [this](u64 offset, u8 value) { write(static_cast<unsigned>(offset), value); });
}

void Cmos::reset() {
    // Data sheet, RESET: clears PIE, AIE, UIE, SQWE and the flags; nothing else.
    catch_up();
    bytes_[kB] &= static_cast<u8>(~(kPeriodicEnable | kAlarmEnable | kUpdateEnable | kSquareWave));
    bytes_[kC] = 0;
    index_ = 0;
    extended_index_ = 0x80;
    nmi_masked_ = false;
    update_line();
}

void Cmos::state(StateIo& io) {
    io.section("cmos", 1, [&] {
        io.bytes("bytes", bytes_);
        io.field("index", index_);
        io.field("extended_index", extended_index_);
        io.field("nmi_masked", nmi_masked_);
        io.field("second_start", second_start_);
        io.field("ticks_seen", ticks_seen_);
        event_.state(io);
    });
    index_ &= 0x7F;
    extended_index_ |= 0x80;
}

u8 Cmos::read(unsigned offset) {
    switch (offset) {
        case 1:
            return read_register(index_);
        case 2:
            return extended_index_;
        case 3:
            return bytes_[extended_index_ | 0x80];
        default:
            return 0xFF;  // port 70h is write-only
    }
}

void Cmos::write(unsigned offset, u8 value) {
    switch (offset) {
        case 0:
            index_ = value & 0x7F;
            nmi_masked_ = bit(value, 7);
            break;
        case 1:
            write_register(index_, value);
            break;
        case 2:
            extended_index_ = value | 0x80;
            break;
        default:
            bytes_[extended_index_ | 0x80] = value;
    }
}

u8 Cmos::read_register(u8 index) {
    if (index > kD && index != kCentury) return bytes_[index];
    catch_up();
    if (index == kA) return bytes_[kA] | (update_in_progress() ? kUpdateInProgress : 0);
    if (index == kC) return read_c();
    if (index == kD) return kValidTime;
    return bytes_[index];
}

void Cmos::write_register(u8 index, u8 value) {
    if (index > kD && index != kCentury) {
        bytes_[index] = value;
        return;
    }
    catch_up();
    switch (index) {
        case kA:
            write_a(value);
            break;
        case kB:
            write_b(value);
            break;
        case kC:
        case kD:
            return;  // read-only
        default:
            bytes_[index] = value;
    }
    update_line();
}

// Register A bits 6:4: 010 runs from a 32768 Hz crystal; 11x holds the divider in reset; others are for other crystals.
bool Cmos::oscillating() const {
    return bits<u8>(bytes_[kA], 4, 3) == 2;
}

void Cmos::write_a(u8 value) {
    const bool was = oscillating();
    bytes_[kA] = value & 0x7F;
    ticks_seen_ = periodic_ticks(scheduler_.now());
    if (oscillating() && !was) {
        const u64 now = scheduler_.now();
        second_start_ = now < kHalfSecond ? 0 : now - kHalfSecond;
    }
}

void Cmos::write_b(u8 value) {
    bytes_[kB] = value;
    // SET aborts an update cycle and clears UIE (data sheet, register B).
    if (value & kSet) bytes_[kB] &= static_cast<u8>(~kUpdateEnable);
}

u8 Cmos::read_c() {
    const u8 flags = bytes_[kC];
    bytes_[kC] = 0;
    update_line();
    return flags;
}

bool Cmos::update_in_progress() const {
    if (!oscillating() || (bytes_[kB] & kSet)) return false;
    return scheduler_.now() - second_start_ >= kNanosecondsPerSecond - kUipTime;
}

u8 Cmos::encode(u64 value) const {
    return static_cast<u8>(bytes_[kB] & kBinary ? value : value / 10 % 10 << 4 | value % 10);
}

unsigned Cmos::decode(u8 value) const {
    return bytes_[kB] & kBinary ? value : (value >> 4) * 10 + (value & 0x0F);
}

u8 Cmos::encode_hour(u64 hour) const {
    if (bytes_[kB] & k24Hours) return encode(hour);
    return encode(hour % 12 ? hour % 12 : 12) | (hour >= 12 ? kAfternoon : 0);
}

unsigned Cmos::decode_hour(u8 value) const {
    if (bytes_[kB] & k24Hours) return decode(value);
    return decode(value & 0x7F) % 12 + (value & kAfternoon ? 12 : 0);
}

u64 Cmos::second_of_day() const {
    return decode_hour(bytes_[kHours]) * u64{3600} + decode(bytes_[kMinutes]) * u64{60} + decode(bytes_[kSeconds]);
}

void Cmos::set_second_of_day(u64 second) {
    bytes_[kSeconds] = encode(second % 60);
    bytes_[kMinutes] = encode(second / 60 % 60);
    bytes_[kHours] = encode_hour(second / 3600 % 24);
}

// Days since 1970-01-01. Whatever the guest wrote is taken as a date by counting on from the first of the month.
i64 Cmos::date() const {
    const unsigned century = std::min(decode(bytes_[kCentury]), 99U);
    const unsigned month = std::clamp(decode(bytes_[kMonth]), 1U, 12U);
    const int year = static_cast<int>(century * 100 + std::min(decode(bytes_[kYear]), 99U));
    const std::chrono::year_month_day first{std::chrono::year(year), std::chrono::month(month), std::chrono::day(1)};
    const i64 day = decode(bytes_[kDayOfMonth]);
    return std::chrono::sys_days(first).time_since_epoch().count() + std::max<i64>(day - 1, 0);
}

void Cmos::set_date(i64 days) {
    const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
    const auto year = static_cast<u64>(static_cast<int>(date.year()) + 10000) % 10000;
    bytes_[kDayOfMonth] = encode(static_cast<unsigned>(date.day()));
    bytes_[kMonth] = encode(static_cast<unsigned>(date.month()));
    bytes_[kYear] = encode(year % 100);
    bytes_[kCentury] = encode(year / 100);
}

void Cmos::add_seconds(u64 seconds) {
    const u64 total = second_of_day() + seconds;
    set_second_of_day(total % kSecondsPerDay);
    // The calendar has 400 years that repeat; more days than that (a clock that was stopped for ages) fold into them.
    const u64 days = total / kSecondsPerDay % 146097;
    if (days == 0) return;
    set_date(date() + static_cast<i64>(days));
    bytes_[kDayOfWeek] = encode((decode(bytes_[kDayOfWeek]) + 6 + days) % 7 + 1);
}

// Alarm bytes from C0h up match anything (data sheet, "don't care" codes).
bool Cmos::alarm_field(u8 index, u64 value) const {
    if (bytes_[index] >= 0xC0) return true;
    return index == kHoursAlarm ? decode_hour(bytes_[index]) == value : decode(bytes_[index]) == value;
}

// Whether the alarm matched in one of the `seconds` seconds from second `first` of the day.
bool Cmos::alarm_within(u64 first, u64 seconds) const {
    for (u64 i = 0; i < std::min(seconds, kSecondsPerDay); ++i) {
        const u64 second = (first + i) % kSecondsPerDay;
        if (alarm_field(kSecondsAlarm, second % 60) && alarm_field(kMinutesAlarm, second / 60 % 60) &&
            alarm_field(kHoursAlarm, second / 3600))
            return true;
    }
    return false;
}

// Ticks of the oscillator between periodic interrupts; 0 when there are none (data sheet, rate selection bits).
u64 Cmos::periodic_rate() const {
    const unsigned rate = bits<u8>(bytes_[kA], 0, 4);
    if (rate == 0 || !oscillating()) return 0;
    return u64{1} << (rate <= 2 ? rate + 6 : rate - 1);
}

u64 Cmos::periodic_ticks(u64 when) const {
    return static_cast<u64>(u128{when} * kOscillatorHertz / kNanosecondsPerSecond);
}

// Brings time and flags up to now.
void Cmos::catch_up() {
    const u64 now = scheduler_.now();
    const u64 ticks = periodic_ticks(now);
    if (const u64 rate = periodic_rate(); rate && ticks / rate != ticks_seen_ / rate) bytes_[kC] |= kPeriodicFlag;
    ticks_seen_ = ticks;
    if (now < second_start_) second_start_ = now;
    const u64 seconds = (now - second_start_) / kNanosecondsPerSecond;
    second_start_ += seconds * kNanosecondsPerSecond;
    if (seconds == 0 || !oscillating() || (bytes_[kB] & kSet)) return;
    if (alarm_within(second_of_day() + 1, seconds)) bytes_[kC] |= kAlarmFlag;
    add_seconds(seconds);
    bytes_[kC] |= kUpdateFlag;
}

void Cmos::update_line() {
    // The enable bits of B stand where the flags of C stand.
    const bool request = bytes_[kB] & bytes_[kC] & (kPeriodicFlag | kAlarmFlag | kUpdateFlag);
    bytes_[kC] = static_cast<u8>((bytes_[kC] & ~kRequest) | (request ? kRequest : 0));
    irq_.set(request);
    schedule();
}

void Cmos::schedule() {
    const u64 now = scheduler_.now();
    u64 next = kNever;
    const bool each_second = bytes_[kB] & (kAlarmEnable | kUpdateEnable);
    if (each_second && oscillating() && !(bytes_[kB] & kSet)) next = second_start_ + kNanosecondsPerSecond;
    // While the request is up, no further tick can change the line.
    const u64 rate = periodic_rate();
    if (rate && (bytes_[kB] & kPeriodicEnable) && !(bytes_[kC] & kPeriodicFlag)) {
        const u64 tick = (ticks_seen_ / rate + 1) * rate;
        next = std::min(
            next, static_cast<u64>((u128{tick} * kNanosecondsPerSecond + kOscillatorHertz - 1) / kOscillatorHertz));
    }
    if (next == kNever) return event_.cancel();
    event_.schedule_at(std::max(next, now + 1));
}

}  // namespace lodge
