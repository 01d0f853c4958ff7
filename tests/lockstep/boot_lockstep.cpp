// Runs one machine on the interpreter and its twin on the translator, in step, and compares them.
//
// Both machines are what `lodge run` makes of the options, on the virtual clock, so the same instructions must retire
// with the same results. Every --step instructions the CPUs are compared (all registers, flags and control registers),
// every --memory-every steps guest memory as well; at the end, all of both saved states and the serial output. The
// first difference is told with the registers of both. The steps' lengths vary about --step, so that translated blocks
// are cut at many places. With
// --by-block the CPUs are compared at the end of every translated block instead, and no block is linked to another.
//
// Usage: boot_lockstep [OPTIONS OF LODGE RUN] [--step N] [--memory-every N] [--start N] [--limit N] [--by-block]
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "frontend/pc_machine.h"
#include "jit/translator.h"
#include "tests/lockstep/cpu_fields.h"

namespace lodge {

namespace {

struct Options {
    u64 step = 5000;
    u64 memory_every = 20000;  // steps
    u64 start = 0;             // instructions before the first comparison
    u64 limit = ~u64{0};       // instructions
    bool by_block = false;
};

class Lockstep {
  public:
    Lockstep(const Options& options, Machine& interpreter, Machine& translator)
        : options_(options), a_(interpreter), b_(translator) {}

    // True: no difference to the guest's end or the limit.
    bool run() {
        if (options_.start && !advance(options_.start)) return finished_;
        while (a_.cpu().state.retired < options_.limit) {
            if (!advance(a_.cpu().state.retired + step_length())) return finished_;
            if (++steps_ % options_.memory_every == 0 && !same_memory()) return false;
        }
        return same_memory() && same_saves();
    }
    u64 steps() const { return steps_; }

  private:
    // Between half of the step and one and a half; the same in every run.
    u64 step_length() {
        random_ = random_ * 6364136223846793005 + 1442695040888963407;
        return options_.step / 2 + (random_ >> 33) % (options_.step + 1) + 1;
    }

    bool advance(u64 to) {
        const u64 from = a_.cpu().state.retired;
        before_ = a_.cpu().state.ip;
        const auto end_a = a_.run_until(to);
        const auto end_b = b_.run_until(to);
        if (end_a.has_value() != end_b.has_value()) {
            std::printf("between instructions %lu and %lu only the %s ended\n", from, to,
                        end_a ? "interpreter" : "translator");
            return false;
        }
        if (!same_cpus(from)) return false;
        if (!end_a) return true;
        finished_ = same_memory() && same_saves();
        return false;
    }

    bool same_cpus(u64 from) {
        if (lockstep::same_cpus(a_.cpu(), b_.cpu())) return true;
        std::printf("the engines differ; the last comparison was at instruction %lu\n", from);
        lockstep::print_fields(a_.cpu(), b_.cpu());
        show_code(before_);
        same_memory();
        return false;
    }

    // What was executed since the last comparison, or would have been without branches.
    void show_code(u64 ip) {
        for (unsigned i = 0; i < 70; ++i) {
            unsigned length;
            std::printf("  %lx: %s\n", ip, lockstep::disassemble_at(a_.cpu(), ip, length).c_str());
            ip += length;
        }
    }

    bool same_memory() {
        const auto x = a_.memory().backing(), y = b_.memory().backing();
        if (std::memcmp(x.data(), y.data(), x.size()) == 0) return true;
        size_t at = 0;
        while (x[at] == y[at]) ++at;
        std::printf("memory differs at %zx: %02x %02x, by instruction %lu\n", at, x[at], y[at], a_.cpu().state.retired);
        return false;
    }

    bool same_saves() {
        if (a_.save() == b_.save()) return true;
        std::printf("the saved states differ at instruction %lu\n", a_.cpu().state.retired);
        return false;
    }

    const Options& options_;
    Machine &a_, &b_;
    u64 steps_ = 0;
    u64 before_ = 0;  // IP at the last comparison
    u64 random_ = 1;
    bool finished_ = false;
};

// The translator, a block at a time; after each, the other machine is brought to the same instruction and the CPUs are
// compared.
class BlockComparer final : public Executor {
  public:
    BlockComparer(std::unique_ptr<Executor> translator, Machine& interpreter, Machine& machine)
        : translator_(std::move(translator)), a_(interpreter), b_(machine) {}

    ExitReason run(u64 instructions) override {
        const u64 end = b_.cpu().state.retired + instructions;
        for (;;) {
            last_ = b_.cpu().state.retired;
            const ExitReason exit = translator_->run(end - last_);
            // A kick may have come in the middle of a repetition: that is compared when it is done.
            const bool kicked = exit == ExitReason::kicked || (b_.cpu().attention.load() & kAttentionKick);
            if (b_.cpu().state.retired != last_ && !kicked && !compare()) return ExitReason::kicked;
            if (exit != ExitReason::budget || b_.cpu().state.retired >= end) return exit;
        }
    }
    u64 comparisons() const { return comparisons_; }
    bool differs() const { return differs_; }
    u64 last() const { return last_; }

