// The order of one disk's requests: those that only read run beside each other, one that changes something runs alone,
// and they begin in the order in which they came.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>

#include "disks/server/worker_pool.h"

namespace lodge::server {

class RequestQueue {
  public:
    enum class Kind : u8 { reads, changes };

    explicit RequestQueue(WorkerPool& pool) : pool_(pool) {}
    ~RequestQueue();
    RequestQueue(const RequestQueue&) = delete;
    RequestQueue& operator=(const RequestQueue&) = delete;

    // On a worker: `work`, and when nothing waits for it any more, `answer`. They keep this queue alive.
    void submit(Kind kind, std::function<void()> work, std::function<void()> answer);

    // For the one thread that submits: whether nothing is under way, or nothing that changes anything.
    bool idle() const { return requests_.load(std::memory_order_acquire) == 0; }
    bool only_reads() const { return changes_.load(std::memory_order_acquire) == 0; }

  private:
    struct Request {
        Kind kind;
        std::function<void()> work;
        std::function<void()> answer;
    };

    void begin_what_can();  // with the lock
    void run(const Request& request);
    void end(Kind kind);

    WorkerPool& pool_;
    std::atomic<u32> requests_ = 0;  // waiting or running
    std::atomic<u32> changes_ = 0;   // of them, those that change something
    std::mutex mutex_;
    std::list<std::shared_ptr<Request>> waiting_;  // under mutex_, as what follows
    u32 running_reads_ = 0;
    bool running_change_ = false;
};

}  // namespace lodge::server
