// Port 92h: the fast way to gate A20 and to reset the machine; and the gate itself, which is open while any of its
// sources opens it. Source: 82371SB (PIIX3) data sheet (port 92).
#pragma once

#include <array>

#include "core/device.h"
#include "devices/claims.h"

namespace lodge {

// ORs what opens A20. Holds no state of its own: its sources say it again when they are loaded.
class A20Gate {
  public:
    enum Source : unsigned { kKeyboardController, kPort92, kSources };

    explicit A20Gate(CpuPins& cpu) : cpu_(cpu) {}
    void set(Source source, bool open);
    bool open() const { return sources_[kKeyboardController] || sources_[kPort92]; }

  private:
    CpuPins& cpu_;
    std::array<bool, kSources> sources_{};
};

class Port92 final : public Device {
  public:
    Port92(A20Gate& gate, MachineControl& control, Log& log);

    // Claims 92h.
    Result<void> attach(Bus& ports);

    std::string_view name() const override { return "port92"; }
    void reset() override;
    void state(StateIo& io) override;

    u8 read() const { return value_; }
    void write(u8 value);

  private:
    A20Gate& gate_;
    MachineControl& control_;
    Claims claims_;
    u8 value_ = 0;
};

}  // namespace lodge
