// A Machine with a Pc in it, as a RunConfig describes it.
#pragma once

#include <memory>

#include "core/machine.h"
#include "debug/debugger.h"
#include "devices/pc.h"
#include "frontend/gdb_port.h"
#include "frontend/host_serial.h"
#include "frontend/run_config.h"
#include "net/capture.h"
#include "net/network.h"

namespace lodge {

class PcMachine {
  public:
    // Opens every file, finds the firmware, builds and resets the machine. Nothing is written before all of it has
    // succeeded. Errors: usage, not_found, bad_format, unsupported, locked for what the user can mend; io otherwise.
    static Result<std::unique_ptr<PcMachine>> create(const RunConfig& config, Log& log);

    ~PcMachine();

    Machine& machine() { return *machine_; }
    // Made when it is first asked for, before the machine runs: without one the machine has no such thing to carry.
    debug::Debugger& debugger();
    Pc& pc() { return *pc_; }
    // Whether standard input leads to the guest's first serial port, and the way there. Null: it does not.
    SerialFeed* serial_from_stdin() { return serial_on_stdio_ ? serial_feed_.get() : nullptr; }
    // From any thread: the run is to end, whatever the readers of its ports do.
    void abandon_ports();

  private:
    PcMachine() = default;
    Result<void> open_networks(const RunConfig& config, PcConfig& board, Log& log);
    void connect_networks();
    Result<void> boot_directly(const RunConfig& config);
    Result<void> place_kernel();

    // In the order in which they are made: the board's devices use the machine's parts and these ports.
    std::unique_ptr<HostPort> serial_, debug_;
    std::unique_ptr<CaptureFile> capture_;                 // of --capture
    std::vector<std::unique_ptr<Network>> networks_;       // of the cards, in their order; null: none
    std::vector<std::unique_ptr<CapturedPort>> captured_;  // between a card and its network
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<Pc> pc_;
    std::unique_ptr<SerialFeed> serial_feed_;
    std::unique_ptr<debug::Debugger> debugger_;
    std::unique_ptr<GdbPort> gdb_;  // of --gdb
    bool serial_on_stdio_ = false;
    // Direct boot: what is put into memory after every reset.
    std::vector<u8> kernel_, initrd_;
    std::string command_line_;
};

}  // namespace lodge
