#include "devices/vga.h"

#include <algorithm>
#include <cstring>

namespace lodge {

namespace {

// CRT controller registers that the rest of this file names.
enum Crtc : unsigned {
    kHorizontalTotal = 0x00,
    kHorizontalDisplayEnd = 0x01,
    kVerticalTotal = 0x06,
    kOverflow = 0x07,
    kPresetRowScan = 0x08,
    kMaximumScanLine = 0x09,
    kCursorStart = 0x0A,
    kCursorEnd = 0x0B,
    kStartHigh = 0x0C,
    kStartLow = 0x0D,
    kCursorHigh = 0x0E,
    kCursorLow = 0x0F,
    kVerticalRetraceStart = 0x10,
    kVerticalRetraceEnd = 0x11,
    kVerticalDisplayEnd = 0x12,
    kOffset = 0x13,
    kUnderline = 0x14,
    kModeControl = 0x17,
    kLineCompare = 0x18,
};
enum Sequencer : unsigned { kClockingMode = 1, kMapMask = 2, kCharacterMap = 3, kMemoryMode = 4 };
enum Graphics : unsigned {
    kSetReset = 0,
    kEnableSetReset = 1,
    kColourCompare = 2,
    kRotate = 3,
    kReadMap = 4,
    kMode = 5,
    kMiscellaneous = 6,
    kColourDontCare = 7,
    kBitMask = 8,
};
enum Attribute : unsigned { kAttributeMode = 0x10, kPlaneEnable = 0x12, kPanning = 0x13, kColourSelect = 0x14 };
enum Dispi : unsigned {
    kDispiId,
    kXResolution,
    kYResolution,
    kBitsPerPixel,
    kEnable,
    kBank,
    kVirtualWidth,
    kVirtualHeight,
    kXOffset,
    kYOffset,
    kVideoMemory,
};

constexpr u16 kOldestId = 0xB0C0;
constexpr u16 kNewestId = 0xB0C5;
constexpr u16 kDispiEnabled = 0x01;
constexpr u16 kGetCapabilities = 0x02;
constexpr u16 k8BitDac = 0x20;
constexpr u16 kNoClear = 0x80;
constexpr u16 kMostWidth = 2560;
constexpr u16 kMostHeight = 1600;
constexpr u64 kBankSize = 64 * kKiB;

constexpr u8 kDisplayDisabled = 0x01;  // input status 1
constexpr u8 kVerticalRetrace = 0x08;

// Bits that can be written, by register number.
constexpr u8 kSequencerWritable[] = {0x03, 0x3D, 0x0F, 0x3F, 0x0E, 0x00, 0x00, 0xFF};
constexpr u8 kGraphicsWritable[] = {0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF};
constexpr u8 kAttributeWritable[] = {0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0x3F,
                                     0x3F, 0x3F, 0x3F, 0x3F, 0x3F, 0xEF, 0xFF, 0x3F, 0x0F, 0x0F};

constexpr RegisterInfo kPorts[] = {{0x04, 8, "CRTC_INDEX(mono)"},
                                   {0x05, 8, "CRTC_DATA(mono)"},
                                   {0x0A, 8, "STATUS1(mono)", RegisterRead::changes},
                                   {0x10, 8, "ATTRIBUTE"},
                                   {0x11, 8, "ATTRIBUTE_READ"},
                                   {0x12, 8, "MISC/STATUS0"},
                                   {0x13, 8, "ENABLE"},
                                   {0x14, 8, "SEQUENCER_INDEX"},
                                   {0x15, 8, "SEQUENCER_DATA"},
                                   {0x16, 8, "DAC_MASK"},
                                   {0x17, 8, "DAC_READ"},
                                   {0x18, 8, "DAC_WRITE"},
                                   {0x19, 8, "DAC_DATA", RegisterRead::changes},
                                   {0x1A, 8, "FEATURE"},
                                   {0x1C, 8, "MISC"},
                                   {0x1E, 8, "GRAPHICS_INDEX"},
                                   {0x1F, 8, "GRAPHICS_DATA"},
                                   {0x24, 8, "CRTC_INDEX"},
                                   {0x25, 8, "CRTC_DATA"},
                                   {0x2A, 8, "STATUS1/FEATURE", RegisterRead::changes}};
constexpr RegisterInfo kDispiPorts[] = {{0, 16, "DISPI_INDEX"}, {1, 16, "DISPI_DATA"}, {2, 16, "DISPI_DATA"}};

constexpr u8 all_if(bool condition) {
    return condition ? 0xFF : 0x00;
}

bool valid_depth(u16 depth) {
    return depth == 4 || depth == 8 || depth == 15 || depth == 16 || depth == 24 || depth == 32;
}

u8 rotate_right(u8 value, unsigned count) {
    return std::rotr(value, static_cast<int>(count));
}

constexpr u32 rgb(u32 red, u32 green, u32 blue) {
    return red << 16 | green << 8 | blue;
}

// A colour component of `width` bits as eight.
constexpr u32 widen(u32 value, unsigned width) {
    return (value << (8 - width)) | (value >> (2 * width - 8));
}

}  // namespace

Vga::Vga(PhysicalMemory& memory, Scheduler& scheduler, Log& log, u64 vram_offset, u64 vram_size)
    : memory_(memory),
      scheduler_(scheduler),
      log_(log),
      claims_(log, LogChannel::vga),
      vram_offset_(vram_offset),
      vram_size_(vram_size),
      vram_(memory.backing().subspan(vram_offset, vram_size)) {
    reset();
}

Result<void> Vga::attach(Platform& platform) {
    LODGE_TRY(claims_.bytes(
        platform.ports, 0x3B0, 0x30, "vga", kPorts,
        [this](u64 offset) { return read_port(static_cast<u16>(0x3B0 + offset)); },
        [this](u64 offset, u8 value) { write_port(static_cast<u16>(0x3B0 + offset), value); }));
    // The data register answers at 1CFh, and at 1D0h for those who want it aligned.
    LODGE_TRY(claims_.any(
        platform.ports, 0x1CE, 4, "vga dispi", kDispiPorts,
        [this](u64 offset, unsigned) { return u64{offset == 0 ? dispi_index_ : read_dispi(dispi_index_)}; },
        [this](u64 offset, unsigned, u64 value) {
            if (offset == 0) {
                dispi_index_ = static_cast<u16>(value);
            } else {
                write_dispi(dispi_index_, static_cast<u16>(value));
            }
        }));
    return claims_.any(
        platform.mmio, 0xA0000, 0x20000, "vga window", {},
        [this](u64 offset, unsigned size) { return read_window(offset, size); },
        [this](u64 offset, unsigned size, u64 value) { write_window(offset, size, value); });
}

void Vga::reset() {
    misc_ = 0;
    feature_ = 0;
    enable_ = 0;
    sequencer_index_ = crtc_index_ = graphics_index_ = attribute_index_ = 0;
    attribute_data_ = false;
    sequencer_.fill(0);
    crtc_.fill(0);
    graphics_.fill(0);
    attribute_.fill(0);
    dac_mask_ = 0xFF;
    dac_read_ = dac_write_ = dac_component_ = 0;
    dac_reading_ = false;
    dac_.fill(0);
    latches_.fill(0);
    dispi_index_ = 0;
    dispi_.fill(0);
    dispi_[kDispiId] = kNewestId;
    dispi_[kBitsPerPixel] = 8;
    find_cells();
}

void Vga::state(StateIo& io) {
    io.section("vga", 1, [&] {
        io.field("misc", misc_);
        io.field("feature", feature_);
        io.field("enable", enable_);
        io.field("sequencer_index", sequencer_index_);
        io.field("crtc_index", crtc_index_);
        io.field("graphics_index", graphics_index_);
        io.field("attribute_index", attribute_index_);
        io.field("attribute_data", attribute_data_);
        io.bytes("sequencer", sequencer_);
        io.bytes("crtc", crtc_);
        io.bytes("graphics", graphics_);
        io.bytes("attribute", attribute_);
        io.field("dac_mask", dac_mask_);
        io.field("dac_read", dac_read_);
        io.field("dac_write", dac_write_);
        io.field("dac_component", dac_component_);
        io.field("dac_reading", dac_reading_);
        io.bytes("dac", dac_);
        io.bytes("latches", latches_);
        io.field("dispi_index", dispi_index_);
        io.field("dispi", dispi_);
    });
    if (io.loading()) confine();
}

// After loading: every register holds what the guest could have written, for the rest of this file relies on it.
void Vga::confine() {
    sequencer_index_ &= 7;
    for (unsigned i = 0; i < kSequencers; ++i) sequencer_[i] &= kSequencerWritable[i];
    for (unsigned i = 0; i < kGraphics; ++i) graphics_[i] &= kGraphicsWritable[i];
    for (unsigned i = 0; i < kAttributes; ++i) attribute_[i] &= kAttributeWritable[i];
    if (dac_component_ > 2) dac_component_ = 0;
    dispi_[kXResolution] = std::min(dispi_[kXResolution], kMostWidth);
    dispi_[kYResolution] = std::min(dispi_[kYResolution], kMostHeight);
    if (!valid_depth(dispi_[kBitsPerPixel])) dispi_[kBitsPerPixel] = 8;
    find_cells();
}

u64 Vga::read_registers(u64 offset, unsigned size) {
    if (offset >= 0x500 && offset < 0x500 + 2 * kDispis && size >= 2) {
        u64 value = 0;
        for (unsigned i = 0; i < size; i += 2)
            value |= u64{read_dispi(static_cast<u16>((offset - 0x500 + i) / 2))} << (8 * i);
        return value;
    }
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) {
        const bool port = offset + i >= 0x400 && offset + i < 0x420;
        value |= u64{port ? read_port(static_cast<u16>(0x3C0 + offset + i - 0x400)) : u8{0xFF}} << (8 * i);
    }
    return value;
}

