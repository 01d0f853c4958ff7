#include "core/bus.h"

#include <doctest/doctest.h>

using namespace lodge;

namespace {

// A range that remembers what was asked of it; reads give 10h, 11h, 12h ... by offset.
struct Registers {
    std::vector<std::string> calls;
    BusRead read() {
        return [this](u64 offset, unsigned size) {
            calls.push_back("r" + std::to_string(offset) + "/" + std::to_string(size));
            u64 value = 0;
            for (unsigned i = 0; i < size; ++i) value |= (0x10 + offset + i) << (8 * i);
            return value;
        };
    }
    BusWrite write() {
        return [this](u64 offset, unsigned size, u64 value) {
            calls.push_back("w" + std::to_string(offset) + "/" + std::to_string(size) + "=" + std::to_string(value));
        };
    }
};

struct Fixture {
    std::vector<std::string> lines;
    Log log{[this](LogChannel, LogLevel, const std::string& line) { lines.push_back(line); }};
    Bus bus{log, "port"};
    Registers first, second;

    Result<BusRange> claim(u64 base, u64 size, const char* name, Registers& registers) {
        return bus.claim(base, size, name, registers.read(), registers.write());
    }
};

bool names_both(const Result<BusRange>& result, const std::string& one, const std::string& other) {
    if (result.ok() || result.error().kind != ErrorKind::usage) return false;
    const std::string& text = result.error().context;
    return text.find(one) != std::string::npos && text.find(other) != std::string::npos;
}

}  // namespace

TEST_CASE("bus: a device sees offsets and whole accesses") {
    Fixture f;
    const auto range = f.claim(0x3F8, 8, "com1", f.first);
    REQUIRE(range.ok());
    CHECK(f.bus.read(0x3FA, 2) == 0x1312);
    f.bus.write(0x3FF, 1, 0xAB);
    CHECK(f.bus.read(0x3F8, 8) == 0x1716151413121110);
    CHECK(f.first.calls == std::vector<std::string>{"r2/2", "w7/1=171", "r0/8"});
}

TEST_CASE("bus: an overlap is refused, naming both; neighbours are not") {
    Fixture f;
    const auto range = f.claim(0x60, 5, "ps2", f.first);
    REQUIRE(range.ok());
    CHECK(names_both(f.claim(0x64, 1, "intruder", f.second), "intruder", "ps2"));
    CHECK(names_both(f.claim(0x50, 0x11, "intruder", f.second), "intruder", "ps2"));
    CHECK(names_both(f.claim(0x61, 1, "intruder", f.second), "intruder", "ps2"));
    CHECK(names_both(f.claim(0x50, 0x100, "intruder", f.second), "intruder", "ps2"));
    CHECK(f.claim(0x65, 1, "above", f.second).ok());
    CHECK(f.claim(0x5F, 1, "below", f.second).ok());
}

TEST_CASE("bus: empty and wrapping ranges are refused, the last byte of the space is not") {
    Fixture f;
    CHECK_FALSE(f.claim(0x100, 0, "nothing", f.first).ok());
    CHECK_FALSE(f.claim(~u64{0}, 2, "wrapping", f.first).ok());
    const auto last = f.claim(~u64{0}, 1, "last", f.first);
    REQUIRE(last.ok());
    CHECK(f.bus.read(~u64{0}, 1) == 0x10);
}

TEST_CASE("bus: unclaimed addresses read all ones, and are noted once") {
    Fixture f;
    CHECK(f.bus.read(0x80, 1) == 0xFF);
    CHECK(f.bus.read(0x80, 4) == 0xFFFFFFFF);
    CHECK(f.bus.read(0x80, 8) == ~u64{0});
    f.bus.write(0x80, 1, 5);
    CHECK(f.bus.read(0x80, 1) == 0xFF);
    size_t reads_of_80 = 0;
    for (const std::string& line : f.lines) reads_of_80 += line == "read of unclaimed port 80";
    CHECK(reads_of_80 == 1);
}

TEST_CASE("bus: a scan of unclaimed addresses is noted once for each run of them") {
    Fixture f;
    Bus memory(f.log, "memory", 0x10000);
    for (u64 address = 0xC0800; address < 0xE0000; address += 0x200) memory.read(address, 4);
    memory.write(0xC0000, 2, 0);
    CHECK(f.lines == std::vector<std::string>{
                         "read of unclaimed memory C0800; others in C0000..CFFFF are not noted",
                         "read of unclaimed memory D0000; others in D0000..DFFFF are not noted",
                         "write of unclaimed memory C0000; others in C0000..CFFFF are not noted",
                     });
}

TEST_CASE("bus: a guest cannot make the notices grow without bound") {
    Fixture f;
    for (u64 port = 0; port < 0x10000; ++port) f.bus.read(port, 1);
    CHECK(f.lines.size() == 4096);
}

TEST_CASE("bus: an access across ends of ranges is taken apart into bytes") {
    Fixture f;
    const auto one = f.claim(0x100, 2, "one", f.first);
    const auto two = f.claim(0x102, 1, "two", f.second);
    CHECK(f.bus.read(0x101, 4) == 0xFFFF1011);
    CHECK(f.first.calls == std::vector<std::string>{"r1/1"});
    CHECK(f.second.calls == std::vector<std::string>{"r0/1"});
    f.bus.write(0x101, 2, 0x2211);
    CHECK(f.first.calls.back() == "w1/1=17");
    CHECK(f.second.calls.back() == "w0/1=34");
    CHECK(f.bus.read(0xFF, 2) == 0x10FF);
}

TEST_CASE("bus: a range is free again when it is given up, moved or released by its own handler") {
    Fixture f;
    {
        auto range = f.claim(0x200, 8, "joystick", f.first);
        REQUIRE(range.ok());
        BusRange moved = std::move(*range);
        CHECK_FALSE(range->claimed());
        CHECK(moved.base() == 0x200);
        CHECK(f.bus.name_at(0x207) == "joystick");
        CHECK(f.bus.name_at(0x208).empty());
    }
    CHECK(f.bus.name_at(0x200).empty());

    BusRange own;
    auto claimed = f.bus.claim(
        0x200, 1, "once",
        [&](u64, unsigned) {
            own.release();
            return u64{7};
        },
        [](u64, unsigned, u64) {});
    REQUIRE(claimed.ok());
    own = std::move(*claimed);
    CHECK(f.bus.read(0x200, 1) == 7);
    CHECK(f.bus.read(0x200, 1) == 0xFF);
}

TEST_CASE("bus: the claims are visited in order") {
    Fixture f;
    const auto high = f.claim(0x300, 4, "high", f.first);
    const auto low = f.claim(0x20, 2, "low", f.second);
    std::vector<std::string> seen;
    f.bus.visit([&](const BusClaim& claim) {
        seen.push_back(std::string(claim.name) + " " + std::to_string(claim.base) + "+" + std::to_string(claim.size));
    });
    CHECK(seen == std::vector<std::string>{"low 32+2", "high 768+4"});
}
