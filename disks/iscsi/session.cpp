#include "disks/iscsi/session.h"

#include <algorithm>
#include <cassert>

#include "disks/iscsi/connection.h"
#include "disks/iscsi/service.h"

namespace lodge::iscsi {

namespace {

// Serial numbers, RFC 1982: how far `a` is ahead of `b`.
i32 ahead(u32 a, u32 b) {
    return static_cast<i32>(a - b);
}

// RFC 7143 11.5.1.
enum class Function : u8 {
    abort_task = 1,
    abort_task_set = 2,
    clear_aca = 3,
    clear_task_set = 4,
    logical_unit_reset = 5,
    target_warm_reset = 6,
    target_cold_reset = 7,
    task_reassign = 8,
};

}  // namespace

Session::Session(Service& service, u64 id, u16 tsih, const LoginFacts& facts, std::unique_ptr<Attachment> attachment,
                 i64 since)
    : service_(service),
      tsih_(tsih),
      facts_(facts),
      attachment_(std::move(attachment)),
      expected_command_sn_(facts.command_sn),
      most_command_sn_(facts.command_sn - 1) {
    info_.id = id;
    info_.initiator = facts.caller.initiator;
    info_.target = facts.target;
    info_.address = facts.caller.address;
    info_.chap_name = facts.caller.chap_name;
    info_.since = since;
    if (!attachment_) return;
    disk_ = attachment_->disk();
    unit_ = &DiskUnit::of(disk_, service.completions(), service.units());
    nexus_ = unit_->join(facts.caller.initiator_port);
}

Session::~Session() {
    assert(transfers_.empty());
}

SessionInfo Session::info() const {
    SessionInfo info = info_;
    info.connections = static_cast<u32>(connections_.size());
    return info;
}

void Session::add(Connection& connection) {
    connections_.push_back(&connection);
}

Connection* Session::connection(u16 cid) const {
    const auto found =
        std::find_if(connections_.begin(), connections_.end(), [cid](const Connection* c) { return c->cid() == cid; });
    return found == connections_.end() ? nullptr : *found;
}

void Session::remove(Connection& connection) {
    std::erase(connections_, &connection);
    // A request that cannot come any more would keep its place for ever; one that came and waits is dropped.
    for (auto& [sn, early] : early_)
        if (early.connection == &connection) early.connection = nullptr;
    abandon([&](const Transfer& transfer) { return &transfer.connection() == &connection; });
}

// The order of commands.

bool Session::in_window(u32 command_sn) const {
    return ahead(command_sn, expected_command_sn_) >= 0 && ahead(most_command_sn_, command_sn) >= 0;
}

// RFC 7143 4.2.2.1: it never goes back.
u32 Session::most_command_sn() {
    const u32 most = service_.options().limits.commands;
    const u32 open = most > active_ ? most - active_ : 0;
    const u32 candidate = expected_command_sn_ + open - 1;
    if (ahead(candidate, most_command_sn_) > 0) most_command_sn_ = candidate;
    return most_command_sn_;
}

void Session::receive(Connection& connection, const Pdu& pdu) {
    const Header& header = pdu.header;
    const u32 command_sn = header.command_sn();
    const bool is_command = header.opcode() == Opcode::scsi_command;
    if (header.immediate()) {
        if (is_command && !accept(connection, pdu)) return;
        return execute(connection, header, pdu.data);
    }
    if (!in_window(command_sn) || early_.contains(command_sn)) return;
    if (is_command && !accept(connection, pdu)) return;
    if (command_sn == expected_command_sn_) {
        ++expected_command_sn_;
        execute(connection, header, pdu.data);
        return execute_early();
    }
    // The data of a command is with its transfer already.
    std::vector<u8> data;
    if (!is_command) data.assign(pdu.data.begin(), pdu.data.end());
    early_[command_sn] = {&connection, header, std::move(data)};
}

void Session::execute_early() {
    while (!closing_) {
        const auto next = early_.find(expected_command_sn_);
        if (next == early_.end()) return;
        const Early early = std::move(next->second);
        early_.erase(next);
        ++expected_command_sn_;
        if (early.connection) execute(*early.connection, early.header, early.data);
    }
}

// Makes the transfer of a SCSI command, whose data may come before its turn.
bool Session::accept(Connection& connection, const Pdu& pdu) {
    const Header& header = pdu.header;
    if (discovery()) {
        connection.reject(header, RejectReason::protocol_error);
        return false;
    }
    if (header.initiator_tag() == kNoTag || transfers_.contains(header.initiator_tag())) {
        connection.reject(header, RejectReason::task_in_progress);
        return false;
    }
    if (header.immediate() && immediate_ >= kMostImmediate) {
        connection.reject(header, RejectReason::too_many_immediate_commands);
        return false;
    }
    ++(header.immediate() ? immediate_ : active_);
    auto transfer = std::make_unique<Transfer>(*this, connection, header);
    Transfer& kept = *transfer;
    transfers_[header.initiator_tag()] = std::move(transfer);
    if (!pdu.data.empty()) kept.take_immediate(pdu.data);
    return true;
}

void Session::execute(Connection& connection, const Header& header, std::span<const u8> data) {
    switch (header.opcode()) {
        case Opcode::scsi_command:
            if (Transfer* transfer = find(header.initiator_tag())) start(*transfer);
            return;
        case Opcode::nop_out:
            return connection.answer_nop(header, data);
        case Opcode::text:
            return connection.answer_text(header, data);
        case Opcode::task_management:
            return manage(connection, header);
        case Opcode::logout:
            return connection.log_out(header);
        default:
            return connection.reject(header, RejectReason::command_not_supported);
    }
}

// Transfers.

Transfer* Session::find(u32 tag) const {
    const auto found = transfers_.find(tag);
    return found == transfers_.end() ? nullptr : found->second.get();
}

// Data for a command that was aborted meanwhile is of no use to anybody.
void Session::receive_data(const Connection& connection, const Pdu& pdu) {
    Transfer* transfer = find(pdu.header.initiator_tag());
    if (transfer && &transfer->connection() == &connection) transfer->take(pdu);
}

bool Session::room_for(const Transfer& transfer) const {
    if (unit_->full()) return false;
    return held_bytes_ == 0 || held_bytes_ + transfer.cost() <= service_.options().limits.session_bytes;
}

void Session::start(Transfer& transfer) {
    if (waiting_.empty() && room_for(transfer)) return begin(transfer);
    waiting_.push_back(transfer.tag());
    feed();
}

void Session::begin(Transfer& transfer) {
    held_bytes_ += transfer.cost();
    transfer.begin(unit_->unit(transfer.lun()), nexus_);
    unit_->wake();
}

void Session::feed() {
    while (!waiting_.empty()) {
        Transfer* transfer = find(waiting_.front());
        if (transfer && !room_for(*transfer)) break;
        waiting_.pop_front();
        if (transfer) begin(*transfer);
    }
    if (waiting_.empty() || hungry_ || !unit_->full()) return;
    hungry_ = true;
    unit_->when_room([&service = service_, id = id()] {
        Session* session = service.find_session(id);
        if (!session) return;
        session->hungry_ = false;
        session->feed();
    });
}

void Session::uncount(Transfer& transfer) {
    if (!transfer.counts()) return;
    transfer.count_no_more();
    --(transfer.immediate() ? immediate_ : active_);
}

void Session::ended(Transfer& transfer) {
    uncount(transfer);
    if (transfer.begun()) held_bytes_ -= transfer.cost();
    transfers_.erase(transfer.tag());
    if (!closing_) feed();
}

void Session::abandon(const std::function<bool(const Transfer&)>& which) {
    std::vector<Transfer*> gone;
    for (const auto& [tag, transfer] : transfers_)
        if (which(*transfer)) gone.push_back(transfer.get());
    // None of them may begin when another one makes room.
    std::erase_if(waiting_, [&](u32 tag) {
        const Transfer* transfer = find(tag);
        return !transfer || std::find(gone.begin(), gone.end(), transfer) != gone.end();
    });
    for (Transfer* transfer : gone) {
        transfer->abandon();
        ended(*transfer);
    }
    if (unit_) unit_->wake();
}

void Session::wake() {
    unit_->wake();
}

void Session::count_read(u64 bytes) {
    ++info_.reads;
    info_.read_bytes += bytes;
}

void Session::count_write(u64 bytes) {
    ++info_.writes;
    info_.written_bytes += bytes;
}

// Task management.

void Session::manage(Connection& connection, const Header& header) {
    if (discovery()) return connection.reject(header, RejectReason::protocol_error);
    const Function function = static_cast<Function>(header.flags() & 0x7F);
    ManagementResponse response = ManagementResponse::not_supported;
    switch (function) {
        case Function::abort_task:
            response = abort_task(header);
            break;
        case Function::abort_task_set:
        case Function::clear_task_set:
        case Function::logical_unit_reset:
            response = manage_lun(header.flags() & 0x7F, header.lun());
            break;
        case Function::target_warm_reset:
        case Function::target_cold_reset:
            abandon([](const Transfer&) { return true; });
            unit_->reset(scsi::Unit::Reset::device);
            response = ManagementResponse::complete;
            break;
        case Function::task_reassign:
            response = ManagementResponse::reassign_not_supported;
            break;
        case Function::clear_aca:
            break;
    }
    unit_->wake();
    // What was aborted is told so only when its work on the medium has ended too (disks/scsi/unit.h).
    unit_->when_quiet(
        [&service = service_, unit = unit_, function, response, id = connection.id(), tag = header.initiator_tag()] {
            if (Connection* found = service.find_connection(id))
                found->answer_management(tag, static_cast<u8>(response));
            if (function == Function::target_cold_reset) service.end_sessions_of(unit, "target cold reset");
        });
}

Session::ManagementResponse Session::manage_lun(u8 code, u64 lun) {
    if (!unit_->has(lun)) return ManagementResponse::no_lun;
    const Function function = static_cast<Function>(code);
    abandon([lun](const Transfer& transfer) { return transfer.lun() == lun; });
    scsi::Unit& unit = unit_->unit(lun);
    if (function == Function::clear_task_set) unit.clear_task_set(nexus_);
    if (function == Function::logical_unit_reset) unit.reset(scsi::Unit::Reset::device);
    return ManagementResponse::complete;
}

// RFC 7143 11.6.1.
Session::ManagementResponse Session::abort_task(const Header& header) {
    const u32 tag = header.target_tag();  // the Referenced Task Tag is in its place
    const u32 command_sn = header.get<u32>(32);
    if (find(tag)) {
        abandon([tag](const Transfer& transfer) { return transfer.tag() == tag; });
        return ManagementResponse::complete;
    }
    // It has not arrived, and is not to be carried out when it does.
    if (!in_window(command_sn) || early_.contains(command_sn) || ahead(header.command_sn(), command_sn) <= 0)
        return ManagementResponse::no_task;
    early_[command_sn] = {};
    execute_early();
    return ManagementResponse::complete;
}

// Its end.

void Session::close(std::string why, bool logged_out) {
    closing_ = true;
    logged_out_ = logged_out;
    end_reason_ = std::move(why);
    waiting_.clear();
    early_.clear();
    abandon([](const Transfer&) { return true; });
    if (unit_) unit_->leave(nexus_);
}

void Session::release() {
    if (attachment_ && logged_out_) attachment_->logged_out();
    attachment_.reset();
    unit_ = nullptr;
    disk_.reset();
}

}  // namespace lodge::iscsi
