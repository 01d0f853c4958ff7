#include "core/base/state_io.h"

#include <doctest/doctest.h>

using namespace lodge;

namespace {

struct Chip {
    u16 index = 0;
    bool armed = false;
    std::vector<u32> queue;
    void state(StateIo& io) {
        io.section("chip", 1, [&] {
            io.field("index", index);
            io.field("armed", armed);
            io.sequence("queue", queue, 16);
        });
    }
};

std::vector<u8> save(Chip& chip) {
    StateIo io;
    chip.state(io);
    return io.take();
}

}  // namespace

TEST_CASE("what is saved is loaded, and saves again to the same bytes") {
    Chip chip{0x1234, true, {1, 2, 3}};
    const auto saved = save(chip);
    Chip loaded;
    StateIo io(saved);
    loaded.state(io);
    CHECK_FALSE(io.failed());
    CHECK(loaded.index == 0x1234);
    CHECK(loaded.armed);
    CHECK(loaded.queue == std::vector<u32>{1, 2, 3});
    CHECK(save(loaded) == saved);
}

TEST_CASE("a damaged state fails and says so") {
    Chip chip{1, false, {7}};
    const auto saved = save(chip);
    for (size_t length = 0; length < saved.size(); ++length) {
        Chip loaded;
        StateIo io(std::span<const u8>(saved.data(), length));
        loaded.state(io);
        CHECK(io.failed());
        CHECK_FALSE(io.result().error().context.empty());
    }
}

TEST_CASE("a newer section version is refused") {
    StateIo out;
    out.section("chip", 2, [] {});
    const auto saved = out.take();
    Chip loaded;
    StateIo io(saved);
    loaded.state(io);
    CHECK(io.failed());
}
