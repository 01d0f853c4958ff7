// What the guest's CPU and the host's can do.
#pragma once

#include "core/cpu/cpu_model.h"

namespace lodge::oracle {

// The best model of this build, and with it the instructions that the interpreter has although no model offers them
// yet, where the host has them.
const CpuModel& guest_model();
// The host's, as far as has_feature() asks.
const CpuModel& host_model();

}  // namespace lodge::oracle
