// A VGA with the Bochs VBE extensions ("dispi", id B0C5h) and linear video memory: the display part of PCI device
// 1234:1111. The PCI function around it (configuration space, BARs, ROM) is the board's: BAR 0 maps vram_offset() /
// vram_size() of the backing, BAR 2 passes its accesses to read_registers / write_registers.
// Source: IBM VGA: "Personal System/2 Hardware Interface Technical Reference", Video Subsystem (1992), with the
// register names of FreeVGA; dispi: Bochs' "VBE DISPI interface" description (vbe_display_api.txt).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/memory/physical_memory.h"
#include "core/scheduler.h"
#include "devices/claims.h"
#include "devices/platform.h"
#include "devices/ports.h"

namespace lodge {

class Vga final : public Device {
  public:
    static constexpr u64 kDefaultVram = 16 * kMiB;
    static constexpr u64 kRegisterBlock = 4096;  // size of BAR 2

    // `vram_offset`, `vram_size`: its part of the backing, multiples of 64 KiB, at least 256 KiB.
    Vga(PhysicalMemory& memory, Scheduler& scheduler, Log& log, u64 vram_offset, u64 vram_size);

    // Claims 3B0h-3DFh, 1CEh-1D1h and A0000h-BFFFFh.
    Result<void> attach(Platform& platform);

    std::string_view name() const override { return "vga"; }
    void reset() override;
    // Video memory is part of the backing and is saved with it.
    void state(StateIo& io) override;

    u64 vram_offset() const { return vram_offset_; }
    u64 vram_size() const { return vram_size_; }
    // BAR 2: VGA ports 3C0h-3DFh at 400h, dispi registers as words at 500h.
    u64 read_registers(u64 offset, unsigned size);
    void write_registers(u64 offset, unsigned size, u64 value);

    // The picture as it is now. Valid until the next call.
    Frame render();
    // What a text mode's cells show, one line per row without trailing blanks; empty in graphics modes. Code page 437
    // bytes outside 20h..7Eh show as '?'.
    std::string text_screen() const;

    u8 read_port(u16 port);
    void write_port(u16 port, u8 value);
    u16 read_dispi(u16 index) const;
    void write_dispi(u16 index, u16 value);
    u64 read_window(u64 offset, unsigned size);
    void write_window(u64 offset, unsigned size, u64 value);

  private:
    static constexpr unsigned kSequencers = 8;
    static constexpr unsigned kControllers = 25;
    static constexpr unsigned kGraphics = 9;
    static constexpr unsigned kAttributes = 21;
    static constexpr unsigned kDispis = 11;
    // How the CRT controller lays out a legacy mode, in character clocks and scan lines.
    struct Layout {
        bool text = false;
        bool colours256 = false;
        unsigned columns = 0;
        unsigned character_width = 8;  // pixels per character clock
        unsigned lines = 0;            // scan lines displayed
        unsigned row_lines = 1;        // scan lines of a row of characters
        unsigned step = 1;             // scan lines that show the same and become one line of the picture
        bool doubled = false;          // scan lines are doubled before they are counted
        u32 start = 0;
        u32 pitch = 0;
        unsigned line_compare = 0;
    };

    bool colour() const { return bit(misc_, 0); }
    bool dispi_on() const;
    bool linear() const;
    u8* vram() const { return vram_.data(); }
    u64 plane_offset(u32 address, unsigned plane) const { return (u64{address} * 4 + plane) % vram_size_; }
    u8 plane_byte(u32 address, unsigned plane) const { return vram()[plane_offset(address, plane)]; }
    void touched(u64 offset, u64 length) { memory_.touched(vram_offset_ + offset, length); }

    void confine();
    u8 read_status1();
    u8 read_attribute() const;
    void write_attribute(u8 value);
    u8 read_dac();
    void write_dac(u8 value);
    void write_crtc(u8 value);
    // A part of A0000h..BFFFFh, as offsets from its begin.
    struct Map {
        u32 base = 0;
        u32 size = 0;
    };
    static const Map kMaps[4];
    void find_cells();
    u8* cell_at(u64 offset, unsigned size) const;
    u8 read_window(u64 offset);
    void write_window(u64 offset, u8 value);
    std::optional<u32> window_address(u64 offset) const;
    u8 planar_read(u32 address);
    void planar_write(u32 address, u8 planes, u8 value);
    u8 combine(unsigned plane, u8 value, u8 mask) const;
    void enable_dispi(u16 value);
    void clear_screen();
    u64 dispi_pitch() const;
    unsigned vertical(unsigned base, unsigned bit8, unsigned bit9) const;
    u64 line_time() const;
    unsigned total_lines() const;
    u64 frames() const;

    Layout layout() const;
    u32 memory_address(u32 counter, unsigned row_line) const;
    u32 dac_colour(u8 index) const;
    u32 attribute_colour(u8 index) const;
    bool blanked() const;
    void resize(unsigned width, unsigned height);
    void render_legacy();
    void render_line(const Layout& layout, unsigned line, u32* into);
    void render_text(const Layout& layout, u32 counter, unsigned row_line, u32* into) const;
    void render_graphics(const Layout& layout, u32 counter, unsigned row_line, u32* into) const;
    void render_dispi();
    void render_dispi_line(unsigned y, u32* into) const;

    PhysicalMemory& memory_;
    Scheduler& scheduler_;
    Log& log_;
    Claims claims_;
    u64 vram_offset_;
    u64 vram_size_;
    std::span<u8> vram_;

    u8 misc_ = 0;
    u8 feature_ = 0;
    u8 enable_ = 0;  // 3C3h
    u8 sequencer_index_ = 0;
    u8 crtc_index_ = 0;
    u8 graphics_index_ = 0;
    u8 attribute_index_ = 0;
    bool attribute_data_ = false;  // the flip-flop of 3C0h
    std::array<u8, kSequencers> sequencer_{};
    std::array<u8, kControllers> crtc_{};
    std::array<u8, kGraphics> graphics_{};
    std::array<u8, kAttributes> attribute_{};
    u8 dac_mask_ = 0xFF;
    u8 dac_read_ = 0;
    u8 dac_write_ = 0;
    u8 dac_component_ = 0;
    bool dac_reading_ = false;
    std::array<u8, 768> dac_{};
    std::array<u8, 4> latches_{};
    Map cells_;  // where whole cells of text are accessed as they lie in video memory; follows from the registers
    u16 dispi_index_ = 0;
    std::array<u16, kDispis> dispi_{};

    std::vector<u32> pixels_;
    std::vector<u32> line_;  // one scan line before panning
    unsigned width_ = 0;
    unsigned height_ = 0;
};

}  // namespace lodge
