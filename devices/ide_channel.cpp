#include "devices/ide_channel.h"

namespace lodge {

namespace {

constexpr u8 kExecuteDeviceDiagnostic = 0x90;

}  // namespace

void IdeChannel::reset() {
    control_ = 0;
    slave_ = false;
    bus_master_.reset();
    for (IdeDrive* drive : drives_) {
        if (drive) drive->reset();
    }
    intrq_changed();
}

void IdeChannel::intrq_changed() {
    const bool level = selected() && selected()->intrq() && !(control_ & kNoInterrupt);
    if (level == line_) return;
    line_ = level;
    irq_.set(level);
    if (level) bus_master_.interrupt();
}

void IdeChannel::dma_requested() {
    if (mastering_ && selected()) bus_master_.run(*selected());
}

void IdeChannel::write_bus_master(unsigned offset, u8 value) {
    if (bus_master_.write(offset, value)) dma_requested();
}

u64 IdeChannel::read_command_block(u64 offset, unsigned size) {
    if (offset == kIdeData && size == 2) return read_data();
    if (offset == kIdeData && size == 4) {
        const u32 low = read_data();
        return low | u32{read_data()} << 16;
    }
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{read_byte(static_cast<unsigned>(offset) + i)} << (8 * i);
    return value;
}

void IdeChannel::write_command_block(u64 offset, unsigned size, u64 value) {
    if (offset == kIdeData && (size == 2 || size == 4)) {
        write_data(static_cast<u16>(value));
        if (size == 4) write_data(static_cast<u16>(value >> 16));
        return;
    }
    for (unsigned i = 0; i < size; ++i)
        write_byte(static_cast<unsigned>(offset) + i, static_cast<u8>(value >> (8 * i)));
}

u8 IdeChannel::read_byte(unsigned index) {
    // The data register is a word wide: a byte access moves a word, of which the low byte is seen.
    if (index == kIdeData) return static_cast<u8>(read_data());
    const u8 value = read_register(index);
    if (index == kIdeStatus && selected()) selected()->set_intrq(false);
    return value;
}

u8 IdeChannel::read_register(unsigned index) const {
    if (empty()) return static_cast<u8>(kFloating);
    const bool high_order = control_ & kHighOrder;
    if (selected()) return selected()->read_register(index, high_order);
    const IdeDrive& other = *drives_[!slave_];
    return index == kIdeStatus || other.is_packet_device() ? 0 : other.read_register(index, high_order);
}

u8 IdeChannel::read_alternate_status() const {
    return read_register(kIdeStatus);
}

void IdeChannel::write_byte(unsigned index, u8 value) {
    if (index == kIdeData) return write_data(value);
    control_ &= static_cast<u8>(~kHighOrder);  // any write to the command block clears it
    const bool resets =
        index == kIdeCommand && value == kIdeDeviceReset && selected() && selected()->is_packet_device();
    if (selected() && selected()->occupied() && !resets) return;
    if (index == kIdeCommand) return write_command(value);
    for (IdeDrive* drive : drives_) {
        if (drive) drive->write_register(index, value);
    }
    if (index != kIdeDevice) return;
    slave_ = value & kIdeSelectSlave;
    intrq_changed();
}

void IdeChannel::write_command(u8 command) {
    if (command == kExecuteDeviceDiagnostic) return execute_diagnostic();
    if (selected()) selected()->write_command(command);
}

// Both drives run it, whichever is selected; drive 0 reports.
void IdeChannel::execute_diagnostic() {
    for (IdeDrive* drive : drives_) {
        if (drive) drive->diagnose();
    }
    slave_ = false;
    intrq_changed();
    if (drives_[0]) drives_[0]->set_intrq(true);
}

void IdeChannel::write_device_control(u8 value) {
    const bool was_held = control_ & kSoftwareReset;
    const bool held = value & kSoftwareReset;
    control_ = value & (kHighOrder | kSoftwareReset | kNoInterrupt);
    if (held != was_held) {
        slave_ = false;
        for (IdeDrive* drive : drives_) {
            if (drive) drive->software_reset(held);
        }
    }
    intrq_changed();
}

void IdeChannel::state(StateIo& io, std::string_view name) {
    io.section(name, 1, [&] {
        io.field("control", control_);
        io.field("slave", slave_);
        io.field("line", line_);
        bus_master_.state(io);
    });
}

}  // namespace lodge
