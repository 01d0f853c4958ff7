#include "devices/piix3.h"

namespace lodge {

namespace {

// Power-on values and writable bits of the registers that have them, in datasheet order (section 2.2).
struct Register {
    u8 offset;
    u8 initial;
    u8 writable;
};
constexpr Register kRegisters[] = {
    {0x4C, 0x4D, 0x7F},                                                              // IORT
    {0x4E, 0x03, 0xFF}, {0x4F, 0x00, 0x01},                                          // XBCS
    {0x60, 0x80, 0x8F}, {0x61, 0x80, 0x8F}, {0x62, 0x80, 0x8F}, {0x63, 0x80, 0x8F},  // PIRQRC
    {0x69, 0x02, 0xFE},                                                              // TOM
    {0x6A, 0x00, 0xFF}, {0x6B, 0x00, 0x80},                                          // MSTAT
    {0x70, 0x80, 0xEF}, {0x71, 0x80, 0xEF},                                          // MBIRQ
    {0x76, 0x0C, 0x8F}, {0x77, 0x0C, 0x8F},                                          // MBDMA
    {0x78, 0x02, 0xFF}, {0x79, 0x00, 0xFF},                                          // PCSC
    {0x80, 0x00, 0x7F},                                                              // APICBASE
    {0x82, 0x00, 0x0F},                                                              // DLC
    {0xA0, 0x08, 0x1F},                                                              // SMICNTL
    {0xA2, 0x00, 0xFF}, {0xA3, 0x00, 0x01},                                          // SMIEN
    {0xA4, 0x00, 0xFF}, {0xA5, 0x00, 0xFF}, {0xA6, 0x00, 0xFF}, {0xA7, 0x00, 0xFF},  // SEE
    {0xA8, 0x0F, 0xFF},                                                              // FTMR
};

// Reset control register.
constexpr u8 kResetHard = 0x02;  // SRST: a hard reset rather than INIT
constexpr u8 kResetCpu = 0x04;   // RCPU: its rising edge resets

}  // namespace

Piix3::Piix3(const Platform& platform, IrqInput& interrupts)
    : PciDevice(platform, "piix3", {.vendor = 0x8086, .device = 0x7000, .class_code = 0x060100, .multifunction = true}),
      interrupts_(interrupts) {
    // I/O, memory and bus mastering cannot be turned off; datasheet 2.2.3.
    set_config(kPciCommand, kPciCommandIo | kPciCommandMemory | kPciCommandMaster, 2);
    set_writable(kPciCommand, 0x0108, 2);
    set_config(kPciStatus, 0x0200, 2);
    set_writable(kPciInterruptLine, 0, 1);
    for (const Register& entry : kRegisters) {
        set_config(entry.offset, entry.initial, 1);
        set_writable(entry.offset, entry.writable, 1);
    }
}

u16 Piix3::routed_levels() const {
    u16 levels = 0;
    for (unsigned pin = 0; pin < 4; ++pin) {
        const u32 route = config(kPirqRoute + pin, 1);
        if (bit(pirqs_, pin) && !(route & kPirqDisabled)) levels = static_cast<u16>(levels | 1 << (route & 0xF));
    }
    return levels;
}

void Piix3::update() {
    const u16 levels = routed_levels();
    const u16 changed = levels ^ driven_;
    driven_ = levels;
    for (unsigned irq = 0; irq < 16; ++irq)
        if (bit(changed, irq)) interrupts_.set_irq(irq, bit(levels, irq));
}

void Piix3::set_irq(unsigned pin, bool level) {
    pirqs_ = replace_bits<u8>(pirqs_, static_cast<u8>(1 << pin), level ? 0xFF : 0);
    update();
}

void Piix3::config_write(unsigned offset, unsigned size, u32 value) {
    PciDevice::config_write(offset, size, value);
    update();
}

void Piix3::write_reset_control(u8 value) {
    const bool edge = (value & kResetCpu) && !(reset_control_ & kResetCpu);
    reset_control_ = value & (kResetHard | kResetCpu);
    if (!edge) return;
    if (value & kResetHard)
        platform().control.request_reset();
    else
        platform().cpu.init();
}

void Piix3::reset() {
    PciDevice::reset();
    reset_control_ = 0;
    update();
}

void Piix3::state(StateIo& io) {
    io.section(name(), 1, [&] {
        config_state(io);
        io.field("reset_control", reset_control_);
        io.field("pirqs", pirqs_);
        io.field("driven", driven_);
    });
}

}  // namespace lodge
