#include <cstdio>

#include "frontend/cmd_disk.h"

int main(int argc, char** argv) {
    CLI::App app("lodge", "lodge");
    app.require_subcommand(1);
    int exit_status = 0;
    lodge::add_disk_command(app, exit_status);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);
        std::fprintf(stderr, "lodge: %s\n", error.what());
        return 2;
    }
    return exit_status;
}
