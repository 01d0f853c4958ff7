#include "disks/iscsi/text_keys.h"

#include <algorithm>

namespace lodge::iscsi {

namespace {

std::optional<unsigned> digit_of(char character) {
    if (character >= '0' && character <= '9') return static_cast<unsigned>(character - '0');
    if (character >= 'a' && character <= 'f') return static_cast<unsigned>(character - 'a' + 10);
    if (character >= 'A' && character <= 'F') return static_cast<unsigned>(character - 'A' + 10);
    return std::nullopt;
}

// RFC 4648 section 4.
std::optional<unsigned> base64_digit_of(char character) {
    if (character >= 'A' && character <= 'Z') return static_cast<unsigned>(character - 'A');
    if (character >= 'a' && character <= 'z') return static_cast<unsigned>(character - 'a' + 26);
    if (character >= '0' && character <= '9') return static_cast<unsigned>(character - '0' + 52);
    if (character == '+') return 62;
    if (character == '/') return 63;
    return std::nullopt;
}

bool prefixed(std::string_view value, char letter) {
    return value.size() > 2 && value[0] == '0' && (value[1] | 0x20) == letter;
}

std::optional<std::vector<u8>> hexadecimal(std::string_view digits) {
    std::vector<u8> bytes;
    // An odd number of digits lacks the first one, a zero.
    unsigned high = 0;
    bool half = digits.size() % 2 != 0;
    for (const char character : digits) {
        const auto digit = digit_of(character);
        if (!digit) return std::nullopt;
        if (half) bytes.push_back(static_cast<u8>(high << 4 | *digit));
        high = *digit;
        half = !half;
    }
    return bytes;
}

std::optional<std::vector<u8>> base64(std::string_view digits) {
    if (digits.size() % 4 != 0) return std::nullopt;
    size_t padding = 0;
    while (padding < 2 && !digits.empty() && digits.back() == '=') {
        digits.remove_suffix(1);
        ++padding;
    }
    std::vector<u8> bytes;
    u32 bits = 0;
    unsigned count = 0;
    for (const char character : digits) {
        const auto digit = base64_digit_of(character);
        if (!digit) return std::nullopt;
        bits = bits << 6 | *digit;
        count += 6;
        if (count < 8) continue;
        count -= 8;
        bytes.push_back(static_cast<u8>(bits >> count));
    }
    return bytes;
}

// RFC 7143 section 6.1: letters, digits, and a few signs.
bool is_key(std::string_view key) {
    constexpr std::string_view kSigns = ".-+@_#";
    if (key.empty() || key.size() > kMostKeyBytes) return false;
    return std::all_of(key.begin(), key.end(), [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               kSigns.find(c) != std::string_view::npos;
    });
}

}  // namespace

std::optional<std::vector<TextPair>> parse_text(std::span<const u8> text) {
    if (text.size() > kMostTextBytes) return std::nullopt;
    std::vector<TextPair> pairs;
    std::string_view rest(reinterpret_cast<const char*>(text.data()), text.size());
    while (!rest.empty()) {
        const size_t end = rest.find('\0');
        if (end == std::string_view::npos) return std::nullopt;
        const std::string_view pair = rest.substr(0, end);
        rest.remove_prefix(end + 1);
        // Some count the padding of a PDU among its text.
        if (pair.empty()) continue;
        const size_t equals = pair.find('=');
        if (equals == std::string_view::npos || !is_key(pair.substr(0, equals))) return std::nullopt;
        pairs.push_back({std::string(pair.substr(0, equals)), std::string(pair.substr(equals + 1))});
    }
    return pairs;
}

void append_text(std::vector<u8>& text, std::string_view key, std::string_view value) {
    text.insert(text.end(), key.begin(), key.end());
    text.push_back('=');
    text.insert(text.end(), value.begin(), value.end());
    text.push_back(0);
}

std::optional<u64> number_of(std::string_view value) {
    const bool in_hexadecimal = prefixed(value, 'x');
    if (in_hexadecimal) value.remove_prefix(2);
    const u64 base = in_hexadecimal ? 16 : 10;
    if (value.empty()) return std::nullopt;
    u64 number = 0;
    for (const char character : value) {
        const auto digit = digit_of(character);
        if (!digit || *digit >= base) return std::nullopt;
        if (__builtin_mul_overflow(number, base, &number) || __builtin_add_overflow(number, u64{*digit}, &number))
            return std::nullopt;
    }
    return number;
}

std::optional<std::vector<u8>> bytes_of(std::string_view value, size_t most) {
    std::optional<std::vector<u8>> bytes;
    if (prefixed(value, 'x')) {
        bytes = hexadecimal(value.substr(2));
    } else if (prefixed(value, 'b')) {
        bytes = base64(value.substr(2));
    }
    if (bytes && bytes->size() > most) return std::nullopt;
    return bytes;
}

std::string text_of(std::span<const u8> bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text = "0x";
    for (const u8 byte : bytes) {
        text += kDigits[byte >> 4];
        text += kDigits[byte & 0xF];
    }
    return text;
}

std::vector<std::string_view> list_of(std::string_view value) {
    std::vector<std::string_view> items;
    while (true) {
        const size_t comma = value.find(',');
        items.push_back(value.substr(0, comma));
        if (comma == std::string_view::npos) return items;
        value.remove_prefix(comma + 1);
    }
}

std::optional<std::string> normal_name(std::string_view name) {
    if (name.empty() || name.size() > kMostNameBytes) return std::nullopt;
    std::string normal(name);
    for (char& character : normal) {
        if (static_cast<unsigned char>(character) <= ' ' || character == 0x7F || character == ',') return std::nullopt;
        if (character >= 'A' && character <= 'Z') character = static_cast<char>(character + ('a' - 'A'));
    }
    return normal;
}

}  // namespace lodge::iscsi
