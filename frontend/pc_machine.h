// A Machine with a Pc in it, as a RunConfig describes it.
#pragma once

#include <memory>

#include "core/machine.h"
#include "devices/pc.h"
#include "frontend/host_serial.h"
#include "frontend/run_config.h"

namespace lodge {

class PcMachine {
  public:
    // Opens every file, finds the firmware, builds and resets the machine. Nothing is written before all of it has
    // succeeded. Errors: usage, not_found, bad_format, unsupported, locked for what the user can mend; io otherwise.
    static Result<std::unique_ptr<PcMachine>> create(const RunConfig& config, Log& log);

    Machine& machine() { return *machine_; }
    Pc& pc() { return *pc_; }
    // What the guest sends to its first serial port comes from `stdio`?
    bool serial_on_stdio() const { return serial_on_stdio_; }

  private:
    PcMachine() = default;
    Result<void> boot_directly(const RunConfig& config);

    // In order of destruction: the board's devices use the machine's parts and these ports.
    std::unique_ptr<CharPort> serial_, debug_;
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<Pc> pc_;
    bool serial_on_stdio_ = false;
};

}  // namespace lodge