void Vga::write_registers(u64 offset, unsigned size, u64 value) {
    if (offset >= 0x500 && offset < 0x500 + 2 * kDispis && size >= 2) {
        for (unsigned i = 0; i < size; i += 2)
            write_dispi(static_cast<u16>((offset - 0x500 + i) / 2), static_cast<u16>(value >> (8 * i)));
        return;
    }
    for (unsigned i = 0; i < size; ++i)
        if (offset + i >= 0x400 && offset + i < 0x420)
            write_port(static_cast<u16>(0x3C0 + offset + i - 0x400), static_cast<u8>(value >> (8 * i)));
}

// ---- ports

u8 Vga::read_port(u16 port) {
    if (port < 0x3C0 && colour()) return 0xFF;
    if (port >= 0x3D0 && !colour()) return 0xFF;
    switch (port) {
        case 0x3C0:
            return attribute_data_ ? read_attribute() : attribute_index_;
        case 0x3C1:
            return read_attribute();
        case 0x3C2:
            return 0x10;  // switch sense: a monitor is there
        case 0x3C3:
            return enable_;
        case 0x3C4:
            return sequencer_index_;
        case 0x3C5:
            return sequencer_[sequencer_index_];
        case 0x3C6:
            return dac_mask_;
        case 0x3C7:
            return dac_reading_ ? 3 : 0;
        case 0x3C8:
            return dac_write_;
        case 0x3C9:
            return read_dac();
        case 0x3CA:
            return feature_;
        case 0x3CC:
            return misc_;
        case 0x3CE:
            return graphics_index_;
        case 0x3CF:
            return graphics_index_ < kGraphics ? graphics_[graphics_index_] : 0;
        case 0x3B4:
        case 0x3D4:
            return crtc_index_;
        case 0x3B5:
        case 0x3D5:
            return crtc_index_ < kControllers ? crtc_[crtc_index_] : 0;
        case 0x3BA:
        case 0x3DA:
            return read_status1();
        default:
            return 0xFF;
    }
}

