// Finds the firmware that lodge runs: SeaBIOS and SeaVGABIOS, from Debian's package `seabios`. None is part of lodge.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge {

struct Firmware {
    std::vector<u8> bios;      // bios-256k.bin: 64, 128 or 256 KiB
    std::vector<u8> vga_bios;  // vgabios-stdvga.bin: at most 64 KiB, starts with 55 AA
    std::filesystem::path directory;
};

// Looks into `directory` if given, else into /usr/share/seabios and /usr/share/qemu.
// ErrorKind::not_found names the package to install; bad_format says which file cannot be firmware; io names the file.
Result<Firmware> find_firmware(const std::optional<std::filesystem::path>& directory = std::nullopt);

// The expansion ROM that boots from an e1000, iPXE's: `pxe-e1000.rom` from Debian's package `ipxe-qemu`, or from
// `directory` if it is not empty and has one. At most 128 KiB. Errors as above.
Result<std::vector<u8>> find_network_rom(const std::filesystem::path& directory);

}  // namespace lodge
