#include "frontend/cmd_run.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "frontend/pc_machine.h"
#include "frontend/png.h"
#include "frontend/run_config.h"

namespace lodge {

namespace {

constexpr int kStatusUsage = 2, kStatusReset = 4, kStatusFailure = 6, kStatusTimeout = 124;

using Clock = std::chrono::steady_clock;

int report(const Error& error) {
    std::fprintf(stderr, "lodge: %s\n", error.context.c_str());
    return error.kind == ErrorKind::io || error.kind == ErrorKind::no_space ? kStatusFailure : kStatusUsage;
}

// The signals that ask for an end, as a descriptor. Before there is any thread: one that did not block them, a disk's,
// would let them end the process in the middle of its work.
class EndingSignals {
  public:
    EndingSignals() {
        sigset_t set;
        sigemptyset(&set);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
        sigprocmask(SIG_BLOCK, &set, nullptr);
        descriptor_ = signalfd(-1, &set, SFD_CLOEXEC);
        signal(SIGPIPE, SIG_IGN);
    }
    ~EndingSignals() { close(descriptor_); }
    EndingSignals(const EndingSignals&) = delete;
    EndingSignals& operator=(const EndingSignals&) = delete;

    int descriptor() const { return descriptor_; }

  private:
    int descriptor_;
};

// The run of one machine: the CPU on a thread of its own, people and signals on this one.
class Session {
  public:
    Session(PcMachine& pc, const EndingSignals& signals, std::optional<double> timeout)
        : pc_(pc), signals_(signals), feed_(pc.serial_from_stdin()), timeout_(timeout) {}

    int run() {
        start_ = Clock::now();
        RawTerminal terminal;
        raw_ = terminal.active();
        ended_ = eventfd(0, EFD_CLOEXEC);
        std::thread cpu([this] {
            result_ = pc_.machine().run();
            const u64 one = 1;
            if (write(ended_, &one, sizeof one) < 0) std::abort();
        });
        watch();
        cpu.join();
        close(ended_);
        return status();
    }

    double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  private:
    int milliseconds_left() const {
        if (!timeout_) return -1;
        const double left = *timeout_ - seconds();
        return left <= 0 ? 0 : static_cast<int>(left * 1000) + 1;
    }

    // A pipe waits while the guest does not read. A terminal does not: Ctrl-A X must always be heard.
    bool may_read() const { return raw_ || feed_->room() >= kMostKeys; }

    // Until the CPU thread has ended.
    void watch() {
        constexpr int kFullMilliseconds = 10;
        bool reading = feed_ != nullptr;
        for (;;) {
            const bool now = reading && may_read();
            int wait = milliseconds_left();
            if (reading && !now && (wait < 0 || wait > kFullMilliseconds)) wait = kFullMilliseconds;
            pollfd sources[3] = {
                {ended_, POLLIN, 0}, {signals_.descriptor(), POLLIN, 0}, {now ? STDIN_FILENO : -1, POLLIN, 0}};
            poll(sources, 3, wait);
            if (sources[0].revents) return;
            if (sources[1].revents) return stop();
            if (milliseconds_left() == 0) {
                timed_out_ = true;
                return stop();
            }
            if (sources[2].revents && !read_input()) reading = false;
        }
    }

    void stop() {
        pc_.machine().end();
        pc_.abandon_ports();  // the guest may be waiting for a reader of its output
    }

    bool read_input() {
        u8 bytes[kMostKeys];
        const ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
        if (count <= 0) return false;
        std::vector<u8> typed;
        for (ssize_t i = 0; i < count; ++i) take_key(bytes[i], typed);
        if (!typed.empty()) feed_->send(std::move(typed));
        return true;
    }

    // On a terminal every key is the guest's but Ctrl-A: Ctrl-A X ends the run, Ctrl-A Ctrl-A sends one.
    void take_key(u8 key, std::vector<u8>& typed) {
        constexpr u8 kEscape = 0x01;
        if (raw_ && !escaped_ && key == kEscape) {
            escaped_ = true;
            return;
        }
        if (std::exchange(escaped_, false) && (key == 'x' || key == 'X')) return stop();
        typed.push_back(key);
    }

