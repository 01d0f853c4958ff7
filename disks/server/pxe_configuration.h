// What our dnsmasq is told. Pure.
#pragma once

#include <string>

#include "core/base/types.h"

namespace lodge::server {

struct PxeNetwork {
    std::string interface;
    std::string address;  // ours on it, dotted
    std::string network;  // that address without the host's bits
    std::string mask;
};

// A configuration file of dnsmasq's (its man page). Firmware says what it is in option 93, the client's architecture
// (RFC 4578 section 2.1 and IANA's list), and iPXE that it is iPXE in option 77: the bare word against RFC 3004, which
// dnsmasq looks for anywhere in the option. Without telling them apart, iPXE would get iPXE, for ever.
std::string pxe_configuration(const PxeNetwork& network, u16 http_port, const std::string& ipxe_folder);

}  // namespace lodge::server
