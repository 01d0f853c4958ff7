#include "core/scheduler.h"

#include <doctest/doctest.h>

using namespace lodge;

namespace {

struct Fixture {
    GuestClock clock{ClockMode::virtual_time};
    Scheduler scheduler{clock};
    std::vector<std::string> ran;

    Event event(const char* name) {
        return Event(scheduler, name,
                     [this, name](u64 late) { ran.push_back(std::string(name) + "+" + std::to_string(late)); });
    }
    void run_at(u64 now) {
        clock.set_position(now);
        scheduler.run_due();
    }
};

using Ran = std::vector<std::string>;

}  // namespace

TEST_CASE("scheduler: by time, then in order of scheduling; lateness is told") {
    Fixture f;
    Event a = f.event("a"), b = f.event("b"), c = f.event("c");
    c.schedule_at(200);
    b.schedule_at(100);
    a.schedule_at(100);
    CHECK(f.scheduler.next() == 100);
    f.run_at(99);
    CHECK(f.ran.empty());
    f.run_at(150);
    CHECK(f.ran == Ran{"b+50", "a+50"});
    CHECK_FALSE(a.pending());
    CHECK(a.due() == 100);
    f.run_at(200);
    CHECK(f.ran.back() == "c+0");
    CHECK(f.scheduler.next() == kNever);
}

TEST_CASE("scheduler: events of the host come last and leave no trace in the state") {
    Fixture f;
    const auto saved = [&] {
        StateIo io;
        f.scheduler.state(io);
        return io.take();
    };
    Event host(
        f.scheduler, "host", [&](u64) { f.ran.push_back("host"); }, Event::Of::host);
    Event a = f.event("a");
    const auto before = saved();
    host.schedule_at(100);
    CHECK(saved() == before);
    a.schedule_at(100);
    CHECK(saved() != before);
    f.run_at(100);
    CHECK(f.ran == Ran{"a+0", "host"});
}

TEST_CASE("scheduler: a schedule replaces the one before; cancelling is for good") {
    Fixture f;
    Event a = f.event("a"), b = f.event("b");
    a.schedule_at(10);
    a.schedule_at(30);
    b.schedule_at(20);
    b.cancel();
    b.cancel();
    f.run_at(25);
    CHECK(f.ran.empty());
    f.run_at(30);
    CHECK(f.ran == Ran{"a+0"});
}

TEST_CASE("scheduler: times gone by run at once, and times beyond all time do not wrap") {
    Fixture f;
    f.clock.set_position(1000);
    Event a = f.event("a");
    a.schedule_at(5);
    f.scheduler.run_due();
    CHECK(f.ran == Ran{"a+995"});
    a.schedule_in(kNever);
    CHECK(a.due() == kNever - 1);
    f.scheduler.run_due();
    CHECK(f.ran.size() == 1);
}

TEST_CASE("scheduler: events schedule and cancel each other while they run") {
    Fixture f;
    Event victim = f.event("victim");
    int ticks = 0;
    Event tick(f.scheduler, "tick", [&](u64) {
        victim.cancel();
        if (++ticks < 4) tick.schedule_at(tick.due() + 10);
    });
    tick.schedule_at(10);
    victim.schedule_at(10);
    f.run_at(35);
    CHECK(ticks == 3);
    CHECK(f.ran.empty());
    CHECK(f.scheduler.next() == 40);
}

TEST_CASE("scheduler: whoever waits hears of an event before all others, and only of that") {
    Fixture f;
    int heard = 0;
    f.scheduler.on_earlier([&] { ++heard; });
    Event a = f.event("a"), b = f.event("b");
    a.schedule_at(100);
    CHECK(heard == 1);
    b.schedule_at(200);
    b.schedule_at(100);
    CHECK(heard == 1);
    b.schedule_at(50);
    CHECK(heard == 2);
}

TEST_CASE("scheduler: an event that goes away is not run") {
    Fixture f;
    {
        Event gone = f.event("gone");
        gone.schedule_at(1);
    }
    f.run_at(10);
    CHECK(f.ran.empty());
    CHECK(f.scheduler.next() == kNever);
}

TEST_CASE("scheduler: events at the same time keep their order over save and load") {
    const auto walk = [](StateIo& io, Fixture& f, Event& a, Event& b) {
        f.scheduler.state(io);
        a.state(io);
        b.state(io);
    };
    Fixture f;
    Event a = f.event("a"), b = f.event("b");
    b.schedule_at(70);
    a.schedule_at(70);
    StateIo out;
    walk(out, f, a, b);
    const auto saved = out.take();

    Fixture g;
    Event a2 = g.event("a"), b2 = g.event("b");
    a2.schedule_at(3);  // replaced by what is loaded
    StateIo in(saved);
    walk(in, g, a2, b2);
    CHECK_FALSE(in.failed());
    StateIo again;
    walk(again, g, a2, b2);
    CHECK(again.take() == saved);
    Event later = g.event("later");
    later.schedule_at(70);
    g.run_at(70);
    CHECK(g.ran == Ran{"b+0", "a+0", "later+0"});
}
