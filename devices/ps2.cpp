#include "devices/ps2.h"

#include "devices/scan_codes.h"

namespace lodge {

namespace {

enum Command : u8 {
    kReadMemory = 0x20,
    kWriteMemory = 0x60,
    kTestPassword = 0xA4,
    kDisableMouse = 0xA7,
    kEnableMouse = 0xA8,
    kTestMouse = 0xA9,
    kSelfTest = 0xAA,
    kTestKeyboard = 0xAB,
    kDisableKeyboard = 0xAD,
    kEnableKeyboard = 0xAE,
    kReadInputPort = 0xC0,
    kReadOutputPort = 0xD0,
    kWriteOutputPort = 0xD1,
    kWriteKeyboardBuffer = 0xD2,
    kWriteMouseBuffer = 0xD3,
    kWriteMouse = 0xD4,
    kA20Off = 0xDD,
    kA20On = 0xDF,
    kReadTestInputs = 0xE0,
    kPulse = 0xF0,
};

constexpr u8 kOutputFull = 0x01;  // status
constexpr u8 kSystemFlag = 0x04;
constexpr u8 kLastWasCommand = 0x08;
constexpr u8 kNotInhibited = 0x10;
constexpr u8 kMouseData = 0x20;

constexpr u8 kKeyboardInterrupt = 0x01;  // command byte
constexpr u8 kMouseInterrupt = 0x02;
constexpr u8 kCommandSystemFlag = 0x04;
constexpr u8 kKeyboardDisabled = 0x10;
constexpr u8 kMouseDisabled = 0x20;
constexpr u8 kTranslate = 0x40;

constexpr u8 kRun = 0x01;  // output port; 0 holds the machine in reset
constexpr u8 kA20 = 0x02;
constexpr u8 kInputPort = 0xB0;  // keyboard not locked, no manufacturing jumper, 256 KiB of RAM or more
constexpr u8 kNoPassword = 0xF1;
constexpr u8 kBreak = 0xF0;

// From the end of one byte to the next on the keyboard's or mouse's wire. Shorter than the real millisecond, long
// enough for a handler to leave before the next byte comes.
constexpr u64 kTransferTime = 20'000;
constexpr size_t kMostReplies = 16;

constexpr RegisterInfo kDataRegisters[] = {{0, 8, "DATA", RegisterRead::changes}};
constexpr RegisterInfo kStatusRegisters[] = {{0, 8, "STATUS_COMMAND"}};

}  // namespace

Ps2::Ps2(Scheduler& scheduler, InputQueue& inputs, IrqLine keyboard_irq, IrqLine mouse_irq, A20Gate& gate,
         MachineControl& control, Log& log)
    : keyboard_irq_(keyboard_irq),
      mouse_irq_(mouse_irq),
      gate_(gate),
      control_(control),
      log_(log),
      claims_(log, LogChannel::ps2),
      keyboard_source_(inputs.add_source("keyboard",
                                         [this](std::span<const u8> payload) {
                                             keyboard_.key(payload);
                                             schedule_transfer();
                                         })),
      mouse_source_(inputs.add_source("mouse",
                                      [this](std::span<const u8> payload) {
                                          mouse_.input(payload);
                                          schedule_transfer();
                                      })),
      transfer_(scheduler, "transfer", [this](u64) { transfer(); }) {
    keyboard_.reset();
}

Result<void> Ps2::attach(Bus& ports) {
    LODGE_TRY(claims_.bytes(
        ports, 0x60, 1, "ps2 data", kDataRegisters, [this](u64) { return read_data(); },
        [this](u64, u8 value) { write_data(value); }));
    return claims_.bytes(
        ports, 0x64, 1, "ps2 status", kStatusRegisters, [this](u64) { return read_status(); },
        [this](u64, u8 value) { write_command(value); });
}

void Ps2::reset() {
    keyboard_.reset();
    mouse_.reset();
    command_byte_ = 0;
    pending_command_ = 0;
    system_flag_ = false;
    last_was_command_ = false;
    output_full_ = false;
    origin_ = Origin::controller;
    output_ = 0;
    break_prefix_ = false;
    replies_.clear();
    memory_.fill(0);
    transfer_.cancel();
    // The 8042's ports come up as inputs with pull-ups: not in reset, A20 open.
    output_port_ = kRun | kA20;
    gate_.set(A20Gate::kKeyboardController, true);
    update_lines();
}

void Ps2::state(StateIo& io) {
    io.section("ps2", 1, [&] {
        keyboard_.state(io);
        mouse_.state(io);
        io.field("command_byte", command_byte_);
        io.field("output_port", output_port_);
        io.field("pending_command", pending_command_);
        io.field("system_flag", system_flag_);
        io.field("last_was_command", last_was_command_);
        io.field("output_full", output_full_);
        io.field("origin", origin_);
        io.field("output", output_);
        io.field("break_prefix", break_prefix_);
        io.sequence("replies", replies_, kMostReplies);
        io.bytes("memory", memory_);
        transfer_.state(io);
    });
    if (io.loading()) gate_.set(A20Gate::kKeyboardController, output_port_ & kA20);
}

bool Ps2::keyboard_enabled() const {
    return !(command_byte_ & kKeyboardDisabled);
}

bool Ps2::mouse_enabled() const {
    return !(command_byte_ & kMouseDisabled);
}

u8 Ps2::read_data() {
    const u8 value = output_;
    if (!output_full_) return value;  // the last byte stays readable
    output_full_ = false;
    update_lines();
    if (!replies_.empty()) {
        put(replies_.front(), Origin::controller);
        replies_.pop_front();
    } else {
        schedule_transfer();
    }
    return value;
}

u8 Ps2::read_status() {
    // The input buffer is always empty: commands are taken at once.
    return static_cast<u8>((output_full_ ? kOutputFull : 0) | (system_flag_ ? kSystemFlag : 0) |
                           (last_was_command_ ? kLastWasCommand : 0) | kNotInhibited |
                           (output_full_ && origin_ == Origin::mouse ? kMouseData : 0));
}

void Ps2::write_data(u8 value) {
    last_was_command_ = false;
    if (const u8 command = pending_command_) {
        pending_command_ = 0;
        command_with_data(command, value);
    } else {
        // Sending to the keyboard opens its interface again.
        command_byte_ &= static_cast<u8>(~kKeyboardDisabled);
        keyboard_.command(value);
    }
    schedule_transfer();
}

void Ps2::command_with_data(u8 command, u8 value) {
    switch (command) {
        case kWriteMemory:
            return set_command_byte(value);
        case kWriteOutputPort:
            return write_output_port(value);
        case kWriteKeyboardBuffer:
            return put(value, Origin::keyboard);
        case kWriteMouseBuffer:
            return put(value, Origin::mouse);
        case kWriteMouse:
            command_byte_ &= static_cast<u8>(~kMouseDisabled);
            return mouse_.command(value);
        default:
            memory_[command & 0x1F] = value;
    }
}

void Ps2::write_command(u8 value) {
    last_was_command_ = true;
    pending_command_ = 0;
    if (value >= kPulse) return pulse(value & 0x0F);
    if (value >= kWriteMemory && value < kWriteMemory + 0x20) {
        pending_command_ = value;
        return;
    }
    if (value >= kReadMemory && value < kReadMemory + 0x20)
        return reply(value == kReadMemory ? command_byte_ : memory_[value & 0x1F]);
    switch (value) {
        case kTestPassword:
            return reply(kNoPassword);
        case kDisableMouse:
            return set_command_byte(command_byte_ | kMouseDisabled);
        case kEnableMouse:
            return set_command_byte(command_byte_ & ~kMouseDisabled);
        case kTestMouse:
        case kTestKeyboard:
            return reply(0x00);
        case kSelfTest:
            system_flag_ = true;
            command_byte_ |= kCommandSystemFlag;
            return reply(0x55);
        case kDisableKeyboard:
            return set_command_byte(command_byte_ | kKeyboardDisabled);
        case kEnableKeyboard:
            return set_command_byte(command_byte_ & ~kKeyboardDisabled);
        case kReadInputPort:
            return reply(kInputPort);
        case kReadOutputPort:
            return reply(output_port());
        case kWriteOutputPort:
        case kWriteKeyboardBuffer:
        case kWriteMouseBuffer:
        case kWriteMouse:
            pending_command_ = value;
            return;
        case kA20Off:
            return write_output_port(output_port_ & ~kA20);
        case kA20On:
            return write_output_port(output_port_ | kA20);
        case kReadTestInputs:
            return reply(0x00);
        default:
            log_.once(LogChannel::ps2, "unknown command %02X of the keyboard controller", value);
    }
}

void Ps2::set_command_byte(u8 value) {
    command_byte_ = value;
    system_flag_ = value & kCommandSystemFlag;
    update_lines();
    schedule_transfer();
}

u8 Ps2::output_port() const {
    const bool mouse = output_full_ && origin_ == Origin::mouse;
    const bool keyboard = output_full_ && !mouse;
    return static_cast<u8>((output_port_ & (kRun | kA20)) | keyboard << 4 | mouse << 5 | 0xC0);
}

void Ps2::write_output_port(u8 value) {
    output_port_ = value;
    gate_.set(A20Gate::kKeyboardController, value & kA20);
    if (!(value & kRun)) control_.request_reset();
}

// Pulls the low bits of the output port low for some microseconds: bit 0 is the reset line, the others have no use.
void Ps2::pulse(u8 bits_high) {
    if (!(bits_high & kRun)) control_.request_reset();
}

void Ps2::reply(u8 value) {
    if (!output_full_) return put(value, Origin::controller);
    if (replies_.size() < kMostReplies) replies_.push_back(value);
}

void Ps2::put(u8 value, Origin origin) {
    output_ = value;
    origin_ = origin;
    // A byte that replaces an unread one must still be an edge.
    output_full_ = false;
    update_lines();
    output_full_ = true;
    update_lines();
}

// Takes the next byte of the keyboard through the translation; the break prefix shows only in the code after it.
void Ps2::put_keyboard_byte() {
    const u8 value = keyboard_.take();
    if (!(command_byte_ & kTranslate)) {
        break_prefix_ = false;
        return put(value, Origin::keyboard);
    }
    if (value == kBreak) {
        break_prefix_ = true;
        return schedule_transfer();
    }
    const u8 release = break_prefix_ ? 0x80 : 0;
    break_prefix_ = false;
    put(translate_set2(value) | release, Origin::keyboard);
}

void Ps2::transfer() {
    if (output_full_) return;
    if (keyboard_enabled() && keyboard_.has_output()) return put_keyboard_byte();
    if (mouse_enabled() && mouse_.has_output()) put(mouse_.take(), Origin::mouse);
}

void Ps2::schedule_transfer() {
    if (output_full_ || transfer_.pending()) return;
    const bool waiting = (keyboard_enabled() && keyboard_.has_output()) || (mouse_enabled() && mouse_.has_output());
    if (waiting) transfer_.schedule_in(kTransferTime);
}

void Ps2::update_lines() {
    const bool mouse = output_full_ && origin_ == Origin::mouse;
    const bool keyboard = output_full_ && !mouse;
    keyboard_irq_.set(keyboard && (command_byte_ & kKeyboardInterrupt));
    mouse_irq_.set(mouse && (command_byte_ & kMouseInterrupt));
}

}  // namespace lodge
