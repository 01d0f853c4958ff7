// lodge_oracle: the interpreter against the CPU that this program runs on. See README.md.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>

#include "core/decode/encoding.h"
#include "tests/oracle/compare.h"
#include "tests/oracle/exclusions.h"
#include "tests/oracle/generator.h"
#include "tests/oracle/guest_cpu.h"
#include "tests/oracle/host_cpu.h"
#include "tests/oracle/known_failures.h"

namespace lodge::oracle {
namespace {

constexpr u64 kBatch = 512;  // cases between two fillings of the data

struct Options {
    u64 cases = 1'000'000;
    u64 seed = 1;
    u64 first = 0;
    unsigned runs = 30;  // of a hundred cases
    bool bits32 = true, bits64 = true;
    std::string only, known, engine = "interpreter";
    bool quiet = false, all = false;
    bool report = false;
};

class Run {
  public:
    explicit Run(const Options& options) : options_(options) {}
    int run();

  private:
    void run_case(Generator& generator, u64 number);
    void restart(Generator& generator, u64 number);
    void report(const Generator& generator);

    const Options& options_;
    std::unique_ptr<GuestCpu> guest_;
    std::unique_ptr<HostCpu> host_;
    KnownFailures known_;
    OracleOutcome ours_, theirs_;
    std::vector<u64> drawn_[2];  // by row
    u64 runs_[2] = {};
    std::map<std::string, u64> differing_;
    u64 mismatches_ = 0, forgiven_ = 0, faults_ = 0;
};

void Run::restart(Generator& generator, u64 number) {
    generator.fill(number, guest_->data().subspan(0, kDataSize));
    std::memcpy(host_->data().data(), guest_->data().data(), kDataSize);
}

void Run::run_case(Generator& generator, u64 number) {
    const OracleCase made = generator.make(number);
    generator.prepare_data(made, guest_->data());
    generator.prepare_data(made, host_->data());
    host_->run(made, theirs_);
    guest_->run(made, ours_);
    forgive_memory(made, theirs_.fault.has_value(), host_->data(), guest_->data());
    ++drawn_[made.code64][made.row];
    if (!made.run.empty()) ++runs_[made.code64];
    if (theirs_.fault) ++faults_;
    std::string text = differences(made, ours_, theirs_);
    text += memory_differences(guest_->data(), host_->data());
    if (text.empty()) return;
    std::memcpy(guest_->data().data(), host_->data().data(), kDataSize);
    if (known_.forgives(made, ours_, theirs_)) {
        ++forgiven_;
        return;
    }
    ++mismatches_;
    const std::string name = (made.run.empty() ? name_of(made) : "run") + (made.code64 ? " 64" : " 32");
    if (options_.all || ++differing_[name] <= 2)
        std::printf("case %llu: %s%s", static_cast<unsigned long long>(number), describe(made).c_str(), text.c_str());
}

void Run::report(const Generator&) {
    std::map<std::string, u64> groups;
    unsigned never = 0;
    std::map<std::string, std::string> reasons;
    for (unsigned row = 1; row < kEncodings.size(); ++row) {
        const Encoding& encoding = kEncodings[row];
        for (const bool code64 : {false, true}) {
            if (!(code64 ? options_.bits64 : options_.bits32)) continue;
            const u64 count = drawn_[code64][row];
            groups[std::string(group_of(encoding.opcode)) + (code64 ? ", 64-bit" : ", 32-bit")] += count;
            if (count) continue;
            const std::string_view reason = reason_not_to_draw(row, code64);
            if (reason.empty()) {
                ++never;
                std::printf("never drawn: row %u, %.*s, %d-bit\n", row,
                            static_cast<int>(name_of(encoding.opcode).size()), name_of(encoding.opcode).data(),
                            code64 ? 64 : 32);
            } else if (reason != "not in this kind of code") {
                std::string& list = reasons[std::string(reason)];
                const std::string name(name_of(encoding.opcode));
                if ((" " + list + " ").find(" " + name + " ") == std::string::npos)
                    list += (list.empty() ? "" : " ") + name;
            }
        }
    }
    for (const bool code64 : {false, true}) {
        const std::string bits = code64 ? ", 64-bit" : ", 32-bit";
        groups["runs of several instructions" + bits] = runs_[code64];
        groups["bytes that are no instruction" + bits] = drawn_[code64][0] - runs_[code64];
    }
    for (const auto& [group, count] : groups)
        if (count) std::printf("%-40s %12llu\n", group.c_str(), static_cast<unsigned long long>(count));
    for (const auto& [reason, names] : reasons) std::printf("not drawn, %s: %s\n", reason.c_str(), names.c_str());
    std::printf("%u forms that could be drawn were not\n", never);
}

int Run::run() {
    guest_ = GuestCpu::create(options_.engine);
    if (!guest_) {
        std::fprintf(stderr, "no engine '%s'\n", options_.engine.c_str());
        return 1;
    }
    host_ = make_host_cpu(guest_->code_file(), guest_->code_offset());
    if (!host_) return 1;
    if (!options_.known.empty() && !known_.load(options_.known)) return 1;
    guest_->set_fs32(host_->fs_selector32(), host_->fs_base32());
    Generator generator(options_.seed, {host_->fs_selector32(), host_->fs_base32()}, options_.bits32, options_.bits64,
                        options_.only, options_.runs);
    if (generator.rows(false).empty() && generator.rows(true).empty()) {
        std::fprintf(stderr, "nothing to draw\n");
        return 1;
    }
    for (auto& drawn : drawn_) drawn.assign(kEncodings.size(), 0);
    generator.fill(~u64{0} >> 1, guest_->data());
    host_->set_read_only(guest_->data().subspan(kDataSize));
    const auto start = std::chrono::steady_clock::now();
    for (u64 i = options_.first / kBatch * kBatch; i < options_.first + options_.cases; ++i) {
        if (i % kBatch == 0) restart(generator, i);
        run_case(generator, i);
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (options_.report) report(generator);
    for (const auto& [name, count] : differing_)
        std::printf("%-24s %llu differ\n", name.c_str(), static_cast<unsigned long long>(count));
    const auto wide = [](u64 value) { return static_cast<unsigned long long>(value); };
    std::printf("%llu cases, %llu of them faulting, %llu known failures, %llu mismatches, %.0f cases/s\n",
                wide(options_.cases), wide(faults_), wide(forgiven_), wide(mismatches_),
                static_cast<double>(options_.cases) / took.count());
    return mismatches_ == 0 ? 0 : 1;
}

int usage() {
    std::fprintf(
        stderr,
        "usage: lodge_oracle [--cases N] [--seed S] [--first N] [--bits 32|64] [--only MNEMONIC] [--runs PERCENT]"
        " [--engine NAME] [--known FILE] [--report] [--all]\n");
    return 1;
}

int run_command(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--report") {
            options.report = true;
            continue;
        }
        if (name == "--all") {
            options.all = true;
            continue;
        }
        if (++i == argc) return usage();
        const std::string value = argv[i];
        if (name == "--cases")
            options.cases = std::strtoull(value.c_str(), nullptr, 0);
        else if (name == "--seed")
            options.seed = std::strtoull(value.c_str(), nullptr, 0);
        else if (name == "--first")
            options.first = std::strtoull(value.c_str(), nullptr, 0);
        else if (name == "--bits")
            (value == "32" ? options.bits64 : options.bits32) = false;
        else if (name == "--only")
            options.only = value;
        else if (name == "--runs")
            options.runs = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 0));
        else if (name == "--engine")
            options.engine = value;
        else if (name == "--known")
            options.known = value;
        else
            return usage();
    }
    return Run(options).run();
}

}  // namespace
}  // namespace lodge::oracle

int main(int argc, char** argv) {
    return lodge::oracle::run_command(argc, argv);
}
