// What initiator and target agree on in a login: the operational keys of RFC 7143 chapter 13, and how each is decided.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "disks/iscsi/pdu.h"

namespace lodge::iscsi {

// The values in force; at first those that hold when nobody says a word.
struct Parameters {
    // Of a connection.
    Digests digests;
    u32 initiator_receive_bytes = 8192;  // the initiator's MaxRecvDataSegmentLength

    // Of a session.
    u32 max_connections = 1;
    bool initial_r2t = true;
    bool immediate_data = true;
    u32 max_burst = 262144;
    u32 first_burst = 65536;
    u32 time_to_wait = 2;  // seconds
    u32 time_to_retain = 20;
    u32 max_outstanding_r2t = 1;
};

// What this target wants at most.
struct Offer {
    u32 max_connections = 4;
    u32 max_burst = 1024 * 1024;
    u32 first_burst = 65536;
    u32 max_outstanding_r2t = 4;
    u32 receive_bytes = 256 * 1024;
};

class Negotiation {
  public:
    // `leading`: this login begins a session; otherwise keys of a session (LO in chapter 13) are irrelevant.
    Negotiation(const Offer& offer, bool leading) : offer_(offer), leading_(leading) {}

    // The answer to an operational key, which may be none (a declaration). Nothing at all: it is no operational key.
    struct Answer {
        std::optional<std::string> value;
    };
    std::optional<Answer> take(std::string_view key, std::string_view value);
    // Whether a key came twice, which nobody may do (RFC 7143 section 6.3).
    bool repeated() const { return repeated_; }

    void set_leading(bool leading) { leading_ = leading; }
    const Parameters& parameters() const { return parameters_; }

  private:
    struct Key;
    static const Key* find(std::string_view name);
    std::optional<std::string> decide(const Key& key, std::string_view value);
    std::string decide_number(const Key& key, std::string_view value);
    std::string decide_boolean(const Key& key, std::string_view value);
    std::string decide_digest(std::string_view value, bool& chosen);
    std::optional<std::string> declare_receive_bytes(std::string_view value);

    Offer offer_;
    bool leading_;
    bool repeated_ = false;
    Parameters parameters_;
    std::set<std::string, std::less<>> seen_;
};

}  // namespace lodge::iscsi
