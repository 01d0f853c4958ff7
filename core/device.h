// What a device is to the machine, and the pins through which chips, board and CPU meet. Chips know these pins, not
// the board: their constructors take exactly the lines and spaces they use.
#pragma once

#include <optional>
#include <string_view>

#include "core/base/log.h"
#include "core/base/state_io.h"
#include "core/base/types.h"

namespace lodge {

class Device {
  public:
    virtual ~Device() = default;
    // Unique in its machine; names the device's section in a saved state.
    virtual std::string_view name() const = 0;
    // The documented power-on values.
    virtual void reset() = 0;
    // The one walk for save and load, in a section named name().
    virtual void state(StateIo& io) = 0;
};

// Something with numbered interrupt inputs (a PIC, an I/O APIC, the PCI interrupt router).
class IrqInput {
  public:
    virtual ~IrqInput() = default;
    virtual void set_irq(unsigned pin, bool level) = 0;
};

// One wire from a device to an input. Unconnected by default.
class IrqLine {
  public:
    IrqLine() = default;
    IrqLine(IrqInput& target, unsigned pin) : target_(&target), pin_(pin) {}
    void set(bool level) {
        if (target_) target_->set_irq(pin_, level);
    }
    void raise() { set(true); }
    void lower() { set(false); }

  private:
    IrqInput* target_ = nullptr;
    unsigned pin_ = 0;
};

// The CPU's pins as chips drive them. All on the CPU thread.
class CpuPins {
  public:
    virtual ~CpuPins() = default;
    virtual void set_interrupt(bool level) = 0;  // INTR: ask InterruptController::acknowledge for the vector
    virtual void nmi() = 0;                      // an edge
    virtual void init() = 0;                     // INIT: as reset, but caches, FPU and MTRRs keep their state
    virtual void startup(u8 vector) = 0;         // SIPI: starts at vector << 12, if waiting for one
    virtual void set_a20(bool enabled) = 0;
    virtual bool ignne() const { return false; }
};

// What the CPU asks when INTR is set: the local APIC, or a PIC where there is none.
class InterruptController {
  public:
    virtual ~InterruptController() = default;
    // The vector to deliver now (0..255), taking it into service; nothing when the request has gone away.
    virtual std::optional<u8> acknowledge() = 0;
};

// The CPU's side door to its local APIC: CR8 and the IA32_APIC_BASE MSR. Implemented by the APIC.
class ApicRegisters {
  public:
    virtual ~ApicRegisters() = default;
    virtual u64 base_msr() const = 0;
    // False: #GP (reserved bits or an invalid transition).
    virtual bool set_base_msr(u64 value) = 0;
    virtual u8 task_priority() const = 0;  // TPR, bits 7:0; CR8 is its bits 7:4
    virtual void set_task_priority(u8 value) = 0;
};

// What a device may ask of the machine it is in. Takes effect after the current instruction.
class MachineControl {
  public:
    virtual ~MachineControl() = default;
    virtual void request_reset() = 0;           // the RESET line: whole board
    virtual void request_power_off() = 0;       // ACPI S5
    virtual void request_exit(int status) = 0;  // the exit port: ends the run with this exit status
    // The guest cannot go on because the host failed it (a full disk): the run ends with exit status 6.
    virtual void request_failure(std::string why) = 0;
};

}  // namespace lodge
