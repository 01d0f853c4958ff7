// What every board is built on: the spaces, the clockwork and the CPU's pins of one machine.
#pragma once

#include "core/base/log.h"
#include "core/bus.h"
#include "core/device.h"
#include "core/input_queue.h"
#include "core/memory/physical_memory.h"
#include "core/scheduler.h"

namespace lodge {

struct Platform {
    Log& log;
    PhysicalMemory& memory;
    Bus& ports;
    Bus& mmio;  // the bus behind PhysicalMemory: whatever is not backed
    Scheduler& scheduler;
    InputQueue& inputs;
    MachineControl& control;
    CpuPins& cpu;
};

}  // namespace lodge
