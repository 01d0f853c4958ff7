#include "core/input_queue.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "core/clock.h"

using namespace lodge;

TEST_CASE("input_queue: inputs are applied in order, each to its source, stamped with the position") {
    InputQueue queue;
    std::string applied;
    const auto add = [&](const char* name) {
        return queue.add_source(name, [&applied, name](std::span<const u8> payload) {
            applied += std::string(name) + std::to_string(payload.size()) + " ";
        });
    };
    const auto keyboard = add("k"), serial = add("s");
    std::vector<std::pair<u64, u32>> seen;
    queue.on_apply([&](const InputQueue::Stamped& input) { seen.push_back({input.position, input.source}); });

    CHECK_FALSE(queue.apply_all(1));
    queue.post(serial, {1, 2, 3});
    queue.post(keyboard, {});
    queue.post_command([&] { applied += "command "; });
    queue.post(serial, {4});
    CHECK_FALSE(queue.empty());
    CHECK(applied.empty());
    CHECK(queue.apply_all(42));
    CHECK(applied == "s3 k0 command s1 ");
    // A command is nothing that the guest sees, so nothing to record.
    CHECK(seen == std::vector<std::pair<u64, u32>>{{42, serial}, {42, keyboard}, {42, serial}});
    CHECK(queue.empty());
}

TEST_CASE("input_queue: what is posted while inputs are applied comes the next time") {
    InputQueue queue;
    int applied = 0;
    InputQueue::SourceId source = 0;
    source = queue.add_source("echo", [&](std::span<const u8>) {
        if (++applied < 3) queue.post(source, {});
    });
    queue.post(source, {});
    queue.apply_all(0);
    CHECK(applied == 1);
    queue.apply_all(0);
    CHECK(applied == 2);
}

TEST_CASE("input_queue: a post kicks, and ends a wait") {
    InputQueue queue;
    std::atomic<int> kicks = 0;
    queue.on_post([&] { ++kicks; });
    const auto source = queue.add_source("s", [](std::span<const u8>) {});
    std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        queue.post(source, {1});
    });
    const u64 start = GuestClock::host_now();
    while (queue.empty() && GuestClock::host_now() - start < 10 * kNanosecondsPerSecond)
        queue.wait(kNanosecondsPerSecond);
    CHECK_FALSE(queue.empty());
    other.join();
    CHECK(kicks == 1);
    queue.wait(kNanosecondsPerSecond * 1000);  // something is there: returns at once
    queue.apply_all(0);
    const u64 before = GuestClock::host_now();
    queue.wait(2'000'000);
    CHECK(GuestClock::host_now() - before >= 1'000'000);
}

TEST_CASE("input_queue: threads post, nothing is lost, each thread's order stays") {
    constexpr int kThreads = 4, kPosts = 1000;
    InputQueue queue;
    std::array<int, kThreads> next = {};
    int wrong = 0, total = 0;
    const auto source = queue.add_source("s", [&](std::span<const u8> payload) {
        const int number = payload[1] | payload[2] << 8;
        wrong += next[payload[0]]++ != number;
        ++total;
    });
    std::vector<std::thread> threads;
    for (int id = 0; id < kThreads; ++id)
        threads.emplace_back([&, id] {
            for (int i = 0; i < kPosts; ++i)
                queue.post(source, {static_cast<u8>(id), static_cast<u8>(i), static_cast<u8>(i >> 8)});
        });
    while (total < kThreads * kPosts) {
        queue.wait(10'000'000);
        queue.apply_all(0);
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(queue.empty());
}
