// The DHCP server of the user network: gives guests their addresses and what they need to boot from the network.
// Sources: RFC 2131 (DHCP), RFC 2132 (options), RFC 951 (BOOTP), RFC 4578 (PXE), RFC 4173 (root path of iSCSI),
// ipxe.org/howto/dhcpd (option 175, the user class "iPXE").
//
// It looks at whole Ethernet frames and answers with whole frames; it keeps no time and knows no sockets. What it
// answers depends on nothing but what it was asked before.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/types.h"
#include "devices/ethernet.h"

namespace lodge {

using Ipv4Address = u32;  // 10.0.2.15 is 0A00020Fh

// "10.0.2.15" -> the address; nothing for anything else.
std::optional<Ipv4Address> parse_ipv4(const std::string& text);
std::string to_text(Ipv4Address address);

struct DhcpConfig {
    Ipv4Address server = 0x0A000202;  // this server, the gateway
    MacAddress server_mac = {0x52, 0x55, 0x0A, 0x00, 0x02, 0x02};
    Ipv4Address mask = 0xFFFFFF00;
    Ipv4Address name_server = 0x0A000203;
    Ipv4Address first = 0x0A00020F;  // the first address to give
    u32 addresses = 16;              // how many there are to give
    // What to boot; empty: nothing.
    std::string boot_file;       // to everybody
    std::string ipxe_boot_file;  // to clients that say that they are iPXE, instead
    std::string root_path;
    std::optional<Ipv4Address> next_server;  // where boot files are; the server itself unless given
};

class DhcpServer {
  public:
    explicit DhcpServer(DhcpConfig config) : config_(std::move(config)) {}

    // Whether the frame is one for a DHCP server: nobody else is to see it.
    static bool is_request(std::span<const u8> frame);
    // The frame to send back, if any. Any bytes may come.
    std::optional<std::vector<u8>> answer(std::span<const u8> frame);

  private:
    struct Request;
    std::optional<Ipv4Address> lease(const MacAddress& client, std::optional<Ipv4Address> wish);
    bool is_free(Ipv4Address address) const;
    std::vector<u8> reply(const Request& request, u8 type, Ipv4Address address) const;
    std::string boot_file_for(const Request& request) const;

    DhcpConfig config_;
    std::map<MacAddress, Ipv4Address> leases_;
};

}  // namespace lodge