void Vga::write_port(u16 port, u8 value) {
    if (port < 0x3C0 && colour()) return;
    if (port >= 0x3D0 && !colour()) return;
    switch (port) {
        case 0x3C0:
            return write_attribute(value);
        case 0x3C2:
            misc_ = value & 0xEF;
            return find_cells();
        case 0x3C3:
            enable_ = value & 1;
            return;
        case 0x3C4:
            sequencer_index_ = value & 7;
            return;
        case 0x3C5:
            sequencer_[sequencer_index_] = value & kSequencerWritable[sequencer_index_];
            return find_cells();
        case 0x3C6:
            dac_mask_ = value;
            return;
        case 0x3C7:
            dac_read_ = value;
            dac_component_ = 0;
            dac_reading_ = true;
            return;
        case 0x3C8:
            dac_write_ = value;
            dac_component_ = 0;
            dac_reading_ = false;
            return;
        case 0x3C9:
            return write_dac(value);
        case 0x3CE:
            graphics_index_ = value & 0x0F;
            return;
        case 0x3CF:
            if (graphics_index_ < kGraphics) graphics_[graphics_index_] = value & kGraphicsWritable[graphics_index_];
            return find_cells();
        case 0x3B4:
        case 0x3D4:
            crtc_index_ = value & 0x1F;
            return;
        case 0x3B5:
        case 0x3D5:
            return write_crtc(value);
        case 0x3BA:
        case 0x3DA:
            feature_ = value & 0x08;
            return;
        default:
            return;
    }
}

void Vga::write_crtc(u8 value) {
    if (crtc_index_ >= kControllers) return;
    // Registers 0 to 7 can be protected, but for the line compare bit among them.
    if (crtc_index_ <= kOverflow && bit(crtc_[kVerticalRetraceEnd], 7)) {
        if (crtc_index_ == kOverflow) crtc_[kOverflow] = replace_bits<u8>(crtc_[kOverflow], 0x10, value);
        return;
    }
    crtc_[crtc_index_] = value;
}

