// The exit port of test guests: writing v ends the run with status (v << 1) | 1, never an even number. Eight bits of v
// count.
#pragma once

#include "core/device.h"
#include "devices/claims.h"

namespace lodge {

class ExitPort final : public Device {
  public:
    ExitPort(MachineControl& control, Log& log);

    // Claims 4 ports at `base` (F4h on the PC).
    Result<void> attach(Bus& ports, u16 base);

    std::string_view name() const override { return "exit_port"; }
    void reset() override {}
    void state(StateIo& io) override;

  private:
    MachineControl& control_;
    Claims claims_;
};

}  // namespace lodge
