#include "disks/server/pxe_configuration.h"

#include <fmt/format.h>

#include "disks/server/boot_script.h"

namespace lodge::server {

namespace {

// Client architectures, and what they get. UEFI's x64 is 7 in practice and 9 in an errata of RFC 4578.
struct Firmware {
    int architecture;
    const char* file;
};
constexpr Firmware kFirmware[] = {{0, "undionly.kpxe"}, {7, "ipxe.efi"}, {9, "ipxe.efi"}};

}  // namespace

std::string pxe_configuration(const PxeNetwork& network, u16 http_port, const std::string& ipxe_folder) {
    std::string text = fmt::format(
        "port=0\n"  // no name server
        "interface={}\n"
        "bind-interfaces\n"
        "except-interface=lo\n"
        "no-hosts\n"
        "no-resolv\n"
        "leasefile-ro\n"
        "log-dhcp\n"
        "dhcp-range={},proxy,{}\n"
        "enable-tftp\n"
        "tftp-root={}\n"
        "dhcp-userclass=set:ipxe,iPXE\n",
        network.interface, network.network, network.mask, ipxe_folder);
    for (const Firmware& each : kFirmware)
        text += fmt::format("pxe-service=tag:!ipxe,{},\"lodge\",{}\n", each.architecture, each.file);
    const std::string authority = fmt::format("{}:{}", network.address, http_port);
    return text + "dhcp-boot=tag:ipxe,\"" + boot_script_url(authority) + "\"\n";
}

}  // namespace lodge::server
