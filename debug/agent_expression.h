// gdb's agent expressions: the bytecode in which it sends the conditions of breakpoints. Source: "Debugging with GDB",
// appendix F "The GDB Agent Expression Mechanism" (of GDB 13). Tracing opcodes are not for conditions and end in an
// error.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "core/base/types.h"

namespace lodge::debug {

// What an expression may ask of its target.
struct AgentTarget {
    // By gdb's number of the target's description; nothing: no such register.
    std::function<std::optional<u64>(u64 number)> read_register;
    // False: not all of it can be read.
    std::function<bool(u64 linear, std::span<u8> into)> read_memory;
};

// The value on top of the stack at the end. Nothing: the expression is wrong, goes on for too long, divides by zero, or
// needs what cannot be read. Ends after a bounded time, whatever the bytes.
std::optional<u64> evaluate(std::span<const u8> bytecode, const AgentTarget& target);

}  // namespace lodge::debug
