// `lodge vdisk`: the vDisk server and its store.
#pragma once

#include <CLI/CLI.hpp>

namespace lodge {

// Adds the subcommand to `app`. When one of its commands is chosen, parsing the command line runs it and sets
// `exit_status`: 0, 2 (bad usage, or what cannot be), 6 (the host failed).
void add_vdisk_command(CLI::App& app, int& exit_status);

}  // namespace lodge
