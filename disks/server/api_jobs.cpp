#include "disks/server/api_jobs.h"

#include <algorithm>
#include <ctime>

namespace lodge::server {

namespace {

constexpr size_t kMostRunning = 2;
constexpr size_t kMostRemembered = 32;

}  // namespace

const char* name_of(JobState state) {
    switch (state) {
        case JobState::running:
            return "running";
        case JobState::done:
            return "done";
        case JobState::failed:
            return "failed";
        case JobState::cancelled:
            return "cancelled";
    }
    return "";
}

ImportJobs::~ImportJobs() {
    for (const auto& each : jobs_) each->stop = true;
    for (const auto& each : jobs_) each->thread.join();
}

ImportJob ImportJobs::snapshot(const Running& running) {
    std::lock_guard lock(running.mutex);
    return running.job;
}

void ImportJobs::run(Running& running, const ImportOptions& options) {
    const auto imported = Administration(store_, running.job.who).import_vdisk(options);
    std::lock_guard lock(running.mutex);
    ImportJob& job = running.job;
    job.ended = std::time(nullptr);
    if (imported) {
        job.state = JobState::done;
    } else {
        job.state = running.stop ? JobState::cancelled : JobState::failed;
        job.error = imported.error().context;
    }
}

void ImportJobs::forget_oldest() {
    if (jobs_.size() < kMostRemembered) return;
    const auto ended =
        std::find_if(jobs_.begin(), jobs_.end(), [](auto& each) { return snapshot(*each).state != JobState::running; });
    if (ended == jobs_.end()) return;
    (*ended)->thread.join();
    jobs_.erase(ended);
}

Result<ImportJob> ImportJobs::start(const std::string& who, ImportOptions options) {
    std::lock_guard lock(mutex_);
    const auto running = std::count_if(jobs_.begin(), jobs_.end(),
                                       [](auto& each) { return snapshot(*each).state == JobState::running; });
    if (static_cast<size_t>(running) >= kMostRunning)
        return Error{ErrorKind::locked, "two imports are running already; wait for one, or cancel it"};
    forget_oldest();
    auto job = std::make_unique<Running>();
    job->job = {
        .id = ++last_id_, .who = who, .name = options.name, .image = options.image, .started = std::time(nullptr)};
    Running& started = *job;
    options.progress = [&started](u64 done, u64 all) {
        std::lock_guard progress_lock(started.mutex);
        started.job.done = done;
        started.job.all = all;
        return !started.stop;
    };
    const ImportJob first = job->job;
    job->thread = std::thread([this, &started, options = std::move(options)] { run(started, options); });
    jobs_.push_back(std::move(job));
    return first;
}

std::vector<ImportJob> ImportJobs::list() const {
    std::lock_guard lock(mutex_);
    std::vector<ImportJob> jobs;
    for (auto each = jobs_.rbegin(); each != jobs_.rend(); ++each) jobs.push_back(snapshot(**each));
    return jobs;
}

Result<ImportJob> ImportJobs::find(u64 id) const {
    for (const ImportJob& each : list())
        if (each.id == id) return each;
    return Error{ErrorKind::not_found, "there is no job " + std::to_string(id)};
}

Result<void> ImportJobs::cancel(u64 id) {
    std::lock_guard lock(mutex_);
    for (const auto& each : jobs_) {
        if (snapshot(*each).id != id) continue;
        if (snapshot(*each).state != JobState::running)
            return Error{ErrorKind::usage, "job " + std::to_string(id) + " has ended"};
        each->stop = true;
        return {};
    }
    return Error{ErrorKind::not_found, "there is no job " + std::to_string(id)};
}

}  // namespace lodge::server
