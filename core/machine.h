// One PC's clockwork: CPU, memory, buses, time, the queue of inputs, and the loop that runs them. The board's devices
// are added by whoever builds it (devices/pc.h); the machine knows them only as Devices.
//
// Threads: everything but `post`-like calls (inputs(), request_*, end) belongs to the thread that calls run().
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/bus.h"
#include "core/clock.h"
#include "core/cpu/cpu.h"
#include "core/cpu/executor.h"
#include "core/device.h"
#include "core/input_queue.h"
#include "core/memory/physical_memory.h"
#include "core/scheduler.h"

namespace lodge {

struct MachineConfig {
    u64 backing_bytes = 0;  // of PhysicalMemory: RAM, ROM, video memory
    ClockMode clock = ClockMode::realtime;
    const CpuModel* cpu = nullptr;
    bool reboot = true;  // false: a guest reset ends the run
};

// Why a run ended.
enum class RunEnd : u8 { power_off, exit_port, reset, failure, stopped };

struct RunResult {
    RunEnd why = RunEnd::stopped;
    int exit_status = 0;  // exit_port: what the process should end with
    std::string message;  // failure
};

// Whoever stops a machine at exact positions (debug/). CPU thread.
class RunControl {
  public:
    virtual ~RunControl() = default;
    // No round goes beyond this count of retired instructions; kNever: any may.
    virtual u64 stop_position() const = 0;
    // That position has been reached, or the engine has returned by ExitReason::debugger.
    virtual void on_stop_position() = 0;
    // The CPU has shut down (triple fault), and a reset is what comes next. True: not now; asked again then.
    virtual bool holds_shutdown() = 0;
    // The run has ended.
    virtual void on_end(const RunResult& result) = 0;
};

class Machine final : public MachineControl {
  public:
    static Result<std::unique_ptr<Machine>> create(const MachineConfig& config, Log& log);

    Log& log() { return log_; }
    GuestClock& clock() { return clock_; }
    Scheduler& scheduler() { return scheduler_; }
    InputQueue& inputs() { return inputs_; }
    Bus& ports() { return ports_; }
    Bus& mmio() { return mmio_; }
    PhysicalMemory& memory() { return *memory_; }
    Cpu& cpu() { return *cpu_; }
    const Cpu& cpu() const { return *cpu_; }

    // Devices are reset and saved in this order. They outlive the machine's last run.
    void add_device(Device& device) { devices_.push_back(&device); }
    const std::vector<Device*>& devices() const { return devices_; }
    void set_executor(std::unique_ptr<Executor> executor) { executor_ = std::move(executor); }

    const Executor& executor() const { return *executor_; }

    // RESET: every device, then the CPU, then `after_reset` (a direct boot puts its kernel back).
    void reset();
    void after_reset(std::function<void()> action) { after_reset_ = std::move(action); }
    // Runs until the guest or somebody ends it. May be called again after RunEnd::stopped.
    RunResult run();
    // As run(), but at most until that many instructions have retired in the machine's life; exactly that many then,
    // and no result. The machine is then between two rounds: it may be saved, and goes on with run or run_until.
    std::optional<RunResult> run_until(u64 retired);
    // From any thread: run() returns RunEnd::stopped.
    void end();
    // CPU thread (an input command).
    void set_paused(bool paused);
    // Somebody paused it.
    bool stopped() const { return paused_; }
    // Null: none.
    void set_run_control(RunControl* control) { run_control_ = control; }
    // Whether somebody paused it, or the host cannot serve the guest at the moment (InputQueue::hold).
    bool paused() const { return paused_ || holds_ > 0; }
    // Slow motion on the realtime clock: guest time and the CPU run at this share of real speed, in thousandths of a
    // percent (100'000 is full speed).
    void set_speed(u64 millipercent);
    u64 speed() const { return speed_; }

    // The whole machine, between two rounds of run(). Memory included.
    std::vector<u8> save();
    // Into a machine of the same configuration. On an error the machine must not be run.
    Result<void> load(std::span<const u8> saved);

    // --- MachineControl: CPU thread
    void request_reset() override;
    void request_power_off() override;
    void request_exit(int status) override;
    void request_failure(std::string why) override;

  private:
    Machine(const MachineConfig& config, Log& log);

    static constexpr u64 kFullSpeed = 100'000;

    void finish(RunResult result);
    void hold(bool held);
    void stop_or_start_clock();
    void round();
    // How many instructions the executor may run before the loop must look around.
    u64 budget() const;
    // Why the executor came back.
    void heed(ExitReason exit);
    // Realtime: a round of so many nanoseconds was too short or too long.
    void fit_slice(u64 host_nanoseconds);
    // Slow motion: gives back the host time that the CPU was not entitled to.
    void rest(u64 host_nanoseconds);
    // Nothing to do until the scheduler's next event or an input.
    void idle();
    void state(StateIo& io);

    Log& log_;
    MachineConfig config_;
    GuestClock clock_;
    Scheduler scheduler_;
    InputQueue inputs_;
    Bus ports_, mmio_;
    std::unique_ptr<PhysicalMemory> memory_;
    std::unique_ptr<Cpu> cpu_;
    std::unique_ptr<Executor> executor_;
    std::vector<Device*> devices_;

    std::function<void()> after_reset_;
    bool paused_ = false;
    unsigned holds_ = 0;
    u64 speed_ = kFullSpeed;
    u64 slice_ = 20'000;  // instructions in a round on the realtime clock
    bool reset_requested_ = false;
    u64 until_ = kNever;  // of run_until
    std::optional<RunResult> result_;
    RunControl* run_control_ = nullptr;
};

}  // namespace lodge
