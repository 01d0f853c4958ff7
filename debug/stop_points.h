// What a machine can be stopped at, how it is stepped, and what is known of a stop.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/base/types.h"
#include "core/bus.h"

namespace lodge::debug {

// --- Where

// Before the instruction at this linear address is executed.
struct CodePoint {
    u64 linear = 0;
    bool hardware = false;  // how its user wants it called: here both are the same, and nothing is written into memory
};

// After an instruction that has accessed any of [linear, linear + size), by whatever way but DMA. `size` is at least 1.
struct DataPoint {
    u64 linear = 0;
    u64 size = 1;
    bool on_read = false, on_write = true;
};

// After an instruction that has accessed any of these ports or (unbacked) physical addresses; a device's DMA there too.
enum class DeviceSpace : u8 { ports, memory };
struct DevicePoint {
    DeviceSpace space = DeviceSpace::ports;
    u64 first = 0, last = 0;  // inclusive
    bool on_read = true, on_write = true;
    std::string name;  // for people
};

// At the first instruction of a handler. `vector` absent: any.
struct InterruptPoint {  // INTR and NMI
    std::optional<u8> vector;
};
struct ExceptionPoint {  // faults and traps; not INT n
    std::optional<u8> vector;
};
struct SoftwareInterruptPoint {  // INT n, INT3, INTO
    std::optional<u8> vector;
};

// After an instruction that has changed CpuMode (inspector.h).
struct ModePoint {};
// After an instruction that has loaded CR3. `value` absent: any.
struct PageTablePoint {
    std::optional<u64> value;
};
// At a triple fault, before the machine is reset for it.
struct ShutdownPoint {};

using Place = std::variant<CodePoint, DataPoint, DevicePoint, InterruptPoint, ExceptionPoint, SoftwareInterruptPoint,
                           ModePoint, PageTablePoint, ShutdownPoint>;

// --- A stop point

struct StopPoint {
    Place place;
    // Asked on the CPU thread, with the CPU between two instructions, when the place is reached; may look at anything
    // and change nothing. Absent: always.
    std::function<bool()> condition;
    u64 ignore = 0;     // so many times more it is passed by, counted down; after the condition
    bool once = false;  // removed by its first stop
    bool enabled = true;
    const void* owner = nullptr;  // for remove_all_of
    u64 hits = 0;                 // times that it has been reached with the condition true
};

// One line: "write of 4 bytes at 0xC0001000", "port uart1 THR", "exception 14 #PF".
std::string describe(const Place& place);

// --- Steps

enum class StepUntil : u8 {
    instructions,   // `count` more have retired
    out_of_range,   // the next instruction does not begin in [first, last)
    branch,         // an instruction, interrupt or fault has led elsewhere than behind the last instruction
    interrupt,      // the first instruction of an interrupt's handler
    device_access,  // after an instruction that has accessed a device
    mode_switch,    // after an instruction that has changed CpuMode
};

// What a fault during a step does. An exception that no debugger asked for leads to a handler which nobody wanted to
// step through (docs/formats.md, complaint 5).
enum class StepFaults : u8 {
    taken,   // its handler's instructions are steps like others
    stop,    // at the handler's first instruction
    passed,  // the handler runs until it returns to the interrupted stack; then the step goes on
};

struct Step {
    StepUntil until = StepUntil::instructions;
    u64 count = 1;
    u64 first = 0, last = 0;  // linear
    // INTR is held back until the step has ended; a halted CPU takes it anyway, and its handler is passed.
    bool hold_interrupts = false;
    StepFaults faults = StepFaults::taken;
};

// --- Stops

enum class StopReason : u8 {
    paused,  // somebody asked
    step,    // a step has ended
    point,   // a stop point
    fault,   // StepFaults::stop
};

// What was met, of the point that is named first.
struct StopDetails {
    std::optional<BusAccess> access;  // of a DataPoint (value is 0) or DevicePoint
    DeviceSpace space = DeviceSpace::ports;
    std::optional<u8> vector;
    std::optional<u32> error;  // the exception's code
    u64 return_linear = 0;     // where an interrupt or exception came from
};

struct Stop {
    StopReason reason = StopReason::paused;
    u64 position = 0;         // instructions retired
    std::vector<u32> points;  // numbers of those that were met here with their conditions true; the first is `place`
    std::optional<Place> place;
    StopDetails details;
    std::string text;  // for people, one line
};

}  // namespace lodge::debug
