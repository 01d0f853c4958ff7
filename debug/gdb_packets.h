// The gdb remote protocol's framing: packets, checksums, escapes. Source: "Debugging with GDB", appendix E.1 "Overview"
// (of GDB 13). Pure: bytes in, events out.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/base/types.h"

namespace lodge::debug {

// The longest payload taken, as announced by PacketSize.
constexpr size_t kMostPayload = 0x8000;

struct GdbEvent {
    enum class Kind : u8 {
        packet,     // `payload`, without escapes
        corrupt,    // a packet whose checksum is wrong
        too_long,   // a packet of more than kMostPayload bytes
        ack,        // +
        nack,       // -
        interrupt,  // 03h between packets
    };
    Kind kind = Kind::packet;
    std::string payload;
};

class GdbPacketReader {
  public:
    // What stands between packets and is nothing of the above is passed over.
    void feed(std::span<const u8> bytes);
    // In the order in which they came; nothing when more bytes are needed.
    std::optional<GdbEvent> next();
    // Forgets all.
    void reset();

  private:
    enum class Where : u8 { between, payload, first_digit, second_digit };
    void take(u8 byte);
    void finish(int second);

    Where where_ = Where::between;
    std::string payload_;  // as it came
    bool too_long_ = false;
    u8 sum_ = 0;
    int first_ = -1;  // of the checksum's digits; -1: none
    std::deque<GdbEvent> events_;
};

// $payload#xx; the payload is already escaped.
std::string frame(std::string_view payload);
// For binary data in a reply: # $ } * are escaped.
std::string escape(std::string_view data);

// --- Hexadecimal
std::string to_hex(std::span<const u8> bytes);
std::string to_hex(std::string_view text);
// Two digits for each byte, nothing else.
std::optional<std::string> from_hex(std::string_view digits);
// Takes hexadecimal digits off the front, at least one and at most 16.
std::optional<u64> take_hex(std::string_view& text);
// Takes `token` off the front, if it is there.
bool take_token(std::string_view& text, std::string_view token);

}  // namespace lodge::debug
