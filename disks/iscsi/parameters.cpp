#include "disks/iscsi/parameters.h"

#include <algorithm>

#include "disks/iscsi/text_keys.h"

namespace lodge::iscsi {

namespace {

constexpr u32 kMostLength = 0xFF'FFFF;
constexpr u32 kLeastLength = 512;
constexpr std::string_view kReject = "Reject", kNone = "None", kYes = "Yes", kNo = "No";

}  // namespace

// A row of chapter 13: how a key is decided, and where its result goes.
struct Negotiation::Key {
    enum class Way : u8 {
        least,          // numeric, the smaller value
        greatest,       // numeric, the larger value
        both,           // boolean AND
        either,         // boolean OR
        digest,         // the first of a list that we know
        receive_bytes,  // MaxRecvDataSegmentLength, a declaration
        declaration,    // taken note of, not answered
        fixed,          // always `ours`
    };
    std::string_view name;
    Way way;
    bool of_session = true;  // leading login only
    u32 low = 0, high = 0;   // of numbers
    u32 Parameters::*number = nullptr;
    bool Parameters::*boolean = nullptr;
    u32 Offer::*offer = nullptr;
    u32 own = 0;  // our own value where there is no offer; of booleans 0 or 1
    std::string_view ours{};
};

const Negotiation::Key* Negotiation::find(std::string_view name) {
    using P = Parameters;
    using Way = Key::Way;
    // clang-format off
    static constexpr Key kKeys[] = {
        {.name = "HeaderDigest", .way = Way::digest, .of_session = false},
        {.name = "DataDigest", .way = Way::digest, .of_session = false},
        {.name = "MaxRecvDataSegmentLength", .way = Way::receive_bytes, .of_session = false},
        {.name = "MaxConnections", .way = Way::least, .low = 1, .high = 65535, .number = &P::max_connections,
         .offer = &Offer::max_connections},
        {.name = "InitialR2T", .way = Way::either, .boolean = &P::initial_r2t, .own = 0},
        {.name = "ImmediateData", .way = Way::both, .boolean = &P::immediate_data, .own = 1},
        {.name = "MaxBurstLength", .way = Way::least, .low = kLeastLength, .high = kMostLength,
         .number = &P::max_burst, .offer = &Offer::max_burst},
        {.name = "FirstBurstLength", .way = Way::least, .low = kLeastLength, .high = kMostLength,
         .number = &P::first_burst, .offer = &Offer::first_burst},
        {.name = "DefaultTime2Wait", .way = Way::greatest, .high = 3600, .number = &P::time_to_wait, .own = 0},
        // Nothing is kept of a connection that is lost: error recovery level 0.
        {.name = "DefaultTime2Retain", .way = Way::least, .high = 3600, .number = &P::time_to_retain, .own = 0},
        {.name = "MaxOutstandingR2T", .way = Way::least, .low = 1, .high = 65535, .number = &P::max_outstanding_r2t,
         .offer = &Offer::max_outstanding_r2t},
        {.name = "DataPDUInOrder", .way = Way::either, .own = 1},
        {.name = "DataSequenceInOrder", .way = Way::either, .own = 1},
        {.name = "ErrorRecoveryLevel", .way = Way::least, .high = 2, .own = 0},
        {.name = "TaskReporting", .way = Way::fixed, .ours = "RFC3720"},
        {.name = "iSCSIProtocolLevel", .way = Way::least, .high = 31, .own = 1},
        {.name = "InitiatorAlias", .way = Way::declaration},
        // RFC 7143 13.25: gone, but never to be answered with NotUnderstood. Initiators expect No to theirs.
        {.name = "IFMarker", .way = Way::fixed, .of_session = false, .ours = kNo},
        {.name = "OFMarker", .way = Way::fixed, .of_session = false, .ours = kNo},
        {.name = "IFMarkInt", .way = Way::fixed, .of_session = false, .ours = kReject},
        {.name = "OFMarkInt", .way = Way::fixed, .of_session = false, .ours = kReject},
    };
    // clang-format on
    const auto found =
        std::find_if(std::begin(kKeys), std::end(kKeys), [&](const Key& key) { return key.name == name; });
    return found == std::end(kKeys) ? nullptr : found;
}

std::optional<Negotiation::Answer> Negotiation::take(std::string_view name, std::string_view value) {
    const Key* key = find(name);
    if (!key) return std::nullopt;
    if (!seen_.emplace(name).second) {
        repeated_ = true;
        return Answer{};
    }
    if (key->of_session && !leading_) return Answer{std::string("Irrelevant")};
    return Answer{decide(*key, value)};
}

std::optional<std::string> Negotiation::decide(const Key& key, std::string_view value) {
    switch (key.way) {
        case Key::Way::least:
        case Key::Way::greatest:
            return decide_number(key, value);
        case Key::Way::both:
        case Key::Way::either:
            return decide_boolean(key, value);
        case Key::Way::digest:
            return decide_digest(value,
                                 key.name == "HeaderDigest" ? parameters_.digests.header : parameters_.digests.data);
        case Key::Way::receive_bytes:
            return declare_receive_bytes(value);
        case Key::Way::declaration:
            return std::nullopt;
        case Key::Way::fixed:
            return std::string(key.ours);
    }
    return std::nullopt;
}

std::string Negotiation::decide_number(const Key& key, std::string_view value) {
    const auto theirs = number_of(value);
    if (!theirs || *theirs < key.low || *theirs > key.high) return std::string(kReject);
    const u32 own = key.offer ? offer_.*key.offer : key.own;
    const u32 number = static_cast<u32>(*theirs);
    const u32 result = key.way == Key::Way::least ? std::min(own, number) : std::max(own, number);
    if (key.number) parameters_.*key.number = result;
    return std::to_string(result);
}

std::string Negotiation::decide_boolean(const Key& key, std::string_view value) {
    if (value != kYes && value != kNo) return std::string(kReject);
    const bool own = key.own, theirs = value == kYes;
    const bool result = key.way == Key::Way::both ? own && theirs : own || theirs;
    if (key.boolean) parameters_.*key.boolean = result;
    return std::string(result ? kYes : kNo);
}

std::string Negotiation::decide_digest(std::string_view value, bool& chosen) {
    for (const std::string_view item : list_of(value)) {
        if (item != kNone && item != "CRC32C") continue;
        chosen = item != kNone;
        return std::string(item);
    }
    return std::string(kReject);
}

std::optional<std::string> Negotiation::declare_receive_bytes(std::string_view value) {
    const auto number = number_of(value);
    if (!number || *number < kLeastLength || *number > kMostLength) return std::string(kReject);
    parameters_.initiator_receive_bytes = static_cast<u32>(*number);
    return std::nullopt;
}

}  // namespace lodge::iscsi
