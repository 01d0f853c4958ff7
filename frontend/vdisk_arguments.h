// What the commands of `lodge vdisk` have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "disks/server/administration.h"
#include "disks/server/store.h"

namespace lodge {

// A store that is open, and whoever changes it.
struct OpenStore {
    std::unique_ptr<server::Store> store;
    server::Administration administration;
};
Result<OpenStore> open_for_command(const std::string& folder);

// A command with the store's folder as its first argument; `work` gets it when the command is chosen. What `work`
// needs beyond that lives as long as the command.
CLI::App* add_store_command(CLI::App& parent, const std::string& name, const std::string& description, int& exit_status,
                            std::function<Result<void>(const std::string& store)> work);

// The text, or for @FILE the first line of that file: for what others should not see in a list of processes.
Result<std::string> text_or_file(const std::string& argument);

// Groups of commands, each in a file of its own.
void add_vdisk_clients(CLI::App& vdisk, int& exit_status);
void add_vdisk_settings(CLI::App& vdisk, int& exit_status);

}  // namespace lodge
