#include "devices/debug_port.h"

namespace lodge {

namespace {

constexpr u8 kPresent = 0xE9;
constexpr RegisterInfo kRegisters[] = {{0, 8, "DATA"}};

}  // namespace

DebugPort::DebugPort(CharPort& output, Log& log, std::string name)
    : output_(output), claims_(log, LogChannel::machine), name_(std::move(name)) {}

Result<void> DebugPort::attach(Bus& ports, u16 base) {
    return claims_.bytes(
        ports, base, 1, name_, kRegisters, [](u64) { return kPresent; },
        [this](u64, u8 value) { output_.write(std::span<const u8>(&value, 1)); });
}

void DebugPort::state(StateIo& io) {
    io.section(name_, 1, [] {});
}

}  // namespace lodge
