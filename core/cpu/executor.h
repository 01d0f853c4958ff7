// What runs a CPU: the interpreter, or the translator.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/base/types.h"

namespace lodge {

enum class ExitReason : u8 {
    budget,    // as many instructions as asked have retired
    kicked,    // kAttentionKick
    halted,    // HLT, and no interrupt that could end it
    shutdown,  // triple fault
    debugger,  // CpuDebugger wants to stop here
};

class Executor {
  public:
    virtual ~Executor() = default;
    // Runs until `instructions` more have retired, never further, or another reason comes up. Interrupts and faults are
    // delivered on the way. The same instructions retire for the same state, whatever the executor.
    virtual ExitReason run(u64 instructions) = 0;
    // What the executor has counted, for people: names and numbers.
    virtual std::vector<std::pair<std::string, u64>> statistics() const { return {}; }
};

}  // namespace lodge
