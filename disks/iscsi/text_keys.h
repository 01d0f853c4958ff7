// The text of logins and text requests: KEY=VALUE pairs that end with a zero byte (RFC 7143 section 6.1).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/types.h"

namespace lodge::iscsi {

// What one side says in one go, over all PDUs of a request.
constexpr size_t kMostTextBytes = 16 * 1024;
constexpr size_t kMostKeyBytes = 63;
constexpr size_t kMostNameBytes = 223;  // of an iSCSI name (RFC 7143 section 4.2.7.1)

struct TextPair {
    std::string key;
    std::string value;
};

// Nothing: the text is none (a pair without `=`, a key that cannot be, no zero at the end, too long).
std::optional<std::vector<TextPair>> parse_text(std::span<const u8> text);
void append_text(std::vector<u8>& text, std::string_view key, std::string_view value);

// A number as decimal or 0x and hexadecimal digits; nothing: it is none, or more than 64 bits.
std::optional<u64> number_of(std::string_view value);
// Bytes as 0x and hexadecimal digits or 0b and base 64; nothing: they are none, or more than `most`.
std::optional<std::vector<u8>> bytes_of(std::string_view value, size_t most);
std::string text_of(std::span<const u8> bytes);  // 0x…
std::vector<std::string_view> list_of(std::string_view value);

// A name in the form in which names are compared: ASCII letters in lower case (RFC 3722). Nothing: it cannot be one.
std::optional<std::string> normal_name(std::string_view name);

}  // namespace lodge::iscsi
