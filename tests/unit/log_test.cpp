#include "core/base/log.h"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

using namespace lodge;

namespace {

struct Lines {
    std::vector<std::string> all;
    Log log{[this](LogChannel channel, LogLevel, const std::string& line) {
        all.push_back(std::string(name_of(channel)) + ": " + line);
    }};
};

}  // namespace

TEST_CASE("log: levels are kept by channel; warnings are on from the start") {
    Lines lines;
    lines.log.write(LogChannel::ide, LogLevel::warning, "sector %d", 7);
    lines.log.write(LogChannel::ide, LogLevel::info, "unheard");
    lines.log.set_level(LogChannel::ide, LogLevel::info);
    lines.log.write(LogChannel::ide, LogLevel::info, "heard");
    lines.log.write(LogChannel::vga, LogLevel::info, "unheard");
    lines.log.set_level(LogLevel::error);
    lines.log.write(LogChannel::ide, LogLevel::warning, "unheard");
    CHECK(lines.all == std::vector<std::string>{"ide: sector 7", "ide: heard"});
}

TEST_CASE("log: a notice comes once for each text") {
    Lines lines;
    for (int i = 0; i < 6; ++i) lines.log.once(LogChannel::bus, "read of %X", 0x80 + i % 2);
    CHECK(lines.all == std::vector<std::string>{"bus: read of 80", "bus: read of 81"});
    lines.log.set_level(LogLevel::error);
    lines.log.once(LogChannel::bus, "something else");
    CHECK(lines.all.size() == 2);
}

TEST_CASE("log: a guest cannot make the notices grow without bound, nor a line") {
    Lines lines;
    for (int i = 0; i < 10'000; ++i) lines.log.once(LogChannel::cpu, "notice %d", i);
    CHECK(lines.all.size() == 4096);
    lines.log.write(LogChannel::cpu, LogLevel::error, "%s", std::string(100'000, 'x').c_str());
    CHECK(lines.all.back().size() < 2000);
}

TEST_CASE("log: without a sink it is silent; every channel has a name; threads do not meet in the sink") {
    Log silent;
    CHECK_FALSE(silent.wants(LogChannel::cpu, LogLevel::error));
    silent.write(LogChannel::cpu, LogLevel::error, "unheard");
    for (int i = 0; i <= static_cast<int>(LogChannel::frontend); ++i)
        CHECK_FALSE(name_of(static_cast<LogChannel>(i)).empty());
    CHECK(name_of(LogChannel::frontend) == "frontend");

    Lines lines;
    const auto talk = [&] {
        for (int i = 0; i < 500; ++i) lines.log.write(LogChannel::net, LogLevel::error, "line");
    };
    std::thread other(talk);
    talk();
    other.join();
    CHECK(lines.all.size() == 1000);
}
