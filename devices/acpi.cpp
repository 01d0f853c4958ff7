#include "devices/acpi.h"

#include <cassert>

namespace lodge {

namespace {

constexpr u16 kEvents = Acpi::kTimerStatus | Acpi::kGlobalStatus | Acpi::kPowerButton | Acpi::kRtcStatus;
constexpr u16 kStatusBits = kEvents | Acpi::kWakeStatus | 0x0010 /* BM_STS */;

// PM1 control.
constexpr u16 kSciEnable = 0x0001;
constexpr u16 kSleepEnable = 0x2000;
constexpr u16 kControlBits = 0x1C03;  // SLP_TYP, BM_RLD, SCI_EN; GBL_RLS and SLP_EN read as 0
constexpr unsigned kSoftOff = 0;

constexpr u32 kApmEnable = 1u << 25;  // DEVACTB: a write of the command port raises an SMI

// The timer's top bit, whose every change sets the status bit (ACPI 2.0 4.7.3.1.1).
constexpr u32 kTimerMask = 0xFFFFFF;
constexpr u64 kTimerHalf = u64{1} << 23;

// SMBus host registers, datasheet 7.3.
constexpr unsigned kSmbusStatus = 0;
constexpr unsigned kSmbusControl = 2;
constexpr u8 kSmbusStart = 0x40;
constexpr u8 kSmbusDeviceError = 0x04;
constexpr u8 kSmbusInterrupt = 0x02;

u64 ticks_at(u64 nanoseconds) {
    return static_cast<u64>(u128{nanoseconds} * Acpi::kTimerHertz / kNanosecondsPerSecond);
}

// The first nanosecond at which the timer has counted `ticks`.
u64 time_of(u64 ticks) {
    return static_cast<u64>((u128{ticks} * kNanosecondsPerSecond + Acpi::kTimerHertz - 1) / Acpi::kTimerHertz);
}

constexpr RegisterInfo kBlockRegisters[] = {{Acpi::kPm1Status, 16, "PMSTS"},    {Acpi::kPm1Enable, 16, "PMEN"},
                                            {Acpi::kPm1Control, 16, "PMCNTRL"}, {Acpi::kTimer, 32, "PMTMR"},
                                            {Acpi::kGpeStatus, 16, "GPSTS"},    {Acpi::kGpeEnable, 16, "GPEN"}};

}  // namespace

Acpi::Acpi(const Platform& platform, IrqLine sci)
    : PciDevice(platform, "acpi",
                {.vendor = 0x8086, .device = 0x7113, .revision = 3, .class_code = 0x068000, .interrupt_pin = 1}),
      sci_(sci),
      overflow_(platform.scheduler, "acpi.timer", [this](u64) { update_sci(); }) {
    set_config(kPciStatus, 0x0280, 2);
    set_writable(kPciCommand, kPciCommandIo, 2);
    set_config(kPciInterruptLine, 9, 1);
    set_config(kPmBase, 1, 4);
    set_writable(kPmBase, 0xFFC0, 4);
    set_writable(0x44, 0xFFFFFFFF, 4);  // CNTA
    set_writable(0x48, 0xFFFFFFFF, 4);  // CNTB
    set_writable(0x4C, 0xFFFFFFFF, 4);  // GPICTL
    set_writable(0x50, 0x00FFFFFF, 4);  // DEVRESD
    set_writable(0x54, 0xFFFFFFFF, 4);  // DEVACTA
    set_config(kDeviceActivityB, kApmEnable, 4);
    set_writable(kDeviceActivityB, 0xFFFFFFFF, 4);
    for (unsigned offset = 0x5C; offset < 0x80; offset += 4) set_writable(offset, 0xFFFFFFFF, 4);  // DEVRESA..DEVRESJ
    set_writable(kPmMiscellaneous, 0x01, 1);
    set_config(kSmbusBase, 1, 4);
    set_writable(kSmbusBase, 0xFFF0, 4);
    set_writable(kSmbusConfiguration, 0x0F, 1);
    power_button_ = platform.inputs.add_source("power button", [this](std::span<const u8>) { power_button_pressed(); });
    claim(
        command_ports_, kSmiCommandPort, 2, "acpi command",
        [this](u64 offset, unsigned size) { return read_command(offset, size); },
        [this](u64 offset, unsigned size, u64 value) { write_command(offset, size, value); });
    assert(command_ports_.claimed());
    timer_overflow_ = next_timer_change();
}

void Acpi::claim(BusRange& range, u32 base, u64 size, const char* what, BusRead read, BusWrite write,
                 RegisterTable registers) {
    Result<BusRange> claimed = platform().ports.claim(base, size, what, std::move(read), std::move(write), registers);
    if (claimed)
        range = std::move(*claimed);
    else
        platform().log.once(LogChannel::acpi, "%s", claimed.error().context.c_str());
}

void Acpi::update_ranges() {
    const u32 block = config(kPmBase, 2) & 0xFFC0;
    const bool block_wanted = (config(kPmMiscellaneous, 1) & 1) && block != 0;
    if (block_.claimed() && (!block_wanted || block_.base() != block)) block_.release();
    const u32 smbus = config(kSmbusBase, 2) & 0xFFF0;
    const bool smbus_wanted = (config(kSmbusConfiguration, 1) & 1) && smbus != 0;
    if (smbus_.claimed() && (!smbus_wanted || smbus_.base() != smbus)) smbus_.release();
    if (block_wanted && !block_.claimed())
        claim(
            block_, block, kBlockSize, "acpi registers",
            [this](u64 offset, unsigned size) { return read_block(offset, size); },
            [this](u64 offset, unsigned size, u64 value) { write_block(offset, size, value); }, kBlockRegisters);
    if (smbus_wanted && !smbus_.claimed())
        claim(
            smbus_, smbus, 16, "smbus", [this](u64 offset, unsigned size) { return read_smbus(offset, size); },
            [this](u64 offset, unsigned size, u64 value) { write_smbus(offset, size, value); });
}

void Acpi::config_write(unsigned offset, unsigned size, u32 value) {
    PciDevice::config_write(offset, size, value);
    update_ranges();
}

u32 Acpi::timer() const {
    return static_cast<u32>(ticks_at(platform().scheduler.now())) & kTimerMask;
}

u64 Acpi::next_timer_change() const {
    return time_of((ticks_at(platform().scheduler.now()) / kTimerHalf + 1) * kTimerHalf);
}

u16 Acpi::status() {
    const bool overflowed = platform().scheduler.now() >= timer_overflow_;
    return static_cast<u16>(status_ | (overflowed ? kTimerStatus : 0));
}

void Acpi::clear_status(u16 bits) {
    status_ = static_cast<u16>(status_ & ~bits);
    if (bits & kTimerStatus && status() & kTimerStatus) timer_overflow_ = next_timer_change();
    update_sci();
}

void Acpi::update_sci() {
    const bool pending = (status() & enable_ & kEvents) || (gpe_status_ & gpe_enable_);
    sci_.set(pending && (control_ & kSciEnable));
    // The timer's event is wanted only while its interrupt is, and has not come yet.
    if ((enable_ & kTimerStatus) && !(status() & kTimerStatus))
        overflow_.schedule_at(timer_overflow_);
    else
        overflow_.cancel();
}

void Acpi::power_button_pressed() {
    status_ |= kPowerButton;
    update_sci();
}

u8 Acpi::read_byte(unsigned offset) {
    const u16 words[] = {status(), enable_, control_, 0};
    if (offset < kTimer) return static_cast<u8>(words[offset / 2] >> (8 * (offset & 1)));
    if (offset < kGpeStatus) return static_cast<u8>(timer() >> (8 * (offset & 3)));
    if (offset < kGpeEnable) return static_cast<u8>(gpe_status_ >> (8 * (offset & 1)));
    if (offset < kGpeEnable + 2) return static_cast<u8>(gpe_enable_ >> (8 * (offset & 1)));
    return plain_[offset];
}

u64 Acpi::read_block(u64 offset, unsigned size) {
    if (offset == kTimer && size == 4) return timer();
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{read_byte(static_cast<unsigned>(offset) + i)} << (8 * i);
    return value;
}

void Acpi::write_block(u64 offset, unsigned size, u64 value) {
    // Each byte of a register takes its own part; the control register acts when its last byte is written.
    for (unsigned i = 0; i < size; ++i) {
        const unsigned at = static_cast<unsigned>(offset) + i;
        const unsigned shift = 8 * (at & 1);
        const u16 byte = static_cast<u16>(((value >> (8 * i)) & 0xFF) << shift);
        const u16 mask = static_cast<u16>(0xFF << shift);
        switch (at & ~1u) {
            case kPm1Status:
                clear_status(byte & kStatusBits);
                break;
            case kPm1Enable:
                enable_ = replace_bits(enable_, static_cast<u16>(mask & kEvents), byte);
                break;
            case kPm1Control:
                write_control(replace_bits(control_, mask, byte));
                break;
            case kGpeStatus:
                gpe_status_ = static_cast<u16>(gpe_status_ & ~byte);
                break;
            case kGpeEnable:
                gpe_enable_ = replace_bits(gpe_enable_, mask, byte);
                break;
            default:
                if (at >= 0x10) plain_[at] = static_cast<u8>(byte >> shift);
        }
    }
    update_sci();
}

void Acpi::write_control(u16 value) {
    control_ = value & kControlBits;
    if (value & kSleepEnable) enter_sleep(bits(value, 10, 3));
}

void Acpi::enter_sleep(unsigned type) {
    // PIIX4 PMCNTRL: 0 is soft off. The tables offer no other state.
    if (type == kSoftOff)
        platform().control.request_power_off();
    else
        platform().log.once(LogChannel::acpi, "sleep type %u is not supported", type);
}

u64 Acpi::read_smbus(u64 offset, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{smbus_registers_[(offset + i) & 15]} << (8 * i);
    return value;
}

void Acpi::write_smbus(u64 offset, unsigned size, u64 value) {
    for (unsigned i = 0; i < size; ++i) {
        const unsigned at = static_cast<unsigned>(offset + i) & 15;
        const u8 byte = static_cast<u8>(value >> (8 * i));
        u8& target = smbus_registers_[at];
        if (at == kSmbusStatus)
            target = static_cast<u8>(target & ~byte);
        else
            target = at == kSmbusControl ? byte & ~kSmbusStart : byte;
        // Nobody answers: the transaction ends at once with a device error.
        if (at == kSmbusControl && (byte & kSmbusStart))
            smbus_registers_[kSmbusStatus] |= kSmbusDeviceError | kSmbusInterrupt;
    }
}

u64 Acpi::read_command(u64 offset, unsigned size) {
    const u16 both = static_cast<u16>(apm_command_ | apm_status_ << 8);
    return static_cast<u64>(both >> (8 * offset)) & (size == 1 ? 0xFF : 0xFFFF);
}

void Acpi::write_command(u64 offset, unsigned size, u64 value) {
    // The status port first: a 16-bit write brings its data along with the command.
    if (offset + size == 2) apm_status_ = static_cast<u8>(value >> (8 * (size - 1)));
    if (offset != 0) return;
    apm_command_ = static_cast<u8>(value);
    if (apm_command_ == kEnableCommand) control_ |= kSciEnable;
    if (apm_command_ == kDisableCommand) control_ = static_cast<u16>(control_ & ~kSciEnable);
    update_sci();
}

void Acpi::reset() {
    PciDevice::reset();
    status_ = enable_ = control_ = gpe_status_ = gpe_enable_ = 0;
    plain_ = {};
    smbus_registers_ = {};
    apm_command_ = apm_status_ = 0;
    timer_overflow_ = next_timer_change();
    update_ranges();
    update_sci();
}

void Acpi::state(StateIo& io) {
    io.section(name(), 1, [&] {
        config_state(io);
        io.field("status", status_);
        io.field("enable", enable_);
        io.field("control", control_);
        io.field("gpe_status", gpe_status_);
        io.field("gpe_enable", gpe_enable_);
        io.field("timer_overflow", timer_overflow_);
        io.bytes("plain", plain_);
        io.bytes("smbus", smbus_registers_);
        io.field("apm_command", apm_command_);
        io.field("apm_status", apm_status_);
        overflow_.state(io);
    });
    if (io.loading()) update_ranges();
}

}  // namespace lodge
