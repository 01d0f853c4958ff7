#include "core/machine.h"

#include <unistd.h>

#include <algorithm>

namespace lodge {

namespace {

// Realtime: as many instructions run between two looks at the clock as take about this long. A timer is late by as
// much.
constexpr u64 kShortestSlice = 50'000, kLongestSlice = 200'000;  // nanoseconds of the host's
constexpr u64 kFewestInSlice = 5'000, kMostInSlice = 1'000'000;
// Virtual: how many at most before posted inputs are looked at.
constexpr u64 kVirtualSlice = 1'000'000;

// Of unclaimed memory one read and one write is noted for each 64 KiB, the unit in which firmware hands out ROM areas.
constexpr u64 kMemoryNotedTogether = 64 * kKiB;

// --- Memory in a saved state: (u64 page number, page) for every backing page that is not zero, then ~0.
constexpr u64 kEndOfPages = ~u64{0};

bool is_zero(const u8* page) {
    return std::all_of(page, page + kPageSize, [](u8 byte) { return byte == 0; });
}

void append(std::vector<u8>& out, const void* bytes, size_t size) {
    const u8* from = static_cast<const u8*>(bytes);
    out.insert(out.end(), from, from + size);
}

void save_pages(PhysicalMemory& memory, std::vector<u8>& out) {
    for (u64 page = 0; page < memory.backing_pages(); ++page) {
        const u8* bytes = memory.backing().data() + page * kPageSize;
        if (is_zero(bytes)) continue;
        append(out, &page, sizeof page);
        append(out, bytes, kPageSize);
    }
    append(out, &kEndOfPages, sizeof kEndOfPages);
}

Result<void> load_pages(PhysicalMemory& memory, std::span<const u8> from) {
    std::vector<bool> seen(memory.backing_pages());
    for (;;) {
        if (from.size() < sizeof(u64)) return Error{ErrorKind::bad_format, "saved memory is cut short"};
        const u64 page = load<u64>(from.data());
        from = from.subspan(sizeof(u64));
        if (page == kEndOfPages) break;
        if (page >= memory.backing_pages() || from.size() < kPageSize)
            return Error{ErrorKind::bad_format, "saved memory does not fit this machine's"};
        std::memcpy(memory.backing().data() + page * kPageSize, from.data(), kPageSize);
        seen[page] = true;
        from = from.subspan(kPageSize);
    }
    for (u64 page = 0; page < memory.backing_pages(); ++page) {
        u8* bytes = memory.backing().data() + page * kPageSize;
        if (!seen[page] && !is_zero(bytes)) std::memset(bytes, 0, kPageSize);
    }
    memory.touched(0, memory.backing_size());
    return {};
}

// The seed of RDRAND: the host's on the realtime clock, fixed on the virtual one, where runs repeat.
u64 entropy(ClockMode mode) {
    u64 seed = 0x6C6F646765;
    if (mode == ClockMode::realtime) static_cast<void>(getentropy(&seed, sizeof seed));
    return seed;
}

}  // namespace

Machine::Machine(const MachineConfig& config, Log& log)
    : log_(log),
      config_(config),
      clock_(config.clock),
      scheduler_(clock_),
      ports_(log, "port"),
      mmio_(log, "memory", kMemoryNotedTogether) {}

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config, Log& log) {
    std::unique_ptr<Machine> machine(new Machine(config, log));
    auto memory = PhysicalMemory::create(config.backing_bytes, machine->mmio_);
    if (!memory) return memory.error();
    machine->memory_ = std::move(*memory);
    machine->cpu_ = std::make_unique<Cpu>(log, *machine->memory_, machine->ports_, machine->clock_, *config.cpu,
                                          entropy(config.clock));
    Cpu* cpu = machine->cpu_.get();
    machine->inputs_.on_post([cpu] { cpu->request_attention(kAttentionKick); });
    machine->inputs_.on_hold([machine = machine.get()](bool held) { machine->hold(held); });
    machine->scheduler_.on_earlier([cpu] { cpu->request_attention(kAttentionKick); });
    return machine;
}

void Machine::reset() {
    for (Device* device : devices_) device->reset();
    cpu_->reset();
    reset_requested_ = false;
    if (after_reset_) after_reset_();
}

void Machine::finish(RunResult result) {
    if (!result_) result_ = std::move(result);
    cpu_->request_attention(kAttentionKick);
}

void Machine::request_reset() {
    reset_requested_ = true;
    cpu_->request_attention(kAttentionKick);
}
void Machine::request_power_off() {
    finish({RunEnd::power_off, 0, {}});
}
void Machine::request_exit(int status) {
    finish({RunEnd::exit_port, status, {}});
}
void Machine::request_failure(std::string why) {
    finish({RunEnd::failure, 0, std::move(why)});
}

