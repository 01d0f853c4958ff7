// Words for people about addresses, accesses and exceptions.
#pragma once

#include <string>
#include <string_view>

#include "core/machine.h"
#include "debug/stop_points.h"

namespace lodge::debug {

// 0x1F
std::string hex(u64 value);
// 0x000000000000001F: `digits` at least.
std::string hex(u64 value, unsigned digits);
// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* format, ...);

// #PF for 14; empty for vectors that are no exception's.
std::string_view exception_name(u8 vector);
// "exception 14 #PF, error code 0x2, from 0xC0001234"
std::string describe_exception(const StopDetails& details);
// "e1000 IMC = 0x1 written", "port 0x80 = 0xFF read"
std::string describe_access(Machine& machine, DeviceSpace space, const BusAccess& access);
// The row that holds the byte at `offset`; null: none.
const RegisterInfo* register_at(RegisterTable table, u64 offset);

// "0x10", "16": nothing when it is no number, or has more than 64 bits.
std::optional<u64> parse_number(std::string_view text);
std::string lower_case(std::string_view text);
std::vector<std::string> split_words(std::string_view text);

}  // namespace lodge::debug
