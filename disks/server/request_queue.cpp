#include "disks/server/request_queue.h"

#include <cassert>

namespace lodge::server {

RequestQueue::~RequestQueue() {
    assert(waiting_.empty() && "requests keep their queue");
}

void RequestQueue::submit(Kind kind, std::function<void()> work, std::function<void()> answer) {
    auto request = std::make_shared<Request>(Request{kind, std::move(work), std::move(answer)});
    requests_.fetch_add(1, std::memory_order_relaxed);
    if (kind == Kind::changes) changes_.fetch_add(1, std::memory_order_relaxed);
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(request));
    begin_what_can();
}

void RequestQueue::begin_what_can() {
    while (!waiting_.empty() && !running_change_) {
        const bool change = waiting_.front()->kind == Kind::changes;
        if (change && running_reads_ != 0) return;
        change ? void(running_change_ = true) : void(++running_reads_);
        pool_.post([this, request = std::move(waiting_.front())] { run(*request); });
        waiting_.pop_front();
    }
}

// The request holds this queue: nothing of it is touched once the answer is given.
void RequestQueue::run(const Request& request) {
    request.work();
    end(request.kind);
    request.answer();
}

void RequestQueue::end(Kind kind) {
    const bool change = kind == Kind::changes;
    std::lock_guard lock(mutex_);
    change ? void(running_change_ = false) : void(--running_reads_);
    begin_what_can();
    // Who sees that nothing is under way sees what was done.
    if (change) changes_.fetch_sub(1, std::memory_order_release);
    requests_.fetch_sub(1, std::memory_order_release);
}

}  // namespace lodge::server
