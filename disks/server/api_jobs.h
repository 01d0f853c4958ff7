// Imports that run behind the API: started, watched and cancelled by it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/base/result.h"
#include "disks/server/administration.h"

namespace lodge::server {

enum class JobState : u8 { running, done, failed, cancelled };
const char* name_of(JobState state);  // "running", ...

struct ImportJob {
    u64 id = 0;
    std::string who, name, image;
    Time started = 0, ended = 0;  // 0: not yet
    u64 done = 0, all = 0;        // bytes
    JobState state = JobState::running;
    std::string error;  // of a failed one
};

// Any thread. Destroying it cancels what runs, and waits for that.
class ImportJobs {
  public:
    explicit ImportJobs(Store& store) : store_(store) {}
    ~ImportJobs();

    // Locked: two are running already. `options.progress` is ours.
    Result<ImportJob> start(const std::string& who, ImportOptions options);
    std::vector<ImportJob> list() const;  // the newest first
    Result<ImportJob> find(u64 id) const;
    // It ends a moment later. not_found; usage: it has ended.
    Result<void> cancel(u64 id);

  private:
    struct Running {
        mutable std::mutex mutex;  // of `job`
        ImportJob job;
        std::atomic<bool> stop = false;
        std::thread thread;
    };

    void run(Running& running, const ImportOptions& options);
    static ImportJob snapshot(const Running& running);
    void forget_oldest();

    Store& store_;
    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<Running>> jobs_;  // the oldest first
    u64 last_id_ = 0;
};

}  // namespace lodge::server
