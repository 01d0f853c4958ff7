// The names of a chip's registers: messages, traces and debuggers print by them and find registers by them.
#pragma once

#include <span>

#include "core/base/types.h"

namespace lodge {

// What reading a register does to its chip, as far as somebody who only wants to look must know.
enum class RegisterRead : u8 {
    harmless,  // nothing
    changes,   // a FIFO, an acknowledgement, a flip-flop: only on request
};

// One row of a chip's register table.
struct RegisterInfo {
    u32 offset;  // into the claimed range
    u8 bits;     // width
    const char* name;
    RegisterRead read = RegisterRead::harmless;
};
using RegisterTable = std::span<const RegisterInfo>;

}  // namespace lodge
