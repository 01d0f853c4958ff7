#include "core/scheduler.h"

namespace lodge {

Event::Event(Scheduler& scheduler, std::string name, Action action, Of of)
    : scheduler_(scheduler), name_(std::move(name)), action_(std::move(action)), of_(of) {}

void Event::schedule_at(u64 when) {
    cancel();
    const bool earliest = when < scheduler_.next();
    due_ = when;
    order_ = of_ == Of::host ? scheduler_.host_order_++ : scheduler_.order_++;
    pending_ = true;
    scheduler_.events_.insert(this);
    if (earliest && scheduler_.earlier_) scheduler_.earlier_();
}

void Event::schedule_in(u64 delay) {
    const u64 now = scheduler_.now();
    schedule_at(delay > kNever - 1 - now ? kNever - 1 : now + delay);
}

void Event::cancel() {
    if (!pending_) return;
    scheduler_.events_.erase(this);
    pending_ = false;
}

void Event::state(StateIo& io) {
    if (io.loading()) cancel();
    bool pending = pending_;
    io.section(name_, 1, [&] {
        io.field("pending", pending);
        io.field("due", due_);
        io.field("order", order_);
    });
    if (!io.loading() || io.failed() || !pending) return;
    pending_ = true;
    scheduler_.events_.insert(this);
}

u64 Scheduler::next() const {
    return events_.empty() ? kNever : (*events_.begin())->due_;
}

void Scheduler::run_due() {
    const u64 now = clock_.now();
    while (!events_.empty()) {
        Event* event = *events_.begin();
        if (event->due_ > now) return;
        events_.erase(events_.begin());
        event->pending_ = false;
        event->action_(now - event->due_);
    }
}

void Scheduler::state(StateIo& io) {
    io.section("scheduler", 1, [&] { io.field("order", order_); });
}

}  // namespace lodge
