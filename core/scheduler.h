// Events in guest time. A device owns its events as members, made once in its constructor:
//
//     Event tick_{scheduler, "pit.tick", [this](u64 late) { ... }};
//     tick_.schedule_at(clock.now() + 1000);
//
// Events that are due run on the CPU thread, between instructions, in order of time and then of scheduling.
// `late` says by how many nanoseconds the event is late: periodic events add their period to the time it was due
// (`due()`), not to now.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "core/base/state_io.h"
#include "core/base/types.h"
#include "core/clock.h"

namespace lodge {

class Scheduler;

class Event {
  public:
    using Action = std::function<void(u64 late)>;

    // Whose it is. The host's are for work that no state holds (a network looks at its sockets): they come behind the
    // machine's own that are due at the same time, and leave no trace in what is saved.
    enum class Of : u8 { machine, host };

    Event(Scheduler& scheduler, std::string name, Action action, Of of = Of::machine);
    ~Event() { cancel(); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    // Nanoseconds of guest time; a time gone by runs as soon as possible. Replaces an earlier schedule.
    void schedule_at(u64 when);
    void schedule_in(u64 delay);
    void cancel();
    bool pending() const { return pending_; }
    // When it is, or last was, due.
    u64 due() const { return due_; }
    const std::string& name() const { return name_; }

    // Within the owner's section, of the machine's only; the field is named after the event.
    void state(StateIo& io);

  private:
    friend class Scheduler;
    Scheduler& scheduler_;
    std::string name_;
    Action action_;
    Of of_;
    bool pending_ = false;
    u64 due_ = 0;
    u64 order_ = 0;
};

class Scheduler {
  public:
    explicit Scheduler(GuestClock& clock) : clock_(clock) {}

    GuestClock& clock() { return clock_; }
    u64 now() const { return clock_.now(); }
    // When the next event is due; kNever when there is none.
    u64 next() const;
    // Runs every event that is due now. Events may schedule others.
    void run_due();

    // Called when an event is scheduled before all others: the run loop then cuts the executor's budget short.
    void on_earlier(std::function<void()> notify) { earlier_ = std::move(notify); }

    // The order counter; the events themselves are saved by their owners.
    void state(StateIo& io);

  private:
    friend class Event;
    struct Sooner {
        bool operator()(const Event* a, const Event* b) const {
            return a->due_ != b->due_ ? a->due_ < b->due_ : a->order_ < b->order_;
        }
    };

    GuestClock& clock_;
    std::set<Event*, Sooner> events_;
    u64 order_ = 0;
    u64 host_order_ = u64{1} << 63;
    std::function<void()> earlier_;
};

}  // namespace lodge
