#include "devices/scsi_target.h"

#include <algorithm>
#include <cassert>

namespace lodge {

namespace {

using scsi::Task;
using scsi::TaskAttribute;

// Messages, SCSI-2 table 10 and SPI-3 table 53.
constexpr u8 kCommandComplete = 0x00;
constexpr u8 kExtended = 0x01;
constexpr u8 kSaveDataPointer = 0x02;
constexpr u8 kDisconnect = 0x04;
constexpr u8 kInitiatorDetectedError = 0x05;
constexpr u8 kAbort = 0x06;
constexpr u8 kMessageReject = 0x07;
constexpr u8 kNoOperation = 0x08;
constexpr u8 kMessageParityError = 0x09;
constexpr u8 kTargetReset = 0x0C;
constexpr u8 kAbortTag = 0x0D;
constexpr u8 kClearQueue = 0x0E;
constexpr u8 kUnitReset = 0x17;
constexpr u8 kSimpleTag = 0x20;
constexpr u8 kHeadOfQueueTag = 0x21;
constexpr u8 kOrderedTag = 0x22;
constexpr u8 kIdentify = 0x80;
constexpr u8 kIdentifyDisconnect = 0x40;
constexpr u8 kIdentifyLun = 0x3F;

// Extended messages, by their code.
constexpr u8 kSynchronousTransfer = 0x01;
constexpr u8 kWideTransfer = 0x03;
constexpr u8 kParallelProtocol = 0x04;

// What a target agrees to: Ultra2 (SPI-2: 25 ns), the offset of the chips of the time, 16 bits.
constexpr u8 kFastestPeriod = 0x0A;
constexpr u8 kMostOffset = 31;
constexpr u8 kWidest = 1;

// By the group code; the reserved and vendor groups as ten bytes (SPC-2 4.3.1).
size_t command_length(u8 code) {
    constexpr u8 kLengths[8] = {6, 10, 10, 10, 16, 12, 10, 10};
    return kLengths[code >> 5];
}

DiskOperation disk_operation(scsi::MediumOperation operation) {
    switch (operation) {
        case scsi::MediumOperation::read:
            return DiskOperation::read;
        case scsi::MediumOperation::write:
            return DiskOperation::write;
        case scsi::MediumOperation::flush:
            return DiskOperation::flush;
        case scsi::MediumOperation::discard:
            return DiskOperation::discard;
        case scsi::MediumOperation::zero:
            return DiskOperation::zero;
        case scsi::MediumOperation::extent:
            return DiskOperation::extent;
    }
    return DiskOperation::flush;
}

scsi::MediumStatus medium_status(DiskStatus status) {
    if (status == DiskStatus::ok) return scsi::MediumStatus::ok;
    return status == DiskStatus::no_space ? scsi::MediumStatus::no_space : scsi::MediumStatus::failed;
}

bool wants_bus(const Task& task) {
    return task.need() == Task::Need::data_in || task.need() == Task::Need::data_out || task.need() == Task::Need::done;
}

}  // namespace

ScsiTarget::ScsiTarget(const Platform& platform, ScsiBus& bus, std::string name, std::unique_ptr<scsi::Unit> unit,
                       BlockDevice* medium)
    : bus_(bus), name_(std::move(name)), unit_(std::move(unit)), units_({.parallel = true}) {
    units_.add(0, *unit_);
    if (medium)
        queue_ = std::make_unique<DiskQueue>(platform.scheduler, platform.inputs, platform.log, name_, *medium,
                                             [this](DiskCompletion completion) { on_disk(std::move(completion)); });
}

void ScsiTarget::forget_all() {
    if (queue_) queue_->cancel();
    on_medium_.clear();
    ready_.clear();
    messages_.clear();
    received_.clear();
    received_bytes_ = cdb_bytes_ = 0;
    task_ = 0;
    requesting_ = held_ = attention_ = ending_ = disconnecting_ = wants_command_ = false;
    serve();  // what was aborted
}

void ScsiTarget::reset() {
    units_.visit([](scsi::Unit& unit) { unit.reset(scsi::Unit::Reset::power_on); });
    forget_all();
}

void ScsiTarget::bus_reset() {
    units_.visit([](scsi::Unit& unit) { unit.reset(scsi::Unit::Reset::bus); });
    forget_all();
}

// The connection.

void ScsiTarget::selected(unsigned initiator, bool attention) {
    initiator_ = static_cast<u8>(initiator);
    lun_ = tag_ = 0;
    may_disconnect_ = false;
    attribute_ = TaskAttribute::untagged;
    task_ = 0;
    held_ = ending_ = disconnecting_ = false;
    messages_.clear();
    wants_command_ = true;
    attention_ = attention;
    next();
}

// SCSI-2 7.5.1: IDENTIFY, and the tag if there is one; the initiator then goes on where its saved pointers say.
void ScsiTarget::reselected() {
    held_ = attention_ = ending_ = disconnecting_ = wants_command_ = false;
    messages_.clear();
    task_ = 0;
    lun_ = 0;
    while (!ready_.empty() && !current()) {
        task_ = ready_.front();
        ready_.erase(ready_.begin());
    }
    if (!ready_.empty()) bus_.arbitrate(*this);
    const Task* task = current();
    if (!task) return let_go();  // aborted in the meantime
    initiator_ = static_cast<u8>(task->command().nexus);
    attribute_ = task->command().attribute;
    tag_ = static_cast<u8>(task->command().tag);
    may_disconnect_ = true;
    say({static_cast<u8>(kIdentify | lun_)});
    if (attribute_ != TaskAttribute::untagged) say({kSimpleTag, tag_});
    next();
}

// The initiator has gone; nobody is left to tell.
void ScsiTarget::abandoned() {
    if (Task* task = current()) drop(unit(), *task);
    task_ = 0;
    messages_.clear();
    requesting_ = held_ = attention_ = ending_ = disconnecting_ = wants_command_ = false;
    serve();
}

void ScsiTarget::let_go() {
    requesting_ = held_ = attention_ = false;
    const Task* task = current();
    const bool again = disconnecting_ && task && wants_bus(*task);
    if (again) ready_.push_back(task_);
    task_ = 0;
    ending_ = disconnecting_ = wants_command_ = false;
    bus_.let_go();
    if (again) bus_.arbitrate(*this);
}

void ScsiTarget::set_phase(ScsiPhase phase) {
    phase_ = phase;
    requesting_ = true;
    if (phase == ScsiPhase::message_out) {
        received_.assign(kMostMessage, 0);
        received_bytes_ = 0;
    }
    if (phase == ScsiPhase::command) cdb_bytes_ = 0;
}

void ScsiTarget::next() {
    if (held_) return;
    if (attention_) return set_phase(ScsiPhase::message_out);
    if (!messages_.empty()) return set_phase(ScsiPhase::message_in);
    if (ending_) return let_go();
    if (wants_command_) return set_phase(ScsiPhase::command);
    if (Task* task = current()) return next_of_task(*task);
    let_go();
}

void ScsiTarget::next_of_task(Task& task) {
    switch (task.need()) {
        case Task::Need::data_out:
            return set_phase(ScsiPhase::data_out);
        case Task::Need::data_in:
            return set_phase(ScsiPhase::data_in);
        case Task::Need::done:
            status_ = static_cast<u8>(task.status());
            return set_phase(ScsiPhase::status);
        case Task::Need::aborted:
            return let_go();
        case Task::Need::turn:
        case Task::Need::medium:
            return wait_for_medium(task);
    }
}

void ScsiTarget::wait_for_medium(Task& task) {
    const bool amid = task.moved() && (task.moved() < task.total_in() || task.moved() < task.total_out());
    if (!may_disconnect_ || amid) {
        requesting_ = false;
        return;
    }
    if (task.owner_data & kUnsaved) say({kSaveDataPointer});
    task.owner_data &= ~kUnsaved;
    say({kDisconnect});
    ending_ = disconnecting_ = true;
    set_phase(ScsiPhase::message_in);
}

// Bytes.

std::span<const u8> ScsiTarget::offered() {
    switch (phase_) {
        case ScsiPhase::message_in:
            return messages_;
        case ScsiPhase::status:
            return std::span(&status_, 1);
        default: {
            const Task* task = current();
            return task && task->need() == Task::Need::data_in ? task->data_in() : std::span<const u8>();
        }
    }
}

std::span<u8> ScsiTarget::room() {
    switch (phase_) {
        case ScsiPhase::message_out:
            return std::span(received_).subspan(received_bytes_);
        case ScsiPhase::command:
            return std::span(cdb_).subspan(cdb_bytes_);
        default: {
            Task* task = current();
            return task && task->need() == Task::Need::data_out ? task->data_out() : std::span<u8>();
        }
    }
}

void ScsiTarget::moved(size_t bytes, bool last) {
    assert(requesting());
    switch (phase_) {
        case ScsiPhase::message_in:
            messages_.erase(messages_.begin(), messages_.begin() + static_cast<long>(bytes));
            held_ = last;
            return next();
        case ScsiPhase::message_out:
            received_bytes_ += static_cast<u32>(bytes);
            if (last) attention_ = false;
            if (attention_ && received_bytes_ < kMostMessage) return;
            take_messages();
            return next();
        case ScsiPhase::command:
            return take_command(bytes);
        case ScsiPhase::status: {
            Task* task = current();
            if (task) unit().retire(*task);
            task_ = 0;
            ending_ = true;
            say({kCommandComplete});
            serve();
            return next();
        }
        case ScsiPhase::data_in:
        case ScsiPhase::data_out: {
            Task* task = current();
            if (!task) return let_go();
            task->owner_data |= kUnsaved;
            unit().data_moved(*task, bytes);
            serve();
            return next();
        }
    }
}

void ScsiTarget::acknowledge() {
    if (!held_) return;
    held_ = false;
    next();
}

// ATN is looked at between bytes: at once where the target has asked for one (SCSI-2 6.2.1, condition 3).
void ScsiTarget::set_attention(bool level) {
    if (attention_ == level) return;
    attention_ = level;
    if (phase_ == ScsiPhase::message_out && requesting_) {
        if (!level && received_bytes_ == 0) next();
        return;
    }
    if (level && !held_) next();
}

// Messages from the initiator.

void ScsiTarget::take_messages() {
    std::span<const u8> rest = std::span(received_).first(received_bytes_);
    received_bytes_ = 0;
    while (!rest.empty()) rest = rest.subspan(std::min(rest.size(), take_message(rest)));
}

void ScsiTarget::end_connection() {
    messages_.clear();
    ending_ = true;
    disconnecting_ = false;
    wants_command_ = false;
    task_ = 0;
}

// How many bytes it was.
size_t ScsiTarget::take_message(std::span<const u8> rest) {
    const u8 code = rest[0];
    if (code & kIdentify) {
        may_disconnect_ = code & kIdentifyDisconnect;
        lun_ = code & kIdentifyLun;
        return 1;
    }
    switch (code) {
        case kExtended:
            return take_extended(rest);
        case kSimpleTag:
        case kHeadOfQueueTag:
        case kOrderedTag:
            attribute_ = code == kSimpleTag    ? TaskAttribute::simple
                         : code == kOrderedTag ? TaskAttribute::ordered
                                               : TaskAttribute::head_of_queue;
            tag_ = rest.size() > 1 ? rest[1] : u8{0};
            return 2;
        case kNoOperation:
        case kMessageParityError:
            return 1;
        case kInitiatorDetectedError:
            if (Task* task = current()) unit().abort_with(*task, scsi::kInitiatorDetectedError);
            break;
        case kMessageReject:
            // Of DISCONNECT: the target stays. Anything else it says can do without an answer.
            if (disconnecting_) ending_ = disconnecting_ = may_disconnect_ = false;
            return 1;
        case kAbort:
            unit().abort_task_set(initiator_);
            end_connection();
            break;
        case kAbortTag:
            unit().abort_task(initiator_, attribute_, tag_);
            end_connection();
            break;
        case kClearQueue:
            unit().clear_task_set(initiator_);
            end_connection();
            break;
        case kTargetReset:
            units_.visit([](scsi::Unit& each) { each.reset(scsi::Unit::Reset::device); });
            end_connection();
            break;
        case kUnitReset:
            unit().reset(scsi::Unit::Reset::device);
            end_connection();
            break;
        default:
            say({kMessageReject});
            return 1;
    }
    serve();
    return 1;
}

// SCSI-2 6.6.21 to 6.6.23; SPI-3 16.2.10. The answer says what both can do.
size_t ScsiTarget::take_extended(std::span<const u8> rest) {
    const size_t length = rest.size() > 1 ? 2 + (rest[1] ? rest[1] : size_t{256}) : 2;
    if (rest.size() < length || length < 3) {
        say({kMessageReject});
        return rest.size();
    }
    if (rest[2] == kSynchronousTransfer && length == 5) {
        say({kExtended, 3, kSynchronousTransfer, std::max(rest[3], kFastestPeriod), std::min(rest[4], kMostOffset)});
    } else if (rest[2] == kWideTransfer && length == 4) {
        say({kExtended, 2, kWideTransfer, std::min(rest[3], kWidest)});
    } else if (rest[2] == kParallelProtocol && length == 8) {
        say({kExtended, 6, kParallelProtocol, std::max(rest[3], kFastestPeriod), 0, std::min(rest[5], kMostOffset),
             std::min(rest[6], kWidest), 0});
    } else {
        say({kMessageReject});
    }
    return length;
}

// An initiator that sends more bytes than the command has, at once, is let have its way: SeaBIOS always sends 16.
void ScsiTarget::take_command(size_t bytes) {
    cdb_bytes_ += static_cast<u32>(bytes);
    if (cdb_bytes_ < command_length(cdb_[0])) return;
    scsi::Command command{.cdb = cdb_, .nexus = initiator_, .tag = tag_, .attribute = attribute_};
    std::fill(command.cdb.begin() + static_cast<long>(command_length(cdb_[0])), command.cdb.end(), u8{0});
    wants_command_ = false;
    Task& task = unit().submit(command);
    task.owner_data = may_disconnect_ ? kMayDisconnect : 0;
    task_ = task.id();
    serve();
    next();
}

// Tasks.

void ScsiTarget::serve() {
    units_.visit([this](scsi::Unit& each) { serve_unit(each); });
}

void ScsiTarget::serve_unit(scsi::Unit& unit) {
    while (Task* task = unit.take_ready()) serve_task(unit, *task);
}

void ScsiTarget::serve_task(scsi::Unit& owner, Task& task) {
    const bool connected = task.id() == task_ && &owner == &unit();
    if (task.need() == Task::Need::medium) return begin_medium(owner, task);
    if (task.need() == Task::Need::aborted) {
        std::erase(ready_, task.id());
        if (connected) task_ = 0;
        return owner.retire(task);
    }
    if (connected) return;  // `next` sees to it
    if (&owner != unit_.get()) return owner.retire(task);
    ready_.push_back(task.id());
    bus_.arbitrate(*this);
}

void ScsiTarget::drop(scsi::Unit& owner, Task& task) {
    std::erase(ready_, task.id());
    owner.retire(task);
}

void ScsiTarget::begin_medium(scsi::Unit& owner, Task& task) {
    if (!queue_ || queue_->in_flight() >= DiskQueue::kMostInFlight)
        return owner.medium_done(task, {.status = scsi::MediumStatus::failed});
    const scsi::MediumRequest& wanted = task.medium();
    DiskRequest request{disk_operation(wanted.operation), wanted.offset, wanted.length, {}};
    if (request.operation == DiskOperation::write) request.data = task.take_medium_data();
    on_medium_[queue_->submit(std::move(request))] = task.id();
}

void ScsiTarget::on_disk(DiskCompletion completion) {
    const auto entry = on_medium_.find(completion.tag);
    if (entry == on_medium_.end()) return;
    Task* task = unit_->find(entry->second);
    on_medium_.erase(entry);
    if (!task) return;  // it was aborted
    scsi::MediumResult result{.status = medium_status(completion.status)};
    if (completion.operation == DiskOperation::extent && completion.data.size() == DiskQueue::kExtentSize) {
        result.extent_length = load<u64>(completion.data.data());
        result.extent_zero = completion.data[8];
    } else {
        result.data = std::move(completion.data);
    }
    unit_->medium_done(*task, std::move(result));
    serve();
    // The connected task goes on, if it was that one that waited.
    if (bus_.connected() != this || requesting_ || held_) return;
    next();
    bus_.changed();
}

void ScsiTarget::state(StateIo& io) {
    io.section(name_, 1, [&] {
        io.field("phase", phase_);
        io.field("requesting", requesting_);
        io.field("held", held_);
        io.field("attention", attention_);
        io.field("ending", ending_);
        io.field("disconnecting", disconnecting_);
        io.field("wants_command", wants_command_);
        io.field("initiator", initiator_);
        io.field("lun", lun_);
        io.field("may_disconnect", may_disconnect_);
        io.field("attribute", attribute_);
        io.field("tag", tag_);
        io.field("task", task_);
        io.blob("messages", messages_, kMostMessage);
        io.blob("received", received_, kMostMessage);
        io.field("received_bytes", received_bytes_);
        io.bytes("cdb", cdb_);
        io.field("cdb_bytes", cdb_bytes_);
        io.field("status", status_);
        io.sequence("ready", ready_, kMostTasks);
        std::vector<u64> on_medium;
        for (const auto& [tag, task] : on_medium_) on_medium.insert(on_medium.end(), {tag, task});
        io.sequence("on_medium", on_medium, 2 * DiskQueue::kMostInFlight);
        if (io.loading()) {
            on_medium_.clear();
            for (size_t i = 0; i + 1 < on_medium.size(); i += 2) on_medium_[on_medium[i]] = on_medium[i + 1];
        }
        unit_->state(io, "unit");
        units_.state(io, "absent");
        if (queue_) queue_->state(io);
    });
    if (io.loading()) check_loaded(io);
}

void ScsiTarget::check_loaded(StateIo& io) {
    const bool messages = !messages_.empty() || phase_ != ScsiPhase::message_in || !requesting();
    const bool sound = static_cast<u8>(phase_) <= 7 && attribute_ <= TaskAttribute::head_of_queue &&
                       lun_ <= kIdentifyLun && cdb_bytes_ <= cdb_.size() && received_bytes_ <= received_.size() &&
                       initiator_ < ScsiBus::kIds && messages;
    if (!io.failed() && sound) return;
    if (!sound) io.fail(name_ + ": a connection cannot be");
    phase_ = ScsiPhase::command;
    attribute_ = TaskAttribute::untagged;
    lun_ = 0;
    initiator_ = 0;
    units_.visit([](scsi::Unit& unit) { unit.reset(scsi::Unit::Reset::power_on); });
    forget_all();
}

}  // namespace lodge
