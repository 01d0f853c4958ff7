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

    void reset();
    void state(StateIo& io);

    // A byte from the controller.
    void command(u8 value);
    // What the keyboard has to send, oldest first.
    bool has_output() const { return !replies_.empty() || !queue_.empty(); }
    u8 take();

    // An input: any number of keys in set 1 codes as an XT keyboard would send them (`1E` A down, `9E` A up, `E0 48` up
    // arrow, `E1 1D 45 E1 9D C5` Pause). Keys that the queue cannot hold become one overrun code.
    void key(std::span<const u8> set1);

    // Bits 2:0 Caps, Num, Scroll Lock.
    u8 leds() const { return leds_; }

  private:
    enum class KeyMode : u8 { typematic_make_break, make_break, make_only, typematic };

    void reply(u8 value);
    void set_defaults();
    void parameter(u8 value);
    void set_all_keys(KeyMode mode);
    void push(std::span<const u8> bytes);
    void send_key(u8 code, bool extended, bool release);
    void send_set3(u8 code, bool extended, bool release);

    std::deque<u8> queue_;
    std::deque<u8> replies_;  // answers to commands go before keys
    u8 last_sent_ = 0;        // for Resend
    u8 pending_ = 0;          // the command that waits for its parameter; 0 when none
    u8 scan_set_ = 2;
    u8 leds_ = 0;
    u8 typematic_ = 0x2B;
    bool scanning_ = true;
    bool overrun_ = false;
    std::array<KeyMode, 256> modes_{};  // set 3 only, by set 3 code
    u8 prefix_ = 0;                     // of a key code that is being parsed: E0h or E1h
    u8 prefix_left_ = 0;                // bytes of an E1h sequence still to come
};

}  // namespace lodge
