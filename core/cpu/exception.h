// Exceptions of the CPU (SDM vol. 3, table 6-1).
#pragma once

#include "core/base/types.h"

namespace lodge {

enum class Exception : u8 {
    DE = 0,
    DB = 1,
    NMI = 2,
    BP = 3,
    OF = 4,
    BR = 5,
    UD = 6,
    NM = 7,
    DF = 8,
    TS = 10,
    NP = 11,
    SS = 12,
    GP = 13,
    PF = 14,
    MF = 16,
    AC = 17,
    MC = 18,
    XM = 19,
};

// What interrupted: decides how the gate is checked, what is pushed, and whether the saved IP is the next one.
enum class EventKind : u8 {
    hardware,   // INTR, NMI
    exception,  // faults and traps raised by the CPU
    software,   // INT n, INT3, INTO: gate DPL is checked
    icebp,      // INT1: as an exception, but of software's making
};

// A fault that an instruction has raised and that has not been delivered yet.
struct PendingFault {
    Exception vector = Exception::DE;
    bool has_error = false;
    u32 error = 0;
    bool code_breakpoint = false;  // the #DB of an instruction breakpoint
};

constexpr bool has_error_code(Exception vector) {
    switch (vector) {
        case Exception::DF:
        case Exception::TS:
        case Exception::NP:
        case Exception::SS:
        case Exception::GP:
        case Exception::PF:
        case Exception::AC:
            return true;
        default:
            return false;
    }
}

}  // namespace lodge
