#include "devices/port92.h"

namespace lodge {

namespace {

constexpr u8 kFastInit = 0x01;  // a rising edge resets the machine
constexpr u8 kA20 = 0x02;
constexpr RegisterInfo kRegisters[] = {{0, 8, "PORT92"}};

}  // namespace

void A20Gate::set(Source source, bool open_now) {
    sources_[source] = open_now;
    cpu_.set_a20(open());
}

Port92::Port92(A20Gate& gate, MachineControl& control, Log& log)
    : gate_(gate), control_(control), claims_(log, LogChannel::machine) {}

Result<void> Port92::attach(Bus& ports) {
    return claims_.bytes(
        ports, 0x92, 1, "port92", kRegisters, [this](u64) { return read(); }, [this](u64, u8 value) { write(value); });
}

void Port92::reset() {
    value_ = 0;
    gate_.set(A20Gate::kPort92, false);
}

void Port92::write(u8 value) {
    const bool rises = (value & ~value_) & kFastInit;
    value_ = value & (kFastInit | kA20);
    gate_.set(A20Gate::kPort92, value_ & kA20);
    if (rises) control_.request_reset();
}

void Port92::state(StateIo& io) {
    io.section("port92", 1, [&] { io.field("value", value_); });
    if (io.loading()) gate_.set(A20Gate::kPort92, value_ & kA20);
}

}  // namespace lodge
