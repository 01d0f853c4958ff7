#include "devices/ps2_mouse.h"

#include <algorithm>
#include <cstdlib>

namespace lodge {

namespace {

enum Command : u8 {
    kScalingOff = 0xE6,
    kScalingOn = 0xE7,
    kResolution = 0xE8,
    kStatus = 0xE9,
    kStream = 0xEA,
    kReadData = 0xEB,
    kWrapOff = 0xEC,
    kWrapOn = 0xEE,
    kRemote = 0xF0,
    kIdentify = 0xF2,
    kSampleRate = 0xF3,
    kEnable = 0xF4,
    kDisable = 0xF5,
    kDefaults = 0xF6,
    kResend = 0xFE,
    kResetCommand = 0xFF,
};

constexpr u8 kAcknowledge = 0xFA;
constexpr u8 kAgain = 0xFE;
constexpr u8 kSelfTestPassed = 0xAA;
constexpr size_t kMostReplies = 16;
constexpr i32 kMostMovement = 1 << 16;  // not reported yet, in either direction

// Scaling 2:1 in stream mode (IBM technical reference, "scaling").
i32 scaled(i32 value) {
    constexpr i32 kSmall[] = {0, 1, 1, 3, 6, 9};
    const i32 size = std::abs(value);
    const i32 result = size < 6 ? kSmall[size] : 2 * size;
    return value < 0 ? -result : result;
}

// Takes from `total` what fits low..high and leaves the rest.
i32 take_part(i32& total, i32 low, i32 high) {
    const i32 part = std::clamp(total, low, high);
    total -= part;
    return part;
}

}  // namespace

void Ps2Mouse::reset() {
    *this = Ps2Mouse();
}

void Ps2Mouse::state(StateIo& io) {
    io.section("mouse", 1, [&] {
        io.sequence("queue", queue_, kQueue);
        io.sequence("replies", replies_, kMostReplies);
        io.field("last_sent", last_sent_);
        io.field("pending", pending_);
        io.field("id", id_);
        io.field("rate", rate_);
        io.field("resolution", resolution_);
        io.field("scaling", scaling_);
        io.field("reporting", reporting_);
        io.field("remote", remote_);
        io.field("wrap", wrap_);
        io.bytes("knocks", knocks_);
        io.field("dx", dx_);
        io.field("dy", dy_);
        io.field("dz", dz_);
        io.field("buttons", buttons_);
        io.field("sent_buttons", sent_buttons_);
    });
    for (i32* total : {&dx_, &dy_, &dz_}) *total = std::clamp(*total, -kMostMovement, kMostMovement);
}

void Ps2Mouse::reply(u8 value) {
    if (replies_.size() < kMostReplies) replies_.push_back(value);
}

void Ps2Mouse::set_defaults() {
    rate_ = 100;
    resolution_ = 2;
    scaling_ = false;
    reporting_ = false;
    remote_ = false;
    queue_.clear();
    dx_ = dy_ = dz_ = 0;
}

u8 Ps2Mouse::take() {
    auto& from = replies_.empty() ? queue_ : replies_;
    if (from.empty()) return 0;
    last_sent_ = from.front();
    from.pop_front();
    fill_queue();
    return last_sent_;
}

void Ps2Mouse::command(u8 value) {
    if (wrap_ && value != kWrapOff && value != kResetCommand) return reply(value);
    if (const u8 waiting = pending_) {
        pending_ = 0;
        return parameter(waiting, value);
    }
    if (value != kResend && value != kReadData && value != kStatus && value != kIdentify) queue_.clear();
    reply(kAcknowledge);
    switch (value) {
        case kScalingOff:
        case kScalingOn:
            scaling_ = value == kScalingOn;
            return;
        case kResolution:
        case kSampleRate:
            pending_ = value;
            return;
        case kStatus:
            return send_status();
        case kStream:
        case kRemote:
            remote_ = value == kRemote;
            return;
        case kReadData:
            if (replies_.size() + packet_size() <= kMostReplies) send_movement(replies_);
            return;
        case kWrapOff:
        case kWrapOn:
            wrap_ = value == kWrapOn;
            return;
        case kIdentify:
            return reply(id_);
        case kEnable:
            reporting_ = true;
            return fill_queue();
        case kDisable:
            reporting_ = false;
            return;
        case kDefaults:
            return set_defaults();
        case kResetCommand: {
            const u8 buttons = buttons_;
            reset();
            buttons_ = sent_buttons_ = buttons;
            reply(kAcknowledge);
            reply(kSelfTestPassed);
            return reply(id_);
        }
        case kResend:
            replies_.pop_back();
            return reply(last_sent_);
        default:
            replies_.pop_back();
            return reply(kAgain);
    }
}

void Ps2Mouse::parameter(u8 command, u8 value) {
    if (command == kResolution) {
        if (value > 3) return reply(kAgain);
        resolution_ = value;
    } else {
        note_rate(value);
    }
    reply(kAcknowledge);
}

// Three sample rates in a row are the knock by which a driver asks for the wheel, then for the side buttons.
void Ps2Mouse::note_rate(u8 rate) {
    rate_ = rate;
    if (knocks_[1] == 200 && knocks_[0] == 100 && rate == 80) id_ = std::max(id_, kWheel);
    if (knocks_[1] == 200 && knocks_[0] == 200 && rate == 80 && id_ == kWheel) id_ = kExplorer;
    knocks_ = {rate, knocks_[0]};
}

void Ps2Mouse::send_status() {
    // Bit 6 remote mode, 5 enabled, 4 scaling, 2 left, 1 middle, 0 right.
    reply(static_cast<u8>(remote_ << 6 | reporting_ << 5 | scaling_ << 4 | bit(buttons_, 0) << 2 |
                          bit(buttons_, 2) << 1 | (bit(buttons_, 1) ? 1 : 0)));
    reply(resolution_);
    reply(rate_);
}

void Ps2Mouse::input(std::span<const u8> payload) {
    if (payload.size() < 6) return;
    const auto add = [](i32& total, i32 part) { total = std::clamp(total + part, -kMostMovement, kMostMovement); };
    buttons_ = payload[5] & 0x1F;
    if (!reporting_ && !remote_) {
        sent_buttons_ = buttons_;
        return;
    }
    add(dx_, load<i16>(payload.data()));
    add(dy_, load<i16>(payload.data() + 2));
    add(dz_, load<i8>(payload.data() + 4));
    fill_queue();
}

void Ps2Mouse::fill_queue() {
    if (!reporting_ || remote_ || wrap_) return;
    while (moved() && queue_.size() + packet_size() <= kQueue) send_movement(queue_);
}

// One packet with as much of the movement as it can carry.
void Ps2Mouse::send_movement(std::deque<u8>& into) {
    i32 x = take_part(dx_, -127, 127);
    i32 y = -take_part(dy_, -127, 127);  // the mouse counts upwards
    const i32 z = take_part(dz_, id_ == kExplorer ? -7 : -127, id_ == kExplorer ? 7 : 127);
    if (scaling_ && !remote_) {
        x = scaled(x);
        y = scaled(y);
    }
    sent_buttons_ = buttons_;
    into.push_back(static_cast<u8>((buttons_ & 7) | 0x08 | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0)));
    into.push_back(static_cast<u8>(x));
    into.push_back(static_cast<u8>(y));
    if (id_ == kWheel) into.push_back(static_cast<u8>(z));
    if (id_ == kExplorer) into.push_back(static_cast<u8>((z & 0x0F) | (buttons_ & 0x18) << 1));
}

}  // namespace lodge
