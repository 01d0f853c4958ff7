#include "frontend/run_config.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using namespace lodge;

namespace {

// A parsed command line over a machine file in a folder of its own.
struct Parsed {
    explicit Parsed(const std::string& machine_file, std::vector<std::string> arguments = {}) {
        char name[] = "/tmp/lodge-config-XXXXXX";
        folder = mkdtemp(name);
        const std::string path = folder / "machine.toml";
        if (!machine_file.empty()) {
            std::ofstream(path) << machine_file;
            arguments.push_back(path);
        }
        add_run_options(app, config);
        std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them so
        app.parse(arguments);
        result = read_machine_file(app, config);
    }
    ~Parsed() { std::filesystem::remove_all(folder); }

    bool fails_with(const std::string& text) const {
        return !result.ok() && result.error().context.find(text) != std::string::npos;
    }

    std::filesystem::path folder;
    CLI::App app;
    RunConfig config;
    Result<void> result;
};

std::string disk_error(const std::string& text) {
    const auto disk = parse_disk_option(text);
    return disk.ok() ? "" : disk.error().context;
}

}  // namespace

TEST_CASE("run_config: defaults are those of docs/interfaces.md") {
    const Parsed parsed("");
    CHECK(parsed.result.ok());
    CHECK(parsed.config.memory == "512");
    CHECK(parsed.config.clock == "realtime");
    CHECK_FALSE(parsed.config.no_reboot);
    CHECK(parsed.config.disks.empty());
}

TEST_CASE("run_config: the machine file's keys are the options, and options win") {
    const Parsed parsed("memory = 64\nserial = 'null'\nspeed = 12.5\nno-reboot = true\ndisk = ['a.vhd', 'b.vhd']\n",
                        {"--serial", "stdio"});
    REQUIRE(parsed.result.ok());
    CHECK(parsed.config.memory == "64");
    CHECK(parsed.config.serial == "stdio");
    CHECK(parsed.config.speed == "12.5");
    CHECK(parsed.config.no_reboot);
    CHECK(parsed.config.disks == std::vector<std::string>{"a.vhd", "b.vhd"});
}

TEST_CASE("run_config: the command line's disks replace the file's") {
    const Parsed parsed("disk = 'a.vhd'\n", {"--disk", "x.vhd", "--disk", "y.vhd,unit=3"});
    REQUIRE(parsed.result.ok());
    CHECK(parsed.config.disks == std::vector<std::string>{"x.vhd", "y.vhd,unit=3"});
}

TEST_CASE("run_config: errors of the machine file name file, line and key") {
    CHECK(Parsed("memory = 64\ncolour = 'red'\n").fails_with("machine.toml:2: colour: no such key"));
    CHECK(Parsed("no-reboot = 'yes'\n").fails_with("machine.toml:1: no-reboot: must be true or false"));
    CHECK(Parsed("memory = [1]\n").fails_with("memory: must be a string or a number"));
    CHECK(Parsed("disk = [1]\n").fails_with("disk: must be a string or a list of strings"));
    CHECK(Parsed("disk = 5\n").fails_with("disk: must be a string or a list of strings"));
    CHECK(Parsed("memory = \n").fails_with("machine.toml:1"));
    CHECK(Parsed("", {"/nonexistent/machine.toml"}).fails_with("/nonexistent/machine.toml"));
}

TEST_CASE("run_config: disks") {
    const auto plain = parse_disk_option("disk.vhd");
    REQUIRE(plain.ok());
    CHECK(plain->file == "disk.vhd");
    CHECK(plain->mode == "private");
    CHECK_FALSE(plain->unit.has_value());
    const auto full = parse_disk_option("a b.raw,bus=ide,unit=2,mode=shared,format=raw");
    REQUIRE(full.ok());
    CHECK(full->file == "a b.raw");
    CHECK(full->unit == 2u);
    CHECK(full->mode == "shared");
    CHECK(full->raw);
    CHECK(disk_error("").find("no file") != std::string::npos);
    CHECK(disk_error(",unit=1").find("no file") != std::string::npos);
    CHECK(parse_disk_option("f,bus=scsi,unit=15")->unit == 15u);
    CHECK(disk_error("f,bus=scsi,unit=7").find("adapter") != std::string::npos);
    CHECK(disk_error("f,unit=4").find("0 to 3") != std::string::npos);
    for (const char* part : {"unit=16", "unit=", "unit=01", "mode=rw", "format=vhd", "nonsense", "bus"})
        CHECK(disk_error(std::string("f,") + part).find("'" + std::string(part) + "'") != std::string::npos);
}

TEST_CASE("run_config: drives for removable media") {
    const auto floppy = [](const std::string& text) { return parse_removable_option("--floppy", text, 1, true); };
    const auto full = floppy("a.img,unit=1,mode=shared");
    REQUIRE(full.ok());
    CHECK(full->file == "a.img");
    CHECK(full->unit == 1u);
    CHECK(full->mode == "shared");
    CHECK(floppy("empty")->file.empty());
    CHECK(floppy("./empty")->file == "./empty");
    for (const char* text : {"", ",unit=0", "f,unit=2", "f,mode=", "f,bus=ide"}) CHECK_FALSE(floppy(text).ok());
    const auto wrong = parse_removable_option("--cdrom", "f.iso,mode=shared", 3, false);
    REQUIRE_FALSE(wrong.ok());
    CHECK(wrong.error().context == "--cdrom f.iso,mode=shared: 'mode=shared' is not one of unit=0..3, bus=ide|scsi");
    const Parsed parsed("floppy = 'a.img'\ncdrom = ['x.iso', 'empty']\n", {"--floppy", "b.img"});
    CHECK(parsed.config.floppies == std::vector<std::string>{"b.img"});
    CHECK(parsed.config.cdroms == std::vector<std::string>{"x.iso", "empty"});
}

TEST_CASE("run_config: numbers") {
    CHECK(*parse_number("--speed", "12.5", 0.1, 100) == 12.5);
    for (const char* text : {"", "abc", "5x", " 5", "0", "101", "-5", "nan", "inf", "1e400"}) {
        const auto number = parse_number("--speed", text, 0.1, 100);
        REQUIRE_FALSE(number.ok());
        CHECK(number.error().context == "--speed " + std::string(text) + ": must be a number from 0.1 to 100");
    }
}
