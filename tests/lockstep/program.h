// A random program with its machine: what memory holds, the mode and state it starts in, and how it is to be run.
//
// A program is an endless main piece that calls others. Pieces hold instructions drawn from the decoder's table,
// branches on every condition, loops, calls and returns that do not always match, stores into code, and whatever a
// system does: the handlers' services (handlers.asm) and, at ring 0, the instructions themselves.
#pragma once

#include <string>
#include <vector>

#include "core/base/types.h"
#include "core/cpu/cpu_model.h"
#include "core/cpu/state.h"

namespace lodge::lockstep {

enum class Mode : u8 { real, virtual8086, protected16, protected32, based32, compatibility, long64 };
enum class Paging : u8 { none, legacy, pae, long_mode };

struct Program {
    Mode mode = Mode::real;
    Paging paging = Paging::none;
    bool user = false;
    CodeSize code_size = CodeSize::bits16;
    u64 home = 0;            // IP of the code's first byte
    std::vector<u8> memory;  // physical, from 0; at kHandlers nothing
    u64 cr0 = 0, cr4 = 0, efer = 0;
    u64 gpr[16] = {};
    u64 ip = 0;
    u32 flags = 0;
    u16 code = 0, stack = 0, data = 0, extra = 0;  // selectors
    FpuState fpu;

    u64 instructions = 0;  // how long it runs
    u64 shortest_step = 1, longest_step = 1;
    unsigned events = 0;  // per thousand steps
    u64 schedule = 0;     // seed of steps and events

    std::string describe() const;
};

// Which of the CPU models' features and which programs: `number` decides everything else.
Program make_program(u64 seed, u64 number, const CpuModel& model);

}  // namespace lodge::lockstep
