// The 82540EM's internal PHY: a Marvell 88E1000 as its registers show it, reached through MDIC.
// Sources: Intel 317453 chapter 11 and 13.4.7 (MDIC), IEEE 802.3 clause 22 (registers 0..15), Marvell's
// registers 16..31 as 317453 lists them in 13.5.
//
// The link partner is always a full duplex gigabit one. A link comes up a while of guest time after the cable is
// plugged in or a negotiation was started.
#pragma once

#include <array>
#include <functional>

#include "core/scheduler.h"

namespace lodge::e1000 {

class Phy {
  public:
    static constexpr u32 kRegisters = 32;
    static constexpr u64 kNegotiation = 50'000'000;  // nanoseconds

    // `name` names its event. `changed` is called when link() has changed.
    Phy(Scheduler& scheduler, const std::string& name, std::function<void()> changed);

    u16 read(u32 index);
    void write(u32 index, u16 value);

    bool link() const { return link_; }
    bool loopback() const;
    bool cable() const { return cable_; }
    // The cable is plugged in or pulled out.
    void set_cable(bool plugged);

    // The PHY's reset pin: registers as at power-on, and a negotiation.
    void restart();
    // Power-on: the negotiation has been over for long.
    void reset();
    void state(StateIo& io);

  private:
    void power_on_values();
    void negotiate();
    void settle();
    void set_link(bool link);
    u16 status();
    u16 specific_status() const;

    std::function<void()> changed_;
    std::array<u16, kRegisters> values_{};
    bool cable_ = true;
    bool link_ = false;
    bool link_lost_ = false;  // status bit 2 shows a lost link until it has been read
    Event negotiated_;
};

}  // namespace lodge::e1000
