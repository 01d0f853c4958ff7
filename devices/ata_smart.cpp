#include "devices/ata_smart.h"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace lodge {

namespace {

constexpr u64 kHour = u64{3600} * 1'000'000'000;

// SMART EXECUTE OFF-LINE IMMEDIATE, LBA low.
constexpr u8 kOffline = 0x00;
constexpr u8 kShort = 0x01;
constexpr u8 kExtended = 0x02;
constexpr u8 kAbort = 0x7F;
constexpr u8 kCaptive = 0x80;

// Bits 7:4 of byte 363, and of a log entry's status.
constexpr u8 kPassed = 0x00;
constexpr u8 kAborted = 0x10;
constexpr u8 kRunning = 0xF0;

// There is nothing to test that takes time; a moment of guest time lets tools see a test that runs.
constexpr u64 kShortTime = 2'000'000'000;
constexpr u64 kExtendedTime = 10'000'000'000;

constexpr u8 kLogDirectory = 0x00;
constexpr u8 kErrorLog = 0x01;
constexpr u8 kSelfTestLog = 0x06;

struct Attribute {
    u8 id;
    u16 flags;
    u8 threshold;
};

constexpr u8 kPowerOnHours = 9;
constexpr u8 kPowerCycles = 12;
// Flags: 1 pre-failure, 2 updated on-line, 10h counts events, 20h self-preserving.
constexpr Attribute kAttributes[] = {
    {5, 0x0033, 10},  // reallocated sectors
    {kPowerOnHours, 0x0032, 0},
    {kPowerCycles, 0x0032, 0},
    {197, 0x0032, 0},  // pending sectors
    {198, 0x0030, 0},  // sectors that off-line scans could not read
    {199, 0x0032, 0},  // CRC errors on the cable
};
constexpr size_t kAttributeSize = 12;
constexpr u8 kPerfect = 100;

u64 test_time(u8 kind) {
    return kind == kShort ? kShortTime : kExtendedTime;
}

AtaSmart::Page summed(AtaSmart::Page page) {
    page[511] = static_cast<u8>(-std::accumulate(page.begin(), page.begin() + 511, 0));
    return page;
}

}  // namespace

void AtaSmart::record(u8 kind, u8 status, u64 now) {
    last_status_ = status;
    running_ = 0;
    newest_ = static_cast<u8>(newest_ % kEntries + 1);
    entries_[newest_ - 1u] = {kind, status, static_cast<u16>(now / kHour)};
}

void AtaSmart::update(u64 now) {
    if (running_ && now - started_ >= test_time(running_)) record(running_, kPassed, started_ + test_time(running_));
}

u8 AtaSmart::execution_status(u64 now) const {
    if (!running_) return last_status_;
    const u64 left = test_time(running_) - (now - started_);
    return static_cast<u8>(kRunning | std::min<u64>(left * 10 / test_time(running_), 9));  // tenths left
}

bool AtaSmart::run_test(u8 kind, u64 now) {
    update(now);
    switch (kind) {
        case kOffline:
            offline_done_ = true;
            return true;
        case kShort:
        case kExtended:
            if (running_) record(running_, kAborted, now);
            running_ = kind;
            started_ = now;
            return true;
        case kCaptive | kShort:
        case kCaptive | kExtended:
            record(kind, kPassed, now);
            return true;
        case kAbort:
            if (running_) record(running_, kAborted, now);
            return true;
        default:
            return false;
    }
}

AtaSmart::Page AtaSmart::data(u64 now) {
    update(now);
    Page page{};
    page[0] = 0x10;  // revision of the structure
    for (size_t i = 0; i < std::size(kAttributes); ++i) {
        u8* entry = &page[2 + i * kAttributeSize];
        entry[0] = kAttributes[i].id;
        store(entry + 1, kAttributes[i].flags);
        entry[3] = entry[4] = kPerfect;
        if (kAttributes[i].id == kPowerOnHours) store(entry + 5, static_cast<u32>(now / kHour));
        if (kAttributes[i].id == kPowerCycles) entry[5] = 1;
    }
    page[362] = offline_done_ ? 0x02 : 0x00;
    page[363] = execution_status(now);
    page[364] = 1;     // seconds of an off-line collection
    page[367] = 0x11;  // off-line collection and self-tests on command
    page[368] = 0x03;  // attributes are saved by themselves
    page[370] = 0x01;  // there is an error log
    page[372] = 1;     // minutes until a short test should be over
    page[373] = 1;     // and an extended one
    return summed(page);
}

AtaSmart::Page AtaSmart::thresholds() const {
    Page page{};
    page[0] = 0x10;
    for (size_t i = 0; i < std::size(kAttributes); ++i) {
        page[2 + i * kAttributeSize] = kAttributes[i].id;
        page[3 + i * kAttributeSize] = kAttributes[i].threshold;
    }
    return summed(page);
}

AtaSmart::Page AtaSmart::self_test_log() const {
    constexpr size_t kFirst = 2, kSize = 24;
    Page page{};
    page[0] = 1;
    for (size_t i = 0; i < kEntries; ++i) {
        u8* entry = &page[kFirst + i * kSize];
        entry[0] = entries_[i].kind;
        entry[1] = entries_[i].status;
        store(entry + 2, entries_[i].hour);
        // No failing address.
        if (entries_[i].kind) store(entry + 5, ~u32{0});
    }
    page[508] = newest_;
    return summed(page);
}

std::optional<AtaSmart::Page> AtaSmart::log(u8 address, u64 now) {
    update(now);
    Page page{};
    switch (address) {
        case kLogDirectory:
            page[0] = 1;  // version
            page[2 * kErrorLog] = 1;
            page[2 * kSelfTestLog] = 1;
            return page;  // has no sum
        case kErrorLog:
            page[0] = 1;
            return summed(page);
        case kSelfTestLog:
            return self_test_log();
        default:
            return {};
    }
}

void AtaSmart::state(StateIo& io) {
    io.section("smart", 1, [&] {
        io.field("enabled", enabled_);
        io.field("offline_done", offline_done_);
        io.field("last_status", last_status_);
        io.field("running", running_);
        io.field("started", started_);
        io.field("newest", newest_);
        io.field("entries", entries_);
    });
    if (running_ != kShort && running_ != kExtended) running_ = 0;
    newest_ = std::min<u8>(newest_, kEntries);
}

}  // namespace lodge
