// Power management of the board: function 3 of the 82371AB (PIIX4): the ACPI register block with its timer, the SMI
// command ports B2h/B3h, and an SMBus with nothing on it.
// Source: Intel 82371AB (PIIX4) datasheet 290562, chapter 7; ACPI 2.0 section 4.7 for what the bits mean.
//
// There is no system management mode. Writes to the command port do at once what a firmware's SMI handler would
// (switching ACPI mode), and DEVACTB says from reset on that the handler is installed, so that SeaBIOS does not try.
#pragma once

#include "core/scheduler.h"
#include "devices/pci.h"

namespace lodge {

class Acpi final : public PciDevice {
  public:
    // Where firmware (SeaBIOS with fw_cfg tables, and the direct boot of lodge) puts the registers; the tables say so.
    static constexpr u16 kFirmwareBase = 0x600;
    static constexpr u16 kFirmwareSmbusBase = 0x700;
    static constexpr u64 kTimerHertz = 3'579'545;
    static constexpr u16 kSmiCommandPort = 0xB2;
    static constexpr u8 kEnableCommand = 0xF1;
    static constexpr u8 kDisableCommand = 0xF0;

    // Configuration registers.
    static constexpr unsigned kPmBase = 0x40;
    static constexpr unsigned kDeviceActivityB = 0x58;
    static constexpr unsigned kPmMiscellaneous = 0x80;
    static constexpr unsigned kSmbusBase = 0x90;
    static constexpr unsigned kSmbusConfiguration = 0xD2;

    // Offsets in the I/O block, datasheet 7.2.
    static constexpr unsigned kPm1Status = 0x00;
    static constexpr unsigned kPm1Enable = 0x02;
    static constexpr unsigned kPm1Control = 0x04;
    static constexpr unsigned kTimer = 0x08;
    static constexpr unsigned kGpeStatus = 0x0C;
    static constexpr unsigned kGpeEnable = 0x0E;
    static constexpr unsigned kGlobalControl = 0x28;
    static constexpr unsigned kBlockSize = 64;

    // Bits of PM1 status and enable.
    static constexpr u16 kTimerStatus = 0x0001;
    static constexpr u16 kGlobalStatus = 0x0020;
    static constexpr u16 kPowerButton = 0x0100;
    static constexpr u16 kRtcStatus = 0x0400;
    static constexpr u16 kWakeStatus = 0x8000;

    // `sci`: IRQ 9. Registers the input source "power button" and claims B2h..B3h.
    Acpi(const Platform& platform, IrqLine sci);

    void reset() override;
    void state(StateIo& io) override;
    void config_write(unsigned offset, unsigned size, u32 value) override;

    // From any thread: somebody pressed the power button.
    void press_power_button() { platform().inputs.post(power_button_, {}); }

    // The 24-bit timer.
    u32 timer() const;

  private:
    u64 read_block(u64 offset, unsigned size);
    void write_block(u64 offset, unsigned size, u64 value);
    u8 read_byte(unsigned offset);
    void write_control(u16 value);
    void clear_status(u16 bits);
    void enter_sleep(unsigned type);
    u64 read_smbus(u64 offset, unsigned size);
    void write_smbus(u64 offset, unsigned size, u64 value);
    u64 read_command(u64 offset, unsigned size);
    void write_command(u64 offset, unsigned size, u64 value);
    void power_button_pressed();
    u16 status();
    u64 next_timer_change() const;
    void update_sci();
    void update_ranges();
    void claim(BusRange& range, u32 base, u64 size, const char* what, BusRead read, BusWrite write,
               RegisterTable registers = {});

    IrqLine sci_;
    InputQueue::SourceId power_button_;
    BusRange block_;
    BusRange smbus_;
    BusRange command_ports_;

    u16 status_ = 0;  // all but the timer's bit
    u16 enable_ = 0;
    u16 control_ = 0;
    u16 gpe_status_ = 0;
    u16 gpe_enable_ = 0;
    u64 timer_overflow_ = 0;              // guest time from which on the timer's status bit is set
    std::array<u8, kBlockSize> plain_{};  // the registers from 10h on that only remember what is written
    std::array<u8, 16> smbus_registers_{};
    u8 apm_command_ = 0;
    u8 apm_status_ = 0;
    Event overflow_;
};

}  // namespace lodge
