// The engines of lodge that cases can run on.
#pragma once

#include <memory>
#include <string_view>

#include "core/cpu/cpu.h"
#include "core/cpu/executor.h"

namespace lodge::oracle {

// Null when there is none of that name.
std::unique_ptr<Executor> make_engine(std::string_view name, Cpu& cpu);

}  // namespace lodge::oracle
