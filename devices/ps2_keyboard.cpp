#include "devices/ps2_keyboard.h"

#include <algorithm>

#include "devices/scan_codes.h"

namespace lodge {

namespace {

enum Command : u8 {
    kSetLeds = 0xED,
    kEcho = 0xEE,
    kScanSet = 0xF0,
    kIdentify = 0xF2,
    kTypematic = 0xF3,
    kEnable = 0xF4,
    kDefaultDisable = 0xF5,
    kSetDefault = 0xF6,
    kAllTypematic = 0xF7,
    kAllMakeBreak = 0xF8,
    kAllMake = 0xF9,
    kAllTypematicMakeBreak = 0xFA,
    kKeyTypematic = 0xFB,
    kKeyMakeBreak = 0xFC,
    kKeyMake = 0xFD,
    kResend = 0xFE,
    kResetCommand = 0xFF,
};
constexpr u8 kFirstCommand = kSetLeds;

constexpr u8 kAcknowledge = 0xFA;
constexpr u8 kAgain = 0xFE;  // the answer to what it does not know
constexpr u8 kSelfTestPassed = 0xAA;
constexpr u8 kBreak = 0xF0;
constexpr u8 kExtended = 0xE0;
constexpr u8 kExtendedTwice = 0xE1;
constexpr u8 kRelease = 0x80;  // in set 1
constexpr size_t kMostReplies = 16;

}  // namespace

void Ps2Keyboard::reset() {
    *this = Ps2Keyboard();
    set_defaults();
}

void Ps2Keyboard::state(StateIo& io) {
    io.section("keyboard", 1, [&] {
        io.sequence("queue", queue_, kQueue + 1);
        io.sequence("replies", replies_, kMostReplies);
        io.sequence("backlog", backlog_, kBacklog);
        io.field("last_sent", last_sent_);
        io.field("pending", pending_);
        io.field("scan_set", scan_set_);
        io.field("leds", leds_);
        io.field("typematic", typematic_);
        io.field("scanning", scanning_);
        io.field("overrun", overrun_);
        io.bytes("breaks", breaks_);
    });
}

void Ps2Keyboard::reply(u8 value) {
    if (replies_.size() < kMostReplies) replies_.push_back(value);
}

void Ps2Keyboard::clear_keys() {
    queue_.clear();
    backlog_.clear();
    overrun_ = false;
}

void Ps2Keyboard::set_defaults() {
    clear_keys();
    scan_set_ = 2;
    typematic_ = 0x2B;  // 10.9 characters a second after half a second
    // Set 3: only the shift keys tell when they are released.
    breaks_.fill(0);
    for (u8 code : kSet3Modifiers) breaks_[code] = 1;
}

u8 Ps2Keyboard::take() {
    if (!replies_.empty()) {
        last_sent_ = replies_.front();
        replies_.pop_front();
        return last_sent_;
    }
    if (queue_.empty()) return 0;
    last_sent_ = queue_.front();
    queue_.pop_front();
    if (queue_.empty()) overrun_ = false;
    fill_queue();
    return last_sent_;
}

void Ps2Keyboard::command(u8 value) {
    const u8 waiting = pending_;
    pending_ = 0;
    // A command instead of the parameter ends the wait for it.
    if (waiting && value < kFirstCommand) return parameter(waiting, value);
    switch (value) {
        case kEcho:
            return reply(kEcho);
        case kResend:
            return reply(last_sent_);
        case kSetLeds:
        case kScanSet:
        case kTypematic:
        case kKeyTypematic:
        case kKeyMakeBreak:
        case kKeyMake:
            pending_ = value;
            break;
        case kIdentify:
            reply(kAcknowledge);
            reply(0xAB);
            return reply(0x83);
        case kEnable:
            clear_keys();
            scanning_ = true;
            break;
        case kDefaultDisable:
            set_defaults();
            scanning_ = false;
            break;
        case kSetDefault:
            set_defaults();
            break;
        case kAllTypematic:
        case kAllMake:
            breaks_.fill(0);
            break;
        case kAllMakeBreak:
        case kAllTypematicMakeBreak:
            breaks_.fill(1);
            break;
        case kResetCommand:
            reset();
            reply(kAcknowledge);
            return reply(kSelfTestPassed);
        default:
            return reply(kAgain);
    }
    reply(kAcknowledge);
}

void Ps2Keyboard::parameter(u8 command, u8 value) {
    if (command == kScanSet) return set_scan_set(value);
    reply(kAcknowledge);
    switch (command) {
        case kSetLeds:
            leds_ = value & 7;
            return;
        case kTypematic:
            typematic_ = value & 0x7F;
            return;
        default:
            breaks_[value] = command == kKeyMakeBreak;
            pending_ = command;  // more keys may follow until the next command
    }
}

// 1 to 3 choose a set, 0 asks for the one in use.
void Ps2Keyboard::set_scan_set(u8 value) {
    if (value > 3) return reply(kAgain);
    reply(kAcknowledge);
    if (value == 0) return reply(scan_set_);
    clear_keys();
    scan_set_ = value;
}

void Ps2Keyboard::key(std::span<const u8> set1) {
    if (!scanning_) return;
    while (!set1.empty()) {
        const size_t length = key_length(set1[0]);
        if (set1.size() < length) return;
        if (backlog_.size() + length <= kBacklog) {
            backlog_.insert(backlog_.end(), set1.begin(), set1.begin() + static_cast<long>(length));
        } else if (!overrun_) {
            overrun_ = true;
            queue_.push_back(scan_set_ == 1 ? 0xFF : 0x00);
        }
        set1 = set1.subspan(length);
    }
    fill_queue();
}

// Of the key that begins with `first`, in set 1.
size_t Ps2Keyboard::key_length(u8 first) {
    return first == kExtended ? 2 : first == kExtendedTwice ? 3 : 1;
}

// Moves whole keys from the backlog to the queue while they fit.
void Ps2Keyboard::fill_queue() {
    while (!backlog_.empty() && !overrun_) {
        const size_t length = std::min(key_length(backlog_.front()), backlog_.size());
        std::array<u8, 3> key{};
        std::copy_n(backlog_.begin(), length, key.begin());
        if (!send_key(std::span(key).first(length))) return;
        backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<long>(length));
    }
}

// Queues a key in the scan code set in use. False when there is no room yet.
bool Ps2Keyboard::send_key(std::span<const u8> key) {
    std::array<u8, 8> codes{};
    size_t count = 0;
    const auto add = [&](u8 code) { codes[count++] = code; };
    const bool released = key.back() & kRelease;
    if (scan_set_ == 1) {
        for (u8 code : key) add(code);
    } else if (scan_set_ == 2) {
        for (u8 code : key) {
            if (code == kExtended || code == kExtendedTwice) {
                add(code);
                continue;
            }
            if (code & kRelease) add(kBreak);
            add(set1_to_set2(code & ~kRelease));
        }
    } else if (const u8 code = set3_code(key); code && (!released || breaks_[code])) {
        if (released) add(kBreak);
        add(code);
    }
    if (queue_.size() + count > kQueue) return false;
    queue_.insert(queue_.end(), codes.begin(), codes.begin() + static_cast<long>(count));
    return true;
}

// 0 when set 3 has no such key (the shifts that set 1 wraps around navigation keys).
u8 Ps2Keyboard::set3_code(std::span<const u8> key) {
    const u8 code = key.back() & ~kRelease;
    if (key.size() == 3) return key.back() & kRelease ? 0 : kSet3Pause;
    return key.size() == 2 ? set1_extended_to_set3(code) : set1_to_set3(code);
}

}  // namespace lodge
