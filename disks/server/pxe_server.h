// PXE for real networks: a dnsmasq of our own (Debian's dnsmasq-base) as proxy-DHCP and TFTP server on one interface.
// The network's own DHCP server goes on giving out addresses. Firmware gets iPXE by TFTP, and iPXE the boot script.
#pragma once

#include <memory>
#include <string>

#include "core/base/log.h"
#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge::server {

struct PxeConfig {
    std::string interface;
    u16 http_port = 8080;                       // where the boot scripts are, at the interface's address
    std::string ipxe_folder = "/usr/lib/ipxe";  // Debian's package ipxe: undionly.kpxe, ipxe.efi
    std::string dnsmasq = "/usr/sbin/dnsmasq";  // the program
};

class PxeServer {
  public:
    // Runs until it is destroyed; started again (with a line in the log) if it ends by itself. It also ends when our
    // process does, however that ends. Errors: usage (no such interface, or no IPv4 address on it), not_found (a
    // program or file of those packages is missing), io (dnsmasq does not start; its own words).
    static Result<std::unique_ptr<PxeServer>> start(const PxeConfig& config, Log& log);
    virtual ~PxeServer() = default;
};

}  // namespace lodge::server
