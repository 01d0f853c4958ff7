// TestBoard with what tests of the board's parts need besides: a Platform to pass on, accesses of any size.
#pragma once

#include "tests/fuzz/device_harness.h"

namespace lodge {

using test::RecordingLines;

struct BoardFixture : test::TestBoard {
    explicit BoardFixture(u64 backing = 4 * kMiB, ClockMode mode = ClockMode::virtual_time)
        : TestBoard(backing, mode), platform(TestBoard::platform()) {}

    u32 in(u16 port, unsigned size) { return static_cast<u32>(ports.read(port, size)); }
    void out(u16 port, unsigned size, u32 value) { ports.write(port, size, value); }

    // The parts' states with that of guest time, in which they have events.
    template <class... Parts>
    std::vector<u8> save_with_time(Parts&... parts) {
        StateIo io;
        walk(io, parts...);
        return io.take();
    }
    template <class... Parts>
    bool load_with_time(std::span<const u8> saved, Parts&... parts) {
        StateIo io(saved);
        walk(io, parts...);
        return !io.failed();
    }

    Platform platform;

  private:
    template <class... Parts>
    void walk(StateIo& io, Parts&... parts) {
        clock.state(io);
        scheduler.state(io);
        (parts.state(io), ...);
    }
};

// Loads `state` into `device`; what a save then gives.
inline std::vector<u8> loaded(Device& device, std::span<const u8> state) {
    return test::load(device, state) ? test::save(device) : std::vector<u8>{};
}

}  // namespace lodge