    int status() const {
        switch (result_.why) {
            case RunEnd::power_off:
                return 0;
            case RunEnd::exit_port:
                return result_.exit_status;
            case RunEnd::reset:
                return kStatusReset;
            case RunEnd::failure:
                std::fprintf(stderr, "lodge: %s\n", result_.message.c_str());
                return kStatusFailure;
            case RunEnd::stopped:
                return timed_out_ ? kStatusTimeout : kStatusFailure;
        }
        return kStatusFailure;
    }

    static constexpr size_t kMostKeys = 256;  // read at once

    PcMachine& pc_;
    const EndingSignals& signals_;
    SerialFeed* feed_;
    std::optional<double> timeout_;
    Clock::time_point start_;
    RunResult result_;
    int ended_ = -1;
    bool timed_out_ = false;
    bool raw_ = false;
    bool escaped_ = false;
};

void list_cpu_models() {
    for (const CpuModel& model : cpu_models()) std::printf("%s\n", std::string(model.name).c_str());
}

void print_registers(const Cpu& cpu) {
    static constexpr const char* kNames[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
    const CpuState& state = cpu.state;
    for (unsigned i = 0; i < 8; ++i)
        std::fprintf(stderr, "%s=%08llx%s", kNames[i], static_cast<unsigned long long>(state.gpr[i]),
                     i % 4 == 3 ? "\n" : " ");
    std::fprintf(stderr, "cs:ip=%04x:%08llx eflags=%08x cr0=%08llx cr2=%08llx cr3=%08llx cr4=%08llx%s\n",
                 state.segment(Segment::cs).selector, static_cast<unsigned long long>(state.ip), cpu.eflags() | 2,
                 static_cast<unsigned long long>(state.cr0), static_cast<unsigned long long>(state.cr2),
                 static_cast<unsigned long long>(state.cr3), static_cast<unsigned long long>(state.cr4),
                 state.halted ? " halted" : "");
}

void print_statistics(const Machine& machine, double seconds) {
    std::fprintf(stderr, "instructions: %lu\nseconds: %.3f\n", machine.cpu().state.retired, seconds);
    for (const auto& [name, value] : machine.executor().statistics())
        std::fprintf(stderr, "%s: %lu\n", name.c_str(), value);
}

Result<int> run_machine(const CLI::App& command, RunConfig& config) {
    LODGE_TRY(read_machine_file(command, config));
    if (config.cpu == "help") {
        list_cpu_models();
        return 0;
    }
    std::optional<double> timeout;
    if (!config.timeout.empty()) {
        const auto seconds = parse_number("--timeout", config.timeout, 0.001, 1e6);
        if (!seconds) return seconds.error();
        timeout = *seconds;
    }
    Log log([](LogChannel channel, LogLevel, const std::string& line) {
        std::fprintf(stderr, "%s: %s\r\n", std::string(name_of(channel)).c_str(), line.c_str());
    });
    log.set_level(config.verbose ? LogLevel::info : LogLevel::error);
    const EndingSignals signals;
    auto pc = PcMachine::create(config, log);
    if (!pc) return pc.error();
    Machine& machine = (*pc)->machine();
    if (!config.speed.empty()) {
        const auto percent = parse_number("--speed", config.speed, 0.1, 100);
        if (!percent) return percent.error();
        machine.set_speed(static_cast<u64>(*percent * 1000));
    }
    if (config.paused) machine.set_paused(true);

    Session session(**pc, signals, timeout);
    const int status = session.run();
    if (config.stats) print_statistics(machine, session.seconds());
    if (config.verbose) print_registers(machine.cpu());
    if (!config.screenshot.empty()) LODGE_TRY(write_png((*pc)->pc().vga().render(), config.screenshot));
    return status;
}

}  // namespace

void add_run_command(CLI::App& app, int& exit_status) {
    CLI::App* command = app.add_subcommand("run", "Run a guest");
    const auto config = std::make_shared<RunConfig>();
    add_run_options(*command, *config);
    command->footer("On a terminal, Ctrl-A X ends the run and Ctrl-A Ctrl-A sends Ctrl-A; all else goes to the guest.");
    command->callback([command, config, &exit_status] {
        const Result<int> result = run_machine(*command, *config);
        exit_status = result ? *result : report(result.error());
    });
}

}  // namespace lodge
