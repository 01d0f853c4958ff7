// The commands of `lodge disk` that change images, or compare them: commit, rebase, compact, resize, clone, compare.
#pragma once

#include <CLI/CLI.hpp>

namespace lodge {

// As add_disk_command. `compare` has exit status 1 where two disks differ.
void add_disk_changes(CLI::App& disk, int& exit_status);

}  // namespace lodge
