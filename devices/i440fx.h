// The host bridge of the 82441FX (i440FX): RAM, and what of it shows between A0000h and FFFFFh.
// Source: Intel 82441FX PCI and Memory Controller (PMC) datasheet, 290549: PAM registers 3.2.18, SMRAM 3.2.20.
#pragma once

#include "devices/pc_layout.h"
#include "devices/pci.h"

namespace lodge {

class I440fx final : public PciDevice {
  public:
    // Programmable attribute map: PAM0 covers F0000h..FFFFFh, PAM1..PAM6 two segments of 16 KiB each from C0000h on.
    static constexpr unsigned kPam0 = 0x59;
    static constexpr unsigned kPams = 7;
    static constexpr unsigned kSmram = 0x72;
    static constexpr u8 kPamRead = 0x1;   // reads go to RAM
    static constexpr u8 kPamWrite = 0x2;  // writes go to RAM

    // Maps RAM and the BIOS ROM below 4 GiB.
    I440fx(const Platform& platform, const PcLayout& layout);

    void reset() override;
    void state(StateIo& io) override;
    void config_write(unsigned offset, unsigned size, u32 value) override;

  private:
    void map_fixed();
    void map_segment(u64 physical, u64 size, unsigned attributes);
    void map_pams();
    void map_smram();
    void update(u8 smram_before);

    PcLayout layout_;
    bool smram_open_ = false;
};

}  // namespace lodge
