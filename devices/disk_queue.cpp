#include "devices/disk_queue.h"

#include <algorithm>
#include <cassert>
#include <chrono>

namespace lodge {

namespace {

// The input that a finished request posts: u64 tag, u8 status.
constexpr size_t kPayloadSize = 9;
constexpr u8 kNoRoomYet = 0xFF;  // in place of a status: it is not finished, the host's disk is full

constexpr auto kBetweenTries = std::chrono::seconds(1);
constexpr auto kBetweenLooks = std::chrono::milliseconds(50);  // at whether the run is to end

DiskStatus worse(DiskStatus posted, DiskStatus own) {
    return posted == DiskStatus::ok ? own : posted;
}

DiskStatus status_from(u8 byte) {
    return byte <= static_cast<u8>(DiskStatus::no_space) ? static_cast<DiskStatus>(byte) : DiskStatus::failed;
}

const char* name_of(DiskOperation operation) {
    switch (operation) {
        case DiskOperation::read:
            return "read";
        case DiskOperation::write:
            return "write";
        case DiskOperation::flush:
            return "flush";
        case DiskOperation::discard:
            return "discard";
        case DiskOperation::zero:
            return "zeroing";
        case DiskOperation::extent:
            return "extent";
    }
    return "request";
}

}  // namespace

DiskQueue::DiskQueue(Scheduler& scheduler, InputQueue& inputs, Log& log, std::string name, BlockDevice& disk, Done done)
    : scheduler_(scheduler),
      inputs_(inputs),
      log_(log),
      name_(std::move(name)),
      disk_(disk),
      done_(std::move(done)),
      source_(inputs.add_source(name_, [this](std::span<const u8> payload) { on_input(payload); })),
      due_(scheduler, name_ + ".due", [this](u64) { on_due(); }),
      worker_([this] { work(); }) {}

DiskQueue::~DiskQueue() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    submitted_.notify_one();
    worker_.join();
}

// The worker's side.

void DiskQueue::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        submitted_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        const std::shared_ptr<Job> job = jobs_.front();
        jobs_.pop_front();
        working_on_ = job;
        lock.unlock();
        const DiskStatus status = perform(*job);
        lock.lock();
        job->status = status;
        job->finished = true;
        working_on_ = nullptr;
        finished_.notify_all();
        if (is_virtual()) continue;
        lock.unlock();
        post(job->tag, static_cast<u8>(job->status));
        lock.lock();
    }
}

DiskStatus DiskQueue::perform(Job& job) {
    DiskRequest& request = job.request;
    Result<void> result = transfer(request);
    if (!result && result.error().kind == ErrorKind::no_space) result = try_until_room(request, job.tag, result);
    const bool failed = !result.ok();
    // One line when a disk starts to fail, not one for each of the guest's retries.
    if (failed && !failing_) {
        log_.write(LogChannel::disks, LogLevel::error, "%s: %s of %s at byte %llu failed: %s", name_.c_str(),
                   name_of(request.operation), disk_.describe().c_str(),
                   static_cast<unsigned long long>(request.offset), result.error().context.c_str());
    }
    failing_ = failed;
    if (!failed) return DiskStatus::ok;
    if (request.operation == DiskOperation::read) std::fill(request.data.begin(), request.data.end(), u8{0});
    return result.error().kind == ErrorKind::no_space ? DiskStatus::no_space : DiskStatus::failed;
}

Result<void> DiskQueue::try_until_room(DiskRequest& request, u64 tag, Result<void> result) {
    log_.write(LogChannel::disks, LogLevel::error, "%s: %s; the guest is paused until there is room", name_.c_str(),
               result.error().context.c_str());
    if (!is_virtual()) post(tag, kNoRoomYet);
    set_waiting_for_room(true);
    while (!result && result.error().kind == ErrorKind::no_space && wait_before_next_try()) result = transfer(request);
    set_waiting_for_room(false);
    if (result)
        log_.write(LogChannel::disks, LogLevel::error, "%s: there is room again, the guest goes on", name_.c_str());
    return result;
}

void DiskQueue::set_waiting_for_room(bool waiting) {
    {
        std::lock_guard lock(mutex_);
        waiting_for_room_ = waiting;
    }
    finished_.notify_all();
}

// False where nobody waits any more.
bool DiskQueue::wait_before_next_try() {
    const auto until = std::chrono::steady_clock::now() + kBetweenTries;
    std::unique_lock lock(mutex_);
    while (!stopping_ && !inputs_.abandoned() && std::chrono::steady_clock::now() < until)
        submitted_.wait_for(lock, kBetweenLooks);
    return !stopping_ && !inputs_.abandoned();
}

