#include "roms/firmware.h"

#include <fstream>
#include <iterator>

namespace lodge {

namespace {

namespace fs = std::filesystem;

constexpr const char* kDirectories[] = {"/usr/share/seabios", "/usr/share/qemu"};
constexpr const char* kBios = "bios-256k.bin";
constexpr const char* kVgaBios = "vgabios-stdvga.bin";
constexpr size_t kMostBios = 256 * kKiB;
constexpr size_t kMostVgaBios = 64 * kKiB;
constexpr const char* kNetworkDirectories[] = {"/usr/lib/ipxe/qemu", "/usr/share/qemu"};
constexpr const char* kNetworkRom = "pxe-e1000.rom";
constexpr size_t kMostNetworkRom = 128 * kKiB;

bool has_firmware(const fs::path& directory) {
    std::error_code ignored;
    return fs::is_regular_file(directory / kBios, ignored) && fs::is_regular_file(directory / kVgaBios, ignored);
}

Result<std::vector<u8>> read_rom(const fs::path& path, size_t most) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return Error{ErrorKind::io, path.string() + ": cannot be read"};
    // One byte more than allowed tells a file that is too long from one that fits.
    std::vector<u8> bytes(most + 1);
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (file.bad()) return Error{ErrorKind::io, path.string() + ": cannot be read"};
    bytes.resize(static_cast<size_t>(file.gcount()));
    if (bytes.empty() || bytes.size() > most)
        return Error{ErrorKind::bad_format,
                     path.string() + ": not firmware: must have 1 to " + std::to_string(most) + " bytes"};
    return bytes;
}

// An expansion ROM starts with this signature and its length in units of 512 bytes, PCI 3.0 6.3.1.1.
bool is_expansion_rom(const std::vector<u8>& rom) {
    return rom.size() >= 3 && rom[0] == 0x55 && rom[1] == 0xAA && rom[2] * 512u <= rom.size();
}

// The firmware passes over a ROM that is not for the card it came from: its PCI data structure names another
// (PCI 3.0 6.3.1.2).
bool is_for_e1000(const std::vector<u8>& rom) {
    if (!is_expansion_rom(rom) || rom.size() < 0x1A) return false;
    const size_t data = load<u16>(&rom[0x18]);
    return data + 8 <= rom.size() && load<u32>(&rom[data]) == 0x52494350 && load<u32>(&rom[data + 4]) == 0x100E8086;
}

Result<std::vector<u8>> load_network_rom(const fs::path& path) {
    auto rom = read_rom(path, kMostNetworkRom);
    if (rom && !is_for_e1000(*rom))
        return Error{ErrorKind::bad_format, path.string() + ": not an expansion ROM for the e1000 (8086:100E)"};
    return rom;
}

Result<Firmware> load_firmware(const fs::path& directory) {
    Result<std::vector<u8>> bios = read_rom(directory / kBios, kMostBios);
    if (!bios) return bios.error();
    if (bios->size() % (64 * kKiB) != 0)
        return Error{ErrorKind::bad_format,
                     (directory / kBios).string() + ": not firmware: its size is not a multiple of 64 KiB"};
    Result<std::vector<u8>> vga = read_rom(directory / kVgaBios, kMostVgaBios);
    if (!vga) return vga.error();
    if (!is_expansion_rom(*vga))
        return Error{ErrorKind::bad_format, (directory / kVgaBios).string() + ": not an expansion ROM"};
    return Firmware{std::move(*bios), std::move(*vga), directory};
}

}  // namespace

Result<Firmware> find_firmware(const std::optional<fs::path>& directory) {
    if (directory) {
        if (has_firmware(*directory)) return load_firmware(*directory);
        return Error{ErrorKind::not_found,
                     directory->string() + ": has no " + kBios + " and " + kVgaBios + " (Debian package: seabios)"};
    }
    for (const char* place : kDirectories)
        if (has_firmware(place)) return load_firmware(place);
    return Error{ErrorKind::not_found, std::string("firmware ") + kBios + " and " + kVgaBios +
                                           " not found: install the Debian package seabios"};
}

Result<std::vector<u8>> find_network_rom(const fs::path& directory) {
    std::error_code ignored;
    if (!directory.empty() && fs::is_regular_file(directory / kNetworkRom, ignored))
        return load_network_rom(directory / kNetworkRom);
    for (const fs::path place : kNetworkDirectories)
        if (fs::is_regular_file(place / kNetworkRom, ignored)) return load_network_rom(place / kNetworkRom);
    return Error{ErrorKind::not_found,
                 std::string("firmware ") + kNetworkRom + " not found: install the Debian package ipxe-qemu"};
}

}  // namespace lodge
