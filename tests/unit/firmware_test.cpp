#include "roms/firmware.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <fstream>

namespace lodge {
namespace {

namespace fs = std::filesystem;

struct Folder {
    Folder() : path(fs::temp_directory_path() / ("lodge-firmware-test-" + std::to_string(getpid()))) {
        fs::create_directories(path);
    }
    ~Folder() { fs::remove_all(path); }
    void write(const char* name, const std::vector<u8>& bytes) const {
        std::ofstream(path / name, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }
    fs::path path;
};

TEST_CASE("firmware is taken from a folder and checked") {
    const Folder folder;
    auto found = find_firmware(folder.path);
    REQUIRE_FALSE(found.ok());
    CHECK(found.error().kind == ErrorKind::not_found);
    CHECK(found.error().context.find("seabios") != std::string::npos);

    std::vector<u8> vga(1024);
    vga[0] = 0x55;
    vga[1] = 0xAA;
    vga[2] = 2;
    folder.write("bios-256k.bin", std::vector<u8>(256 * kKiB, 1));
    folder.write("vgabios-stdvga.bin", vga);
    found = find_firmware(folder.path);
    REQUIRE(found.ok());
    CHECK(found->bios.size() == 256 * kKiB);
    CHECK(found->vga_bios == vga);

    vga[2] = 3;  // longer than the file
    folder.write("vgabios-stdvga.bin", vga);
    CHECK(find_firmware(folder.path).error().kind == ErrorKind::bad_format);
    vga[2] = 2;
    folder.write("vgabios-stdvga.bin", vga);
    for (const size_t size : {size_t{0}, size_t{100}, size_t{256 * kKiB + 1}}) {
        folder.write("bios-256k.bin", std::vector<u8>(size, 1));
        CHECK(find_firmware(folder.path).error().kind == ErrorKind::bad_format);
    }
}

}  // namespace
}  // namespace lodge
