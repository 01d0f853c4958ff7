// What a client that asks for its boot script is to do, decided from the store's records and from what is in use.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "disks/server/store.h"

namespace lodge::server {

// As a client's query says; nothing of it is proof of anything.
struct BootRequest {
    std::string mac;    // normal_mac; empty: it said none
    std::string uuid;   // normal_uuid; empty: it said none
    std::string vdisk;  // what it chose in the menu; empty: nothing yet
};

// A UUID as the store writes it: 8-4-4-4-12 hexadecimal digits in lower case. Empty when it is none, or the one that
// firmware without one has (all digits 0, or all f).
std::string normal_uuid(const std::string& text);

struct BootChoice {
    std::string vdisk;
    Mode mode = Mode::private_writes;
    std::string busy;  // why it cannot be had now; empty: it can
};

struct BootPlan {
    enum class Kind : u8 {
        boot,    // choices[0], at once
        choose,  // among the choices
        wait,    // choices[0] is busy
        refuse,  // `message` says why
    };
    Kind kind = Kind::refuse;
    std::string mac;  // of the record, which another card of the same computer may have brought; whose names it gets
    std::string client_name;  // may be empty
    std::vector<BootChoice> choices;
    size_t preferred = 0;  // of the choices, when nobody chooses
    std::string message;
    bool is_new = false;  // it is to be recorded
};

// What a client may boot, in the order of its menu: what is assigned to it, or what the policy gives. `known`: it has a
// record.
std::vector<Assignment> allowed_vdisks(const std::string& mac, bool known, const std::vector<Assignment>& assigned,
                                       const Settings& settings);

// Live::in_use.
using InUse = std::function<std::optional<std::string>(const std::string& vdisk, Mode mode, const std::string& mac)>;

BootPlan plan_boot(const BootRequest& request, const std::optional<Client>& client,
                   const std::vector<Assignment>& assigned, const Settings& settings, const InUse& in_use);

}  // namespace lodge::server
