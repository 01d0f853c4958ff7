// What `lodge run` is asked to do: the options of the command line over the keys of a machine file.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge {

// The SCSI adapter's own address, which no disk can have.
constexpr unsigned kScsiAdapterId = 7;

struct DiskOption {
    std::string file;
    std::string bus = "ide";
    std::optional<unsigned> unit;  // 0..3 on IDE; 0..15 on SCSI, but not kScsiAdapterId
    std::string mode = "private";  // private, shared, readonly
    bool raw = false;
};

// A drive for removable media: FILE or `empty`.
struct RemovableOption {
    std::string file;         // empty: nothing is in the drive
    std::string bus = "ide";  // ide or scsi, for CD-ROM drives
    std::optional<unsigned> unit;
    std::string mode = "private";  // private, shared, readonly
};

struct RunConfig {
    std::string machine_file;
    std::string memory = "512";  // MiB
    std::string cpu;
    std::string engine = "jit";
    std::vector<std::string> disks, cdroms, floppies;
    std::string kernel, initrd, append;
    std::string boot;
    std::vector<std::string> nics, nets;
    std::string capture;
    std::string vdisk_server;
    std::string display;
    std::string serial;
    std::string gdb;
    std::string debugcon;
    std::string clock = "realtime";
    std::string speed;
    std::string timeout;
    std::string screenshot;
    std::string firmware_dir;
    std::string list_code;
    std::string jit_dump;
    bool perf_map = false;
    bool hot_at_once = false;
    bool paused = false;
    bool no_reboot = false;
    bool stats = false;
    bool verbose = false;
};

// What --boot says; without it, `network` for a machine with a vDisk server. Empty: whatever is there.
std::string first_boot_source(const RunConfig& config);

// Declares the options on `command`; `config` outlives the parsing.
void add_run_options(CLI::App& command, RunConfig& config);

// Fills in, from the machine file, whatever the command line did not give. Errors name the file and the key.
Result<void> read_machine_file(const CLI::App& command, RunConfig& config);

// FILE[,bus=ide|scsi][,unit=N][,mode=private|shared|readonly][,format=raw]
Result<DiskOption> parse_disk_option(const std::string& text);

// FILE|empty[,unit=N], N up to `last_unit`, and ,mode=... where the medium can be written. `option` is for messages.
Result<RemovableOption> parse_removable_option(const std::string& option, const std::string& text, unsigned last_unit,
                                               bool writable);

// A whole or decimal number of `what` between `least` and `most`.
Result<double> parse_number(const std::string& option, const std::string& text, double least, double most);

}  // namespace lodge
