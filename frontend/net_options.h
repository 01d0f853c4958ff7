// `--nic`, `--net` and `--capture`: which cards a machine has, and what each is plugged into.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/base/result.h"
#include "frontend/run_config.h"
#include "net/network.h"
#include "net/user_network.h"

namespace lodge {

struct NicOption {
    bool present = true;
    std::optional<MacAddress> address;
};

enum class NetKind : u8 { none, user, tap, socket };

struct NetOption {
    NetKind kind = NetKind::user;
    UserNetworkConfig user;
    std::string target;  // the tap interface's name, the socket's path
};

// Errors are ErrorKind::usage and name the option.
// none | e1000[,mac=XX:XX:XX:XX:XX:XX]
Result<NicOption> parse_nic_option(const std::string& text);
// none | user[,hostfwd=tcp|udp:[HOST]:HPORT-[GUEST]:GPORT][,tftp=FOLDER][,bootfile=NAME][,ipxe-bootfile=NAME]
//      [,root-path=PATH][,next-server=ADDRESS] | tap=IFNAME | socket=unix:PATH
Result<NetOption> parse_net_option(const std::string& text);

// HOST:PORT, an IPv6 address in brackets: the URL of the boot script there for a client that expands iPXE's settings.
// A guest on the user network reaches its host's own addresses as 10.0.2.2.
Result<std::string> boot_script_url(const std::string& vdisk_server);

// A card and its network, which is null for `none`.
struct PlannedCard {
    MacAddress address{};
    std::string text;  // the --net option, for messages
    NetOption net;
};
// The n-th --net is for the n-th --nic. A network without a card gets one, a card without a network gets `user`, and
// without either option there is one card.
// --vdisk-server is announced on the first user network.
Result<std::vector<PlannedCard>> plan_network_cards(const RunConfig& config);

// The address of a machine's n-th card when none is given: 52:54:00 and a hash of the machine's name.
MacAddress default_mac_address(const RunConfig& config, size_t index);

Result<std::unique_ptr<Network>> open_network(const PlannedCard& card, ClockMode clock, Log& log);

}  // namespace lodge
