// An owner of a SCSI unit as the unit's header describes it: moves data at once, and does medium work on a plain array.
#pragma once

#include <deque>
#include <vector>

#include "disks/scsi/unit.h"

namespace lodge::scsi_test {

using namespace lodge::scsi;

struct Answer {
    Status status = Status::good;
    Sense sense;
    std::vector<u8> data;
    u64 taken = 0;  // bytes the unit took from the initiator
    bool aborted = false;
};

class Owner {
  public:
    Owner(Unit& unit, size_t medium_bytes) : unit(unit), medium(medium_bytes) {}

    // Runs a command to its end. `out` is what the initiator sends; more than that is sent as zeros.
    Answer run(std::vector<u8> cdb, std::vector<u8> out = {}, Nexus nexus = 7,
               TaskAttribute attribute = TaskAttribute::simple) {
        Command command;
        std::copy(cdb.begin(), cdb.end(), command.cdb.begin());
        command.nexus = nexus;
        command.tag = next_tag_++;
        command.attribute = attribute;
        command.most_out = most_out;
        return run_command(command, std::move(out));
    }
    Answer run_command(const Command& command, std::vector<u8> out = {}) {
        out_ = std::move(out);
        answer_ = {};
        const u64 id = unit.submit(command).id();
        while (serve())
            if (unit.find(id) == nullptr) break;
        return answer_;
    }
    // Serves one task; false: none is ready.
    bool serve() {
        Task* task = unit.take_ready();
        if (task) serve(*task);
        return task != nullptr;
    }
    void serve(Task& task) {
        switch (task.need()) {
            case Task::Need::data_out:
                return send(task);
            case Task::Need::data_in:
                return receive(task);
            case Task::Need::medium:
                return unit.medium_done(task, perform(task));
            case Task::Need::done:
                answer_.status = task.status();
                answer_.sense = task.sense();
                return unit.retire(task);
            default:
                answer_.aborted = true;
                return unit.retire(task);
        }
    }

    Unit& unit;
    std::vector<u8> medium;
    std::vector<MediumRequest> requests;  // all there were
    MediumStatus failure = MediumStatus::ok;
    size_t piece = 700;  // moved at once
    u64 most_out = Command::kUnlimited;

  private:
    void send(Task& task) {
        const auto space = task.data_out();
        const size_t bytes = std::min(space.size(), piece);
        for (size_t i = 0; i < bytes; ++i, ++answer_.taken)
            space[i] = answer_.taken < out_.size() ? out_[answer_.taken] : 0;
        unit.data_moved(task, bytes);
        if (task.need() == Task::Need::data_out && task.left_in_piece() && bytes < space.size()) serve(task);
    }
    void receive(Task& task) {
        const auto data = task.data_in();
        const size_t bytes = std::min(data.size(), piece);
        answer_.data.insert(answer_.data.end(), data.begin(), data.begin() + static_cast<long>(bytes));
        unit.data_moved(task, bytes);
        if (bytes < data.size()) serve(task);
    }
    MediumResult perform(Task& task) {
        const MediumRequest request = task.medium();
        requests.push_back(request);
        MediumResult result{.status = failure};
        if (failure != MediumStatus::ok) return result;
        if (request.offset > medium.size() || request.length > medium.size() - request.offset)
            return {.status = MediumStatus::failed};
        const auto at = medium.begin() + static_cast<long>(request.offset);
        const auto end = at + static_cast<long>(request.length);
        switch (request.operation) {
            case MediumOperation::read:
                result.data.assign(at, end);
                break;
            case MediumOperation::write: {
                const auto data = task.take_medium_data();
                std::copy(data.begin(), data.end(), at);
                break;
            }
            case MediumOperation::discard:
            case MediumOperation::zero:
                std::fill(at, end, u8{0});
                break;
            case MediumOperation::extent: {
                const bool zero = *at == 0;
                auto last = at;
                while (last != medium.end() && (*last == 0) == zero) ++last;
                result.extent_length = static_cast<u64>(last - at);
                result.extent_zero = zero;
                break;
            }
            case MediumOperation::flush:
                break;
        }
        return result;
    }

    std::vector<u8> out_;
    Answer answer_;
    u64 next_tag_ = 1;
};

}  // namespace lodge::scsi_test
