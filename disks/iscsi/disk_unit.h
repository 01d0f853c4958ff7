// The logical unit on a Disk, shared by all sessions that have that Disk: runs the tasks of a scsi::Unit, does their
// work on the medium at once where the disk has the answer, and otherwise on the disk's workers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "disks/iscsi/directory.h"
#include "disks/scsi/target.h"

namespace lodge::iscsi {

class DiskUnit;

// Medium work that a worker has done, on its way to the target's thread.
struct Completion {
    std::shared_ptr<Disk> disk;  // lives until its completion has been served
    u64 operation = 0;
    scsi::MediumResult result;
};

class Completions {
  public:
    // Called, on whatever thread, when the first of some completions has come.
    void set_wake(std::function<void()> wake);
    void post(Completion completion);
    std::vector<Completion> take();

  private:
    std::mutex mutex_;
    std::vector<Completion> done_;
    std::function<void()> wake_;
};

// Units that have something to do.
class UnitQueue {
  public:
    void add(DiskUnit& unit);
    void remove(DiskUnit& unit);
    // Runs them in turns until none has anything left to do, or `budget` medium works have been done; false then.
    bool run(u32 budget);

  private:
    std::vector<DiskUnit*> units_;
};

// Who gave a unit a task: its address is in Task::owner_data. Zero there: it has aborted the task and is gone.
class TaskOwner {
  public:
    // Any need but medium and turn. A task that is done or aborted is to be retired.
    virtual void serve(scsi::Task& task) = 0;

  protected:
    ~TaskOwner() = default;
};

class DiskUnit {
  public:
    // Tasks of all sessions; further ones wait with their sessions.
    static constexpr u32 kMostTasks = 128;
    static constexpr u32 kChunk = 256 * 1024;

    // The unit of that disk; made if it has none yet.
    static DiskUnit& of(const std::shared_ptr<Disk>& disk, const std::shared_ptr<Completions>& completions,
                        UnitQueue& queue);
    DiskUnit(const std::shared_ptr<Disk>& disk, std::shared_ptr<Completions> completions, UnitQueue& queue);
    ~DiskUnit();
    DiskUnit(const DiskUnit&) = delete;
    DiskUnit& operator=(const DiskUnit&) = delete;

    // An initiator port comes, by its SCSI name, and goes.
    scsi::Nexus join(const std::vector<u8>& port);
    void leave(scsi::Nexus nexus);

    bool has(u64 lun) const;
    scsi::Unit& unit(u64 lun);
    bool full() const { return unit_.tasks() >= kMostTasks; }
    // Calls it once, when there is room again.
    void when_room(std::function<void()> then) { hungry_.push_back(std::move(then)); }
    void reset(scsi::Unit::Reset kind);

    // To be called after whatever may have made a task of its units ready.
    void wake() { queue_.add(*this); }
    // Serves tasks; `budget` counts down. False: there is more to do.
    bool run(u32& budget);
    void completed(u64 operation, scsi::MediumResult result);
    // Calls it when no work on the medium is under way for tasks that are no more: maybe at once.
    void when_quiet(std::function<void()> then);

  private:
    friend class UnitQueue;
    struct Waiting {
        std::set<u64> operations;
        std::function<void()> then;
    };

    void serve_medium(scsi::Task& task, u32& budget);
    void feed_hungry();

    std::weak_ptr<Disk> owner_;
    Disk& disk_;
    std::shared_ptr<Completions> completions_;  // late ones come even when the target has gone
    UnitQueue& queue_;
    bool queued_ = false;
    scsi::DirectDisk unit_;
    scsi::Target target_;                           // finds units by LUN, and answers for those that are not there
    std::map<std::vector<u8>, scsi::Nexus> ports_;  // those that are here, or registered
    scsi::Nexus next_nexus_ = 1;
    u64 next_operation_ = 1;
    std::map<u64, u64> under_way_;  // operation -> task
    std::vector<Waiting> waiting_;
    std::vector<std::function<void()>> hungry_;
};

}  // namespace lodge::iscsi
