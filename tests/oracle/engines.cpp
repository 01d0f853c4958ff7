#include "tests/oracle/engines.h"

#include "core/interp/interpreter.h"
#include "jit/translator.h"

namespace lodge::oracle {
namespace {

// Cases run once: everything is translated at once, into little memory, so that regions of it are evicted often.
// `samples`: 0 for the form of hot code.
std::unique_ptr<Executor> make_translator(Cpu& cpu, u32 samples) {
    auto translator = jit::Translator::create(cpu, {.code_bytes = u64{1} << 20, .hot = 0, .samples = samples});
    return translator ? std::move(*translator) : nullptr;
}

}  // namespace

std::unique_ptr<Executor> make_engine(std::string_view name, Cpu& cpu) {
    if (name == "interpreter") return std::make_unique<Interpreter>(cpu);
    if (name == "jit") return make_translator(cpu, ~u32{0});
    if (name == "jit-hot") return make_translator(cpu, 0);
    return nullptr;
}

}  // namespace lodge::oracle
