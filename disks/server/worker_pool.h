// A bounded number of threads that do what takes a wait.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/base/types.h"

namespace lodge::server {

class WorkerPool {
  public:
    using Work = std::function<void()>;

    explicit WorkerPool(u32 threads);
    // Does what was posted before, then ends.
    ~WorkerPool();
    WorkerPool(const WorkerPool&) = delete;
    WorkerPool& operator=(const WorkerPool&) = delete;

    // Any thread.
    void post(Work work);

  private:
    void run();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Work> waiting_;  // under mutex_
    bool ending_ = false;       // under mutex_
    std::vector<std::thread> threads_;
};

}  // namespace lodge::server
