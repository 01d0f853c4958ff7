// lodge: the subcommands.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "frontend/cmd_disk.h"
#include "frontend/cmd_run.h"
#include "frontend/cmd_vdisk.h"

int main(int argc, char** argv) {
    CLI::App app("lodge: a hardware-emulating hypervisor for PCs", "lodge");
    app.require_subcommand(1);
    app.set_version_flag("--version", "lodge 0.1.0");
    int exit_status = 0;
    lodge::add_run_command(app, exit_status);
    lodge::add_disk_command(app, exit_status);
    lodge::add_vdisk_command(app, exit_status);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);
        // What nobody knows is likelier the mistake than what is missing because of it.
        const std::vector<std::string> unknown = app.remaining(true);
        std::string line = unknown.empty() ? error.what() : "unknown argument '" + unknown.front() + "'";
        std::replace(line.begin(), line.end(), '\n', ' ');
        std::fprintf(stderr, "lodge: %s (try 'lodge --help')\n", line.c_str());
        return 2;
    }
    return exit_status;
}
