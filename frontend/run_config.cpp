#include "frontend/run_config.h"

#include <charconv>
#include <map>
#include <sstream>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace lodge {

namespace {

// The options that take one value, by name; the keys of a machine file are the same.
std::map<std::string, std::pair<std::string RunConfig::*, std::string>> value_options() {
    return {
        {"memory", {&RunConfig::memory, "guest RAM in MiB (default 512)"}},
        {"cpu", {&RunConfig::cpu, "CPU model; 'help' lists them"}},
        {"engine", {&RunConfig::engine, "jit (the translator) or interpreter: the same results"}},
        {"kernel", {&RunConfig::kernel, "boot this Linux bzImage directly, without firmware"}},
        {"initrd", {&RunConfig::initrd, "initial RAM disk for --kernel"}},
        {"append", {&RunConfig::append, "command line for --kernel"}},
        {"boot", {&RunConfig::boot, "disk, cdrom, floppy or network: what firmware tries first"}},
        {"capture", {&RunConfig::capture, "write what passes the network cards to this file, as pcap"}},
        {"vdisk-server",
         {&RunConfig::vdisk_server, "HOST:PORT of a vDisk server's HTTP: boot from it, through the user network"}},
        {"display", {&RunConfig::display, "none (no window in this version)"}},
        {"serial",
         {&RunConfig::serial,
          "stdio, file:PATH, unix:PATH, tcp:HOST:PORT or null: the first serial port (default stdio)"}},
        {"debugcon", {&RunConfig::debugcon, "stdio, file:PATH, unix:PATH, tcp:HOST:PORT or null: ports 402h and E9h"}},
        {"gdb",
         {&RunConfig::gdb, "tcp:HOST:PORT or unix:PATH[,arch=i386|x86-64]: wait for gdb's 'target remote' there"}},
        {"clock", {&RunConfig::clock, "realtime, or virtual: time advances with retired instructions"}},
        {"speed", {&RunConfig::speed, "percent of real speed, 0.1 to 100 (default unlimited)"}},
        {"timeout", {&RunConfig::timeout, "end after this many seconds with exit status 124"}},
        {"screenshot", {&RunConfig::screenshot, "write the screen to this PNG file when the run ends"}},
        {"list-code", {&RunConfig::list_code, "write the translated code to this file when the run ends"}},
        {"jitdump",
         {&RunConfig::jit_dump, "write translated code for perf inject --jit to this folder, in jit-PID.dump"}},
        {"firmware-dir", {&RunConfig::firmware_dir, "folder with bios-256k.bin and vgabios-stdvga.bin"}},
    };
}

std::map<std::string, std::pair<bool RunConfig::*, std::string>> flag_options() {
    return {
        {"paused", {&RunConfig::paused, "start paused"}},
        {"no-reboot", {&RunConfig::no_reboot, "a guest reset ends the run with exit status 4"}},
        {"stats", {&RunConfig::stats, "print instructions and seconds on stderr at the end"}},
        {"perf-map", {&RunConfig::perf_map, "name translated code for perf, in /tmp/perf-PID.map"}},
        {"hot-at-once",
         {&RunConfig::hot_at_once, "translate all code as if it were hot: slow, to test the translator"}},
        {"verbose", {&RunConfig::verbose, "say on stderr what the devices find odd"}},
    };
}

// Those that may be given several times; in a machine file, as a list.
std::map<std::string, std::pair<std::vector<std::string> RunConfig::*, const char*>> list_options() {
    return {
        {"disk",
         {&RunConfig::disks, "FILE[,bus=ide][,unit=N][,mode=private|shared|readonly][,format=raw]; may repeat"}},
        {"cdrom", {&RunConfig::cdroms, "FILE.iso[,bus=ide|scsi][,unit=N], or 'empty': a CD-ROM drive; may repeat"}},
        {"floppy",
         {&RunConfig::floppies,
          "FILE.img[,unit=0|1][,mode=private|shared|readonly], or 'empty': a diskette drive; may repeat"}},
        {"nic", {&RunConfig::nics, "e1000[,mac=XX:XX:XX:XX:XX:XX] (the default) or none: a network card; may repeat"}},
        {"net",
         {&RunConfig::nets,
          "user[,hostfwd=tcp:HOST:PORT-:PORT][,tftp=FOLDER][,bootfile=NAME][,...], tap=IFNAME, socket=unix:PATH or "
          "none: what the card is plugged into (default user); may repeat"}},
    };
}

Error bad_key(const RunConfig& config, const toml::key& key, const std::string& why) {
    return Error{ErrorKind::usage, config.machine_file + ":" + std::to_string(key.source().begin.line) + ": " +
                                       std::string(key.str()) + ": " + why};
}

// A string, number or boolean of a machine file as the command line would have it.
std::optional<std::string> as_text(const toml::node& node) {
    if (const auto text = node.value_exact<std::string>()) return *text;
    if (const auto whole = node.value_exact<i64>()) return std::to_string(*whole);
    if (const auto number = node.value_exact<double>()) {
        std::ostringstream out;
        out << *number;
        return out.str();
    }
    return {};
}

Result<void> read_list(std::vector<std::string>& list, const RunConfig& config, const toml::key& key,
                       const toml::node& node) {
    if (const auto text = node.value_exact<std::string>()) {
        list.push_back(*text);
        return {};
    }
    const toml::array* items = node.as_array();
    if (!items) return bad_key(config, key, "must be a string or a list of strings");
    for (const toml::node& item : *items) {
        const auto text = item.value_exact<std::string>();
        if (!text) return bad_key(config, key, "must be a string or a list of strings");
        list.push_back(*text);
    }
    return {};
}

Result<void> read_key(const CLI::App& command, RunConfig& config, const toml::key& key, const toml::node& node) {
    const std::string name(key.str());
    const bool given = command.get_option_no_throw("--" + name) && command.count("--" + name);
    const auto lists = list_options();
    if (const auto found = lists.find(name); found != lists.end())
        return given ? Result<void>() : read_list(config.*found->second.first, config, key, node);
    const auto values = value_options();
    if (const auto found = values.find(name); found != values.end()) {
        const auto text = as_text(node);
        if (!text) return bad_key(config, key, "must be a string or a number");
        if (!given) config.*found->second.first = *text;
        return {};
    }
    const auto flags = flag_options();
    if (const auto found = flags.find(name); found != flags.end()) {
        const auto on = node.value_exact<bool>();
        if (!on) return bad_key(config, key, "must be true or false");
        if (!given) config.*found->second.first = *on;
        return {};
    }
    return bad_key(config, key, "no such key; the keys are the options of 'lodge run --help'");
}

}  // namespace

