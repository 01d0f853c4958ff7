#include "core/clock.h"

#include <doctest/doctest.h>

#include <thread>

using namespace lodge;

namespace {

void sleep_milliseconds(int count) {
    std::this_thread::sleep_for(std::chrono::milliseconds(count));
}

std::vector<u8> save(GuestClock& clock) {
    StateIo io;
    clock.state(io);
    return io.take();
}

}  // namespace

TEST_CASE("clock: virtual time is retired instructions and skipped idle time") {
    GuestClock clock(ClockMode::virtual_time);
    CHECK(clock.now() == 0);
    CHECK(clock.wall_base() == GuestClock::kVirtualEpoch);
    clock.set_position(1000);
    CHECK(clock.now() == 1000);
    clock.skip_to(5000);
    CHECK(clock.now() == 5000);
    clock.skip_to(4000);  // gone by
    CHECK(clock.now() == 5000);
    clock.set_position(1010);
    CHECK(clock.now() == 5010);
    CHECK(clock.tsc() == 5010);
    sleep_milliseconds(2);
    CHECK(clock.now() == 5010);
}

TEST_CASE("clock: real time runs, stands while paused, and goes on without a jump") {
    GuestClock clock(ClockMode::realtime);
    const u64 start = clock.now();
    sleep_milliseconds(2);
    CHECK(clock.now() - start >= 2'000'000);
    clock.skip_to(clock.now() + 1'000'000'000'000);  // means nothing here
    CHECK(clock.now() < 1'000'000'000'000);

    clock.pause();
    const u64 stopped = clock.now();
    sleep_milliseconds(20);
    CHECK(clock.now() == stopped);
    clock.pause();
    CHECK(clock.now() == stopped);
    const u64 before = GuestClock::host_now();
    clock.resume();
    const u64 after = clock.now();
    CHECK(after >= stopped);
    CHECK(after - stopped <= GuestClock::host_now() - before);
}

TEST_CASE("clock: real time by the host's counter never goes back, and stays with the host's clock") {
    GuestClock clock(ClockMode::realtime);
    const u64 host = GuestClock::host_now(), guest = clock.now();
    u64 last = guest;
    constexpr u64 kLong = 60'000'000;
    while (last - guest < kLong) {
        const u64 before = GuestClock::host_now() - host;
        const u64 now = clock.now();
        const u64 after = GuestClock::host_now() - host;
        REQUIRE(now >= last);
        REQUIRE(now - guest + 20'000 > before);
        REQUIRE(now - guest < after + 20'000);
        last = now;
    }
}

TEST_CASE("clock: resuming a clock that runs changes nothing") {
    GuestClock clock(ClockMode::realtime);
    sleep_milliseconds(2);
    const u64 before = clock.now();
    clock.resume();
    CHECK(clock.now() >= before);
}

TEST_CASE("clock: a change of speed makes no jump and scales what follows") {
    GuestClock clock(ClockMode::realtime);
    sleep_milliseconds(5);
    const u64 host = GuestClock::host_now(), before = clock.now();
    clock.set_speed(1'000);  // one percent
    const u64 slow = clock.now();
    CHECK(slow >= before);
    CHECK(slow - before <= GuestClock::host_now() - host);
    sleep_milliseconds(5);
    const u64 passed = clock.now() - slow, host_passed = GuestClock::host_now() - host;
    CHECK(passed >= 50'000);
    CHECK(passed <= host_passed / 100 + 1);
    clock.pause();
    CHECK(clock.host_time_until(clock.now() + 1000) == 100'000);
    CHECK(clock.host_time_until(clock.now()) == 0);
    CHECK(clock.host_time_until(0) == 0);
    clock.set_speed(0);  // as slow as can be, not a division by zero
    CHECK(clock.host_time_until(clock.now() + 1) == 100'000);
}

TEST_CASE("clock: what is saved is loaded; host time that passed in between does not count") {
    GuestClock clock(ClockMode::virtual_time);
    clock.set_position(77);
    clock.skip_to(1234);
    const auto saved = save(clock);
    GuestClock other(ClockMode::virtual_time);
    StateIo io(saved);
    other.state(io);
    CHECK_FALSE(io.failed());
    CHECK(other.now() == 1234);
    CHECK(other.position() == 77);
    CHECK(save(other) == saved);

    GuestClock real(ClockMode::realtime);
    real.pause();
    const auto real_saved = save(real);
    GuestClock restored(ClockMode::realtime);
    restored.pause();
    StateIo real_io(real_saved);
    restored.state(real_io);
    CHECK_FALSE(real_io.failed());
    CHECK(save(restored) == real_saved);
    CHECK(restored.wall_base() == real.wall_base());
}
