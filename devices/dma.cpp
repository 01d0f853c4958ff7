#include "devices/dma.h"

#include <algorithm>

namespace lodge {

namespace {

constexpr unsigned kCascade = 4;

constexpr u8 kControllerDisable = 0x04;  // command register
constexpr u8 kDecrement = 0x20;          // mode register
constexpr u8 kAutoInitialise = 0x10;

// Offsets of the registers behind the channels' addresses and counts (data sheet, figure "register codes").
enum Offset : unsigned {
    kStatusCommand = 8,
    kRequest,
    kSingleMask,
    kMode,
    kClearPointer,
    kMasterClear,
    kClearMask,
    kMask
};

constexpr RegisterInfo kFirstRegisters[] = {{0, 8, "CH0_ADDRESS", RegisterRead::changes},
                                            {1, 8, "CH0_COUNT", RegisterRead::changes},
                                            {2, 8, "CH1_ADDRESS", RegisterRead::changes},
                                            {3, 8, "CH1_COUNT", RegisterRead::changes},
                                            {4, 8, "CH2_ADDRESS", RegisterRead::changes},
                                            {5, 8, "CH2_COUNT", RegisterRead::changes},
                                            {6, 8, "CH3_ADDRESS", RegisterRead::changes},
                                            {7, 8, "CH3_COUNT", RegisterRead::changes},
                                            {8, 8, "STATUS_COMMAND", RegisterRead::changes},
                                            {9, 8, "REQUEST"},
                                            {10, 8, "SINGLE_MASK"},
                                            {11, 8, "MODE"},
                                            {12, 8, "CLEAR_POINTER"},
                                            {13, 8, "MASTER_CLEAR"},
                                            {14, 8, "CLEAR_MASK"},
                                            {15, 8, "MASK"}};
constexpr RegisterInfo kSecondRegisters[] = {{0, 8, "CH4_ADDRESS", RegisterRead::changes},
                                             {2, 8, "CH4_COUNT", RegisterRead::changes},
                                             {4, 8, "CH5_ADDRESS", RegisterRead::changes},
                                             {6, 8, "CH5_COUNT", RegisterRead::changes},
                                             {8, 8, "CH6_ADDRESS", RegisterRead::changes},
                                             {10, 8, "CH6_COUNT", RegisterRead::changes},
                                             {12, 8, "CH7_ADDRESS", RegisterRead::changes},
                                             {14, 8, "CH7_COUNT", RegisterRead::changes},
                                             {16, 8, "STATUS_COMMAND", RegisterRead::changes},
                                             {18, 8, "REQUEST"},
                                             {20, 8, "SINGLE_MASK"},
                                             {22, 8, "MODE"},
                                             {24, 8, "CLEAR_POINTER"},
                                             {26, 8, "MASTER_CLEAR"},
                                             {28, 8, "CLEAR_MASK"},
                                             {30, 8, "MASK"}};
constexpr RegisterInfo kPageRegisters[] = {{1, 8, "CH2_PAGE"},  {2, 8, "CH3_PAGE"},     {3, 8, "CH1_PAGE"},
                                           {7, 8, "CH0_PAGE"},  {9, 8, "CH6_PAGE"},     {10, 8, "CH7_PAGE"},
                                           {11, 8, "CH5_PAGE"}, {15, 8, "REFRESH_PAGE"}};
// Where the page register of each channel is (offset from port 80h).
constexpr u8 kPageOf[8] = {7, 3, 1, 2, 15, 11, 9, 10};

}  // namespace

void DmaChannel::request(bool level) {
    auto& chip = controller_.chip_of(number_);
    const u8 one = static_cast<u8>(1 << number_ % 4);
    chip.lines = level ? chip.lines | one : chip.lines & ~one;
}

bool DmaChannel::granted() const {
    return controller_.granted(number_);
}

DmaChannel::Direction DmaChannel::direction() const {
    return controller_.direction(number_);
}

DmaChannel::Transfer DmaChannel::to_memory(std::span<const u8> from) {
    // The data is only read in this direction.
    return controller_.transfer(number_, Direction::to_memory, const_cast<u8*>(from.data()), from.size());
}

DmaChannel::Transfer DmaChannel::from_memory(std::span<u8> into) {
    return controller_.transfer(number_, Direction::from_memory, into.data(), into.size());
}

DmaController::DmaController(PhysicalMemory& memory, Log& log)
    : memory_(memory), claims_(log, LogChannel::dma), channels_{DmaChannel{*this, 0}, DmaChannel{*this, 1},
                                                                DmaChannel{*this, 2}, DmaChannel{*this, 3},
                                                                DmaChannel{*this, 4}, DmaChannel{*this, 5},
                                                                DmaChannel{*this, 6}, DmaChannel{*this, 7}} {}

Result<void> DmaController::attach(Bus& ports) {
    LODGE_TRY(claims_.bytes(
        ports, 0x00, 16, "dma1", kFirstRegisters, [this](u64 offset) { return read(0, static_cast<unsigned>(offset)); },
        [this](u64 offset, u8 value) { write(0, static_cast<unsigned>(offset), value); }));
    LODGE_TRY(claims_.bytes(
        ports, 0x80, 16, "dma pages", kPageRegisters,
        [this](u64 offset) { return read_page(static_cast<unsigned>(offset)); },
        [this](u64 offset, u8 value) { write_page(static_cast<unsigned>(offset), value); }));
    // The second chip hangs on A1: its registers are at even ports.
    return claims_.bytes(
        ports, 0xC0, 32, "dma2", kSecondRegisters,
        [this](u64 offset) { return read(1, static_cast<unsigned>(offset / 2)); },
        [this](u64 offset, u8 value) { write(1, static_cast<unsigned>(offset / 2), value); });
}

void DmaController::Chip::clear() {
    command = 0;
    terminal_counts = 0;
    software = 0;
    mask = 0x0F;
    high_byte = false;
}

void DmaController::Chip::state(StateIo& io, std::string_view name) {
    io.section(name, 1, [&] {
        io.field("channels", channels);
        io.field("command", command);
        io.field("terminal_counts", terminal_counts);
        io.field("lines", lines);
        io.field("software", software);
        io.field("mask", mask);
        io.field("high_byte", high_byte);
    });
}

void DmaController::reset() {
    for (auto& chip : chips_) chip.clear();
}

void DmaController::state(StateIo& io) {
    io.section("dma", 1, [&] {
        chips_[0].state(io, "chip1");
        chips_[1].state(io, "chip2");
        io.bytes("pages", pages_);
    });
}

bool DmaController::granted(unsigned number) const {
    if (number == kCascade) return false;
    const Chip& chip = chip_of(number);
    const Chip& second = chips_[1];
    // The first chip reaches the bus through channel 4 of the second.
    if (number < 4 && ((second.command & kControllerDisable) || bit(second.mask, 0))) return false;
    return !(chip.command & kControllerDisable) && !bit(chip.mask, number % 4);
}

DmaChannel::Direction DmaController::direction(unsigned number) const {
    return static_cast<DmaChannel::Direction>(bits<u8>(registers(number).mode, 2, 2));
}

// Where the channel points. Channels 5..7 count words: A0 is 0 and bit 0 of the page does not count.
u64 DmaController::physical(unsigned number) const {
    const u64 address = registers(number).address;
    const u64 page = pages_[kPageOf[number]];
    return number < 4 ? page << 16 | address : (page & 0xFE) << 16 | address << 1;
}

DmaChannel::Transfer DmaController::transfer(unsigned number, DmaChannel::Direction wanted, u8* data, size_t length) {
    const auto programmed = direction(number);
    if (!granted(number) || (programmed != wanted && programmed != DmaChannel::Direction::verify)) return {};
    auto& channel = registers(number);
    const size_t unit = number < 4 ? 1 : 2;
    const size_t left = size_t{channel.count} + 1;
    const size_t units = std::min(length / unit, left);
    move(number, programmed, data, units);
    channel.count = static_cast<u16>(channel.count - units);
    const bool terminal_count = units == left;
    if (terminal_count) finish(number);
    return {units * unit, terminal_count};
}

// Moves and advances the address, which wraps within its 16 bits: the page register does not count on.
void DmaController::move(unsigned number, DmaChannel::Direction programmed, u8* data, size_t units) {
    auto& channel = registers(number);
    const size_t unit = number < 4 ? 1 : 2;
    const bool down = channel.mode & kDecrement;
    while (units) {
        const size_t until_wrap = 0x10000 - size_t{channel.address};
        const size_t chunk = down ? 1 : std::min(units, until_wrap);
        const size_t size = chunk * unit;
        if (programmed == DmaChannel::Direction::to_memory) memory_.write(physical(number), {data, size});
        if (programmed == DmaChannel::Direction::from_memory) memory_.read(physical(number), {data, size});
        channel.address = static_cast<u16>(down ? channel.address - chunk : channel.address + chunk);
        data += size;
        units -= chunk;
    }
}

void DmaController::finish(unsigned number) {
    Chip& chip = chip_of(number);
    auto& channel = registers(number);
    const u8 one = static_cast<u8>(1 << number % 4);
    chip.terminal_counts |= one;
    chip.software &= ~one;
    if (channel.mode & kAutoInitialise) {
        channel.address = channel.base_address;
        channel.count = channel.base_count;
    } else {
        chip.mask |= one;
    }
}

u8 DmaController::read_half(Chip& chip, u16 value) {
    const bool high = chip.high_byte;
    chip.high_byte = !high;
    return static_cast<u8>(high ? value >> 8 : value);
}

void DmaController::write_half(Chip& chip, u16& base, u16& current, u8 value) {
    base = static_cast<u16>(chip.high_byte ? (base & 0x00FF) | value << 8 : (base & 0xFF00) | value);
    current = base;
    chip.high_byte = !chip.high_byte;
}

u8 DmaController::read(unsigned number, unsigned offset) {
    Chip& chip = chips_[number];
    if (offset < kStatusCommand) {
        const auto& channel = chip.channels[offset / 2];
        return read_half(chip, offset % 2 ? channel.count : channel.address);
    }
    switch (offset) {
        case kStatusCommand: {
            const u8 status = static_cast<u8>(chip.terminal_counts | (chip.lines | chip.software) << 4);
            chip.terminal_counts = 0;
            return status;
        }
        case kMasterClear:
            return 0;  // the temporary register: PCs have no memory-to-memory transfers
        case kMask:
            return chip.mask | 0xF0;
        default:
            return 0xFF;
    }
}

void DmaController::write(unsigned number, unsigned offset, u8 value) {
    Chip& chip = chips_[number];
    const u8 one = static_cast<u8>(1 << (value & 3));
    if (offset < kStatusCommand) {
        auto& channel = chip.channels[offset / 2];
        if (offset % 2) return write_half(chip, channel.base_count, channel.count, value);
        return write_half(chip, channel.base_address, channel.address, value);
    }
    switch (offset) {
        case kStatusCommand:
            chip.command = value;
            break;
        case kRequest:
            chip.software = bit(value, 2) ? chip.software | one : chip.software & ~one;
            break;
        case kSingleMask:
            chip.mask = bit(value, 2) ? chip.mask | one : chip.mask & ~one;
            break;
        case kMode:
            chip.channels[value & 3].mode = value & 0xFC;
            break;
        case kClearPointer:
            chip.high_byte = false;
            break;
        case kMasterClear:
            chip.clear();
            break;
        case kClearMask:
            chip.mask = 0;
            break;
        default:
            chip.mask = value & 0x0F;
    }
}

}  // namespace lodge
