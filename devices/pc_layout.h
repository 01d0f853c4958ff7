// Where the board's memory lies: in the guest's physical space, and in the backing of PhysicalMemory. Whoever makes a
// Pc makes the layout first, creates PhysicalMemory with `backing_bytes()`, and gives both to the Pc.
//
//   backing:  RAM | BIOS ROM | VGA ROM | an empty ROM (all ones) | network ROM | video memory
//   physical: RAM 0..low, the rest from 4 GiB; BIOS ROM below 4 GiB and, through the host bridge's PAM registers,
//             E0000h..FFFFFh; VGA ROM and video memory where the guest puts their BARs.
#pragma once

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge {

struct PcLayout {
    static constexpr u64 kBiosSize = 256 * kKiB;
    static constexpr u64 kVgaRomSize = 64 * kKiB;
    static constexpr u64 kEmptySize = 16 * kKiB;        // one PAM segment
    static constexpr u64 kNetworkRomSize = 128 * kKiB;  // all cards show the same
    static constexpr u64 kVideoSize = 16 * kMiB;
    static constexpr u64 kBelow4G = 3 * kGiB;  // RAM below the hole for PCI
    static constexpr u64 kMost = 256 * kGiB;

    u64 ram = 0;  // bytes

    // Memory of 1 MiB..256 GiB in whole MiB; ErrorKind::usage for others.
    static Result<PcLayout> make(u64 ram) {
        if (ram < kMiB || ram > kMost || ram % kMiB != 0)
            return Error{ErrorKind::usage,
                         "guest memory must be 1 to 262144 whole MiB, not " + std::to_string(ram) + " bytes"};
        return PcLayout{ram};
    }

    u64 low() const { return ram < kBelow4G ? ram : kBelow4G; }
    u64 high() const { return ram - low(); }
    u64 bios() const { return ram; }
    u64 vga_rom() const { return bios() + kBiosSize; }
    u64 empty() const { return vga_rom() + kVgaRomSize; }
    u64 network_rom() const { return empty() + kEmptySize; }
    u64 video() const { return network_rom() + kNetworkRomSize; }
    u64 backing_bytes() const { return video() + kVideoSize; }
};

}  // namespace lodge