Result<void> DiskQueue::transfer(DiskRequest& request) {
    switch (request.operation) {
        case DiskOperation::read:
            request.data.resize(request.length);
            return disk_.read(request.offset, request.data);
        case DiskOperation::write:
            return disk_.write(request.offset, request.data);
        case DiskOperation::flush:
            return disk_.flush();
        case DiskOperation::discard:
            return disk_.discard(request.offset, request.length);
        case DiskOperation::zero:
            return disk_.zero(request.offset, request.length);
        case DiskOperation::extent:
            return find_extent(request);
    }
    return {};
}

Result<void> DiskQueue::find_extent(DiskRequest& request) {
    if (request.offset >= disk_.size()) return Error{ErrorKind::usage, "beyond the end of the disk"};
    const auto extent = disk_.extent(request.offset);
    if (!extent) return extent.error();
    request.data.resize(kExtentSize);
    store(request.data.data(), extent->length);
    request.data[8] = extent->zero;
    return {};
}

void DiskQueue::post(u64 tag, u8 status) {
    std::vector<u8> payload(kPayloadSize);
    store(payload.data(), tag);
    payload[8] = status;
    inputs_.post(source_, std::move(payload));
}

// The CPU thread's side.

u64 DiskQueue::submit(DiskRequest request) {
    assert(in_flight_.size() < kMostInFlight);
    assert(request.data.size() <= kMostBytes);
    assert(request.operation != DiskOperation::read || request.length <= kMostBytes);
    auto job = std::make_shared<Job>();
    job->tag = next_tag_++;
    const u64 due = is_virtual() ? due_of(request) : 0;
    job->request = std::move(request);
    in_flight_.push_back({due, job});
    if (is_virtual() && in_flight_.size() == 1) due_.schedule_at(due);
    if (done_at_once(*job)) {
        if (!is_virtual()) post(job->tag, static_cast<u8>(DiskStatus::ok));
        return job->tag;
    }
    {
        std::lock_guard lock(mutex_);
        jobs_.push_back(job);
    }
    submitted_.notify_one();
    return job->tag;
}

// A read of what the host has in memory takes less time than to wake the worker and to be woken by it. Only while the
// worker has nothing to do: requests are done in order, and the disk is one thread's at a time.
bool DiskQueue::done_at_once(Job& job) {
    if (job.request.operation != DiskOperation::read || !idle() || !disk_.set_patience(Patience::none)) return false;
    const Result<void> result = transfer(job.request);
    disk_.set_patience(Patience::wait);
    job.finished = result.ok();
    return job.finished;
}

bool DiskQueue::idle() {
    std::lock_guard lock(mutex_);
    return jobs_.empty() && !working_on_;
}

// The requests of one disk take their time one after the other.
u64 DiskQueue::due_of(const DiskRequest& request) const {
    const u64 start = in_flight_.empty() ? scheduler_.now() : std::max(scheduler_.now(), in_flight_.back().due);
    const u64 bytes = request.operation == DiskOperation::read ? request.length : request.data.size();
    return start + kLatency + bytes * kNanosecondsPerByte;
}

void DiskQueue::on_due() {
    if (in_flight_.empty()) return;
    if (in_flight_.size() > 1) due_.schedule_at(in_flight_[1].due);
    complete(0, DiskStatus::ok);
}

// The payload may be older than a loaded state, or come from a recording: the tag must be in flight, and the worker is
// waited for. A recorded failure stays one.
void DiskQueue::on_input(std::span<const u8> payload) {
    if (payload.size() != kPayloadSize) return;
    const u64 tag = load<u64>(payload.data());
    const bool no_room = payload[8] == kNoRoomYet;
    if (no_room != holding_) no_room ? inputs_.hold() : inputs_.release();
    holding_ = no_room;
    if (no_room) return;
    for (size_t index = 0; index < in_flight_.size(); ++index) {
        if (in_flight_[index].job->tag == tag) return complete(index, status_from(payload[8]));
    }
}

void DiskQueue::complete(size_t index, DiskStatus posted) {
    const std::shared_ptr<Job> job = in_flight_[index].job;
    in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(index));
    wait_for(*job);
    DiskCompletion completion{job->tag, job->request.operation, worse(posted, job->status), {}};
    completion.data = std::move(job->request.data);
    done_(std::move(completion));
}

