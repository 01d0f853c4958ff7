#include "tests/oracle/engines.h"

#include "core/interp/interpreter.h"

namespace lodge::oracle {

std::unique_ptr<Executor> make_engine(std::string_view name, Cpu& cpu) {
    if (name == "interpreter") return std::make_unique<Interpreter>(cpu);
    return nullptr;
}

}  // namespace lodge::oracle
