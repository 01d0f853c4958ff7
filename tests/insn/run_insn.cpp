// run_insn interpreter|host BINARY_FOLDER FILE.asm...   runs the files' tests on one engine
// run_insn random COUNT [SEED]                          compares random instructions on both
//
// Exit status: 0 when everything passed, 1 otherwise.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "tests/insn/random.h"
#include "tests/insn/test_file.h"

namespace lodge {
namespace {

struct Counts {
    unsigned passed = 0, failed = 0;
};

void run_test(InsnEngine& engine, const TestFile& file, const InsnTest& test, Counts& counts) {
    InsnState state;
    prepare_test(file, test, engine, state);
    const InsnOutcome outcome = engine.run(state, test.end, false);
    const auto lines = differences(test, outcome, engine);
    ++(lines.empty() ? counts.passed : counts.failed);
    if (lines.empty()) return;
    std::printf("%s:%u: %s failed\n", test.file.c_str(), test.line, test.name.c_str());
    for (const std::string& line : lines) std::printf("    %s\n", line.c_str());
}

bool run_file(InsnEngine& engine, const std::string& source, const std::string& folder, Counts& counts) {
    const std::string binary = folder + "/" + std::filesystem::path(source).stem().string() + ".bin";
    auto file = load_test_file(source, binary);
    if (!file) {
        std::printf("%s\n", file.error().context.c_str());
        return false;
    }
    for (const InsnTest& test : file->tests) run_test(engine, *file, test, counts);
    return true;
}

int run_files(std::string_view engine_name, const std::string& folder, std::span<char*> sources) {
    const auto engine = engine_name == "host" ? make_host_engine() : make_interpreter_engine();
    if (!engine) return 1;
    Counts counts;
    bool readable = true;
    for (const char* source : sources) readable = run_file(*engine, source, folder, counts) && readable;
    std::printf("%u passed, %u failed\n", counts.passed, counts.failed);
    return readable && counts.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace lodge

int main(int argc, char** argv) {
    const std::string_view command = argc > 1 ? argv[1] : "";
    if (command == "random" && argc >= 3)
        return lodge::run_random(std::strtoul(argv[2], nullptr, 0), argc > 3 ? std::strtoul(argv[3], nullptr, 0) : 1);
    if ((command == "host" || command == "interpreter") && argc >= 4)
        return lodge::run_files(command, argv[2], {argv + 3, argv + argc});
    std::fprintf(stderr, "usage: run_insn interpreter|host BINARY_FOLDER FILE.asm... | random COUNT [SEED]\n");
    return 1;
}
