// `lodge run`: one PC, from power-on to its end.
#pragma once

#include <CLI/CLI.hpp>

namespace lodge {

// Adds the subcommand. When it is chosen, parsing the command line runs it and sets `exit_status` (interfaces.md:
// 0, 2, 4, 6, 124, or the guest's odd one).
void add_run_command(CLI::App& app, int& exit_status);

}  // namespace lodge
