// The i8042 keyboard controller with a keyboard and a PS/2 mouse behind it: ports 60h and 64h, IRQ 1 and IRQ 12, the
// A20 gate and the reset line. Source: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
// Controller" (1990); Intel UPI-42 (8042) data sheet for the ports.
#pragma once

#include <deque>

#include "core/device.h"
#include "core/input_queue.h"
#include "core/scheduler.h"
#include "devices/claims.h"
#include "devices/port92.h"
#include "devices/ps2_keyboard.h"
#include "devices/ps2_mouse.h"

namespace lodge {

class Ps2 final : public Device {
  public:
    // Registers the input sources "keyboard" and "mouse"; see Ps2Keyboard::key and Ps2Mouse::input for their payloads.
    Ps2(Scheduler& scheduler, InputQueue& inputs, IrqLine keyboard_irq, IrqLine mouse_irq, A20Gate& gate,
        MachineControl& control, Log& log);

    // Claims 60h and 64h.
    Result<void> attach(Bus& ports);
    InputQueue::SourceId keyboard_source() const { return keyboard_source_; }
    InputQueue::SourceId mouse_source() const { return mouse_source_; }

    std::string_view name() const override { return "ps2"; }
    void reset() override;
    void state(StateIo& io) override;

    u8 read_data();
    u8 read_status();
    void write_data(u8 value);
    void write_command(u8 value);

    const Ps2Keyboard& keyboard() const { return keyboard_; }

  private:
    // Where the byte in the output buffer came from.
    enum class Origin : u8 { controller, keyboard, mouse };

    void command_with_data(u8 command, u8 value);
    void set_command_byte(u8 value);
    void write_output_port(u8 value);
    void pulse(u8 bits_high);
    u8 output_port() const;
    bool keyboard_enabled() const;
    bool mouse_enabled() const;
    void reply(u8 value);
    void put(u8 value, Origin origin);
    void put_keyboard_byte();
    void transfer();
    void schedule_transfer();
    void update_lines();

    IrqLine keyboard_irq_;
    IrqLine mouse_irq_;
    A20Gate& gate_;
    MachineControl& control_;
    Log& log_;
    Claims claims_;
    Ps2Keyboard keyboard_;
    Ps2Mouse mouse_;
    InputQueue::SourceId keyboard_source_;
    InputQueue::SourceId mouse_source_;

    u8 command_byte_ = 0;
    u8 output_port_ = 0;
    u8 pending_command_ = 0;  // the command that waits for its byte at port 60h; 0 when none
    bool system_flag_ = false;
    bool last_was_command_ = false;
    bool output_full_ = false;
    Origin origin_ = Origin::controller;
    u8 output_ = 0;
    bool break_prefix_ = false;  // translation has swallowed F0h
    std::deque<u8> replies_;     // the controller's own answers that wait for the output buffer
    std::array<u8, 32> memory_{};
    Event transfer_;
};

}  // namespace lodge
