#include "disks/iscsi/connection.h"

#include <algorithm>
#include <cassert>

#include "disks/iscsi/service.h"

namespace lodge::iscsi {

namespace {

constexpr u8 kFinal = 0x80, kContinue = 0x40;
// Of a login's text; RFC 7143 section 6.1: until it is declared otherwise.
constexpr u32 kLoginDataBytes = 8192;
constexpr u64 kSecond = 1000;
// A connection that ends has so long to send what it has.
constexpr u64 kEndingSeconds = 5;
// NOP-Out's data that is sent back.
constexpr size_t kMostPingBytes = 64 * 1024;

// RFC 7143 11.9.1.
constexpr u8 kLogoutRequest = 1;
// RFC 7143 11.14.1 and 11.15.1.
constexpr u8 kCloseSession = 0, kCloseConnection = 1;
constexpr u8 kLoggedOut = 0, kNoSuchConnection = 1, kRecoveryNotSupported = 2;

}  // namespace

Connection::Connection(Service& service, u64 id, std::string peer, std::string local, u64 now)
    : service_(service),
      id_(id),
      peer_(std::move(peer)),
      local_(std::move(local)),
      opened_(now),
      login_(*this, service.offer(), service.options().portal_group, peer_),
      input_(kLoginDataBytes),
      heard_(now) {}

void Connection::touch() {
    if (!std::exchange(touched_, true)) service_.touch(id_);
}

bool Connection::has_room() const {
    return output_.bytes() < service_.options().limits.queued_bytes;
}

void Connection::serve() {
    heard_ = service_.now();
    pinged_ = 0;
    while (wants_input()) {
        const auto pdu = input_.next();
        if (!pdu) break;
        if (session_) {
            serve_pdu(*pdu);
        } else {
            serve_login(*pdu);
        }
    }
    if (input_.trouble() != PduStream::Trouble::none && !ending_) stop_for(input_.trouble());
    input_.keep();
}

// At error recovery level 0 a stream that cannot be followed is the end of the connection.
void Connection::stop_for(PduStream::Trouble trouble) {
    end(trouble == PduStream::Trouble::header_digest ? "a damaged header" : "a PDU that is too long");
}

void Connection::sent() {
    if (!has_room()) return;
    while (!blocked_.empty() && has_room()) {
        const u32 tag = blocked_.front();
        blocked_.pop_front();
        if (Transfer* transfer = session_ ? session_->find(tag) : nullptr) transfer->go_on();
    }
    if (input_.kept_bytes() && wants_input()) {
        const u64 heard = heard_;
        serve();
        heard_ = heard;
    }
}

// Login.

Answer<Authentication> Connection::authentication(const Caller& caller, const std::string& target) {
    return service_.directory().authentication(caller, target);
}

void Connection::fill_randomly(std::span<u8> bytes) {
    service_.fill_randomly(bytes);
}

LoginStatus Connection::may_join(const LoginFacts& facts) {
    return service_.may_join(facts);
}

LoginSite::Admission Connection::admit(const LoginFacts& facts) {
    return service_.admit(*this, facts);
}

void Connection::serve_login(const Pdu& pdu) {
    if (pdu.header.opcode() != Opcode::login) return kill("no login");
    if (auto reply = login_.request(pdu)) answer_login(std::move(*reply));
}

void Connection::retry_login() {
    auto reply = login_.go_on();
    if (!reply) return;
    answer_login(std::move(*reply));
    serve();
}

void Connection::answer_login(Login::Reply reply) {
    output_.push(reply.header, std::move(reply.text));
    touch();
    if (reply.failed) {
        service_.refused(*this, reply, login_.facts());
        return end(reply.why);
    }
    if (!reply.done) return;
    assert(joining_);
    session_ = std::exchange(joining_, nullptr);
    parameters_ = login_.facts().parameters;
    stat_sn_ = login_.stat_sn();
    input_.set_digests(parameters_.digests);
    input_.set_most_data(service_.options().limits.receive_bytes);
    output_.set_digests(parameters_.digests);
    service_.logged_in(id_);
}

// Full feature phase.

bool Connection::permitted_in_discovery(Opcode opcode) const {
    return opcode == Opcode::text || opcode == Opcode::logout || opcode == Opcode::nop_out;
}

void Connection::serve_pdu(const Pdu& pdu) {
    const Header& header = pdu.header;
    const Opcode opcode = header.opcode();
    if (pdu.data_damaged) {
        reject(header, RejectReason::data_digest);
        // Only data can be done without.
        if (opcode != Opcode::data_out) return end("damaged data");
    }
    if (session_->discovery() && !permitted_in_discovery(opcode)) return reject(header, RejectReason::protocol_error);
    switch (opcode) {
        case Opcode::data_out:
            return session_->receive_data(*this, pdu);
        case Opcode::nop_out:
            answers_nops_ = true;
            // The answer to our own has no CmdSN.
            if (header.initiator_tag() == kNoTag) return;
            return session_->receive(*this, pdu);
        case Opcode::scsi_command:
        case Opcode::task_management:
        case Opcode::text:
        case Opcode::logout:
            return session_->receive(*this, pdu);
        case Opcode::login:
            return reject(header, RejectReason::protocol_error);
        default:
            return reject(header, RejectReason::command_not_supported);
    }
}

void Connection::push(Header header, StatSn stat_sn, const SharedBytes& data, size_t offset, size_t length) {
    if (session_) {
        expected_command_sn_ = session_->expected_command_sn();
        most_command_sn_ = session_->most_command_sn();
    }
    if (stat_sn != StatSn::none) header.set(24, stat_sn_);
    if (stat_sn == StatSn::own) ++stat_sn_;
    header.set(28, expected_command_sn_);
    header.set(32, most_command_sn_);
    output_.push(header, data, offset, length);
    touch();
}

void Connection::push(Header header, StatSn stat_sn, std::vector<u8> data) {
    const size_t length = data.size();
    if (length == 0) return push(header, stat_sn, nullptr, 0, 0);
    push(header, stat_sn, std::make_shared<const std::vector<u8>>(std::move(data)), 0, length);
}

void Connection::reject(const Header& header, RejectReason reason) {
    Header answer(Opcode::reject);
    answer.set(2, static_cast<u8>(reason));
    answer.set_initiator_tag(kNoTag);
    push(answer, StatSn::own, {header.bytes().begin(), header.bytes().end()});
}

void Connection::answer_nop(const Header& header, std::span<const u8> data) {
    // Without a tag nobody waits for it.
    if (header.initiator_tag() == kNoTag) return;
    const size_t most = std::min<size_t>(kMostPingBytes, parameters_.initiator_receive_bytes);
    const auto echo = data.first(std::min(data.size(), most));
    Header answer(Opcode::nop_in);
    answer.set(8, header.lun());
    answer.set_initiator_tag(header.initiator_tag());
    answer.set_target_tag(kNoTag);
    push(answer, StatSn::own, {echo.begin(), echo.end()});
}

void Connection::answer_management(u32 tag, u8 response) {
    Header answer(Opcode::task_management_response);
    answer.set(2, response);
    answer.set_initiator_tag(tag);
    push(answer, StatSn::own);
}

// Text requests (RFC 7143 11.10): SendTargets, and a new MaxRecvDataSegmentLength.

void Connection::answer_text(const Header& header, std::span<const u8> data) {
    const u32 target_tag = header.target_tag();
    if (target_tag != kNoTag && target_tag == text_tag_) return send_text(header.initiator_tag());
    text_tag_ = kNoTag;
    text_answer_.clear();
    if (text_.size() + data.size() > kMostTextBytes) {
        text_.clear();
        return reject(header, RejectReason::long_operation);
    }
    text_.insert(text_.end(), data.begin(), data.end());
    if (header.flags() & kContinue) {
        // An empty answer asks for the rest; its tag is not one of a long answer of ours.
        Header answer(Opcode::text_response, 0);
        answer.set_initiator_tag(header.initiator_tag());
        answer.set_target_tag(header.initiator_tag() & 0x7FFF'FFFF);
        return push(answer, StatSn::own);
    }
    const std::vector<u8> text = std::exchange(text_, {});
    const auto pairs = parse_text(text);
    if (!pairs) return reject(header, RejectReason::protocol_error);
    for (const TextPair& pair : *pairs) answer_key(pair);
    send_text(header.initiator_tag());
}

void Connection::answer_key(const TextPair& pair) {
    if (pair.key == "SendTargets") return list_targets(pair.value);
    if (pair.key != "MaxRecvDataSegmentLength") {
        const bool known = Negotiation(service_.offer(), true).take(pair.key, pair.value).has_value();
        return append_text(text_answer_, pair.key, known ? "Reject" : "NotUnderstood");
    }
    Negotiation negotiation(service_.offer(), false);
    const auto answer = negotiation.take(pair.key, pair.value);
    if (answer->value) return append_text(text_answer_, pair.key, *answer->value);
    parameters_.initiator_receive_bytes = negotiation.parameters().initiator_receive_bytes;
}

// RFC 7143 appendix C: all of them in a discovery session, in a normal one its own target.
void Connection::list_targets(const std::string& which) {
    const bool all = which == "All";
    if (all && !session_->discovery()) return append_text(text_answer_, "SendTargets", "Reject");
    const std::string& own = session_->facts().target;
    for (const std::string& name : service_.directory().targets(session_->facts().caller)) {
        const bool wanted = all || (which.empty() ? name == own : name == normal_name(which));
        if (!wanted) continue;
        append_text(text_answer_, "TargetName", name);
        append_text(text_answer_, "TargetAddress", local_ + "," + std::to_string(service_.options().portal_group));
    }
}

// A piece of the answer; while more is left, the initiator asks for it with the tag.
void Connection::send_text(u32 tag) {
    const size_t count = std::min<size_t>(text_answer_.size(), parameters_.initiator_receive_bytes);
    const bool last = count == text_answer_.size();
    const auto end = text_answer_.begin() + static_cast<long>(count);
    std::vector<u8> piece(text_answer_.begin(), end);
    text_answer_.erase(text_answer_.begin(), end);
    text_tag_ = last ? kNoTag : 0x8000'0000 | (tag & 0x7FFF'FFFE);
    Header answer(Opcode::text_response, last ? kFinal : kContinue);
    answer.set_initiator_tag(tag);
    answer.set_target_tag(text_tag_);
    push(answer, StatSn::own, std::move(piece));
}

// Logout (RFC 7143 11.14).

void Connection::log_out(const Header& header) {
    const u8 reason = header.flags() & 0x7F;
    const u32 tag = header.initiator_tag();
    const u16 which = header.get<u16>(20);
    if (reason == kCloseSession) {
        logging_out_ = true;
        return service_.end_session(*session_, "logged out", Service::Logout{id_, tag});
    }
    if (reason != kCloseConnection) return answer_logout(tag, kRecoveryNotSupported);
    Connection* leaving = session_->connection(which);
    if (!leaving) return answer_logout(tag, kNoSuchConnection);
    if (session_->connections().size() == 1) {
        logging_out_ = true;
        return service_.end_session(*session_, "logged out", Service::Logout{id_, tag});
    }
    answer_logout(tag, kLoggedOut);
    session_->remove(*leaving);
    leaving->session_ = nullptr;
    leaving->end("logged out");
}

void Connection::answer_logout(u32 tag, u8 response) {
    Header answer(Opcode::logout_response);
    answer.set(2, response);
    answer.set_initiator_tag(tag);
    push(answer, StatSn::own);
}

// Time.

void Connection::tick(u64 now) {
    const Limits& limits = service_.options().limits;
    if (ending_) {
        if (now >= ending_until_) kill(end_reason_);
    } else if (!session_) {
        if (now >= opened_ + limits.login_seconds * kSecond && !logging_out_) kill("it did not log in in time");
    } else if (logout_until_ && now >= logout_until_) {
        kill("it was asked to log out, and did not");
    } else if (limits.ping_seconds && answers_nops_ && !paused()) {
        ping(now);
    }
}

void Connection::ping(u64 now) {
    const u64 patience = service_.options().limits.ping_seconds * kSecond;
    if (pinged_) {
        if (now >= pinged_ + patience) kill("no sign of life");
        return;
    }
    if (now < heard_ + patience) return;
    pinged_ = now;
    Header header(Opcode::nop_in);
    header.set_initiator_tag(kNoTag);
    header.set_target_tag(1);
    push(header, StatSn::next);
}

void Connection::ask_logout(u32 seconds) {
    logout_until_ = std::max<u64>(1, service_.now() + seconds * kSecond);
    Header header(Opcode::asynchronous_message);
    header.set_initiator_tag(kNoTag);
    header.set(36, kLogoutRequest);
    header.set(42, static_cast<u16>(std::min<u32>(seconds, 0xFFFF)));
    push(header, StatSn::own);
}

void Connection::end(std::string why) {
    if (!ending_) end_reason_ = std::move(why);
    ending_ = true;
    ending_until_ = service_.now() + kEndingSeconds * kSecond;
    blocked_.clear();
    touch();
}

void Connection::kill(std::string why) {
    if (end_reason_.empty()) end_reason_ = std::move(why);
    ending_ = dead_ = true;
    output_.clear();
    blocked_.clear();
    touch();
}

}  // namespace lodge::iscsi
