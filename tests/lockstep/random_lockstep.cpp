// random_lockstep: random programs on interpreter and translator in step. See README.md.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "tests/lockstep/round.h"

namespace lodge::lockstep {

namespace {

struct Options {
    u64 seed = 1;
    u64 instructions = 5'000'000;
    u64 first = 0;
    u64 rounds = ~u64{0};
    std::string handlers = LODGE_HANDLERS;
    bool report = false;
    u64 differences = 1;
};

class Run {
  public:
    explicit Run(const Options& options) : options_(options) {}
    int run();

  private:
    bool load_handlers();
    bool run_round(u64 number);
    void explain(u64 number);
    void report() const;

    const Options& options_;
    std::vector<u8> handlers_;
    Counters total_;
    u64 differing_ = 0;
};

bool Run::load_handlers() {
    std::ifstream file(options_.handlers, std::ios::binary);
    handlers_.assign(std::istreambuf_iterator<char>(file), {});
    return !handlers_.empty();
}

// Where exactly: the first step after which memory is compared too, then its shortest beginning that shows it.
void Run::explain(u64 number) {
    const auto again = [&] { return Round::create(options_.seed, number, handlers_); };
    std::optional<Place> found = again()->run(/*thorough=*/true);
    if (!found) {
        std::printf("seen only with other comparisons\n");
        return;
    }
    Place place = *found;
    u64 same = 0;
    while (place.length - same > 1) {
        const u64 middle = same + (place.length - same) / 2;
        if (again()->same_at({place.program, place.step, middle}))
            same = middle;
        else
            place.length = middle;
    }
    std::printf("program %lu, step %lu, after %lu instructions of it:\n", place.program, place.step, place.length);
    again()->trace(place);
    auto last = again();
    last->show(place);
    std::printf("%s\n", last->describe().c_str());
}

bool Run::run_round(u64 number) {
    auto round = Round::create(options_.seed, number, handlers_);
    if (!round) {
        std::fprintf(stderr, "random_lockstep: no memory for two machines\n");
        return false;
    }
    const auto difference = round->run(/*thorough=*/false);
    const Counters& counters = round->counters();
    total_.programs += counters.programs;
    total_.instructions += counters.instructions;
    total_.comparisons += counters.comparisons;
    total_.shutdowns += counters.shutdowns;
    total_.stuck += counters.stuck;
    for (size_t i = 0; i < counters.interrupts.size(); ++i) total_.interrupts[i] += counters.interrupts[i];
    for (size_t i = 0; i < counters.modes.size(); ++i) total_.modes[i] += counters.modes[i];
    if (!difference) return true;
    std::printf("\nthe engines differ; to repeat: random_lockstep --seed %lu --first %lu --rounds 1\n", options_.seed,
                number);
    explain(number);
    std::fflush(stdout);
    return false;
}

void Run::report() const {
    static constexpr const char* kModes[] = {
        "real", "virtual 8086", "16-bit protected", "32-bit", "32-bit, based", "compatibility", "64-bit"};
    for (size_t i = 0; i < total_.modes.size(); ++i)
        std::printf("%-20s %12lu instructions\n", kModes[i], total_.modes[i]);
    for (size_t i = 0; i < total_.interrupts.size(); ++i)
        if (total_.interrupts[i]) std::printf("vector %-13zu %12lu\n", i, total_.interrupts[i]);
    std::printf("%lu programs ended by a shutdown, %lu that were stuck\n", total_.shutdowns, total_.stuck);
}

int Run::run() {
    if (!load_handlers()) {
        std::fprintf(stderr, "random_lockstep: %s cannot be read\n", options_.handlers.c_str());
        return 2;
    }
    const auto begin = std::chrono::steady_clock::now();
    for (u64 i = 0; i < options_.rounds && total_.instructions < options_.instructions; ++i)
        if (!run_round(options_.first + i) && ++differing_ >= options_.differences) break;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (options_.report) report();
    std::printf("%lu instructions of %lu programs, %lu comparisons, %.1f million instructions/s: %s\n",
                total_.instructions, total_.programs, total_.comparisons,
                static_cast<double>(total_.instructions) / took.count() / 1e6,
                differing_ ? "DIFFERENT" : "no difference");
    return differing_ ? 1 : 0;
}

int main(int argc, char** argv) {
    CLI::App app("random programs on interpreter and translator in step");
    Options options;
    app.add_option("--seed", options.seed, "of everything");
    app.add_option("--instructions", options.instructions, "how many to compare, of both engines each");
    app.add_option("--first", options.first, "number of the first round");
    app.add_option("--rounds", options.rounds, "most rounds; one is a few programs on the same machines");
    app.add_option("--differences", options.differences, "how many to show before stopping");
    app.add_option("--handlers", options.handlers, "the assembled handlers.asm");
    app.add_flag("--report", options.report, "what was run, by mode and interrupt vector");
    CLI11_PARSE(app, argc, argv);
    return Run(options).run();
}

}  // namespace

}  // namespace lodge::lockstep

int main(int argc, char** argv) {
    return lodge::lockstep::main(argc, argv);
}
