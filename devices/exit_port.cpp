#include "devices/exit_port.h"

namespace lodge {

namespace {

constexpr RegisterInfo kRegisters[] = {{0, 8, "EXIT"}};

}  // namespace

ExitPort::ExitPort(MachineControl& control, Log& log) : control_(control), claims_(log, LogChannel::machine) {}

Result<void> ExitPort::attach(Bus& ports, u16 base) {
    // Four ports, so that a 32-bit OUT reaches it in one piece; only a write that starts at the first counts.
    return claims_.any(
        ports, base, 4, "exit_port", kRegisters, [](u64, unsigned) { return u64{0}; },
        [this](u64 offset, unsigned, u64 value) {
            if (offset == 0) control_.request_exit(static_cast<int>((value & 0xFF) << 1 | 1));
        });
}

void ExitPort::state(StateIo& io) {
    io.section("exit_port", 1, [] {});
}

}  // namespace lodge
