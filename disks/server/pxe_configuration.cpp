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
        "dhcp-range={},proxy,{}\n"
        "enable-tftp\n"
        "tftp-root={}\n"
        "dhcp-userclass=set:ipxe,iPXE\n",
        network.interface, network.network, network.mask, ipxe_folder);
    for (const Firmware& each : kFirmware)
        text += fmt::format("pxe-service=tag:!ipxe,{},\"lodge\",{}\n", each.architecture, each.file);
    // iPXE takes a proxy's file name only with a next server (seen with 1.0.0+git-20190125), though a URL needs none.
    const std::string url = boot_script_url(fmt::format("{}:{}", network.address, http_port));
    return text + fmt::format("dhcp-boot=tag:ipxe,\"{}\",,{}\n", url, network.address);
}

}  // namespace lodge::server