std::string first_boot_source(const RunConfig& config) {
    return config.boot.empty() && !config.vdisk_server.empty() ? "network" : config.boot;
}

void add_run_options(CLI::App& command, RunConfig& config) {
    command.add_option("machine", config.machine_file, "machine file (TOML); its keys are these options' names")
        ->type_name("MACHINE.toml");
    for (const auto& [name, option] : list_options())
        command.add_option("--" + name, config.*option.first, option.second)
            ->type_name(name == "nic" || name == "net" ? "VALUE" : "FILE")
            ->allow_extra_args(false);
    for (const auto& [name, option] : value_options())
        command.add_option("--" + name, config.*option.first, option.second)->type_name("VALUE")->take_last();
    for (const auto& [name, option] : flag_options())
        command.add_flag("--" + name, config.*option.first, option.second);
}

Result<void> read_machine_file(const CLI::App& command, RunConfig& config) {
    if (config.machine_file.empty()) return {};
    const toml::parse_result parsed = toml::parse_file(config.machine_file);
    if (!parsed) {
        const toml::parse_error& error = parsed.error();
        return Error{ErrorKind::usage, config.machine_file + ":" + std::to_string(error.source().begin.line) + ": " +
                                           std::string(error.description())};
    }
    for (const auto& [key, node] : parsed.table()) LODGE_TRY(read_key(command, config, key, node));
    return {};
}

