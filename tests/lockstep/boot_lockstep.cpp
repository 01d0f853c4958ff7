// Runs one machine on the interpreter and its twin on the translator, in step, and compares them.
//
// Both machines are what `lodge run` makes of the options, on the virtual clock, so the same instructions must retire
// with the same results. Every --step instructions the CPUs are compared (all registers, flags and control registers),
// every --memory steps guest memory as well; at the end, all of both saved states. The first difference is told with
// the registers of both. The steps' lengths vary about --step, so that translated blocks are cut at many places.
//
// Usage: boot_lockstep [OPTIONS OF LODGE RUN] [--step N] [--memory-every N] [--start N] [--limit N]
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "core/decode/decoder.h"
#include "core/decode/disasm.h"
#include "frontend/pc_machine.h"

namespace lodge {

namespace {

struct Options {
    u64 step = 5000;
    u64 memory_every = 20000;  // steps
    u64 start = 0;             // instructions before the first comparison
    u64 limit = ~u64{0};       // instructions
};

struct Field {
    const char* name;
    u64 interpreter, translator;
};

std::vector<Field> fields(const Cpu& a, const Cpu& b) {
    static constexpr const char* kRegisters[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                   "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static constexpr const char* kSegments[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
    std::vector<Field> all;
    const CpuState &x = a.state, &y = b.state;
    for (unsigned i = 0; i < 16; ++i) all.push_back({kRegisters[i], x.gpr[i], y.gpr[i]});
    all.push_back({"ip", x.ip, y.ip});
    all.push_back({"eflags", a.eflags(), b.eflags()});
    all.push_back({"cr0", x.cr0, y.cr0});
    all.push_back({"cr2", x.cr2, y.cr2});
    all.push_back({"cr3", x.cr3, y.cr3});
    all.push_back({"cr4", x.cr4, y.cr4});
    all.push_back({"efer", x.efer, y.efer});
    all.push_back({"retired", x.retired, y.retired});
    all.push_back({"cpl", x.cpl, y.cpl});
    for (unsigned i = 0; i < 6; ++i) {
        all.push_back({kSegments[i], x.segments[i].selector, y.segments[i].selector});
        all.push_back({"segment base", x.segments[i].base, y.segments[i].base});
        all.push_back({"segment limit", x.segments[i].limit, y.segments[i].limit});
    }
    for (unsigned i = 0; i < 16; ++i) {
        all.push_back({"st significand", load<u64>(x.fpu.st[i]), load<u64>(y.fpu.st[i])});
        all.push_back({"st exponent", load<u16>(x.fpu.st[i] + 8), load<u16>(y.fpu.st[i] + 8)});
    }
    for (unsigned i = 0; i < 16; ++i) {
        all.push_back({"xmm low", load<u64>(x.fpu.xmm[i]), load<u64>(y.fpu.xmm[i])});
        all.push_back({"xmm high", load<u64>(x.fpu.xmm[i] + 8), load<u64>(y.fpu.xmm[i] + 8)});
    }
    all.push_back({"x87 control", x.fpu.control, y.fpu.control});
    all.push_back({"x87 status", x.fpu.status, y.fpu.status});
    all.push_back({"x87 valid", x.fpu.valid, y.fpu.valid});
    all.push_back({"x87 opcode", x.fpu.opcode, y.fpu.opcode});
    all.push_back({"x87 instruction", x.fpu.instruction, y.fpu.instruction});
    all.push_back({"x87 data", x.fpu.data, y.fpu.data});
    all.push_back({"mxcsr", x.fpu.mxcsr, y.fpu.mxcsr});
    return all;
}

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
        const auto all = fields(a_.cpu(), b_.cpu());
        bool same = true;
        for (const Field& field : all) same &= field.interpreter == field.translator;
        if (same) return true;
        std::printf("the engines differ; the last comparison was at instruction %lu\n", from);
        for (const Field& field : all)
            std::printf("%c %-16s %016lx %016lx\n", field.interpreter == field.translator ? ' ' : '*', field.name,
                        field.interpreter, field.translator);
        show_code(before_);
        show_code(0xffffffff90ded442);
        same_memory();
        return false;
    }

    // What was executed since the last comparison, or would have been without branches.
    void show_code(u64 ip) {
        Cpu& cpu = a_.cpu();
        for (unsigned i = 0; i < 70; ++i) {
            u8 bytes[kLongestInsn] = {};
            for (unsigned at = 0; at < sizeof bytes; ++at)
                if (const auto physical = cpu.debug_translate(cpu.state.segment(Segment::cs).base + ip + at))
                    bytes[at] = cpu.memory().read_value<u8>(*physical);
            Insn insn;
            if (decode(bytes, cpu.code_size(), insn) != DecodeStatus::ok) return;
            std::printf("  %lx: %s\n", ip, disassemble(insn, ip).c_str());
            ip += insn.length;
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

std::unique_ptr<PcMachine> make(RunConfig config, const char* engine, Log& log) {
    config.engine = engine;
    config.clock = "virtual";
    config.display = "none";
    config.serial = "null";
    auto made = PcMachine::create(config, log);
    if (made) return std::move(*made);
    std::fprintf(stderr, "boot_lockstep: %s\n", made.error().context.c_str());
    return nullptr;
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
    CLI11_PARSE(app, argc, argv);
    Log log;
    const auto a = make(config, "interpreter", log), b = make(config, "jit", log);
    if (!a || !b) return 2;
    Lockstep lockstep(options, a->machine(), b->machine());
    const bool same = lockstep.run();
    std::printf("%lu instructions, %lu comparisons: %s\n", a->machine().cpu().state.retired, lockstep.steps(),
                same ? "no difference" : "DIFFERENT");
    return same ? 0 : 1;
}

}  // namespace

}  // namespace lodge

int main(int argc, char** argv) {
    return lodge::main(argc, argv);
}