  private:
    bool compare() {
        ++comparisons_;
        if (differs_) return false;
        const u64 at = b_.cpu().state.retired;
        differs_ = (a_.cpu().state.retired < at && a_.run_until(at)) || !lockstep::same_cpus(a_.cpu(), b_.cpu());
        if (differs_) b_.request_failure("the engines differ");
        return !differs_;
    }

    std::unique_ptr<Executor> translator_;
    Machine &a_, &b_;
    u64 comparisons_ = 0, last_ = 0;
    bool differs_ = false;
};

// The serial ports' output, in files while the machines are there.
class SerialOutput {
  public:
    SerialOutput() : folder_(std::filesystem::temp_directory_path() / ("lodge-lockstep-" + std::to_string(getpid()))) {
        std::filesystem::create_directories(folder_);
    }
    ~SerialOutput() { std::filesystem::remove_all(folder_); }
    std::string file(const char* name) const { return (folder_ / name).string(); }
    // True: the same bytes. When the machines are gone.
    bool same() const {
        const std::string a = read("a"), b = read("b");
        std::printf("%zu bytes of serial output: %s\n", a.size(), a == b ? "no difference" : "DIFFERENT");
        return a == b;
    }

  private:
    std::string read(const char* name) const {
        std::ifstream in(file(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    std::filesystem::path folder_;
};

std::unique_ptr<PcMachine> make(RunConfig config, const char* engine, const std::string& serial, Log& log) {
    config.engine = engine;
    config.clock = "virtual";
    config.display = "none";
    config.serial = "file:" + serial;
    auto made = PcMachine::create(config, log);
    if (made) return std::move(*made);
    std::fprintf(stderr, "boot_lockstep: %s\n", made.error().context.c_str());
    return nullptr;
}

// Puts the translator into a machine that was made with the interpreter.
BlockComparer* compare_blocks(Machine& interpreter, Machine& machine) {
    machine.set_executor(nullptr);  // it would take the code cache with it
    auto translator = jit::Translator::create(machine.cpu(), {.by_block = true});
    if (!translator) return nullptr;
    auto comparer = std::make_unique<BlockComparer>(std::move(*translator), interpreter, machine);
    BlockComparer* made = comparer.get();
    machine.set_executor(std::move(comparer));
    return made;
}

// Until the guest ends or the limit. True: no difference.
bool run_by_block(const Options& options, Machine& a, Machine& b) {
    BlockComparer* comparer = compare_blocks(a, b);
    if (!comparer) return false;
    const auto end_b = b.run_until(options.limit);
    bool same = !comparer->differs();
    if (!same) {
        std::printf("the engines differ; the last comparison was at instruction %lu\n", comparer->last());
        lockstep::print_fields(a.cpu(), b.cpu());
    } else {  // the guest's last instruction, and what its end brings about
        const auto end_a = a.run_until(options.limit);
        same = end_a.has_value() == end_b.has_value() && a.save() == b.save();
        if (!same) std::printf("the saved states differ in the end\n");
    }
    std::printf("%lu instructions, %lu comparisons: %s\n", a.cpu().state.retired, comparer->comparisons(),
                same ? "no difference" : "DIFFERENT");
    return same;
}

bool run_by_step(const Options& options, Machine& a, Machine& b) {
    Lockstep lockstep(options, a, b);
    const bool same = lockstep.run();
    std::printf("%lu instructions, %lu comparisons: %s\n", a.cpu().state.retired, lockstep.steps(),
                same ? "no difference" : "DIFFERENT");
    return same;
}

int main(int argc, char** argv) {
    CLI::App app("interpreter and translator in step");
    RunConfig config;
    Options options;
    add_run_options(app, config);
    app.add_option("--step", options.step, "instructions between two comparisons, on average");
    app.add_option("--memory-every", options.memory_every, "steps between two comparisons of memory");
    app.add_option("--start", options.start, "instructions before the first comparison");
    app.add_option("--limit", options.limit, "instructions after which to stop");
    app.add_flag("--by-block", options.by_block, "compare at the end of every translated block");
    CLI11_PARSE(app, argc, argv);
    Log log;
    const SerialOutput serial;
    auto a = make(config, "interpreter", serial.file("a"), log);
    auto b = make(config, options.by_block ? "interpreter" : "jit", serial.file("b"), log);
    if (!a || !b) return 2;
    const bool same = options.by_block ? run_by_block(options, a->machine(), b->machine())
                                       : run_by_step(options, a->machine(), b->machine());
    a.reset();
    b.reset();
    return serial.same() && same ? 0 : 1;
}

}  // namespace

}  // namespace lodge

int main(int argc, char** argv) {
    return lodge::main(argc, argv);
}