Result<double> parse_number(const std::string& option, const std::string& text, double least, double most) {
    double value = 0;
    const char* end = text.data() + text.size();
    const auto [at, failed] = std::from_chars(text.data(), end, value);
    if (failed == std::errc() && at == end && value >= least && value <= most) return value;
    std::ostringstream context;
    context << option << " " << text << ": must be a number from " << least << " to " << most;
    return Error{ErrorKind::usage, context.str()};
}

namespace {

// 0 to 15, without leading zeros.
std::optional<unsigned> unit_number(const std::string& text) {
    unsigned number = 0;
    const auto [at, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool whole = failed == std::errc() && at == text.data() + text.size();
    if (!whole || number > 15 || std::to_string(number) != text) return std::nullopt;
    return number;
}

}  // namespace

Result<DiskOption> parse_disk_option(const std::string& text) {
    DiskOption disk;
    std::stringstream parts(text);
    std::getline(parts, disk.file, ',');
    const auto wrong = [&](const std::string& why) { return Error{ErrorKind::usage, "--disk " + text + ": " + why}; };
    if (disk.file.empty()) return wrong("no file named");
    for (std::string part; std::getline(parts, part, ',');) {
        const size_t equals = part.find('=');
        const std::string key = part.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
        if (key == "bus" && (value == "ide" || value == "scsi")) {
            disk.bus = value;
        } else if (const auto number = unit_number(value); key == "unit" && number) {
            disk.unit = *number;
        } else if (key == "mode" && (value == "private" || value == "shared" || value == "readonly")) {
            disk.mode = value;
        } else if (key == "format" && value == "raw") {
            disk.raw = true;
        } else {
            return wrong("'" + part + "' is not one of bus=ide|scsi, unit=N, mode=private|shared|readonly, format=raw");
        }
    }
    if (!disk.unit) return disk;
    if (disk.bus == "ide" && *disk.unit > 3) return wrong("IDE units are 0 to 3");
    if (disk.bus == "scsi" && *disk.unit == kScsiAdapterId) return wrong("SCSI unit 7 is the adapter's own");
    return disk;
}

Result<RemovableOption> parse_removable_option(const std::string& option, const std::string& text, unsigned last_unit,
                                               bool writable) {
    RemovableOption drive;
    std::stringstream parts(text);
    std::getline(parts, drive.file, ',');
    const auto wrong = [&](const std::string& why) {
        return Error{ErrorKind::usage, option + " " + text + ": " + why};
    };
    if (drive.file.empty()) return wrong("no file named; 'empty' is a drive with nothing in it");
    if (drive.file == "empty") drive.file.clear();
    for (std::string part; std::getline(parts, part, ',');) {
        const size_t equals = part.find('=');
        const std::string key = part.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
        if (const auto number = unit_number(value); key == "unit" && number) {
            drive.unit = *number;
        } else if (!writable && key == "bus" && (value == "ide" || value == "scsi")) {
            drive.bus = value;
        } else if (writable && key == "mode" && (value == "private" || value == "shared" || value == "readonly")) {
            drive.mode = value;
        } else {
            const std::string modes = writable ? ", mode=private|shared|readonly" : ", bus=ide|scsi";
            return wrong("'" + part + "' is not one of unit=0.." + std::to_string(last_unit) + modes);
        }
    }
    if (!drive.unit) return drive;
    if (drive.bus == "ide" && *drive.unit > last_unit) return wrong("units are 0 to " + std::to_string(last_unit));
    if (drive.bus == "scsi" && *drive.unit == kScsiAdapterId) return wrong("SCSI unit 7 is the adapter's own");
    return drive;
}

}  // namespace lodge
