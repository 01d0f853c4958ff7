#include "disks/iscsi/login.h"

#include <algorithm>

namespace lodge::iscsi {

namespace {

constexpr u8 kTransit = 0x80, kContinue = 0x40;
constexpr u8 kVersion = 0x00;  // the only one there is
constexpr std::string_view kReject = "Reject";

std::span<const u8> bytes_in(std::string_view text) {
    return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

u8 stage_bits(const Header& header, int shift) {
    return (header.flags() >> shift) & 3;
}

}  // namespace

LoginStatus status_of(Refusal::Kind kind) {
    switch (kind) {
        case Refusal::Kind::not_found:
            return LoginStatus::not_found;
        case Refusal::Kind::forbidden:
            return LoginStatus::forbidden;
        case Refusal::Kind::busy:
        case Refusal::Kind::unavailable:
            return LoginStatus::service_unavailable;
    }
    return LoginStatus::target_error;
}

Login::Login(LoginSite& site, Offer offer, u16 portal_group, std::string address)
    : site_(site), offer_(offer), portal_group_(portal_group), negotiation_(offer, true) {
    facts_.caller.address = std::move(address);
}

std::optional<Login::Reply> Login::request(const Pdu& pdu) {
    if (waiting_) return fail(pdu.header, {LoginStatus::initiator_error, "it does not wait for an answer"});
    return step(pdu);
}

std::optional<Login::Reply> Login::step(const Pdu& pdu) {
    const Header& header = pdu.header;
    answers_.clear();
    if (const Step failure = begun_ ? continues(header) : begin(header)) return fail(header, *failure);
    if (const Step failure = collect(pdu)) return fail(header, *failure);
    // More of the same text comes: an empty answer asks for it (RFC 7143 section 6.2).
    if (header.flags() & kContinue) return reply(header, LoginStatus::success);
    const auto pairs = parse_text(text_);
    text_.clear();
    if (!pairs) return fail(header, {LoginStatus::initiator_error, "text that is not KEY=VALUE"});
    pairs_ = *pairs;
    if (!named_)
        if (const Step failure = first_keys()) return fail(header, *failure);
    named_ = true;
    if (const Step failure = text(*stage_, header.flags() & kTransit)) return fail(header, *failure);
    const bool ready = security_ == Security::passed;
    if (!(header.flags() & kTransit) || !ready) return reply(header, LoginStatus::success);
    stage_ = static_cast<Stage>(stage_bits(header, 0));
    if (stage_ == Stage::full_feature) return finish(header);
    return reply(header, LoginStatus::success);
}

// RFC 7143 11.12.
Login::Step Login::begin(const Header& header) {
    const auto isid = header.bytes(8, 6);
    std::copy(isid.begin(), isid.end(), facts_.isid.begin());
    facts_.tsih = header.get<u16>(14);
    facts_.cid = header.get<u16>(20);
    facts_.command_sn = header.command_sn();
    initiator_tag_ = header.initiator_tag();
    std::array<u8, 4> start{};
    site_.fill_randomly(start);
    stat_sn_ = load<u32>(start.data());
    begun_ = true;
    if (header.byte(3) > kVersion) return Failure{LoginStatus::version_not_supported, "an unknown version of iSCSI"};
    const u8 stage = stage_bits(header, 2);
    if (stage > 1) return Failure{LoginStatus::initiator_error, "a login in no stage"};
    stage_ = static_cast<Stage>(stage);
    return continues(header);
}

Login::Step Login::continues(const Header& header) const {
    const u8 stage = stage_bits(header, 2), next = stage_bits(header, 0);
    const bool same = header.initiator_tag() == initiator_tag_ && header.get<u16>(14) == facts_.tsih &&
                      header.get<u16>(20) == facts_.cid &&
                      std::equal(facts_.isid.begin(), facts_.isid.end(), header.bytes(8, 6).begin());
    if (!same) return Failure{LoginStatus::initiator_error, "a login changes into another"};
    if (stage != static_cast<u8>(*stage_)) return Failure{LoginStatus::initiator_error, "a login in the wrong stage"};
    const bool transit = header.flags() & kTransit;
    if (transit && ((header.flags() & kContinue) || next <= stage || next == 2))
        return Failure{LoginStatus::initiator_error, "a login turns to no stage"};
    return std::nullopt;
}

Login::Step Login::collect(const Pdu& pdu) {
    if (text_.size() + pdu.data.size() > kMostTextBytes) return Failure{LoginStatus::initiator_error, "too much text"};
    text_.insert(text_.end(), pdu.data.begin(), pdu.data.end());
    if (++requests_ > kMostRequests) return Failure{LoginStatus::initiator_error, "a login without an end"};
    return std::nullopt;
}

const std::string* Login::value(std::string_view key) const {
    for (const TextPair& pair : pairs_)
        if (pair.key == key) return &pair.value;
    return nullptr;
}

// RFC 7143 section 6.3: the first request says who wants what.
Login::Step Login::first_keys() {
    const std::string* initiator = value("InitiatorName");
    if (!initiator) return Failure{LoginStatus::missing_parameter, "no InitiatorName"};
    const auto name = normal_name(*initiator);
    if (!name) return Failure{LoginStatus::initiator_error, "an InitiatorName that is none"};
    facts_.caller.initiator = *name;
    const std::string port = *name + ",i," + text_of(facts_.isid);
    facts_.caller.initiator_port.assign(port.begin(), port.end());
    if (const std::string* type = value("SessionType")) {
        if (*type != "Normal" && *type != "Discovery")
            return Failure{LoginStatus::session_type_not_supported, "an unknown SessionType"};
        facts_.discovery = *type == "Discovery";
    }
    if (!facts_.discovery) {
        const std::string* target = value("TargetName");
        if (!target) return Failure{LoginStatus::missing_parameter, "no TargetName"};
        facts_.target = normal_name(*target).value_or("");
        if (facts_.target.empty()) return Failure{LoginStatus::not_found, "a TargetName that is none"};
        if (facts_.tsih == 0) answer("TargetPortalGroupTag", std::to_string(portal_group_));
    }
    if (facts_.tsih != 0) {
        negotiation_.set_leading(false);
        const LoginStatus status = site_.may_join(facts_);
        if (status != LoginStatus::success) return Failure{status, "it cannot join that session"};
    }
    Answer<Authentication> answer = site_.authentication(facts_.caller, facts_.target);
    if (!answer.value) return Failure{status_of(answer.refusal.kind), answer.refusal.why};
    authentication_ = std::move(*answer.value);
    if (authentication_.accepted.empty() && stage_ == Stage::operational) security_ = Security::passed;
    if (security_ != Security::passed && stage_ == Stage::operational)
        return Failure{LoginStatus::authentication_failure, "it offers no proof"};
    return std::nullopt;
}

Login::Step Login::text(Stage stage, bool transit) {
    for (const TextPair& pair : pairs_)
        if (Step failure = key(pair)) return failure;
    if (negotiation_.repeated()) return Failure{LoginStatus::initiator_error, "it says a key twice"};
    if (stage == Stage::security) return security(transit);
    if (!declared_) {
        declared_ = true;
        answer("MaxRecvDataSegmentLength", std::to_string(offer_.receive_bytes));
    }
    return std::nullopt;
}

// Keys of names and security have their own places; the rest is negotiated or not understood.
Login::Step Login::key(const TextPair& pair) {
    constexpr std::string_view kElsewhere[] = {"InitiatorName", "TargetName", "SessionType", "AuthMethod", "CHAP_A",
                                               "CHAP_N",        "CHAP_R",     "CHAP_I",      "CHAP_C"};
    constexpr std::string_view kAnswers[] = {"NotUnderstood", "Irrelevant", kReject};
    const bool elsewhere = std::find(std::begin(kElsewhere), std::end(kElsewhere), pair.key) != std::end(kElsewhere);
    if (elsewhere) return std::nullopt;
    if (pair.key == "SendTargets") return Failure{LoginStatus::invalid_during_login, "SendTargets in a login"};
    if (std::find(std::begin(kAnswers), std::end(kAnswers), pair.value) != std::end(kAnswers)) return std::nullopt;
    if (const auto decided = negotiation_.take(pair.key, pair.value)) {
        if (decided->value) answer(pair.key, *decided->value);
    } else {
        answer(pair.key, "NotUnderstood");
    }
    return std::nullopt;
}

// The security stage: AuthMethod, CHAP_A, then CHAP_N and CHAP_R (RFC 7143 section 12.1.3).
Login::Step Login::security(bool transit) {
    const std::string* method = value("AuthMethod");
    const std::string* algorithms = value("CHAP_A");
    switch (security_) {
        case Security::method:
            // Who says nothing about it means None (section 6.3.2).
            if (!method && !transit) return std::nullopt;
            return choose_method(method ? std::string_view(*method) : std::string_view("None"));
        case Security::algorithm:
            if (!algorithms) return Failure{LoginStatus::authentication_failure, "no CHAP_A"};
            return challenge(*algorithms);
        case Security::response:
            return check_response();
        case Security::passed:
            return std::nullopt;
    }
    return std::nullopt;
}

Login::Step Login::choose_method(std::string_view offered) {
    const auto methods = list_of(offered);
    const auto offers = [&](std::string_view name) {
        return std::find(methods.begin(), methods.end(), name) != methods.end();
    };
    if (!authentication_.accepted.empty()) {
        if (!offers("CHAP")) return Failure{LoginStatus::authentication_failure, "it offers no CHAP"};
        answer("AuthMethod", "CHAP");
        security_ = Security::algorithm;
        if (const std::string* algorithms = value("CHAP_A")) return challenge(*algorithms);
        return std::nullopt;
    }
    if (!offers("None")) {
        answer("AuthMethod", kReject);
        return Failure{LoginStatus::authentication_failure, "it insists on a proof that nobody asked for"};
    }
    if (value("AuthMethod")) answer("AuthMethod", "None");
    security_ = Security::passed;
    return std::nullopt;
}

Login::Step Login::challenge(std::string_view algorithms) {
    const auto algorithm = choose_algorithm(algorithms);
    if (!algorithm) {
        answer("CHAP_A", kReject);
        return Failure{LoginStatus::authentication_failure, "no common CHAP algorithm"};
    }
    algorithm_ = *algorithm;
    challenge_.resize(challenge_bytes(algorithm_));
    site_.fill_randomly(challenge_);
    site_.fill_randomly(std::span(&identifier_, 1));
    answer("CHAP_A", std::to_string(static_cast<int>(algorithm_)));
    answer("CHAP_I", std::to_string(identifier_));
    answer("CHAP_C", text_of(challenge_));
    security_ = Security::response;
    return std::nullopt;
}

bool Login::proves(const ChapIdentity& identity, std::string_view name, std::span<const u8> response) const {
    const bool same_name = same_bytes(bytes_in(identity.name), bytes_in(name));
    const std::vector<u8> expected = chap_response(algorithm_, identifier_, identity.secret, challenge_);
    return same_name && same_bytes(expected, response) && !expected.empty() && !identity.secret.empty();
}

Login::Step Login::check_response() {
    const std::string* name = value("CHAP_N");
    const std::string* response = value("CHAP_R");
    if (!name || !response) return Failure{LoginStatus::authentication_failure, "no CHAP_N or CHAP_R"};
    const auto theirs = bytes_of(*response, kMostChallengeBytes);
    if (!theirs) return Failure{LoginStatus::authentication_failure, "a CHAP_R that is none"};
    // Every identity is tried, so that time does not tell which names there are.
    const ChapIdentity* proved = nullptr;
    for (const ChapIdentity& identity : authentication_.accepted)
        if (proves(identity, *name, *theirs)) proved = &identity;
    if (!proved) return Failure{LoginStatus::authentication_failure, "a wrong name or secret"};
    // Whoever could be made to answer with the initiator's own secret would be an oracle for it (section 9.2.1).
    const bool shared = authentication_.mutual && authentication_.mutual->secret == proved->secret;
    facts_.caller.chap_name = proved->name;
    facts_.caller.chap_secret = proved->secret;
    security_ = Security::passed;
    const std::string* their_challenge = value("CHAP_C");
    const std::string* their_identifier = value("CHAP_I");
    if (!their_challenge && !their_identifier) return std::nullopt;
    if (shared) return Failure{LoginStatus::authentication_failure, "the same secret in both directions"};
    return prove_ourselves(their_challenge, their_identifier);
}

Login::Step Login::prove_ourselves(const std::string* their_challenge, const std::string* their_identifier) {
    if (!authentication_.mutual || authentication_.mutual->secret.empty())
        return Failure{LoginStatus::authentication_failure,
                       "it wants a proof of the target, which has no secret for it"};
    const auto number = their_identifier ? number_of(*their_identifier) : std::nullopt;
    const auto bytes = their_challenge ? bytes_of(*their_challenge, kMostChallengeBytes) : std::nullopt;
    if (!number || *number > 0xFF || !bytes || bytes->empty())
        return Failure{LoginStatus::authentication_failure, "a CHAP_I or CHAP_C that is none"};
    // Our own question, thrown back.
    if (same_bytes(*bytes, challenge_)) return Failure{LoginStatus::authentication_failure, "a reflected challenge"};
    const ChapIdentity& mutual = *authentication_.mutual;
    answer("CHAP_N", mutual.name);
    answer("CHAP_R", text_of(chap_response(algorithm_, static_cast<u8>(*number), mutual.secret, *bytes)));
    return std::nullopt;
}

std::optional<Login::Reply> Login::go_on() {
    if (!waiting_) return std::nullopt;
    const Header header = *waiting_;
    waiting_.reset();
    return finish(header);
}

std::optional<Login::Reply> Login::finish(const Header& header) {
    facts_.parameters = negotiation_.parameters();
    // RFC 7143 13.14: it never exceeds MaxBurstLength.
    facts_.parameters.first_burst = std::min(facts_.parameters.first_burst, facts_.parameters.max_burst);
    const LoginSite::Admission admission = site_.admit(facts_);
    if (admission.later) {
        waiting_ = header;
        return std::nullopt;
    }
    if (admission.status != LoginStatus::success) return fail(header, {admission.status, admission.why});
    Reply reply = this->reply(header, LoginStatus::success);
    reply.header.set(14, admission.tsih);
    reply.header.set(28, admission.expected_command_sn);
    reply.header.set(32, admission.most_command_sn);
    reply.done = true;
    return reply;
}

Login::Reply Login::fail(const Header& header, Failure failure) {
    answers_.clear();
    Reply reply = this->reply(header, failure.status);
    reply.failed = true;
    reply.why = std::move(failure.why);
    return reply;
}

Login::Reply Login::reply(const Header& header, LoginStatus status) {
    Reply reply;
    const bool well = status == LoginStatus::success;
    const bool transit = well && (header.flags() & kTransit) && security_ == Security::passed;
    // Where the stage does not end, its successor is not named.
    const u8 flags = transit ? header.flags() & 0x8F : header.flags() & 0x0C;
    reply.header = Header(Opcode::login_response, well ? flags : 0);
    reply.header.set(2, kVersion);
    reply.header.set(3, kVersion);
    for (size_t i = 0; i < facts_.isid.size(); ++i) reply.header.set(8 + i, facts_.isid[i]);
    reply.header.set(14, facts_.tsih);
    reply.header.set_initiator_tag(header.initiator_tag());
    reply.header.set(24, stat_sn_++);
    reply.header.set(28, facts_.command_sn);
    reply.header.set(32, facts_.command_sn);
    reply.header.set(36, static_cast<u16>(status));
    reply.text = std::move(answers_);
    answers_.clear();
    return reply;
}

}  // namespace lodge::iscsi
