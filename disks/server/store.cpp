#include "disks/server/store.h"

#include <algorithm>
#include <ctime>

namespace lodge::server {

namespace {

const std::string kTargetPrefix = "iqn.2026-11.io.lodge:";
const std::string kInitiatorPrefix = "iqn.2026-11.io.lodge.client:";
constexpr size_t kLongestName = 64;

bool is_letter_or_digit(char character) {
    return (character >= 'a' && character <= 'z') || (character >= '0' && character <= '9');
}

int hexadecimal_digit(char character) {
    if (character >= '0' && character <= '9') return character - '0';
    if (character >= 'a' && character <= 'f') return character - 'a' + 10;
    if (character >= 'A' && character <= 'F') return character - 'A' + 10;
    return -1;
}

}  // namespace

Time clock_time() {
    return std::time(nullptr);
}

std::string normal_mac(const std::string& text) {
    // 12 digits, or pairs of them with one kind of separator.
    const bool separated = text.size() == 17 && (text[2] == ':' || text[2] == '-');
    if (!separated && text.size() != 12) return {};
    std::string mac;
    for (size_t i = 0; i < text.size(); ++i) {
        if (separated && i % 3 == 2) {
            if (text[i] != text[2]) return {};
            continue;
        }
        const int digit = hexadecimal_digit(text[i]);
        if (digit < 0) return {};
        if (mac.size() % 3 == 2) mac += ':';
        mac += "0123456789abcdef"[digit];
    }
    return mac;
}

bool is_vdisk_name(const std::string& name) {
    return !name.empty() && name.size() <= kLongestName && is_letter_or_digit(name.front()) &&
           std::all_of(name.begin(), name.end(), [](char character) {
               return is_letter_or_digit(character) || character == '-' || character == '.';
           });
}

std::string target_name(const std::string& vdisk) {
    return kTargetPrefix + vdisk;
}

std::string vdisk_of_target(const std::string& target) {
    if (!target.starts_with(kTargetPrefix)) return {};
    std::string name = target.substr(kTargetPrefix.size());
    return is_vdisk_name(name) ? name : std::string();
}

std::string initiator_name(const std::string& mac) {
    return kInitiatorPrefix + chap_name(mac);
}

std::string mac_of_initiator(const std::string& initiator) {
    if (!initiator.starts_with(kInitiatorPrefix)) return {};
    const std::string mac = normal_mac(initiator.substr(kInitiatorPrefix.size()));
    return initiator_name(mac) == initiator ? mac : std::string();
}

std::string chap_name(const std::string& mac) {
    std::string name = mac;
    std::replace(name.begin(), name.end(), ':', '-');
    return name;
}

const char* name_of(Mode mode) {
    return mode == Mode::shared ? "shared" : "private";
}

std::optional<Mode> mode_of(const std::string& name) {
    if (name == "private") return Mode::private_writes;
    if (name == "shared") return Mode::shared;
    return {};
}

const char* name_of(UnknownClients policy) {
    switch (policy) {
        case UnknownClients::fallback:
            return "default";
        case UnknownClients::take_down:
            return "register";
        case UnknownClients::refuse:
            break;
    }
    return "refuse";
}

std::optional<UnknownClients> unknown_clients_of(const std::string& name) {
    for (const auto policy : {UnknownClients::refuse, UnknownClients::fallback, UnknownClients::take_down})
        if (name == name_of(policy)) return policy;
    return {};
}

}  // namespace lodge::server
