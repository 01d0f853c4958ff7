// Stops a machine, and lets it go on: the one run control that gdb, the control socket and tests share.
//
// Everything here belongs to the CPU thread: others post commands to the machine's InputQueue (post_command), which are
// applied while the machine runs as well as while it stands. A stop happens at an instruction boundary and has a
// position; guest time stands still from there until the machine goes on. With no stop points and no step the engines
// run as if there were no debugger.
//
// How it works. Breakpoints mark offsets within a page (Cpu::mark_code): what begins there is executed alone and asked
// for first. Pages with watchpoints are kept out of the TLB. All else are observers of the CPU and the buses. What an
// instruction has met is noted, kAttentionDebugger is set, and at the next boundary the conditions are asked. Steps by
// count are the budget of a round; other steps follow each instruction (kAttentionDebugger stays set).
//
// An instruction is reported once for each time that it is executed: whoever goes on from a breakpoint passes it, also
// when an interrupt comes first or when it faults and is restarted.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "core/machine.h"
#include "debug/stop_points.h"

namespace lodge::debug {

// How people who have not said otherwise want to step: one instruction of theirs after the other.
struct StepManners {
    bool hold_interrupts = true;
    StepFaults faults = StepFaults::passed;
};

// Hears of what the machine does. All calls on the CPU thread; `on_stopped` and `on_resumed` come in turn. A listener
// may call the debugger from them.
class Listener {
  public:
    virtual ~Listener() = default;
    virtual void on_stopped(const Stop&) {}
    virtual void on_resumed() {}
    // The run has ended: no guest instruction will be executed any more.
    virtual void on_ended(const RunResult&) {}
};

class Debugger final : private CpuDebugger, private CpuObserver, private BusObserver, private RunControl {
  public:
    // One for each machine, which outlives it. A machine that is paused counts as stopped.
    explicit Debugger(Machine& machine);
    ~Debugger() override;
    Debugger(const Debugger&) = delete;
    Debugger& operator=(const Debugger&) = delete;

    Machine& machine() { return machine_; }

    // --- Stop points; in force from the next instruction on.
    // Its number, from 1 up, never used twice. ErrorKind::usage: an empty range, or more than kMostPoints.
    static constexpr size_t kMostPoints = 10'000;
    Result<u32> add(StopPoint point);
    // False: there is none.
    bool remove(u32 number);
    void remove_all_of(const void* owner);
    // Null: there is none. `enabled`, `condition`, `ignore` and `once` may be changed.
    StopPoint* find(u32 number);
    const std::map<u32, StopPoint>& points() const { return points_; }

    // --- Running
    bool running() const { return !machine_.stopped(); }
    // Stops a machine that runs; StopReason::paused.
    void pause();
    void resume();
    // Resumes until the step has ended or something else stops the machine first. ErrorKind::usage: while it runs, or
    // a count of 0.
    Result<void> step(const Step& step);
    StepManners manners;
    // Why it stands; of a machine that runs, why it stood last.
    const Stop& last_stop() const { return stop_; }

    // Guest time and CPU at this share of real speed from now on, in thousandths of a percent. ErrorKind::usage: not
    // kSlowest to kFullSpeed; unsupported: the virtual clock has no real speed.
    static constexpr u64 kSlowest = 100, kFullSpeed = 100'000;
    Result<void> set_speed(u64 millipercent);

    void add_listener(Listener& listener) { listeners_.push_back(&listener); }
    void remove_listener(Listener& listener) { std::erase(listeners_, &listener); }

  private:
    // --- CpuDebugger
    bool stops_before(u64 linear) override;
    bool stops_at_boundary() override;
    bool watches_page(u64 linear) const override;
    void on_data_access(u64 linear, unsigned size, bool write) override;
    // --- CpuObserver
    void on_interrupt(const InterruptEvent& event) override;
    void on_interrupt_return() override;
    void on_mode_change() override;
    void on_page_table_change() override;
    // --- BusObserver
    void on_access(const Bus& bus, const BusAccess& access) override;
    // --- RunControl
    u64 stop_position() const override { return stop_position_; }
    void on_stop_position() override;
    bool holds_shutdown() override;
    void on_end(const RunResult& result) override;

    // What an instruction has met, to be judged at the next boundary.
    struct Hit {
        u32 point = 0;
        StopDetails details;
    };
    // A breakpoint that has been reported, or passed by, and the instruction not yet executed.
    struct Passed {
        u64 linear = 0, stack_pointer = 0;
        u64 retired = 0;
        bool armed = false;  // to be passed again, whatever the count
    };
    // Of the instruction that a step is about to execute.
    struct Context {
        u64 retired = 0, linear = 0, next_linear = 0, stack_pointer = 0, page_table = 0;
        u16 code_selector = 0;
    };
    enum class Following : u8 { no, each, handler };

    template <class Kind, class Matches>
    void note_all(const StopDetails& details, Matches matches);
    void note(u32 number, const StopDetails& details);
    bool judge(const Hit& hit);
    bool judge_hits();
    void apply_points();
    void observe(bool cpu, bool buses);
    void end_step(std::string text, StopReason reason = StopReason::step);
    bool step_has_ended();
    Context context() const;
    void follow();
    bool follow_on();
    void go_on();
    void stop_now();
    std::string text_of(const Stop& stop) const;

    Machine& machine_;
    Cpu& cpu_;
    std::vector<Listener*> listeners_;

    std::map<u32, StopPoint> points_;
    u32 next_number_ = 1;
    std::multimap<u64, u32> code_points_;  // by linear address: those in force
    std::vector<std::pair<u32, DataPoint>> data_points_;
    CodeMarks marks_;
    std::vector<DataPoint> watched_;  // what the TLB was filled for
    bool observes_cpu_ = false, observes_buses_ = false;

    std::vector<Hit> hits_;
    std::optional<Passed> passed_;
    std::optional<Stop> pending_;  // the machine is to stop at this boundary
    Stop stop_;

    std::optional<Step> step_;
    u64 steps_done_ = 0;
    Following following_ = Following::no;
    Context before_;
    bool returned_ = false;  // to before_, from a handler
    u64 stop_position_ = kNever;
    u32 mode_ = 0;
    std::optional<u64> shutdown_seen_;  // position
};

}  // namespace lodge::debug
