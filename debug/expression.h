// Addresses and conditions as people write them.
//
//   number       16, 0x10
//   register     rax, cs_base, pc: every name of register_names(); also with % or $ before it
//   SEG:OFFSET   both in hexadecimal without 0x (07c0:0000), or registers (cs:rip)
//   memory       byte[..], word[..], dword[..], qword[..] at a linear address; [..] is as wide as the code
//   (..)  + -  &  == != < <= > >= (unsigned)  &&  ||      from tight to loose
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "core/base/result.h"
#include "debug/inspector.h"

namespace lodge::debug {

// Nothing: memory that it needs cannot be read now, or a segment does not exist.
using Expression = std::function<std::optional<u64>()>;

// ErrorKind::usage, with the place. The inspector outlives the expression.
Result<Expression> parse_expression(Inspector& inspector, std::string_view text);
// For StopPoint: an expression that has no value now counts as true, so that nothing is missed.
Result<std::function<bool()>> parse_condition(Inspector& inspector, std::string_view text);

}  // namespace lodge::debug