u8 Vga::read_attribute() const {
    const u8 index = attribute_index_ & 0x1F;
    return index < kAttributes ? attribute_[index] : 0;
}

void Vga::write_attribute(u8 value) {
    const bool data = attribute_data_;
    attribute_data_ = !data;
    if (!data) {
        attribute_index_ = value & 0x3F;
        return;
    }
    const u8 index = attribute_index_ & 0x1F;
    if (index >= kAttributes) return;
    attribute_[index] = value & kAttributeWritable[index];
}

u8 Vga::read_dac() {
    const u8 value = dac_[dac_read_ * 3U + dac_component_];
    if (++dac_component_ == 3) {
        dac_component_ = 0;
        ++dac_read_;
    }
    return value;
}

void Vga::write_dac(u8 value) {
    dac_[dac_write_ * 3U + dac_component_] = dispi_[kEnable] & k8BitDac ? value : value & 0x3F;
    if (++dac_component_ == 3) {
        dac_component_ = 0;
        ++dac_write_;
    }
}

// ---- timing

// A vertical CRTC value whose bits 8 and 9 are in the overflow register.
unsigned Vga::vertical(unsigned base, unsigned bit8, unsigned bit9) const {
    return crtc_[base] | unsigned{bit(crtc_[kOverflow], bit8)} << 8 | unsigned{bit(crtc_[kOverflow], bit9)} << 9;
}

u64 Vga::line_time() const {
    const u64 hertz = bits<u8>(misc_, 2, 2) == 1 ? 28'322'000 : 25'175'000;
    const u64 dots = bit(sequencer_[kClockingMode], 0) ? 8 : 9;
    const u64 halved = bit(sequencer_[kClockingMode], 3) ? 2 : 1;
    return (crtc_[kHorizontalTotal] + u64{5}) * dots * halved * kNanosecondsPerSecond / hertz;
}

unsigned Vga::total_lines() const {
    return vertical(kVerticalTotal, 0, 5) + 2;
}

// Since guest time 0, at the present timing.
u64 Vga::frames() const {
    return scheduler_.now() / (line_time() * total_lines());
}

u8 Vga::read_status1() {
    attribute_data_ = false;
    const u64 time = scheduler_.now() % (line_time() * total_lines());
    const auto line = static_cast<unsigned>(time / line_time());
    const u64 character = time % line_time() * (crtc_[kHorizontalTotal] + u64{5}) / line_time();
    const unsigned displayed = vertical(kVerticalDisplayEnd, 1, 6);
    const unsigned retrace = vertical(kVerticalRetraceStart, 2, 7);
    // The end register holds the low four bits of the line at which retrace ends.
    const unsigned retrace_lines = ((crtc_[kVerticalRetraceEnd] - retrace - 1) & 0x0F) + 1;
    u8 status = 0;
    if (line > displayed || character > crtc_[kHorizontalDisplayEnd]) status |= kDisplayDisabled;
    if (line >= retrace && line < retrace + retrace_lines) status |= kVerticalRetrace | kDisplayDisabled;
    return status;
}

// ---- the Bochs display interface

bool Vga::dispi_on() const {
    return dispi_[kEnable] & kDispiEnabled;
}

bool Vga::linear() const {
    return dispi_on() && dispi_[kBitsPerPixel] != 4;
}

// Bytes from row to row; in 4-bit modes, of each plane.
u64 Vga::dispi_pitch() const {
    const u64 width = std::max(dispi_[kVirtualWidth], dispi_[kXResolution]);
    return dispi_[kBitsPerPixel] == 4 ? width / 8 : width * ((dispi_[kBitsPerPixel] + 7U) / 8);
}

u16 Vga::read_dispi(u16 index) const {
    if (index >= kDispis) return 0;
    if (dispi_[kEnable] & kGetCapabilities) {
        if (index == kXResolution) return kMostWidth;
        if (index == kYResolution) return kMostHeight;
        if (index == kBitsPerPixel) return 32;
    }
    if (index == kVideoMemory) return static_cast<u16>(vram_size_ / kBankSize);
    if (index == kVirtualHeight) {
        const u64 planes = dispi_[kBitsPerPixel] == 4 ? 4 : 1;
        return static_cast<u16>(std::min<u64>(vram_size_ / planes / std::max<u64>(dispi_pitch(), 1), 0xFFFF));
    }
    return dispi_[index];
}