void DiskQueue::wait_for(const Job& job) {
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [&] { return job.finished; });
}

void DiskQueue::cancel() {
    in_flight_.clear();
    due_.cancel();
}

void DiskQueue::settle() {
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return jobs_.empty() && !working_on_; });
}

// What was submitted and is not done, in order. Under mutex_.
DiskQueue::Jobs DiskQueue::unfinished() const {
    Jobs jobs(jobs_.begin(), jobs_.end());
    if (working_on_) jobs.insert(jobs.begin(), working_on_);
    return jobs;
}

void DiskQueue::state(StateIo& io) {
    std::unique_lock lock(mutex_);
    finished_.wait(lock, [this] { return waiting_for_room_ || (jobs_.empty() && !working_on_); });
    Jobs forgotten;
    if (!io.loading()) {
        forgotten = unfinished();
        std::erase_if(forgotten, [this](const auto& job) { return is_in_flight(*job); });
    }
    io.section("queue", 1, [&] {
        io.field("next_tag", next_tag_);
        u32 count = static_cast<u32>(in_flight_.size());
        io.field("in_flight", count);
        if (io.loading() && count > kMostInFlight) {
            io.fail(name_ + ": too many requests in flight");
            count = 0;
        }
        if (io.loading()) in_flight_.assign(count, {});
        for (u32 index = 0; index < count; ++index) {
            io.section("request" + std::to_string(index), 1, [&] {
                io.field("due", in_flight_[index].due);
                state_of_job(io, in_flight_[index].job);
            });
        }
        state_of_forgotten(io, forgotten);
        due_.state(io);
    });
    lock.unlock();
    if (!io.loading()) return;
    if (io.failed()) return cancel();
    resume_loaded(std::move(forgotten));
}

bool DiskQueue::is_in_flight(const Job& job) const {
    return std::any_of(in_flight_.begin(), in_flight_.end(),
                       [&](const InFlight& entry) { return &*entry.job == &job; });
}

// What was cancelled and is still to be done.
void DiskQueue::state_of_forgotten(StateIo& io, Jobs& forgotten) {
    u32 count = static_cast<u32>(forgotten.size());
    io.field("forgotten", count);
    if (io.loading() && count > kMostForgotten) {
        io.fail(name_ + ": too many requests forgotten");
        count = 0;
    }
    forgotten.resize(count);
    for (u32 index = 0; index < count; ++index)
        io.section("forgotten" + std::to_string(index), 1, [&] { state_of_job(io, forgotten[index]); });
}

void DiskQueue::state_of_job(StateIo& io, std::shared_ptr<Job>& entry) {
    if (io.loading()) entry = std::make_shared<Job>();
    Job& job = *entry;
    DiskRequest& request = job.request;
    io.field("tag", job.tag);
    io.field("operation", request.operation);
    io.field("finished", job.finished);
    if (request.operation > DiskOperation::extent) io.fail(name_ + ": a request in flight cannot be");
    if (job.finished) {
        io.field("status", job.status);
        if (job.status > DiskStatus::no_space) io.fail(name_ + ": a request in flight cannot be");
        // What was written is on the disk; only what was read is still to be told.
        if (returns_data(request.operation)) io.blob("data", request.data, kMostBytes);
        return;
    }
    io.field("offset", request.offset);
    io.field("length", request.length);
    if (request.operation == DiskOperation::read && request.length > kMostBytes)
        io.fail(name_ + ": a request in flight cannot be");
    if (request.operation == DiskOperation::write) io.blob("data", request.data, kMostBytes);
}

// Of the requests of a loaded state most are finished: what is left is to tell the device. The others are done now.
void DiskQueue::resume_loaded(Jobs jobs) {
    for (const InFlight& entry : in_flight_)
        if (!entry.job->finished) jobs.push_back(entry.job);
    std::erase_if(jobs, [](const auto& job) { return job->finished; });
    std::sort(jobs.begin(), jobs.end(), [](const auto& first, const auto& second) { return first->tag < second->tag; });
    if (is_virtual()) {
        if (!in_flight_.empty() && !due_.pending()) due_.schedule_at(in_flight_.front().due);
    } else {
        due_.cancel();
        for (const InFlight& entry : in_flight_)
            if (entry.job->finished) post(entry.job->tag, static_cast<u8>(entry.job->status));
    }
    {
        std::lock_guard lock(mutex_);
        jobs_.insert(jobs_.end(), jobs.begin(), jobs.end());
    }
    submitted_.notify_one();
}

}  // namespace lodge
