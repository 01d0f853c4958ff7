// The one way in for everything from outside the guest: key presses, packets, finished disk requests, serial bytes.
// Any thread posts; the CPU thread applies at an instruction boundary, in order, each stamped with the count of
// instructions retired at that moment. An input is data (source, bytes), so that it can be recorded and replayed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "core/base/types.h"

namespace lodge {

class InputQueue {
  public:
    using Apply = std::function<void(std::span<const u8> payload)>;
    using SourceId = u32;
    struct Stamped {
        u64 position;  // instructions retired when it was applied
        SourceId source;
        std::span<const u8> payload;
    };

    // Registers who applies the inputs of one source. At construction time only; the order of registration is the
    // numbering, so it must be the same for the same machine.
    SourceId add_source(std::string name, Apply apply);

    // From any thread.
    void post(SourceId source, std::vector<u8> payload);
    // From any thread: work for the CPU thread that is not an input of the guest (pause, save, inspect).
    void post_command(std::function<void()> command);

    // CPU thread: applies all that is queued. True when there was anything.
    bool apply_all(u64 position);
    bool empty() const;
    // CPU thread: waits until something is queued or `nanoseconds` of host time have passed.
    void wait(u64 nanoseconds);

    // CPU thread: nothing but inputs goes on until the host can serve the guest again; guest time stands still. Every
    // hold is released once.
    void hold() {
        if (hold_) hold_(true);
    }
    void release() {
        if (hold_) hold_(false);
    }
    // What holding and releasing means: the machine says it.
    void on_hold(std::function<void(bool held)> hold) { hold_ = std::move(hold); }

    // From any thread: the run is to end, so whoever waits for the host on the CPU thread gives up, now and later;
    // until `abandon(false)`.
    void abandon(bool abandoned = true) { abandoned_.store(abandoned); }
    bool abandoned() const { return abandoned_.load(); }

    // Called by `post` on the posting thread, to make the executor return soon.
    void on_post(std::function<void()> kick) { kick_ = std::move(kick); }
    // Sees every input as it is applied: recording.
    void on_apply(std::function<void(const Stamped&)> observe) { observe_ = std::move(observe); }

  private:
    struct Source {
        std::string name;
        Apply apply;
    };
    struct Item {
        SourceId source = 0;
        std::vector<u8> payload;
        std::function<void()> command;
    };
    void push(Item item);

    std::vector<Source> sources_;
    mutable std::mutex mutex_;
    std::condition_variable filled_;
    std::deque<Item> items_;
    std::atomic<bool> any_ = false;  // items_ is not empty: the run loop asks some 10'000 times a second
    std::atomic<bool> abandoned_ = false;
    std::function<void()> kick_;
    std::function<void(bool held)> hold_;
    std::function<void(const Stamped&)> observe_;
};

}  // namespace lodge
