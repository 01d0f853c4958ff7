// fw_cfg: how the board tells its firmware about itself. Numbered items and named files, read through a selector and a
// data port or by DMA. Source: QEMU documentation, docs/specs/fw_cfg.rst (the interface SeaBIOS speaks).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "devices/platform.h"

namespace lodge {

class FwCfg final : public Device {
  public:
    // Well-known items.
    static constexpr u16 kSignature = 0x00;
    static constexpr u16 kId = 0x01;
    static constexpr u16 kUuid = 0x02;
    static constexpr u16 kRamSize = 0x03;
    static constexpr u16 kNoGraphic = 0x04;
    static constexpr u16 kCpus = 0x05;
    static constexpr u16 kNuma = 0x0D;
    static constexpr u16 kBootMenu = 0x0E;
    static constexpr u16 kMostCpus = 0x0F;
    static constexpr u16 kFileDirectory = 0x19;
    static constexpr u16 kFirstFile = 0x20;
    static constexpr u16 kIrq0Override = 0x8002;

    static constexpr size_t kMostName = 55;
    // A transfer may ask for this much more than the item has left (it gets zeros); longer ones fail.
    static constexpr u32 kMostPadding = 4096;

    // Claims 510h..511h and 514h..51Bh.
    explicit FwCfg(const Platform& platform);

    // For the board's constructor. Integers are little-endian. A name is at most kMostName bytes and used once.
    void add_item(u16 key, std::vector<u8> bytes);
    void add_integer(u16 key, u64 value, unsigned size);
    void add_file(std::string_view name, std::vector<u8> bytes);

    // The file's content, or null.
    const std::vector<u8>* file(std::string_view name) const;

    std::string_view name() const override { return "fw_cfg"; }
    void reset() override;
    // Where reading stands; the items are the board's configuration.
    void state(StateIo& io) override;

  private:
    struct File {
        std::string name;
        u16 key;
    };
    void build_directory();
    const std::vector<u8>& selected() const;
    u8 read_data();
    u64 read_ports(u64 offset, unsigned size);
    void write_ports(u64 offset, unsigned size, u64 value);
    u64 read_dma(u64 offset, unsigned size);
    void write_dma(u64 offset, unsigned size, u64 value);
    void transfer(u64 descriptor);
    bool transfer(u32 control, u32 length, u64 address);

    PhysicalMemory& memory_;
    Log& log_;
    BusRange ports_;
    BusRange dma_;
    std::map<u16, std::vector<u8>> items_;
    std::vector<File> files_;
    std::vector<u8> nothing_;

    u16 key_ = 0;
    u32 position_ = 0;  // in the selected item; at most its size
    u64 dma_address_ = 0;
};

}  // namespace lodge
