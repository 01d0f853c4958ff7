#include "devices/ide_drive.h"

#include <algorithm>
#include <cassert>

namespace lodge {

u8 IdeDrive::read_register(unsigned index, bool high_order) const {
    // While BSY is set, any register of the command block reads as Status (ATA/ATAPI-6 clause 7).
    if (index == kIdeStatus || (status_ & kIdeBusy)) return status_;
    if (index == kIdeError) return error_;
    return high_order && index != kIdeDevice ? previous_[index] : current_[index];
}

void IdeDrive::write_register(unsigned index, u8 value) {
    if (index != kIdeDevice) previous_[index] = current_[index];
    current_[index] = value;
}

void IdeDrive::write_command(u8 command) {
    if (command == kIdeDeviceReset && is_packet_device()) return device_reset();
    if (occupied()) return;
    set_intrq(false);
    error_ = 0;
    execute(command);
}

u16 IdeDrive::read_data() {
    if (!moving(IdeTransfer::pio_in)) return 0xFFFF;
    const u16 value = load<u16>(&buffer_[position_]);
    advance(sizeof value);
    return value;
}

void IdeDrive::write_data(u16 value) {
    if (!moving(IdeTransfer::pio_out)) return;
    store(&buffer_[position_], value);
    advance(sizeof value);
}

void IdeDrive::set_intrq(bool level) {
    if (intrq_ == level) return;
    intrq_ = level;
    cable_.intrq_changed();
}

std::span<u8> IdeDrive::dma_buffer() {
    if (!moving(IdeTransfer::dma_in) && !moving(IdeTransfer::dma_out)) return {};
    return std::span(buffer_).subspan(position_, block_end_ - position_);
}

void IdeDrive::dma_moved(size_t bytes) {
    assert(bytes <= block_end_ - position_);
    advance(bytes);
}

void IdeDrive::advance(size_t bytes) {
    position_ += static_cast<u32>(bytes);
    if (position_ < block_end_) return;
    set_busy();
    block_moved();
}

void IdeDrive::set_idle(u8 error) {
    drop_transfer();
    error_ = error;
    status_ = kIdeReady | kIdeSeekComplete | (error ? kIdeErrorBit : 0);
}

void IdeDrive::finish(u8 error) {
    set_idle(error);
    set_intrq(true);
}

void IdeDrive::set_signature(u8 lba_mid, u8 lba_high) {
    previous_ = {};
    current_ = {};
    current_[kIdeCount] = 1;
    current_[kIdeLbaLow] = 1;
    current_[kIdeLbaMid] = lba_mid;
    current_[kIdeLbaHigh] = lba_high;
    error_ = kIdeDiagnosticPassed;
}

void IdeDrive::drop_transfer() {
    transfer_ = IdeTransfer::none;
    if (!buffer_.empty()) spare_.swap(buffer_);
    buffer_.clear();
    position_ = block_end_ = 0;
}

// Buffers hold whole words, so that the data register never meets half of one.
void IdeDrive::start_transfer(IdeTransfer transfer, std::vector<u8> buffer) {
    assert(buffer.size() % 2 == 0 && buffer.size() <= kMostBuffered);
    transfer_ = transfer;
    buffer_ = std::move(buffer);
    position_ = block_end_ = 0;
}

void IdeDrive::offer(size_t bytes) {
    assert(left_in_buffer() > 0 && bytes % 2 == 0);
    block_end_ = position_ + static_cast<u32>(std::min(bytes, left_in_buffer()));
    if (transfer_ == IdeTransfer::pio_in || transfer_ == IdeTransfer::pio_out) {
        status_ = kIdeReady | kIdeSeekComplete | kIdeDataRequest;
        return;
    }
    set_busy();
    cable_.dma_requested();
}

void IdeDrive::drive_state(StateIo& io) {
    io.bytes("current", current_);
    io.bytes("previous", previous_);
    io.field("error", error_);
    io.field("status", status_);
    io.field("intrq", intrq_);
    io.field("transfer", transfer_);
    io.blob("buffer", buffer_, kMostBuffered);
    io.field("position", position_);
    io.field("block_end", block_end_);
    if (!io.loading()) return;
    const bool sound = transfer_ <= IdeTransfer::dma_out && position_ <= block_end_ && block_end_ <= buffer_.size() &&
                       buffer_.size() % 2 == 0 && position_ % 2 == 0 && block_end_ % 2 == 0;
    if (sound) return;
    io.fail("a drive's transfer cannot be");
    drop_transfer();
}

}  // namespace lodge
