// A PS/2 mouse: standard, IntelliMouse (wheel) and IntelliMouse Explorer (five buttons).
// Source: IBM PS/2 Hardware Interface Technical Reference, "Mouse" (1990); Microsoft, "Mouse wheel and buttons" (the
// sample-rate knocks 200,100,80 and 200,200,80).
#pragma once

#include <array>
#include <deque>
#include <span>

#include "core/base/state_io.h"
#include "core/base/types.h"

namespace lodge {

class Ps2Mouse {
  public:
    static constexpr size_t kQueue = 16;

    void reset();
    void state(StateIo& io);

    void command(u8 value);
    bool has_output() const { return !replies_.empty() || !queue_.empty(); }
    u8 take();

    // An input of six bytes: i16 dx (right), i16 dy (down), i8 wheel (towards the user), u8 buttons (bit 0 left, 1
    // right, 2 middle, 3 and 4 the side buttons). Integers little-endian. Movements that the queue cannot hold add up.
    void input(std::span<const u8> payload);

  private:
    void reply(u8 value);
    void set_defaults();
    void parameter(u8 command, u8 value);
    void note_rate(u8 rate);
    void send_status();
    void fill_queue();
    void send_movement(std::deque<u8>& into);
    size_t packet_size() const { return id_ == kStandard ? 3 : 4; }
    bool moved() const { return dx_ || dy_ || (dz_ && id_ != kStandard) || buttons_ != sent_buttons_; }

    static constexpr u8 kStandard = 0;
    static constexpr u8 kWheel = 3;
    static constexpr u8 kExplorer = 4;

    std::deque<u8> queue_;
    std::deque<u8> replies_;
    u8 last_sent_ = 0;  // for Resend
    u8 pending_ = 0;    // the command that waits for its parameter; 0 when none
    u8 id_ = kStandard;
    u8 rate_ = 100;
    u8 resolution_ = 2;
    bool scaling_ = false;
    bool reporting_ = false;
    bool remote_ = false;
    bool wrap_ = false;
    std::array<u8, 2> knocks_{};  // the last sample rates set, newest first
    i32 dx_ = 0;                  // movement not reported yet; y grows downwards
    i32 dy_ = 0;
    i32 dz_ = 0;
    u8 buttons_ = 0;
    u8 sent_buttons_ = 0;
};

}  // namespace lodge
