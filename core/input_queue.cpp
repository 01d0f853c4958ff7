#include "core/input_queue.h"

#include <chrono>

namespace lodge {

InputQueue::SourceId InputQueue::add_source(std::string name, Apply apply) {
    sources_.push_back({std::move(name), std::move(apply)});
    return static_cast<SourceId>(sources_.size() - 1);
}

void InputQueue::post(SourceId source, std::vector<u8> payload) {
    push({source, std::move(payload), nullptr});
}

void InputQueue::post_command(std::function<void()> command) {
    push({0, {}, std::move(command)});
}

void InputQueue::push(Item item) {
    {
        std::lock_guard lock(mutex_);
        items_.push_back(std::move(item));
        any_.store(true, std::memory_order_relaxed);
    }
    filled_.notify_one();
    if (kick_) kick_();
}

bool InputQueue::apply_all(u64 position) {
    if (!any_.load(std::memory_order_relaxed)) return false;
    std::deque<Item> due;
    {
        std::lock_guard lock(mutex_);
        due.swap(items_);
        any_.store(false, std::memory_order_relaxed);
    }
    for (Item& item : due) {
        if (item.command) {
            item.command();
            continue;
        }
        if (observe_) observe_({position, item.source, item.payload});
        sources_[item.source].apply(item.payload);
    }
    return !due.empty();
}

bool InputQueue::empty() const {
    std::lock_guard lock(mutex_);
    return items_.empty();
}

void InputQueue::wait(u64 nanoseconds) {
    constexpr u64 kLongest = 1'000'000'000;  // wake now and then, whatever the guest asked for
    std::unique_lock lock(mutex_);
    filled_.wait_for(lock, std::chrono::nanoseconds(nanoseconds < kLongest ? nanoseconds : kLongest),
                     [this] { return !items_.empty(); });
}

}  // namespace lodge
