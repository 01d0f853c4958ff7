// The tasks of one logical unit, and which of them may run. Source: SAM-4 clauses 7 (task management) and 8 (task
// sets).
//
// Order of arrival decides: a simple task runs once every ordered and head-of-queue task before it has ended, an
// ordered one once everything before it has, a head-of-queue one at once. One task set serves all nexuses (the Control
// mode page's TST is 000b).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "disks/scsi/task.h"

namespace lodge::scsi {

class TaskSet {
  public:
    // What state() takes for a damaged state; owners make their units with fewer.
    static constexpr size_t kMostTasks = 1024;

    size_t size() const { return tasks_.size(); }
    // The task of that number, or null.
    Task* find(u64 id) const;
    // The nexus's task with that tag; of untagged ones its only one. Null: none. Ended ones are not found.
    Task* find(Nexus nexus, TaskAttribute attribute, u64 tag) const;

    // Takes in a task behind all others (head of queue: before them). `exclusive`: see Task.
    Task& add(const Command& command, bool exclusive);
    void remove(Task& task);
    // The next task that may begin, marked as begun; null when there is none. Ended tasks hold nobody up.
    Task* begin_next();

    // Tasks of which `condition` holds and that have not ended become Need::aborted.
    // visit(task) sees each of them.
    void abort(const std::function<bool(const Task&)>& condition, const std::function<void(Task&)>& visit);
    void visit(const std::function<void(Task&)>& visit);

    // In a section named "tasks".
    void state(StateIo& io);

  private:
    static bool ended(const Task& task) {
        return task.need() == Task::Need::done || task.need() == Task::Need::aborted;
    }
    void state_of_task(StateIo& io, size_t index);

    std::vector<std::unique_ptr<Task>> tasks_;  // in the order in which they count as having arrived
    u64 next_id_ = 1;
};

}  // namespace lodge::scsi
