#include "disks/iscsi/transfer.h"

#include <algorithm>
#include <cassert>

#include "disks/iscsi/connection.h"
#include "disks/iscsi/session.h"

namespace lodge::iscsi {

namespace {

// Flags of a SCSI Command (RFC 7143 11.3.1), of a SCSI Response and of Data-In (11.4.1, 11.7.1).
constexpr u8 kFinal = 0x80, kReads = 0x40, kWrites = 0x20, kAttribute = 0x07;
constexpr u8 kOverflow = 0x04, kUnderflow = 0x02, kHasStatus = 0x01;

// RFC 7143 11.4.7.2.
constexpr scsi::SenseCode kUnexpectedUnsolicitedData{0x0C, 0x0C};
constexpr scsi::SenseCode kIncorrectAmountOfData{0x0C, 0x0D};
constexpr scsi::SenseCode kProtocolServiceCrcError{0x47, 0x05};
constexpr scsi::SenseCode kInvalidMessageError{0x49, 0x00};

}  // namespace

Transfer::Transfer(Session& session, Connection& connection, const Header& command)
    : session_(session),
      connection_(connection),
      tag_(command.initiator_tag()),
      lun_(command.lun()),
      immediate_(command.immediate()),
      reads_((command.flags() & kReads) && !(command.flags() & kWrites)),
      writes_(command.flags() & kWrites),
      expected_(reads_ || writes_ ? command.get<u32>(20) : 0) {
    const auto cdb = command.bytes(32, 16);
    std::copy(cdb.begin(), cdb.end(), command_.cdb.begin());
    command_.tag = tag_;
    command_.most_out = writes_ ? expected_ : 0;
    command_.most_in = reads_ ? expected_ : 0;
    switch (command.flags() & kAttribute) {
        case 0:  // untagged: in no order
        case 1:
            command_.attribute = scsi::TaskAttribute::simple;
            break;
        case 2:
            command_.attribute = scsi::TaskAttribute::ordered;
            break;
        case 3:
            command_.attribute = scsi::TaskAttribute::head_of_queue;
            break;
        default:  // ACA, of which there is none
            bad_attribute_ = true;
    }
    unsolicited_open_ = writes_ && !command.final() && !session.parameters().initial_r2t;
}

// Data from the initiator.

void Transfer::take_immediate(std::span<const u8> data) {
    const u64 most = std::min<u64>(expected_, session_.parameters().first_burst);
    if (!writes_ || !session_.parameters().immediate_data || data.size() > most)
        return fail(kUnexpectedUnsolicitedData);
    arrived(data);
}

bool Transfer::fits(const Pdu& pdu) const {
    const Header& header = pdu.header;
    if (header.get<u32>(40) != received_) return false;
    const u32 data_sn = header.get<u32>(36);
    if (header.target_tag() == kNoTag) {
        const u64 most = std::min<u64>(expected_, session_.parameters().first_burst);
        return unsolicited_open_ && data_sn == unsolicited_sn_ && received_ + pdu.data.size() <= most;
    }
    if (unsolicited_open_ || asked_.empty()) return false;
    const Burst& burst = asked_.front();
    if (header.target_tag() != burst.target_tag || data_sn != burst.data_sn) return false;
    return header.final() ? pdu.data.size() == burst.length : pdu.data.size() < burst.length;
}

void Transfer::take(const Pdu& pdu) {
    if (pdu.data_damaged) {
        fail(kProtocolServiceCrcError);
    } else if (!discards_ && !fits(pdu)) {
        fail(pdu.header.target_tag() == kNoTag && !unsolicited_open_ ? kUnexpectedUnsolicitedData
                                                                     : kIncorrectAmountOfData);
    }
    count_off(pdu.header, static_cast<u32>(pdu.data.size()));
    if (!discards_) arrived(pdu.data);
    if (!owed() && outcome_ && begun()) return respond();
    if (scsi::Task* task = this->task(); task && task->need() == scsi::Task::Need::data_out) ask_more(*task);
}

// Whatever is in a PDU, its F bit ends a run of them.
void Transfer::count_off(const Header& header, u32 bytes) {
    if (header.target_tag() == kNoTag) {
        ++unsolicited_sn_;
        if (header.final()) unsolicited_open_ = false;
        return;
    }
    if (asked_.empty() || asked_.front().target_tag != header.target_tag()) return;
    Burst& burst = asked_.front();
    ++burst.data_sn;
    burst.length -= std::min(burst.length, bytes);
    if (header.final()) asked_.pop_front();
}

void Transfer::arrived(std::span<const u8> data) {
    received_ += data.size();
    requested_ = std::max(requested_, received_);
    scsi::Task* task = this->task();
    if (task && task->need() == scsi::Task::Need::data_out && early_.empty()) {
        const size_t count = std::min(data.size(), task->left_in_piece());
        if (count) {
            std::memcpy(task->data_out().data(), data.data(), count);
            unit_->data_moved(*task, count);
            session_.wake();
        }
        data = data.subspan(count);
    }
    early_.insert(early_.end(), data.begin(), data.end());
}

void Transfer::give_early(scsi::Task& task) {
    const size_t count = std::min(early_.size(), task.left_in_piece());
    if (count == 0) return;
    std::memcpy(task.data_out().data(), early_.data(), count);
    early_.erase(early_.begin(), early_.begin() + static_cast<long>(count));
    unit_->data_moved(task, count);
    session_.wake();
}

void Transfer::ask(scsi::Task& task) {
    give_early(task);
    if (task.need() == scsi::Task::Need::data_out) ask_more(task);
}

// R2Ts up to the end of the piece that the unit wants.
void Transfer::ask_more(scsi::Task& task) {
    const Parameters& parameters = session_.parameters();
    if (unsolicited_open_ || discards_) return;
    const u64 end = task.moved() + task.left_in_piece();
    if (end > expected_) return fail(kIncorrectAmountOfData);
    while (asked_.size() < parameters.max_outstanding_r2t && requested_ < end) {
        const u32 length = static_cast<u32>(std::min<u64>(end - requested_, parameters.max_burst));
        Header header(Opcode::ready_to_transfer);
        header.set(8, lun_);
        header.set_initiator_tag(tag_);
        header.set_target_tag(next_r2t_sn_);
        header.set(36, next_r2t_sn_);
        header.set(40, static_cast<u32>(requested_));
        header.set(44, length);
        connection_.push(header, Connection::StatSn::next);
        asked_.push_back({next_r2t_sn_, length});
        ++next_r2t_sn_;
        requested_ += length;
    }
}

// The transport has spoilt the command; what is still owed is waited for, and thrown away.
void Transfer::fail(scsi::SenseCode code) {
    discards_ = true;
    early_ = {};
    if (scsi::Task* task = this->task()) {
        unit_->abort_with(*task, code);
        session_.wake();
    } else if (!begun()) {
        outcome_ = Outcome{.status = scsi::Status::check_condition,
                           .sense = {.key = scsi::SenseKey::aborted_command, .code = code}};
    }
}

// The task.

void Transfer::begin(scsi::Unit& unit, scsi::Nexus nexus) {
    unit_ = &unit;
    if (bad_attribute_)
        outcome_ =
            Outcome{.status = scsi::Status::check_condition, .sense = scsi::Sense::illegal(kInvalidMessageError)};
    if (outcome_) {
        if (!owed()) respond();
        return;
    }
    command_.nexus = nexus;
    scsi::Task& task = unit.submit(command_);
    task.owner_data = reinterpret_cast<u64>(static_cast<TaskOwner*>(this));
    task_ = task.id();
}

void Transfer::serve(scsi::Task& task) {
    switch (task.need()) {
        case scsi::Task::Need::data_out:
            return ask(task);
        case scsi::Task::Need::data_in:
            return send(task);
        case scsi::Task::Need::done:
            return end(task);
        case scsi::Task::Need::aborted:
            unit_->retire(task);
            task_ = 0;
            return session_.ended(*this);
        case scsi::Task::Need::turn:
        case scsi::Task::Need::medium:
            return;
    }
}

void Transfer::go_on() {
    waits_for_room_ = false;
    scsi::Task* task = this->task();
    if (task && task->need() == scsi::Task::Need::data_in) send(*task);
}

void Transfer::abandon() {
    scsi::Task* task = this->task();
    if (!task) return;
    task->owner_data = 0;
    unit_->abort_task(command_.nexus, command_.attribute, command_.tag);
    task_ = 0;
}

// Data for the initiator.

void Transfer::send(scsi::Task& task) {
    if (!connection_.has_room()) {
        if (!waits_for_room_) connection_.wait_for_room(tag_);
        waits_for_room_ = true;
        return;
    }
    emit(false);
    std::vector<u8> data = task.take_data_in();
    const size_t count = data.size();
    held_bytes_ = std::min<u64>(count, command_.most_in - std::min(command_.most_in, sent_));
    held_ = std::make_shared<const std::vector<u8>>(std::move(data));
    unit_->data_moved(task, count);
    session_.wake();
}

// Sends what is held as Data-In PDUs; the last one has the status, which is GOOD, and counts as the command's end.
void Transfer::emit(bool with_status) {
    const Parameters& limits = session_.parameters();
    const size_t most = connection_.parameters().initiator_receive_bytes;
    size_t offset = 0;
    while (offset < held_bytes_) {
        const size_t length = std::min({most, held_bytes_ - offset, size_t{limits.max_burst - burst_}});
        const bool last = with_status && offset + length == held_bytes_;
        burst_ += static_cast<u32>(length);
        const bool burst_ends = last || burst_ == limits.max_burst || sent_ + length == expected_;
        if (burst_ends) burst_ = 0;
        Header header(Opcode::data_in, burst_ends ? kFinal : 0);
        header.set(8, lun_);
        header.set_initiator_tag(tag_);
        header.set_target_tag(kNoTag);
        header.set(36, next_data_sn_++);
        header.set(40, static_cast<u32>(sent_));
        if (last) {
            header.set(3, static_cast<u8>(outcome_->status));
            header.set_flags(residual(header, kFinal | kHasStatus));
        }
        connection_.push(header, last ? Connection::StatSn::own : Connection::StatSn::none, held_, offset, length);
        offset += length;
        sent_ += length;
    }
    held_.reset();
    held_bytes_ = 0;
}

void Transfer::end(scsi::Task& task) {
    outcome_ = Outcome{task.status(), task.sense(), task.total_in(), task.total_out(), task.moved()};
    unit_->retire(task);
    task_ = 0;
    discards_ = true;
    early_ = {};
    if (!owed()) respond();
}

void Transfer::respond() {
    session_.uncount(*this);
    const bool good = outcome_->status == scsi::Status::good;
    if (good && held_bytes_) {
        emit(true);
    } else {
        emit(false);
        Header header(Opcode::scsi_response);
        header.set_flags(residual(header, kFinal));
        header.set(3, static_cast<u8>(outcome_->status));
        header.set_initiator_tag(tag_);
        header.set(36, next_data_sn_ + next_r2t_sn_);
        std::vector<u8> data;
        if (outcome_->status == scsi::Status::check_condition) {
            data = unit_->sense_bytes(outcome_->sense);
            const u16 length = static_cast<u16>(data.size());
            data.insert(data.begin(), {static_cast<u8>(length >> 8), static_cast<u8>(length)});
        }
        connection_.push(header, Connection::StatSn::own, std::move(data));
    }
    if (reads_ && sent_) session_.count_read(sent_);
    if (writes_ && outcome_->moved) session_.count_write(outcome_->moved);
    session_.ended(*this);
}

// RFC 7143 11.4.5: how far the initiator's count is from the command's.
u8 Transfer::residual(Header& header, u8 flags) const {
    u64 all = 0;
    if (outcome_->status == scsi::Status::good) {
        all = writes_ ? outcome_->total_out : outcome_->total_in;
    } else {
        all = writes_ ? std::min<u64>(outcome_->moved, expected_) : sent_;
    }
    if (all == expected_) return flags;
    const u64 difference = all > expected_ ? all - expected_ : expected_ - all;
    header.set(44, static_cast<u32>(std::min<u64>(difference, 0xFFFF'FFFF)));
    return flags | (all > expected_ ? kOverflow : kUnderflow);
}

}  // namespace lodge::iscsi
