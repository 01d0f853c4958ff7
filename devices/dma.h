// The two 8237A DMA controllers of a PC with their page registers. Devices pull: a device that has DREQ up asks its
// channel to move bytes and learns how many went and whether the count ran out (TC). Source: Intel 8237A data sheet
// (231466-005); 82371SB (PIIX3) data sheet for the page registers.
#pragma once

#include <array>
#include <span>

#include "core/device.h"
#include "core/memory/physical_memory.h"
#include "devices/claims.h"

namespace lodge {

class DmaController;

// What a device on channel n sees.
class DmaChannel {
  public:
    enum class Direction : u8 { verify = 0, to_memory = 1, from_memory = 2, invalid = 3 };
    struct Transfer {
        size_t bytes = 0;             // moved (or, for verify, counted)
        bool terminal_count = false;  // TC: the count ran out with the last of them
    };

    DmaChannel(DmaController& controller, unsigned number) : controller_(controller), number_(number) {}

    // The DREQ line; shown in the status register.
    void request(bool level);
    // Whether a request would be granted now: unmasked, controller on, not a cascade channel.
    bool granted() const;
    Direction direction() const;
    // Moves as many bytes as the count allows. Channels 5..7 move 16-bit words: an odd last byte stays. Moves nothing
    // when not granted or when the channel is programmed for the other direction (verify counts both ways).
    Transfer to_memory(std::span<const u8> from);
    Transfer from_memory(std::span<u8> into);

  private:
    DmaController& controller_;
    unsigned number_;
};

class DmaController final : public Device {
  public:
    DmaController(PhysicalMemory& memory, Log& log);

    // Claims 00h-0Fh, 80h-8Fh and C0h-DFh.
    Result<void> attach(Bus& ports);

    std::string_view name() const override { return "dma"; }
    void reset() override;
    void state(StateIo& io) override;

    // 0..7; 4 is the cascade and never granted.
    DmaChannel& channel(unsigned number) { return channels_[number]; }

    u8 read(unsigned chip, unsigned offset);
    void write(unsigned chip, unsigned offset, u8 value);
    u8 read_page(unsigned offset) const { return pages_[offset]; }
    void write_page(unsigned offset, u8 value) { pages_[offset] = value; }

  private:
    friend class DmaChannel;
    struct Registers {
        u16 base_address = 0;
        u16 base_count = 0;
        u16 address = 0;
        u16 count = 0;
        u8 mode = 0;
        u8 unused = 0;  // so that the struct has no padding
    };
    struct Chip {
        std::array<Registers, 4> channels{};
        u8 command = 0;
        u8 terminal_counts = 0;  // status bits 3:0
        u8 lines = 0;            // DREQ
        u8 software = 0;         // the request register
        u8 mask = 0x0F;
        bool high_byte = false;  // the byte pointer flip-flop
        void clear();
        void state(StateIo& io, std::string_view name);
    };

    Chip& chip_of(unsigned number) { return chips_[number / 4]; }
    const Chip& chip_of(unsigned number) const { return chips_[number / 4]; }
    Registers& registers(unsigned number) { return chip_of(number).channels[number % 4]; }
    const Registers& registers(unsigned number) const { return chip_of(number).channels[number % 4]; }
    bool granted(unsigned number) const;
    DmaChannel::Direction direction(unsigned number) const;
    DmaChannel::Transfer transfer(unsigned number, DmaChannel::Direction direction, u8* data, size_t length);
    void move(unsigned number, DmaChannel::Direction direction, u8* data, size_t units);
    u64 physical(unsigned number) const;
    void finish(unsigned number);
    static u8 read_half(Chip& chip, u16 value);
    static void write_half(Chip& chip, u16& base, u16& current, u8 value);

    PhysicalMemory& memory_;
    Claims claims_;
    std::array<Chip, 2> chips_;
    std::array<u8, 16> pages_{};
    std::array<DmaChannel, 8> channels_;
};

}  // namespace lodge
