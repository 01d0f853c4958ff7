// A connection: bytes from and for one peer, without the socket. It logs in, then hands requests to its session, and
// does what concerns the connection alone: NOP, text, logout, rejects, asynchronous messages.
// Source: RFC 7143 sections 7, 11.9 to 11.19.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "disks/iscsi/login.h"
#include "disks/iscsi/output_queue.h"
#include "disks/iscsi/session.h"

namespace lodge::iscsi {

class Service;

class Connection final : private LoginSite {
  public:
    // Addresses of both ends: ADDRESS:PORT.
    Connection(Service& service, u64 id, std::string peer, std::string local, u64 now);

    u64 id() const { return id_; }
    const std::string& peer() const { return peer_; }
    Session* session() const { return session_; }
    u16 cid() const { return login_.facts().cid; }
    u64 opened() const { return opened_; }
    bool login_waits() const { return login_.waits(); }

    // It may be touched again (Service::take_touched).
    void attended() { touched_ = false; }
    // For whoever has the socket: read into input().space(), tell arrived, then serve().
    PduStream& input() { return input_; }
    void serve();
    OutputQueue& output() { return output_; }
    bool has_output() const { return !output_.empty(); }
    // Some of the output has gone.
    void sent();
    // It does not want to be read from now: too much is waiting to be sent, or it is over.
    bool wants_input() const { return !ending_ && !logging_out_ && !paused() && !login_.waits(); }
    // To be closed once the output has gone.
    bool ending() const { return ending_; }
    // To be closed now.
    bool dead() const { return dead_; }
    const std::string& end_reason() const { return end_reason_; }

    // Once a second or so.
    void tick(u64 now);
    void end(std::string why);   // after what has been queued
    void kill(std::string why);  // at once
    void ask_logout(u32 seconds);
    void retry_login();

    // For its session and transfers.
    void enter_session(Session& session) { joining_ = &session; }
    void leave_session() { session_ = joining_ = nullptr; }
    // What a PDU's StatSN is: none, that of the next response, or one of its own.
    enum class StatSn : u8 { none, next, own };
    // Adds StatSN, ExpCmdSN and MaxCmdSN.
    void push(Header header, StatSn stat_sn, std::vector<u8> data = {});
    void push(Header header, StatSn stat_sn, const SharedBytes& data, size_t offset, size_t length);
    void reject(const Header& header, RejectReason reason);
    const Parameters& parameters() const { return parameters_; }
    bool has_room() const;
    void wait_for_room(u32 tag) { blocked_.push_back(tag); }
    void answer_nop(const Header& header, std::span<const u8> data);
    void answer_text(const Header& header, std::span<const u8> data);
    void log_out(const Header& header);
    void answer_logout(u32 tag, u8 response);
    void answer_management(u32 tag, u8 response);

  private:
    Answer<Authentication> authentication(const Caller& caller, const std::string& target) override;
    void fill_randomly(std::span<u8> bytes) override;
    LoginStatus may_join(const LoginFacts& facts) override;
    Admission admit(const LoginFacts& facts) override;

    bool paused() const { return !has_room() && session_; }
    void touch();
    void serve_login(const Pdu& pdu);
    void answer_login(Login::Reply reply);
    void serve_pdu(const Pdu& pdu);
    bool permitted_in_discovery(Opcode opcode) const;
    void stop_for(PduStream::Trouble trouble);
    void send_text(u32 tag);
    void answer_key(const TextPair& pair);
    void list_targets(const std::string& which);
    void ping(u64 now);

    Service& service_;
    u64 id_;
    std::string peer_, local_;
    u64 opened_;  // milliseconds, as all times here
    Login login_;
    Session* session_ = nullptr;
    Session* joining_ = nullptr;  // to be session_ behind the login's last answer
    bool touched_ = false;
    Parameters parameters_;
    PduStream input_;
    OutputQueue output_;
    u32 stat_sn_ = 0;
    u32 expected_command_sn_ = 0, most_command_sn_ = 0;  // the session's when it was asked last
    std::deque<u32> blocked_;                            // transfers that wait for room in the output

    std::vector<u8> text_;  // of text requests that are continued
    std::vector<u8> text_answer_;
    u32 text_tag_ = kNoTag;  // target transfer tag of the answer under way

    u64 heard_;  // when something came last
    bool answers_nops_ = false;
    u64 pinged_ = 0;        // when; 0: no answer is awaited
    u64 logout_until_ = 0;  // when it is dropped unless it has logged out; 0: never
    bool logging_out_ = false, ending_ = false, dead_ = false;
    u64 ending_until_ = 0;
    std::string end_reason_;
};

}  // namespace lodge::iscsi
