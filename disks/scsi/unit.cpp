#include "disks/scsi/unit.h"

#include <algorithm>
#include <cassert>

namespace lodge::scsi {

namespace {

// The control byte's NACA: this unit has no auto contingent allegiance (SAM-4 5.3.2).
constexpr u8 kNormalAca = 0x04;

SenseCode attention_of(Unit::Reset kind) {
    switch (kind) {
        case Unit::Reset::power_on:
            return kPowerOn;
        case Unit::Reset::bus:
            return kBusResetOccurred;
        case Unit::Reset::device:
            return kDeviceResetOccurred;
    }
    return kPowerOn;
}

bool fits(const Operation& operation, const Cdb& cdb) {
    if (operation.code != cdb[0]) return false;
    return operation.service_action == Operation::kNoServiceAction || operation.service_action == (cdb[1] & 0x1F);
}

}  // namespace

Unit::Unit(DeviceType type, bool removable, UnitIdentity identity, UnitOptions options)
    : type_(type), removable_(removable), identity_(std::move(identity)), options_(options) {
    assert(options_.chunk_bytes > 0 && options_.chunk_bytes <= kMostMediumBytes && options_.chunk_bytes % 4096 == 0);
    assert(options_.most_tasks > 0 && options_.most_tasks < TaskSet::kMostTasks / 2);
}

const Operation* Unit::find_operation(const Cdb& cdb) const {
    for (const auto table : {operations(), primary_operations()})
        for (const Operation& operation : table)
            if (fits(operation, cdb)) return &operation;
    return nullptr;
}

bool Unit::knows_code(u8 code) const {
    for (const auto table : {operations(), primary_operations()})
        for (const Operation& operation : table)
            if (operation.code == code) return true;
    return false;
}

// A port that is heard of for the first time has missed the power-on.
Unit::NexusState& Unit::nexus_state(Nexus nexus) {
    const auto [entry, fresh] = nexuses_.try_emplace(nexus);
    if (fresh && has_attentions()) entry->second.attentions.push_back(kPowerOn);
    return entry->second;
}

// Tasks: from the initiator to the table and back.

Task& Unit::submit(const Command& command) {
    nexus_state(command.nexus);
    const bool overlapped = tasks_.find(command.nexus, command.attribute, command.tag) != nullptr;
    if (overlapped) abort_task_set(command.nexus);
    const bool full = tasks_.size() >= options_.most_tasks;
    const Operation* operation = find_operation(command.cdb);
    Task& task = tasks_.add(command, operation && (operation->flags & Operation::kExclusive));
    task.operation_ = operation;
    if (overlapped) {
        fail(task, {.key = SenseKey::aborted_command, .code = kOverlappedCommands});
    } else if (full) {
        finish(task, Status::task_set_full);
    }
    return task;
}

Task* Unit::take_ready() {
    while (Task* task = tasks_.begin_next()) begin(*task);
    if (ready_.empty()) return nullptr;
    Task* task = ready_.front();
    ready_.pop_front();
    task->listed_ = false;
    return task;
}

void Unit::begin(Task& task) {
    if (refused(task)) return;
    (this->*task.operation_->begin)(task);
}

// The checks of SAM-4 and SPC-4 that come before any command's own, in their order.
bool Unit::refused(Task& task) {
    constexpr u8 kRequestSense = 0x03;
    const Cdb& bytes = cdb(task);
    NexusState& nexus = nexus_state(task.command().nexus);
    if (bytes[0] != kRequestSense) nexus.sense.reset();
    const Operation* operation = task.operation_;
    const u8 flags = operation ? operation->flags : 0;
    if (const auto why = refuses(bytes[0])) {
        fail(task, *why);
    } else if (!nexus.attentions.empty() && !(flags & Operation::kDespiteAttention)) {
        const SenseCode code = nexus.attentions.front();
        nexus.attentions.erase(nexus.attentions.begin());
        fail(task, {.key = SenseKey::unit_attention, .code = code});
    } else if (!operation) {
        fail(task, knows_code(bytes[0]) ? Sense::invalid_cdb(1, 4) : Sense::illegal(kInvalidOperationCode));
    } else if (bytes[operation->length - 1u] & kNormalAca) {
        fail(task, Sense::invalid_cdb(static_cast<u16>(operation->length - 1), 2));
    } else if (!(flags & Operation::kDespiteReservation) &&
               reservations_.conflicts(task.command().nexus, flags & Operation::kReads)) {
        finish(task, Status::reservation_conflict);
    } else if (flags & Operation::kNeedsMedium) {
        const std::optional<Sense> why = not_ready();
        if (why) fail(task, *why);
        return why.has_value();
    } else {
        return false;
    }
    return true;
}

std::optional<Sense> Unit::not_ready() const {
    if (medium_) return std::nullopt;
    return Sense{.key = SenseKey::not_ready, .code = kMediumNotPresent};
}

void Unit::make_ready(Task& task) {
    if (task.listed_) return;
    task.listed_ = true;
    ready_.push_back(&task);
}

void Unit::set_need(Task& task, Task::Need need) {
    task.need_ = need;
    make_ready(task);
}

void Unit::want_data_out(Task& task, size_t bytes) {
    assert(bytes > 0 && bytes <= kMostMediumBytes);
    task.buffer_.clear();
    task.piece_ = static_cast<u32>(bytes);
    task.position_ = 0;
    task.total_out_ = std::max<u64>(task.total_out_, task.moved_ + bytes);
    set_need(task, Task::Need::data_out);
}

void Unit::offer_data_in(Task& task, std::vector<u8> data) {
    assert(!data.empty() && data.size() <= kMostMediumBytes);
    task.buffer_ = std::move(data);
    task.piece_ = static_cast<u32>(task.buffer_.size());
    task.position_ = 0;
    task.total_in_ = std::max<u64>(task.total_in_, task.moved_ + task.piece_);
    set_need(task, Task::Need::data_in);
}

void Unit::want_medium(Task& task, MediumRequest request, std::vector<u8> data) {
    const bool moves = request.operation == MediumOperation::read || request.operation == MediumOperation::write;
    const u64 most = moves ? kMostMediumBytes : kMostMediumRange;
    // Only a damaged state could have led here.
    if (request.length > most) return fail(task, {.key = SenseKey::hardware_error, .code = kInternalTargetFailure});
    assert(request.operation != MediumOperation::write || data.size() == request.length);
    task.buffer_ = std::move(data);
    task.medium_ = request;
    set_need(task, Task::Need::medium);
}

void Unit::finish(Task& task, Status status) {
    task.status_ = status;
    task.buffer_ = {};
    task.work.held = {};
    task.piece_ = task.position_ = 0;
    set_need(task, Task::Need::done);
}

void Unit::fail(Task& task, const Sense& sense) {
    task.sense_ = sense;
    if (!options_.autosense) nexus_state(task.command().nexus).sense = sense;
    finish(task, Status::check_condition);
}

void Unit::reply(Task& task, std::vector<u8> data, u64 allocation) {
    if (data.size() > allocation) data.resize(allocation);
    if (data.empty()) return finish(task);
    offer_data_in(task, std::move(data));
}

bool Unit::want_parameters(Task& task, u32 length, u32 most) {
    if (length > most || length > task.command().most_out) {
        fail(task, Sense::illegal(kParameterListLengthError));
        return false;
    }
    if (length == 0) {
        finish(task);
        return false;
    }
    want_data_out(task, length);
    return true;
}

void Unit::data_moved(Task& task, size_t bytes) {
    const bool moving = task.need_ == Task::Need::data_out || task.need_ == Task::Need::data_in;
    if (!moving) return;
    assert(bytes <= task.left_in_piece());
    task.position_ += static_cast<u32>(bytes);
    task.moved_ += bytes;
    if (task.position_ == task.piece_) resume(task);
}

void Unit::medium_done(Task& task, MediumResult result) {
    if (task.need_ != Task::Need::medium) return;
    if (task.medium_.operation == MediumOperation::read && result.data.size() != task.medium_.length) {
        result.status = MediumStatus::failed;
        result.data.clear();
    }
    task.medium_status_ = result.status;
    task.extent_length_ = result.extent_length;
    task.extent_zero_ = result.extent_zero;
    if (task.medium_.operation == MediumOperation::read) task.buffer_ = std::move(result.data);
    resume(task);
}

void Unit::resume(Task& task) {
    if (!task.operation_ || !task.operation_->resume) return finish(task);
    (this->*task.operation_->resume)(task);
}

void Unit::retire(Task& task) {
    if (task.listed_) ready_.erase(std::find(ready_.begin(), ready_.end(), &task));
    tasks_.remove(task);
}

std::vector<u8> Unit::sense_bytes(const Sense& sense) const {
    constexpr u8 kControlPage = 0x0A, kDescriptorSense = 0x04;
    return mode_pages_.byte(kControlPage, 2) & kDescriptorSense ? sense.descriptors() : sense.fixed();
}

void Unit::abort_with(Task& task, SenseCode code) {
    if (task.need_ == Task::Need::done || task.need_ == Task::Need::aborted) return;
    fail(task, {.key = SenseKey::aborted_command, .code = code});
}

// Task management.

void Unit::abort(const std::function<bool(const Task&)>& condition) {
    tasks_.abort(condition, [this](Task& task) { make_ready(task); });
}

bool Unit::abort_task(Nexus nexus, TaskAttribute attribute, u64 tag) {
    const Task* task = tasks_.find(nexus, attribute, tag);
    if (!task) return false;
    abort([task](const Task& other) { return &other == task; });
    return true;
}

void Unit::abort_task_set(Nexus nexus) {
    abort([nexus](const Task& task) { return task.command().nexus == nexus; });
}

// Those whose tasks somebody else has cleared are told, SAM-4 7.4.
void Unit::clear_task_set(Nexus nexus) {
    tasks_.visit([&](Task& task) {
        if (task.command().nexus != nexus) attention_to(task.command().nexus, kTasksClearedByAnotherInitiator);
    });
    abort([](const Task&) { return true; });
}

void Unit::NexusState::forget() {
    attentions.clear();
    sense.reset();
    prevents_removal = false;
}

void Unit::reset(Reset kind) {
    abort([](const Task&) { return true; });
    for (auto& [number, nexus] : nexuses_) nexus.forget();
    reservations_.end_reserve();
    if (kind == Reset::power_on) {
        nexuses_.clear();
        reservations_.power_on();
    }
    mode_pages_.reset();
    echo_.clear();
    unit_reset(kind);
    attention(attention_of(kind));
}

void Unit::nexus_lost(Nexus nexus) {
    abort_task_set(nexus);
    reservations_.release(nexus);
    nexus_state(nexus).forget();
    attention_to(nexus, kNexusLossOccurred);
}

bool Unit::forget(Nexus nexus) {
    if (reservations_.registered(nexus)) return false;
    nexuses_.erase(nexus);
    return true;
}

// Unit attentions.

void Unit::attention_to(Nexus nexus, SenseCode code) {
    if (!has_attentions()) return;
    std::vector<SenseCode>& waiting = nexus_state(nexus).attentions;
    const bool known = std::find(waiting.begin(), waiting.end(), code) != waiting.end();
    if (!known && waiting.size() < kMostAttentions) waiting.push_back(code);
}

void Unit::attention(SenseCode code) {
    for (const auto& [nexus, unused] : nexuses_) attention_to(nexus, code);
}

void Unit::attention_to_others(Nexus nexus, SenseCode code) {
    for (const auto& [other, unused] : nexuses_)
        if (other != nexus) attention_to(other, code);
}

bool Unit::removal_prevented() const {
    return std::any_of(nexuses_.begin(), nexuses_.end(),
                       [](const auto& entry) { return entry.second.prevents_removal; });
}

// The walk.

void Unit::state(StateIo& io, std::string_view name) {
    io.section(name, 1, [&] {
        mode_pages_.state(io);
        io.blob("echo", echo_, kEchoBytes);
        io.section("reservations", 1, [&] { reservations_.state(io); });
        u32 count = static_cast<u32>(nexuses_.size());
        io.field("nexuses", count);
        if (io.loading()) nexuses_.clear();
        if (count > kMostNexuses) io.fail("too many SCSI nexuses");
        auto entry = nexuses_.begin();
        for (u32 index = 0; index < count && !io.failed(); ++index)
            io.section("nexus" + std::to_string(index), 1, [&] {
                Nexus number = io.loading() ? 0 : entry->first;
                io.field("number", number);
                NexusState& nexus = io.loading() ? nexuses_[number] : (entry++)->second;
                bool has_sense = nexus.sense.has_value();
                Sense sense = nexus.sense.value_or(Sense{});
                std::vector<u16> codes;
                for (const SenseCode code : nexus.attentions)
                    codes.push_back(static_cast<u16>(code.code << 8 | code.qualifier));
                io.field("prevents_removal", nexus.prevents_removal);
                io.field("has_sense", has_sense);
                io.section("sense", 1, [&] { sense.state(io); });
                io.sequence("attentions", codes, kMostAttentions);
                if (!io.loading()) return;
                nexus.sense = has_sense ? std::optional(sense) : std::nullopt;
                for (const u16 code : codes)
                    nexus.attentions.push_back({static_cast<u8>(code >> 8), static_cast<u8>(code)});
            });
        if (io.loading()) ready_.clear();
        tasks_.state(io);
        unit_state(io);
    });
    if (!io.loading()) return;
    tasks_.visit([this](Task& task) {
        task.operation_ = find_operation(cdb(task));
        if (task.listed_) ready_.push_back(&task);
    });
}

}  // namespace lodge::scsi
