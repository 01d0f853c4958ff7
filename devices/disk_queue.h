// A disk's requests, done off the CPU thread: one worker thread per disk does the blocking I/O, in the order of
// submission, and each completion reaches the device on the CPU thread.
//
// realtime: the worker posts an input (tag, status) when it has finished; the device learns of it when the input queue
//           applies it. Completions come in order of submission.
// virtual:  a request completes at a guest time fixed when it is submitted, as if by a disk of fixed speed. The CPU
//           thread then waits for the worker if it must, so what the guest sees never depends on the host's speed.
//
// A full host disk is no answer that a guest could do anything with. The worker says so in one line and tries again
// about once a second until there is room. Meanwhile the machine stands still: on the realtime clock it is held by an
// input, so that other inputs and the end of the run get through; on the virtual clock the CPU thread waits for the
// request, as it does for any. So nothing is lost, and no time-out of the guest's passes. Only where the run is ended,
// or the queue goes, while there is no room, a request fails with DiskStatus::no_space.
//
// A read that the host can serve from its memory, while the worker is idle, is done by the CPU thread when it is
// submitted: two changes of threads take longer than the copy. It completes as any other does.
//
// Saving waits until the worker is idle and writes each request that is in flight together with its result; nothing
// completes early, and nothing is read or written again by the machine that loads it. Only while there is no room on
// the host's disk, what is not done is saved as it was asked for, and done by the machine that loads it.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/base/log.h"
#include "core/base/state_io.h"
#include "core/base/types.h"
#include "core/input_queue.h"
#include "core/scheduler.h"
#include "disks/block_device.h"

namespace lodge {

// `extent` asks for the run that begins at `offset` (BlockDevice::extent); it completes with its length (u64) and
// whether it is zeros (u8).
enum class DiskOperation : u8 { read, write, flush, discard, zero, extent };

// `failed`: the host or the image could not do it. `no_space`: the host's disk is full, and nobody wants to wait.
enum class DiskStatus : u8 { ok, failed, no_space };

struct DiskRequest {
    DiskOperation operation = DiskOperation::read;
    u64 offset = 0;  // bytes
    u64 length = 0;  // bytes: read, discard and zero; a read has at most DiskQueue::kMostBytes
    // write: what to write, at most DiskQueue::kMostBytes; read: memory for what is read, where the caller has some
    std::vector<u8> data;
};

struct DiskCompletion {
    u64 tag = 0;
    DiskOperation operation = DiskOperation::read;
    DiskStatus status = DiskStatus::ok;
    std::vector<u8> data;  // read: `length` bytes, zeros when it failed; extent: see there, empty when it failed;
                           // write: the request's memory, to be used again
};

class DiskQueue {
  public:
    using Done = std::function<void(DiskCompletion completion)>;

    // Limits of one request and of all that are in flight: larger work is submitted in parts.
    static constexpr u64 kMostBytes = kMiB;
    static constexpr size_t kExtentSize = 9;  // of an extent's data
    static constexpr size_t kMostInFlight = 256;
    static constexpr size_t kMostForgotten = 4096;  // in a saved state
    // The disk of the virtual clock: 100 microseconds to get going, then 200 MB/s (5 ns per byte).
    static constexpr u64 kLatency = 100'000;
    static constexpr u64 kNanosecondsPerByte = 5;

    // `name` is unique in its machine. `done` runs on the CPU thread, never within submit. All collaborators outlive
    // the queue, and no input may be applied after it has gone.
    DiskQueue(Scheduler& scheduler, InputQueue& inputs, Log& log, std::string name, BlockDevice& disk, Done done);
    // Waits until everything submitted is done.
    ~DiskQueue();
    DiskQueue(const DiskQueue&) = delete;
    DiskQueue& operator=(const DiskQueue&) = delete;

    // CPU thread. Returns the request's tag. At most kMostInFlight may be in flight.
    u64 submit(DiskRequest request);
    size_t in_flight() const { return in_flight_.size(); }
    // Forgets what is in flight: it is still done, in order, but nobody is told.
    void cancel();
    // Waits until the worker is idle: the disk then holds everything that was submitted. Completes nothing.
    void settle();

    // In a section named "queue".
    void state(StateIo& io);

  private:
    // A request on its way through the worker. Only the worker changes it until `finished`.
    struct Job {
        u64 tag = 0;
        DiskRequest request;
        DiskStatus status = DiskStatus::ok;
        bool finished = false;  // under mutex_
    };
    using Jobs = std::vector<std::shared_ptr<Job>>;
    struct InFlight {
        u64 due = 0;  // guest nanoseconds; 0 on the realtime clock
        std::shared_ptr<Job> job;
    };

    static bool returns_data(DiskOperation operation) {
        return operation == DiskOperation::read || operation == DiskOperation::extent;
    }
    bool is_virtual() const { return scheduler_.clock().mode() == ClockMode::virtual_time; }
    void work();
    DiskStatus perform(Job& job);
    Result<void> transfer(DiskRequest& request);
    Result<void> find_extent(DiskRequest& request);
    void post(u64 tag, u8 status);
    // A line, then again and again until it succeeds or nobody waits any more.
    Result<void> try_until_room(DiskRequest& request, u64 tag, Result<void> result);
    void set_waiting_for_room(bool waiting);
    bool wait_before_next_try();

    bool done_at_once(Job& job);
    bool idle();
    u64 due_of(const DiskRequest& request) const;
    void on_due();
    void on_input(std::span<const u8> payload);
    void complete(size_t index, DiskStatus posted);
    void wait_for(const Job& job);
    Jobs unfinished() const;
    bool is_in_flight(const Job& job) const;
    void state_of_job(StateIo& io, std::shared_ptr<Job>& entry);
    void state_of_forgotten(StateIo& io, Jobs& forgotten);
    void resume_loaded(Jobs jobs);

    Scheduler& scheduler_;
    InputQueue& inputs_;
    Log& log_;
    std::string name_;
    BlockDevice& disk_;
    Done done_;
    InputQueue::SourceId source_;

    u64 next_tag_ = 1;
    std::deque<InFlight> in_flight_;  // in order of submission
    Event due_;                       // of the first in flight; virtual clock only
    bool holding_ = false;            // the machine stands still until a request has found room

    std::mutex mutex_;
    std::condition_variable submitted_;
    std::condition_variable finished_;
    std::deque<std::shared_ptr<Job>> jobs_;  // under mutex_: for the worker
    std::shared_ptr<Job> working_on_;        // under mutex_: by the worker; null while it is idle
    bool waiting_for_room_ = false;          // under mutex_: the worker has found the host's disk full
    bool stopping_ = false;                  // under mutex_
    bool failing_ = false;                   // worker only: the last request failed
    std::thread worker_;                     // last: it uses all of the above
};

}  // namespace lodge
