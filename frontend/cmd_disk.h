// `lodge disk`: makes, describes, checks, converts and changes images.
#pragma once

#include <CLI/CLI.hpp>

namespace lodge {

// Adds the subcommand to `app`. When one of its commands is chosen, parsing the command line runs it and sets
// `exit_status`: 0, 1 (compare: they differ), 2 (bad usage, or an image that cannot be read or has problems), 6 (the
// host failed).
void add_disk_command(CLI::App& app, int& exit_status);

}  // namespace lodge
