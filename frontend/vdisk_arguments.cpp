#include "frontend/vdisk_arguments.h"

#include <pwd.h>
#include <unistd.h>

#include <fstream>

#include "frontend/disk_arguments.h"

namespace lodge {

namespace {

std::string user_name() {
    const struct passwd* entry = ::getpwuid(::getuid());
    return entry ? entry->pw_name : std::to_string(::getuid());
}

}  // namespace

Result<OpenStore> open_for_command(const std::string& folder) {
    auto store = server::open_store(folder);
    if (!store) return store.error();
    server::Store& records = **store;
    return OpenStore{std::move(*store), server::Administration(records, "command line: " + user_name())};
}

CLI::App* add_store_command(CLI::App& parent, const std::string& name, const std::string& description, int& exit_status,
                            std::function<Result<void>(const std::string& store)> work) {
    CLI::App* command = parent.add_subcommand(name, description);
    const auto folder = std::make_shared<std::string>();
    command->add_option("STORE", *folder, "the store's folder")->required();
    command->callback([folder, work = std::move(work), &exit_status] { exit_status = report(work(*folder)); });
    return command;
}

Result<std::string> text_or_file(const std::string& argument) {
    if (!argument.starts_with('@')) return argument;
    const std::string path = argument.substr(1);
    std::ifstream file(path);
    std::string line;
    if (!std::getline(file, line)) return Error{ErrorKind::usage, path + ": cannot read a line"};
    return line;
}

}  // namespace lodge
