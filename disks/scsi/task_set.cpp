#include "disks/scsi/task_set.h"

#include <algorithm>
#include <cassert>

namespace lodge::scsi {

Task* TaskSet::find(u64 id) const {
    for (const auto& task : tasks_)
        if (task->id() == id) return task.get();
    return nullptr;
}

Task* TaskSet::find(Nexus nexus, TaskAttribute attribute, u64 tag) const {
    const bool untagged = attribute == TaskAttribute::untagged;
    for (const auto& task : tasks_) {
        const Command& command = task->command();
        if (command.nexus != nexus || ended(*task)) continue;
        if ((command.attribute == TaskAttribute::untagged) != untagged) continue;
        if (untagged || command.tag == tag) return task.get();
    }
    return nullptr;
}

Task& TaskSet::add(const Command& command, bool exclusive) {
    auto task = std::make_unique<Task>(next_id_++, command);
    task->exclusive_ = exclusive;
    const bool first = command.attribute == TaskAttribute::head_of_queue;
    return **tasks_.insert(first ? tasks_.begin() : tasks_.end(), std::move(task));
}

void TaskSet::remove(Task& task) {
    const auto found =
        std::find_if(tasks_.begin(), tasks_.end(), [&](const auto& entry) { return entry.get() == &task; });
    assert(found != tasks_.end());
    tasks_.erase(found);
}

Task* TaskSet::begin_next() {
    bool any_under_way = false;
    for (const auto& task : tasks_) {
        if (!task->started_ || ended(*task)) continue;
        if (task->exclusive_) return nullptr;
        any_under_way = true;
    }
    bool first = true;  // of those that have not ended
    for (const auto& entry : tasks_) {
        Task& task = *entry;
        if (ended(task)) continue;
        const TaskAttribute attribute = task.command().attribute;
        if (!task.started_) {
            const bool waits =
                task.exclusive_ ? any_under_way || !first : attribute == TaskAttribute::ordered && !first;
            if (waits) return nullptr;
            task.started_ = true;
            return &task;
        }
        // Those behind it wait for its end.
        if (attribute == TaskAttribute::ordered || attribute == TaskAttribute::head_of_queue) return nullptr;
        first = false;
    }
    return nullptr;
}

void TaskSet::abort(const std::function<bool(const Task&)>& condition, const std::function<void(Task&)>& visit) {
    for (const auto& task : tasks_) {
        if (ended(*task) || !condition(*task)) continue;
        task->need_ = Task::Need::aborted;
        task->piece_ = task->position_ = 0;
        task->buffer_ = {};
        task->work.held = {};
        visit(*task);
    }
}

void TaskSet::visit(const std::function<void(Task&)>& visit) {
    for (const auto& task : tasks_) visit(*task);
}

void TaskSet::state(StateIo& io) {
    io.section("tasks", 1, [&] {
        io.field("next_id", next_id_);
        u32 count = static_cast<u32>(tasks_.size());
        io.field("count", count);
        if (io.loading()) {
            tasks_.clear();
            if (count > kMostTasks) {
                io.fail("too many SCSI tasks");
                count = 0;
            }
        }
        for (u32 index = 0; index < count; ++index)
            io.section("task" + std::to_string(index), 1, [&] { state_of_task(io, index); });
    });
}

void TaskSet::state_of_task(StateIo& io, size_t index) {
    u64 id = io.loading() ? 0 : tasks_[index]->id();
    io.field("id", id);
    if (!io.loading()) return tasks_[index]->state(io);
    if (id == 0 || id >= next_id_ || find(id)) return io.fail("a SCSI task's number cannot be");
    tasks_.push_back(std::make_unique<Task>(id, Command{}));
    tasks_.back()->state(io);
}

}  // namespace lodge::scsi
