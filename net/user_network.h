// The user network: a private network of one guest, with NAT to the host's by libslirp. No privileges needed.
//
//   10.0.2.2   the gateway, which is also the host; DHCP, and TFTP if a folder is given
//   10.0.2.3   name server: the host's
//   10.0.2.15  the first guest
//
//   fec0::2, fec0::3 and fec0::/64 the same in IPv6, announced to the guest
//
// DHCP is our own (dhcp_server.h): libslirp's knows none of the options that booting needs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "net/dhcp_server.h"
#include "net/network.h"

namespace lodge {

// A port of the host that leads to one of the guest.
struct PortForward {
    bool udp = false;
    Ipv4Address host = 0x7F000001;
    u16 host_port = 0;
    Ipv4Address guest = 0x0A00020F;
    u16 guest_port = 0;
};

struct UserNetworkConfig {
    std::vector<PortForward> forwards;
    std::string tftp_folder;  // empty: none
    DhcpConfig dhcp;
};

// ErrorKind::usage when a forwarded port cannot be had, or the folder is none.
Result<std::unique_ptr<NetworkBackend>> make_user_network(const UserNetworkConfig& config, Log& log);

}  // namespace lodge
