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
        working_ = true;
        lock.unlock();
        job->status = perform(*job);
        lock.lock();
        job->finished = true;
        working_ = false;
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
    while (!result && result.error().kind == ErrorKind::no_space && wait_before_next_try()) result = transfer(request);
    if (result)
        log_.write(LogChannel::disks, LogLevel::error, "%s: there is room again, the guest goes on", name_.c_str());
    return result;
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
    {
        std::lock_guard lock(mutex_);
        jobs_.push_back(job);
    }
    submitted_.notify_one();
    return job->tag;
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
    finished_.wait(lock, [this] { return jobs_.empty() && !working_; });
}

void DiskQueue::state(StateIo& io) {
    settle();
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
            io.section("request" + std::to_string(index), 1, [&] { state_of_request(io, in_flight_[index]); });
        }
        due_.state(io);
    });
    if (!io.loading()) return;
    if (io.failed()) return cancel();
    resume_loaded();
}

void DiskQueue::state_of_request(StateIo& io, InFlight& entry) {
    if (io.loading()) {
        entry.job = std::make_shared<Job>();
        entry.job->finished = true;
    }
    Job& job = *entry.job;
    io.field("due", entry.due);
    io.field("tag", job.tag);
    io.field("operation", job.request.operation);
    io.field("status", job.status);
    if (job.request.operation > DiskOperation::extent || job.status > DiskStatus::no_space)
        io.fail(name_ + ": a request in flight cannot be");
    // What was written is on the disk; only what was read is still to be told.
    if (returns_data(job.request.operation)) io.blob("data", job.request.data, kMostBytes);
}

// The requests of a loaded state are finished; what is left is to tell the device.
void DiskQueue::resume_loaded() {
    if (is_virtual()) {
        if (!in_flight_.empty() && !due_.pending()) due_.schedule_at(in_flight_.front().due);
        return;
    }
    due_.cancel();
    for (const InFlight& entry : in_flight_) post(entry.job->tag, static_cast<u8>(entry.job->status));
}

}  // namespace lodge
