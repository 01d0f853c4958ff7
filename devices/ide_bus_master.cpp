#include "devices/ide_bus_master.h"

#include <algorithm>

namespace lodge {

namespace {

constexpr u32 kWholeRegion = 0x10000;
constexpr u64 kEndOfDmaSpace = u64{1} << 32;
constexpr u32 kEndOfTable = 0x8000'0000;  // in a descriptor's second dword
constexpr u32 kDescriptorSize = 8;

}  // namespace

void IdeBusMaster::reset() {
    command_ = status_ = 0;
    table_ = 0;
    next_descriptor_ = address_ = left_ = 0;
    last_ = false;
}

u8 IdeBusMaster::read(unsigned offset) const {
    if (offset == kCommand) return command_;
    if (offset == kStatus) return status_;
    if (offset >= kTable) return static_cast<u8>(table_ >> (8 * (offset - kTable)));
    return 0;
}

bool IdeBusMaster::write(unsigned offset, u8 value) {
    if (offset == kCommand) {
        write_command(value);
        return active();
    }
    if (offset == kStatus) {
        status_ &= static_cast<u8>(~(value & (kError | kInterrupt)));
        status_ = replace_bits(status_, kDriveCapable, value);
    } else if (offset >= kTable) {
        const unsigned shift = 8 * (offset - kTable);
        table_ = replace_bits(table_, 0xFFu << shift, u32{value} << shift) & ~3u;
    }
    return false;
}

void IdeBusMaster::write_command(u8 value) {
    const bool was_started = command_ & kStart;
    command_ = value & (kStart | kToMemory);
    if (!(command_ & kStart)) {
        status_ &= static_cast<u8>(~kActive);
    } else if (!was_started) {
        status_ |= kActive;
        next_descriptor_ = table_;
        left_ = 0;
        last_ = false;
    }
}

// The walk ends because each descriptor moves at least two bytes of what the drive wants, with or without an end mark.
void IdeBusMaster::run(IdeDrive& drive) {
    while (active()) {
        const std::span<u8> wanted = drive.dma_buffer();
        if (wanted.empty()) return;
        if (drive.dma_to_host() != ((command_ & kToMemory) != 0)) {
            log_.once(LogChannel::ide, "bus master started in the direction opposite to the drive's transfer");
            return;
        }
        if (left_ == 0) next_region();
        const size_t bytes = std::min({wanted.size(), size_t{left_}, static_cast<size_t>(kEndOfDmaSpace - address_)});
        move(wanted.first(bytes));
        address_ += static_cast<u32>(bytes);
        left_ -= static_cast<u32>(bytes);
        if (left_ == 0 && last_) status_ &= static_cast<u8>(~kActive);
        drive.dma_moved(bytes);
    }
}

// A descriptor: the region's address, then its byte count (even, 0 for 64 KiB) and the end mark.
void IdeBusMaster::next_region() {
    address_ = memory_.read_value<u32>(next_descriptor_) & ~1u;
    const u32 second = memory_.read_value<u32>(u64{next_descriptor_} + 4);
    next_descriptor_ += kDescriptorSize;
    left_ = second & 0xFFFE;
    if (left_ == 0) left_ = kWholeRegion;
    last_ = second & kEndOfTable;
}

void IdeBusMaster::move(std::span<u8> data) {
    if (command_ & kToMemory) return memory_.write(address_, data);
    memory_.read(address_, data);
}

void IdeBusMaster::state(StateIo& io) {
    io.section("bus_master", 1, [&] {
        io.field("command", command_);
        io.field("status", status_);
        io.field("table", table_);
        io.field("next_descriptor", next_descriptor_);
        io.field("address", address_);
        io.field("left", left_);
        io.field("last", last_);
    });
    if (!io.loading()) return;
    table_ &= ~3u;
    address_ &= ~1u;
    left_ = std::min(left_, kWholeRegion) & ~1u;
}

}  // namespace lodge