void Machine::end() {
    inputs_.abandon();
    inputs_.post_command([this] {
        inputs_.abandon(false);
        finish({RunEnd::stopped, 0, {}});
    });
}

void Machine::set_paused(bool paused) {
    paused_ = paused;
    stop_or_start_clock();
}

void Machine::hold(bool held) {
    held ? ++holds_ : --holds_;
    stop_or_start_clock();
}

void Machine::stop_or_start_clock() {
    if (paused())
        clock_.pause();
    else
        clock_.resume();
}

RunResult Machine::run() {
    return *run_until(kNever);
}

std::optional<RunResult> Machine::run_until(u64 retired) {
    result_.reset();
    until_ = retired;
    while (!result_ && cpu_->state.retired < until_) round();
    if (result_ && run_control_) run_control_->on_end(*result_);
    return result_;
}

void Machine::round() {
    clock_.set_position(cpu_->state.retired);
    inputs_.apply_all(cpu_->state.retired);
    if (result_) return;
    if (paused()) return inputs_.wait(kNanosecondsPerSecond);
    scheduler_.run_due();
    if (reset_requested_) {
        if (!config_.reboot) return finish({RunEnd::reset, 0, {}});
        reset();
    }
    if (result_) return;

    const u64 started = GuestClock::host_now();
    const u64 instructions = budget();
    const ExitReason exit = executor_->run(instructions);
    const u64 taken = GuestClock::host_now() - started;
    if (exit == ExitReason::budget && instructions == slice_) fit_slice(taken);
    heed(exit);
    if (speed_ < kFullSpeed && !paused_) rest(taken);
}

void Machine::heed(ExitReason exit) {
    if (run_control_ && (exit == ExitReason::debugger || cpu_->state.retired >= run_control_->stop_position()))
        return run_control_->on_stop_position();
    switch (exit) {
        case ExitReason::budget:
        case ExitReason::kicked:
        case ExitReason::debugger:
            return;
        case ExitReason::halted:
            return idle();
        case ExitReason::shutdown:
            if (run_control_ && run_control_->holds_shutdown()) return;
            // The chipset resets the CPU on a shutdown cycle.
            cpu_->clear_attention(kAttentionShutdown);
            return request_reset();
    }
}

u64 Machine::budget() const {
    u64 left = until_ - cpu_->state.retired;
    if (run_control_) left = std::min(left, run_control_->stop_position() - cpu_->state.retired);
    if (clock_.mode() == ClockMode::realtime) return std::min(slice_, left);
    const u64 now = clock_.now(), next = scheduler_.next();
    return next <= now ? 1 : std::min({next - now, kVirtualSlice, left});
}

void Machine::fit_slice(u64 host_nanoseconds) {
    if (host_nanoseconds < kShortestSlice)
        slice_ = std::min(slice_ * 2, kMostInSlice);
    else if (host_nanoseconds > kLongestSlice)
        slice_ = std::max(slice_ / 2, kFewestInSlice);
}

void Machine::set_speed(u64 millipercent) {
    speed_ = millipercent;
    clock_.set_speed(millipercent);
}

void Machine::rest(u64 host_nanoseconds) {
    inputs_.wait(static_cast<u64>(u128{host_nanoseconds} * (kFullSpeed - speed_) / speed_));
}

void Machine::idle() {
    clock_.set_position(cpu_->state.retired);
    const u64 next = scheduler_.next();
    if (clock_.mode() == ClockMode::virtual_time && next != kNever) return clock_.skip_to(next);
    inputs_.wait(next == kNever ? kNanosecondsPerSecond : clock_.host_time_until(next));
}

void Machine::state(StateIo& io) {
    clock_.state(io);
    scheduler_.state(io);
    io.field("reset_requested", reset_requested_);
    cpu_->save_or_load(io);
    for (Device* device : devices_) device->state(io);
}

std::vector<u8> Machine::save() {
    clock_.set_position(cpu_->state.retired);
    StateIo io;
    io.section("machine", 1, [&] { state(io); });
    const std::vector<u8> tree = io.take();
    const u64 length = tree.size();
    std::vector<u8> out;
    append(out, &length, sizeof length);
    append(out, tree.data(), tree.size());
    save_pages(*memory_, out);
    return out;
}

Result<void> Machine::load(std::span<const u8> saved) {
    if (saved.size() < sizeof(u64)) return Error{ErrorKind::bad_format, "saved state is empty"};
    const u64 length = lodge::load<u64>(saved.data());
    saved = saved.subspan(sizeof(u64));
    if (length > saved.size()) return Error{ErrorKind::bad_format, "saved state is cut short"};
    LODGE_TRY(load_pages(*memory_, saved.subspan(length)));
    StateIo io(saved.first(length));
    io.section("machine", 1, [&] { state(io); });
    return io.result();
}

}  // namespace lodge