void Vga::write_dispi(u16 index, u16 value) {
    switch (index) {
        case kDispiId:
            if (value >= kOldestId && value <= kNewestId) dispi_[kDispiId] = value;
            return;
        case kXResolution:
            if (!dispi_on() && value <= kMostWidth) dispi_[index] = value;
            return;
        case kYResolution:
            if (!dispi_on() && value <= kMostHeight) dispi_[index] = value;
            return;
        case kBitsPerPixel:
            if (value == 0) value = 8;
            if (!dispi_on() && valid_depth(value)) dispi_[index] = value;
            return;
        case kEnable:
            return enable_dispi(value);
        case kBank:
            dispi_[index] = static_cast<u16>(value % (vram_size_ / kBankSize));
            return;
        case kVirtualWidth:
            if (value >= dispi_[kXResolution]) dispi_[index] = value;
            return;
        case kXOffset:
        case kYOffset:
            dispi_[index] = value;
            return;
        default:
            if (index >= kDispis) log_.once(LogChannel::vga, "unknown display interface register %u", index);
    }
}

void Vga::enable_dispi(u16 value) {
    const bool was_on = dispi_on();
    dispi_[kEnable] = value;
    find_cells();
    if (!dispi_on() || was_on) return;
    dispi_[kVirtualWidth] = dispi_[kXResolution];
    dispi_[kXOffset] = 0;
    dispi_[kYOffset] = 0;
    dispi_[kBank] = 0;
    if (!(value & kNoClear)) clear_screen();
}

void Vga::clear_screen() {
    const u64 planes = dispi_[kBitsPerPixel] == 4 ? 4 : 1;
    const u64 length = std::min(dispi_pitch() * planes * dispi_[kYResolution], vram_size_);
    if (length == 0) return;
    std::fill_n(vram_.begin(), length, u8{0});
    touched(0, length);
}

// ---- the window at A0000h

