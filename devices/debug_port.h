// A debug console port: bytes written go to a CharPort, reads give E9h so that firmware knows it is there.
// Boards put one at E9h (Bochs) and one at 402h (SeaBIOS's debug output).
#pragma once

#include "core/device.h"
#include "devices/claims.h"
#include "devices/ports.h"

namespace lodge {

class DebugPort final : public Device {
  public:
    DebugPort(CharPort& output, Log& log, std::string name);

    Result<void> attach(Bus& ports, u16 base);

    std::string_view name() const override { return name_; }
    void reset() override {}
    void state(StateIo& io) override;

  private:
    CharPort& output_;
    Claims claims_;
    std::string name_;
};

}  // namespace lodge
