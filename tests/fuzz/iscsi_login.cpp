// Logins that say anything, in any stages and pieces, some with the right answer to the target's challenge. Whatever
// they say: nobody comes in who has not proved what was asked for, and a login ends.
//
// The input is a list of requests: flags, a byte that says which of the usual keys are there, and text as it is.
#include <algorithm>
#include <cstdlib>

#include "disks/iscsi/login.h"

using namespace lodge;
using namespace lodge::iscsi;

namespace {

constexpr const char* kSecret = "a secret of twelve bytes and more";

class OneSite final : public LoginSite {
  public:
    explicit OneSite(bool guarded) : guarded_(guarded) {}
    Answer<Authentication> authentication(const Caller& caller, const std::string& target) override {
        if (caller.initiator.empty() || !caller.chap_name.empty()) std::abort();
        if (target == "none") return {{}, {Refusal::Kind::not_found, "none"}};
        if (!guarded_) return {Authentication{}, {}};
        return {Authentication{{{"joe", kSecret}, {"", ""}}, ChapIdentity{"target", "its own"}}, {}};
    }
    void fill_randomly(std::span<u8> bytes) override {
        for (u8& byte : bytes) byte = ++random_;
    }
    LoginStatus may_join(const LoginFacts& facts) override {
        return facts.tsih == 1 ? LoginStatus::success : LoginStatus::session_does_not_exist;
    }
    Admission admit(const LoginFacts& facts) override {
        if (guarded_ && facts.caller.chap_name != "joe") std::abort();
        if (facts.discovery != facts.target.empty()) std::abort();
        if (facts.parameters.first_burst > facts.parameters.max_burst) std::abort();
        if (late_ > 0) return {.later = late_-- > 0};
        return {.tsih = 1};
    }
    void set_late(u8 late) { late_ = late; }

  private:
    bool guarded_;
    u8 random_ = 0, late_ = 0;
};

// As an initiator that knows the secret would answer.
void append_response(std::vector<u8>& text, const std::vector<u8>& question) {
    std::string challenge, identifier;
    for (const TextPair& pair : parse_text(question).value_or(std::vector<TextPair>{})) {
        if (pair.key == "CHAP_C") challenge = pair.value;
        if (pair.key == "CHAP_I") identifier = pair.value;
    }
    const auto bytes = bytes_of(challenge, kMostChallengeBytes);
    if (!bytes) return;
    append_text(text, "CHAP_N", "joe");
    append_text(text, "CHAP_R",
                text_of(chap_response(ChapAlgorithm::md5, static_cast<u8>(number_of(identifier).value_or(0)), kSecret,
                                      *bytes)));
}

std::vector<u8> text_for(u8 keys, u8 more, const std::vector<u8>& question) {
    std::vector<u8> text;
    if (keys & 0x01) append_text(text, "InitiatorName", "iqn.x:y");
    if (keys & 0x02) append_text(text, "TargetName", "iqn.x:z");
    if (keys & 0x04) append_text(text, "AuthMethod", more & 1 ? "CHAP,None" : "None");
    if (keys & 0x08) append_text(text, "CHAP_A", more & 2 ? "7,5" : "5");
    if (keys & 0x10) append_response(text, question);
    if (keys & 0x20) append_text(text, "SessionType", more & 4 ? "Discovery" : "Normal");
    if (keys & 0x40) append_text(text, "CHAP_I", "9");
    if (keys & 0x80) append_text(text, "CHAP_C", more & 8 ? "0x0102030405060708" : "0bAAAA");
    return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    if (size < 3) return 0;
    OneSite site(data[0] & 1);
    site.set_late(data[0] >> 4 & 3);
    Login login(site, Offer{}, 1, "a:1");
    const u16 tsih = data[0] >> 1 & 1;
    std::vector<u8> question;
    u32 requests = 0;
    for (size_t at = 1; at + 4 <= size;) {
        const u8 flags = data[at], keys = data[at + 1], more = data[at + 2], length = data[at + 3];
        at += 4;
        std::vector<u8> text = text_for(keys, more, question);
        const size_t count = std::min<size_t>(length, size - at);
        text.insert(text.end(), data + at, data + at + count);
        at += count;
        Header header(Opcode::login, flags);
        header.set(14, tsih);
        if (more & 0x80) header.set(20, static_cast<u16>(more));
        auto reply = login.request({.header = header, .data = text});
        for (int i = 0; i < 8 && !reply && login.waits(); ++i) reply = login.go_on();
        if (!reply || ++requests > Login::kMostRequests + 1) std::abort();
        if (reply->failed && reply->done) std::abort();
        if (reply->failed || reply->done) return 0;
        question = reply->text;
    }
    return 0;
}
