// A PS/2 keyboard: 16-byte output queue, scan code sets 1 to 3, all commands of the IBM enhanced keyboard.
// Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)" (1990).
#pragma once

#include <array>
#include <deque>
#include <span>

#include "core/base/state_io.h"
#include "core/base/types.h"

namespace lodge {

class Ps2Keyboard {
  public:
    static constexpr size_t kQueue = 16;
    static constexpr size_t kBacklog = 4096;

    void reset();
    void state(StateIo& io);

    // A byte from the controller.
    void command(u8 value);
    // What the keyboard has to send: answers to commands first, then keys.
    bool has_output() const { return !replies_.empty() || !queue_.empty(); }
    u8 take();

    // An input: whole keys in set 1 codes as an XT keyboard sends them (`1E` A down, `9E` A up, `E0 48` up arrow,
    // `E1 1D 45 E1 9D C5` Pause). What the queue cannot hold waits in a backlog, so that pasted text is not lost; what
    // even that cannot hold becomes one overrun code, as in a real keyboard.
    void key(std::span<const u8> set1);

    // Bits 2:0 Caps, Num, Scroll Lock.
    u8 leds() const { return leds_; }

  private:
    void reply(u8 value);
    void set_defaults();
    void clear_keys();
    void parameter(u8 command, u8 value);
    void set_scan_set(u8 value);
    void fill_queue();
    bool send_key(std::span<const u8> key);
    static size_t key_length(u8 first);
    static u8 set3_code(std::span<const u8> key);

    std::deque<u8> queue_;
    std::deque<u8> replies_;
    std::deque<u8> backlog_;  // keys in set 1 codes
    u8 last_sent_ = 0;        // for Resend
    u8 pending_ = 0;          // the command that waits for its parameter; 0 when none
    u8 scan_set_ = 2;
    u8 leds_ = 0;
    u8 typematic_ = 0x2B;
    bool scanning_ = true;
    bool overrun_ = false;          // the overrun code is in the queue
    std::array<u8, 256> breaks_{};  // set 3: whether the key with that code sends break codes
};

}  // namespace lodge
