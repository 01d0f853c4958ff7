#include "debug/gdb_packets.h"

namespace lodge::debug {

namespace {

constexpr u8 kInterrupt = 0x03;
constexpr char kEscape = '}', kEscapedBy = 0x20;

int digit_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string unescape(std::string_view payload) {
    std::string plain;
    plain.reserve(payload.size());
    for (size_t i = 0; i < payload.size(); ++i) {
        const bool escaped = payload[i] == kEscape && i + 1 < payload.size();
        plain += escaped ? static_cast<char>(payload[++i] ^ kEscapedBy) : payload[i];
    }
    return plain;
}

}  // namespace

void GdbPacketReader::feed(std::span<const u8> bytes) {
    for (const u8 byte : bytes) take(byte);
}

std::optional<GdbEvent> GdbPacketReader::next() {
    if (events_.empty()) return {};
    GdbEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
}

void GdbPacketReader::reset() {
    *this = GdbPacketReader();
}

void GdbPacketReader::take(u8 byte) {
    const char c = static_cast<char>(byte);
    switch (where_) {
        case Where::between:
            if (c == '$') {
                where_ = Where::payload;
                payload_.clear();
                too_long_ = false;
                sum_ = 0;
            } else if (c == '+') {
                events_.push_back({GdbEvent::Kind::ack, {}});
            } else if (c == '-') {
                events_.push_back({GdbEvent::Kind::nack, {}});
            } else if (byte == kInterrupt) {
                events_.push_back({GdbEvent::Kind::interrupt, {}});
            }
            return;
        case Where::payload:
            if (c == '#') {
                where_ = Where::first_digit;
                return;
            }
            // A packet was cut short and another begins: # and $ never stand unescaped in one.
            if (c == '$') {
                payload_.clear();
                too_long_ = false;
                sum_ = 0;
                return;
            }
            sum_ = static_cast<u8>(sum_ + byte);
            if (payload_.size() < 2 * kMostPayload)
                payload_ += c;
            else
                too_long_ = true;
            return;
        case Where::first_digit:
            first_ = digit_value(c);
            where_ = Where::second_digit;
            return;
        case Where::second_digit:
            where_ = Where::between;
            return finish(digit_value(c));
    }
}

void GdbPacketReader::finish(int second) {
    std::string payload = unescape(payload_);
    payload_.clear();
    if (first_ < 0 || second < 0 || first_ * 16 + second != sum_)
        events_.push_back({GdbEvent::Kind::corrupt, {}});
    else if (too_long_ || payload.size() > kMostPayload)
        events_.push_back({GdbEvent::Kind::too_long, {}});
    else
        events_.push_back({GdbEvent::Kind::packet, std::move(payload)});
}

std::string frame(std::string_view payload) {
    static constexpr char kDigits[] = "0123456789abcdef";
    u8 sum = 0;
    for (const char c : payload) sum = static_cast<u8>(sum + static_cast<u8>(c));
    std::string packet = "$";
    packet += payload;
    packet += '#';
    packet += kDigits[sum >> 4];
    packet += kDigits[sum & 0xF];
    return packet;
}

std::string escape(std::string_view data) {
    std::string escaped;
    for (const char c : data) {
        if (c == '#' || c == '$' || c == kEscape || c == '*') {
            escaped += kEscape;
            escaped += static_cast<char>(c ^ kEscapedBy);
        } else {
            escaped += c;
        }
    }
    return escaped;
}

std::string to_hex(std::span<const u8> bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const u8 byte : bytes) {
        text += kDigits[byte >> 4];
        text += kDigits[byte & 0xF];
    }
    return text;
}

std::string to_hex(std::string_view text) {
    return to_hex(std::span(reinterpret_cast<const u8*>(text.data()), text.size()));
}

std::optional<std::string> from_hex(std::string_view digits) {
    if (digits.size() % 2 != 0) return {};
    std::string bytes;
    bytes.reserve(digits.size() / 2);
    for (size_t i = 0; i < digits.size(); i += 2) {
        const int high = digit_value(digits[i]), low = digit_value(digits[i + 1]);
        if (high < 0 || low < 0) return {};
        bytes += static_cast<char>(high * 16 + low);
    }
    return bytes;
}

std::optional<u64> take_hex(std::string_view& text) {
    u64 value = 0;
    size_t count = 0;
    while (count < text.size() && digit_value(text[count]) >= 0) {
        if (count == 16) return {};
        value = value << 4 | static_cast<u64>(digit_value(text[count++]));
    }
    if (count == 0) return {};
    text.remove_prefix(count);
    return value;
}

bool take_token(std::string_view& text, std::string_view token) {
    if (!text.starts_with(token)) return false;
    text.remove_prefix(token.size());
    return true;
}

}  // namespace lodge::debug