// As the graphics controller's "memory map select" numbers them.
constexpr Vga::Map Vga::kMaps[] = {{0x00000, 0x20000}, {0x00000, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};

// The address in a plane (in linear modes, in video memory) that an offset into A0000h..BFFFFh means; none where the
// map selected by the graphics controller does not reach.
std::optional<u32> Vga::window_address(u64 offset) const {
    if (!bit(misc_, 1)) return std::nullopt;
    const Map& map = kMaps[bits<u8>(graphics_[kMiscellaneous], 2, 2)];
    if (offset < map.base || offset - map.base >= map.size) return std::nullopt;
    const u32 address = static_cast<u32>(offset - map.base);
    if (linear()) return static_cast<u32>((dispi_[kBank] * kBankSize + address) % vram_size_);
    return dispi_on() ? static_cast<u32>(dispi_[kBank] * kBankSize + address) : address & 0xFFFF;
}

// A text console's cells, character and attribute, lie side by side in planes 0 and 1, and nothing changes them on
// their way.
void Vga::find_cells() {
    cells_ = {};
    const bool plain_write = sequencer_[kMapMask] == 3 && (graphics_[kMode] & 3) == 0 && graphics_[kRotate] == 0 &&
                             graphics_[kEnableSetReset] == 0 && graphics_[kBitMask] == 0xFF;
    const bool plain_read = (graphics_[kMode] & 0x18) == 0x10 && !bit(graphics_[kReadMap], 1);
    const bool odd_even = !(sequencer_[kMemoryMode] & 0x0C);
    if (bit(misc_, 1) && !dispi_on() && odd_even && plain_write && plain_read)
        cells_ = kMaps[bits<u8>(graphics_[kMiscellaneous], 2, 2)];
}

// Where the cell at `offset` lies in video memory, for an access of one whole cell; null: not so simple.
u8* Vga::cell_at(u64 offset, unsigned size) const {
    const u64 inside = offset - cells_.base;
    return size == 2 && offset % 2 == 0 && inside < cells_.size ? vram() + plane_offset(inside & 0xFFFF, 0) : nullptr;
}

u64 Vga::read_window(u64 offset, unsigned size) {
    if (const u8* cell = cell_at(offset, size)) {
        std::memcpy(latches_.data(), cell, latches_.size());
        return load<u16>(cell);
    }
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{read_window(offset + i)} << (8 * i);
    return value;
}

void Vga::write_window(u64 offset, unsigned size, u64 value) {
    if (u8* cell = cell_at(offset, size)) {
        store(cell, static_cast<u16>(value));
        return touched(static_cast<u64>(cell - vram()), 4);
    }
    for (unsigned i = 0; i < size; ++i) write_window(offset + i, static_cast<u8>(value >> (8 * i)));
}

u8 Vga::read_window(u64 offset) {
    const auto address = window_address(offset);
    if (!address) return 0xFF;
    if (linear()) return vram()[*address];
    return planar_read(*address);
}

void Vga::write_window(u64 offset, u8 value) {
    const auto address = window_address(offset);
    if (!address) return;
    if (linear()) {
        vram()[*address] = value;
        return touched(*address, 1);
    }
    const u8 map_mask = sequencer_[kMapMask] & 0x0F;
    if (bit(sequencer_[kMemoryMode], 3))  // chain 4
        return planar_write(*address & ~3U, map_mask & (1 << (*address & 3)), value);
    if (!bit(sequencer_[kMemoryMode], 2))  // odd/even
        return planar_write(*address & ~1U, map_mask & (*address & 1 ? 0x0A : 0x05), value);
    planar_write(*address, map_mask, value);
}

u8 Vga::planar_read(u32 address) {
    unsigned plane = graphics_[kReadMap];
    if (bit(sequencer_[kMemoryMode], 3)) {
        plane = address & 3;
        address &= ~3U;
    } else if (bit(graphics_[kMode], 4)) {
        plane = (plane & 2) | (address & 1);
        address &= ~1U;
    }
    for (unsigned i = 0; i < 4; ++i) latches_[i] = plane_byte(address, i);
    if (!bit(graphics_[kMode], 3)) return latches_[plane];
    // Read mode 1: a bit is set where all planes that are cared about have the compared colour.
    u8 differs = 0;
    for (unsigned i = 0; i < 4; ++i)
        if (bit(graphics_[kColourDontCare], i)) differs |= latches_[i] ^ all_if(bit(graphics_[kColourCompare], i));
    return static_cast<u8>(~differs);
}

// The logical unit and the bit mask: `value` meets the latch of a plane.
u8 Vga::combine(unsigned plane, u8 value, u8 mask) const {
    const u8 latch = latches_[plane];
    switch (bits<u8>(graphics_[kRotate], 3, 2)) {
        case 1:
            value &= latch;
            break;
        case 2:
            value |= latch;
            break;
        case 3:
            value ^= latch;
            break;
        default:
            break;
    }
    return static_cast<u8>((value & mask) | (latch & ~mask));
}

void Vga::planar_write(u32 address, u8 planes, u8 value) {
    const unsigned mode = graphics_[kMode] & 3;
    const u8 rotated = rotate_right(value, graphics_[kRotate] & 7);
    const u8 bit_mask = graphics_[kBitMask];
    for (unsigned plane = 0; plane < 4; ++plane) {
        if (!bit(planes, plane)) continue;
        const u8 set_reset = all_if(bit(graphics_[kSetReset], plane));
        u8 result = latches_[plane];
        if (mode == 0) {
            result = combine(plane, bit(graphics_[kEnableSetReset], plane) ? set_reset : rotated, bit_mask);
        } else if (mode == 2) {
            result = combine(plane, all_if(bit(value, plane)), bit_mask);
        } else if (mode == 3) {
            result = combine(plane, set_reset, bit_mask & rotated);
        }
        vram()[plane_offset(address, plane)] = result;
    }
    touched(plane_offset(address, 0), 4);
}

// ---- the picture

u32 Vga::dac_colour(u8 index) const {
    const u8* entry = &dac_[(index & dac_mask_) * 3U];
    if (dispi_[kEnable] & k8BitDac) return rgb(entry[0], entry[1], entry[2]);
    return rgb(widen(entry[0] & 0x3F, 6), widen(entry[1] & 0x3F, 6), widen(entry[2] & 0x3F, 6));
}

u32 Vga::attribute_colour(u8 index) const {
    u8 colour = attribute_[index & attribute_[kPlaneEnable] & 0x0F] & 0x3F;
    if (bit(attribute_[kAttributeMode], 7))
        colour = static_cast<u8>((colour & 0x0F) | (attribute_[kColourSelect] & 3) << 4);
    return dac_colour(static_cast<u8>(colour | (attribute_[kColourSelect] & 0x0C) << 4));
}

bool Vga::blanked() const {
    return bit(sequencer_[kClockingMode], 5) || !bit(attribute_index_, 5);
}

Vga::Layout Vga::layout() const {
    Layout layout;
    const u8 scan = crtc_[kMaximumScanLine];
    layout.text = !bit(graphics_[kMiscellaneous], 0);
    layout.colours256 = !layout.text && bit(graphics_[kMode], 6);
    layout.columns = crtc_[kHorizontalDisplayEnd] + 1U;
    layout.character_width = layout.colours256 ? 4 : layout.text && !bit(sequencer_[kClockingMode], 0) ? 9 : 8;
    layout.lines = vertical(kVerticalDisplayEnd, 1, 6) + 1;
    layout.row_lines = (scan & 0x1F) + 1U;
    layout.doubled = bit(scan, 7);
    // Rows of pixels are all alike unless the row's line goes into the address (CGA's interleaved lines).
    const bool alike = !layout.text && (crtc_[kModeControl] & 3) == 3;
    layout.step = (layout.doubled ? 2 : 1) * (alike ? layout.row_lines : 1);
    layout.start = static_cast<u32>(crtc_[kStartHigh] << 8 | crtc_[kStartLow]);
    layout.pitch = crtc_[kOffset] * 2U;
    layout.line_compare = crtc_[kLineCompare] | unsigned{bit(crtc_[kOverflow], 4)} << 8 | unsigned{bit(scan, 6)} << 9;
    return layout;
}

// The address in the planes for a value of the CRT controller's address counter.
u32 Vga::memory_address(u32 counter, unsigned row_line) const {
    const u8 mode = crtc_[kModeControl];
    u32 address = counter & 0xFFFF;
    if (bit(crtc_[kUnderline], 6)) {
        address = (address << 2 | address >> 14) & 0xFFFF;  // doubleword mode
    } else if (!bit(mode, 6)) {
        const unsigned carry = bit(mode, 5) ? 15 : 13;  // word mode
        address = (address << 1 | (address >> carry & 1)) & 0xFFFF;
    }
    if (!bit(mode, 0)) address = replace_bits(address, 0x2000U, (row_line & 1) << 13);
    if (!bit(mode, 1)) address = replace_bits(address, 0x4000U, (row_line >> 1 & 1) << 14);
    return address;
}

void Vga::resize(unsigned width, unsigned height) {
    width_ = width;
    height_ = height;
    pixels_.assign(size_t{width} * height, 0);
}

Frame Vga::render() {
    if (dispi_on() && dispi_[kXResolution] && dispi_[kYResolution]) {
        render_dispi();
    } else if (blanked()) {
        resize(640, 400);
    } else {
        render_legacy();
    }
    return {width_, height_, width_, pixels_.data()};
}

void Vga::render_legacy() {
    const Layout mode = layout();
    resize(mode.columns * mode.character_width, std::max(mode.lines / mode.step, 1U));
    line_.assign((size_t{mode.columns} + 1) * mode.character_width, 0);
    for (unsigned y = 0; y < height_; ++y) render_line(mode, y * mode.step, &pixels_[size_t{y} * width_]);
}

// One scan line: finds the row it is in, then shows its characters, shifted by the panning registers.
void Vga::render_line(const Layout& mode, unsigned line, u32* into) {
    u32 start = mode.start + bits<u8>(crtc_[kPresetRowScan], 5, 2);
    unsigned preset = crtc_[kPresetRowScan] & 0x1F;
    unsigned panning = attribute_[kPanning];
    if (line > mode.line_compare) {  // below the split the picture starts again at address 0
        line -= mode.line_compare + 1;
        start = 0;
        preset = 0;
        if (bit(attribute_[kAttributeMode], 5)) panning = 0;
    }
    if (mode.doubled) line /= 2;
    line += preset;
    const unsigned row_line = line % mode.row_lines;
    const u32 counter = start + line / mode.row_lines * mode.pitch;
    for (unsigned column = 0; column <= mode.columns; ++column) {
        u32* character = &line_[size_t{column} * mode.character_width];
        if (mode.text) {
            render_text(mode, counter + column, row_line, character);
        } else {
            render_graphics(mode, counter + column, row_line, character);
        }
    }
    unsigned shift = mode.colours256 ? panning / 2 & 3 : panning & 7;
    if (mode.character_width == 9) shift = panning >= 8 ? 0 : panning + 1;
    std::copy_n(line_.begin() + shift, width_, into);
}

void Vga::render_text(const Layout& mode, u32 counter, unsigned row_line, u32* into) const {
    const u32 address = memory_address(counter, row_line);
    const u8 character = plane_byte(address, 0);
    const u8 attribute = plane_byte(address, 1);
    // Character map select: bits 1:0 and 4 choose the map for attribute bit 3 clear, bits 3:2 and 5 for set.
    constexpr u16 kMaps[] = {0x0000, 0x4000, 0x8000, 0xC000, 0x2000, 0x6000, 0xA000, 0xE000};
    const u8 select = sequencer_[kCharacterMap];
    const unsigned map = bit(attribute, 3) ? bits<u8>(select, 2, 2) | unsigned{bit(select, 5)} << 2
                                           : bits<u8>(select, 0, 2) | unsigned{bit(select, 4)} << 2;
    unsigned dots = plane_byte(kMaps[map] + character * 32U + row_line, 2) << 1;
    if (bit(attribute_[kAttributeMode], 2) && character >= 0xC0 && character < 0xE0) dots |= dots >> 1 & 1;
    if ((attribute & 0x77) == 1 && row_line == (crtc_[kUnderline] & 0x1FU)) dots = 0x1FF;

    u8 background = attribute >> 4;
    if (bit(attribute_[kAttributeMode], 3)) {  // bit 7 blinks: 16 frames on, 16 off
        background &= 7;
        if (bit(attribute, 7) && frames() / 16 % 2) dots = 0;
    }
    const u32 at_cursor = static_cast<u32>(crtc_[kCursorHigh] << 8 | crtc_[kCursorLow]);
    const bool in_cursor = row_line >= (crtc_[kCursorStart] & 0x1FU) && row_line <= (crtc_[kCursorEnd] & 0x1FU);
    const bool cursor_on = !bit(crtc_[kCursorStart], 5) && frames() / 8 % 2 == 0;
    if (cursor_on && in_cursor && (counter & 0xFFFF) == at_cursor) dots = 0x1FF;

    const u32 colours[] = {attribute_colour(background), attribute_colour(attribute & 0x0F)};
    for (unsigned i = 0; i < mode.character_width; ++i) into[i] = colours[bit(dots, 8 - i)];
}

void Vga::render_graphics(const Layout& mode, u32 counter, unsigned row_line, u32* into) const {
    const u32 address = memory_address(counter, row_line);
    std::array<u8, 4> planes;
    for (unsigned i = 0; i < 4; ++i) planes[i] = plane_byte(address, i);
    if (mode.colours256) {
        for (unsigned i = 0; i < 4; ++i) into[i] = dac_colour(planes[i]);
        return;
    }
    const bool interleaved = bit(graphics_[kMode], 5);  // CGA's two bits to a pixel
    for (unsigned i = 0; i < 8; ++i) {
        u8 index = 0;
        if (interleaved) {
            const unsigned pair = i / 4, low = 6 - i % 4 * 2;
            index = static_cast<u8>(bits<u8>(planes[pair], low, 2) | bits<u8>(planes[pair + 2], low, 2) << 2);
        } else {
            for (unsigned plane = 0; plane < 4; ++plane) index |= static_cast<u8>(bit(planes[plane], 7 - i) << plane);
        }
        into[i] = attribute_colour(index);
    }
}

void Vga::render_dispi() {
    resize(dispi_[kXResolution], dispi_[kYResolution]);
    for (unsigned y = 0; y < height_; ++y) render_dispi_line(y, &pixels_[size_t{y} * width_]);
}

// Rows that do not lie wholly in video memory stay black.
void Vga::render_dispi_line(unsigned y, u32* into) const {
    const u64 row = (u64{y} + dispi_[kYOffset]) * dispi_pitch();
    const unsigned depth = dispi_[kBitsPerPixel];
    if (depth == 4) {
        for (unsigned x = 0; x < width_; ++x) {
            const u64 column = u64{x} + dispi_[kXOffset];
            const u64 at = (row + column / 8) * 4;
            if (at + 4 > vram_size_) return;
            u8 index = 0;
            for (unsigned plane = 0; plane < 4; ++plane)
                index |= static_cast<u8>(bit(vram()[at + plane], 7 - column % 8) << plane);
            into[x] = attribute_colour(index);
        }
        return;
    }
    const u64 size = (depth + 7) / 8;
    const u64 at = row + dispi_[kXOffset] * size;
    if (at + width_ * size > vram_size_) return;
    const u8* pixel = vram() + at;
    for (unsigned x = 0; x < width_; ++x, pixel += size) {
        switch (depth) {
            case 8:
                into[x] = dac_colour(*pixel);
                break;
            case 15: {
                const u32 value = load<u16>(pixel);
                into[x] = rgb(widen(bits(value, 10, 5), 5), widen(bits(value, 5, 5), 5), widen(bits(value, 0, 5), 5));
                break;
            }
            case 16: {
                const u32 value = load<u16>(pixel);
                into[x] = rgb(widen(bits(value, 11, 5), 5), widen(bits(value, 5, 6), 6), widen(bits(value, 0, 5), 5));
                break;
            }
            default:
                into[x] = rgb(pixel[2], pixel[1], pixel[0]);
        }
    }
}

std::string Vga::text_screen() const {
    const Layout mode = layout();
    if (!mode.text || dispi_on()) return {};
    std::string screen;
    const unsigned rows = mode.lines / (mode.row_lines * (mode.doubled ? 2 : 1));
    for (unsigned row = 0; row < rows; ++row) {
        std::string text;
        for (unsigned column = 0; column < mode.columns; ++column) {
            const u8 character = plane_byte(memory_address(mode.start + row * mode.pitch + column, 0), 0);
            const bool printable = character >= 0x20 && character < 0x7F;
            text += printable ? static_cast<char>(character) : character == 0 ? ' ' : '?';
        }
        text.erase(text.find_last_not_of(' ') + 1);
        screen += text + '\n';
    }
    return screen;
}

}  // namespace lodge
