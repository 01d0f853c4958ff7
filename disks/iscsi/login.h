// A connection's way into the full feature phase: the login of RFC 7143 chapter 6 and sections 11.12 and 11.13.
//
// One Login per connection. It takes Login Requests and makes Login Responses; what must be decided about initiators,
// sessions and disks it asks its LoginSite.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "disks/iscsi/chap.h"
#include "disks/iscsi/directory.h"
#include "disks/iscsi/parameters.h"
#include "disks/iscsi/text_keys.h"

namespace lodge::iscsi {

// Status class and detail (RFC 7143 11.13.5).
enum class LoginStatus : u16 {
    success = 0x0000,
    initiator_error = 0x0200,
    authentication_failure = 0x0201,
    forbidden = 0x0202,
    not_found = 0x0203,
    too_many_connections = 0x0206,
    missing_parameter = 0x0207,
    cannot_include_in_session = 0x0208,
    session_type_not_supported = 0x0209,
    session_does_not_exist = 0x020A,
    invalid_during_login = 0x020B,
    version_not_supported = 0x0205,
    target_error = 0x0300,
    service_unavailable = 0x0301,
    out_of_resources = 0x0302,
};
LoginStatus status_of(Refusal::Kind kind);

using Isid = std::array<u8, 6>;

// What a login has found out.
struct LoginFacts {
    Caller caller;
    std::string target;  // empty in a discovery session
    bool discovery = false;
    Isid isid{};
    u16 tsih = 0;  // 0: a new session
    u16 cid = 0;
    u32 command_sn = 0;  // of the first request
    Parameters parameters;
};

class LoginSite {
  public:
    virtual ~LoginSite() = default;
    virtual Answer<Authentication> authentication(const Caller& caller, const std::string& target) = 0;
    virtual void fill_randomly(std::span<u8> bytes) = 0;
    // The first request of a connection that wants to join the session facts.tsih.
    virtual LoginStatus may_join(const LoginFacts& facts) = 0;

    // The login is done, but for this: a session begins, or gets another connection.
    struct Admission {
        LoginStatus status = LoginStatus::success;
        std::string why;     // of a refusal
        bool later = false;  // not yet: to be asked again, by Login::go_on
        u16 tsih = 0;
        u32 expected_command_sn = 0, most_command_sn = 0;
    };
    virtual Admission admit(const LoginFacts& facts) = 0;
};

class Login {
  public:
    // Of requests, until the full feature phase: nobody needs nearly as many.
    static constexpr u32 kMostRequests = 32;

    Login(LoginSite& site, Offer offer, u16 portal_group, std::string address);

    struct Reply {
        Header header;
        std::vector<u8> text;
        bool failed = false;  // the connection is to be closed behind it
        bool done = false;    // the full feature phase begins behind it
        std::string why;      // of a failure, for people
    };
    // Nothing: the answer comes from go_on, later.
    std::optional<Reply> request(const Pdu& pdu);
    // While an answer is owed: asks the site again.
    std::optional<Reply> go_on();
    bool waits() const { return waiting_.has_value(); }

    const LoginFacts& facts() const { return facts_; }
    // For the next response on this connection.
    u32 stat_sn() const { return stat_sn_; }

  private:
    enum class Stage : u8 { security = 0, operational = 1, full_feature = 3 };
    enum class Security : u8 { method, algorithm, response, passed };
    struct Failure {
        LoginStatus status;
        std::string why;
    };
    using Step = std::optional<Failure>;  // nothing: all is well

    Step begin(const Header& header);
    Step continues(const Header& header) const;
    Step collect(const Pdu& pdu);
    Step first_keys();
    Step text(Stage stage, bool transit);
    Step key(const TextPair& pair);
    const std::string* value(std::string_view key) const;
    void answer(std::string_view key, std::string_view value) { append_text(answers_, key, value); }

    Step security(bool transit);
    Step choose_method(std::string_view offered);
    bool proves(const ChapIdentity& identity, std::string_view name, std::span<const u8> response) const;
    Step challenge(std::string_view algorithms);
    Step check_response();
    Step prove_ourselves(const std::string* their_challenge, const std::string* their_identifier);

    std::optional<Reply> step(const Pdu& pdu);
    Reply reply(const Header& header, LoginStatus status);
    Reply fail(const Header& header, Failure failure);
    std::optional<Reply> finish(const Header& header);

    LoginSite& site_;
    Offer offer_;
    u16 portal_group_;
    LoginFacts facts_;
    Negotiation negotiation_;
    Authentication authentication_;

    bool begun_ = false;  // the first PDU has come
    bool named_ = false;  // the first whole request has
    u32 requests_ = 0;
    u32 initiator_tag_ = 0;
    u32 stat_sn_ = 0;
    std::optional<Stage> stage_;
    std::vector<u8> text_;         // of requests that are continued
    std::vector<TextPair> pairs_;  // of the request that is being answered
    std::vector<u8> answers_;
    bool declared_ = false;  // our own operational keys have been said
    std::optional<Header> waiting_;

    Security security_ = Security::method;
    ChapAlgorithm algorithm_ = ChapAlgorithm::md5;
    u8 identifier_ = 0;
    std::vector<u8> challenge_;
};

}  // namespace lodge::iscsi
