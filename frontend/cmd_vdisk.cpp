#include "frontend/cmd_vdisk.h"

#include <fmt/format.h>

#include "frontend/disk_arguments.h"
#include "frontend/vdisk_arguments.h"
#include "frontend/vdisk_output.h"

namespace lodge {

namespace {

struct NewVDisk {
    std::string name;
    std::string note;

    void add_to(CLI::App& command) {
        command.add_option("NAME", name, "of the vDisk: a to z, 0 to 9, '-', '.'")->required();
        command.add_option("--note", note, "a line about it");
    }
};

void add_init(CLI::App& vdisk, int& exit_status) {
    add_store_command(vdisk, "init", "make a store in a new folder", exit_status,
                      [](const std::string& folder) -> Result<void> {
                          auto store = server::create_store(folder);
                          return store ? Result<void>() : Result<void>(store.error());
                      });
}

void add_import(CLI::App& vdisk, int& exit_status) {
    struct Arguments {
        NewVDisk vdisk;
        std::string image;
        std::string format = "detect";
    };
    const auto arguments = std::make_shared<Arguments>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        if (arguments->format != "raw" && arguments->format != "detect")
            return Error{ErrorKind::usage, "format '" + arguments->format + "' is not raw or detect"};
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        Watched watched;
        const auto done = opened->administration.import_vdisk({.name = arguments->vdisk.name,
                                                               .image = arguments->image,
                                                               .raw = arguments->format == "raw",
                                                               .note = arguments->vdisk.note,
                                                               .progress = watched.progress()});
        return done ? Result<void>() : Result<void>(done.error());
    };
    CLI::App* command = add_store_command(vdisk, "import", "copy an image, with all that it depends on, into a vDisk",
                                          exit_status, work);
    arguments->vdisk.add_to(*command);
    command->add_option("IMAGE", arguments->image, "raw, a VHD of any kind, or a block device")->required();
    command->add_option("--format", arguments->format, "raw: do not look at the content, it is a raw disk");
}

void add_create(CLI::App& vdisk, int& exit_status) {
    struct Arguments {
        NewVDisk vdisk;
        std::string size;
    };
    const auto arguments = std::make_shared<Arguments>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        const auto size = parse_size(arguments->size);
        if (!size) return size.error();
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        const HeldSignals signals;
        const auto done = opened->administration.create_vdisk(arguments->vdisk.name, *size, arguments->vdisk.note);
        return done ? Result<void>() : Result<void>(done.error());
    };
    CLI::App* command = add_store_command(vdisk, "create", "make an empty vDisk, to install on", exit_status, work);
    arguments->vdisk.add_to(*command);
    command->add_option("--size", arguments->size, "N, NK, NM, NG or NT")->required();
}

void add_list(CLI::App& vdisk, int& exit_status) {
    const auto json = std::make_shared<bool>(false);
    const auto work = [json](const std::string& folder) -> Result<void> {
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        const auto content = read_store(*opened->store);
        if (!content) return content.error();
        *json ? print_vdisks_json(*content) : print_vdisks(*content);
        return {};
    };
    add_store_command(vdisk, "list", "list the vDisks, and who uses them; * is the default one", exit_status, work)
        ->add_flag("--json", *json, "as a JSON object");
}

void add_remove(CLI::App& vdisk, int& exit_status) {
    struct Arguments {
        std::string name;
        bool force = false;
    };
    const auto arguments = std::make_shared<Arguments>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        return opened->administration.remove_vdisk(arguments->name, arguments->force);
    };
    CLI::App* command = add_store_command(vdisk, "remove", "delete a vDisk and its image", exit_status, work);
    command->add_option("NAME", arguments->name, "of the vDisk")->required();
    command->add_flag("--force", arguments->force, "even if it is assigned, or the default one");
}

void add_note(CLI::App& vdisk, int& exit_status) {
    const auto arguments = std::make_shared<NewVDisk>();
    const auto work = [arguments](const std::string& folder) -> Result<void> {
        auto opened = open_for_command(folder);
        if (!opened) return opened.error();
        return opened->administration.change_note(arguments->name, arguments->note);
    };
    CLI::App* command = add_store_command(vdisk, "note", "change the line about a vDisk", exit_status, work);
    command->add_option("NAME", arguments->name, "of the vDisk")->required();
    command->add_option("NOTE", arguments->note, "a line; empty: none")->required();
}

}  // namespace

void add_vdisk_command(CLI::App& app, int& exit_status) {
    CLI::App* vdisk = app.add_subcommand("vdisk", "keep vDisks in a store and serve them to clients of a network");
    vdisk->require_subcommand(1);
    add_init(*vdisk, exit_status);
    add_import(*vdisk, exit_status);
    add_create(*vdisk, exit_status);
    add_list(*vdisk, exit_status);
    add_note(*vdisk, exit_status);
    add_remove(*vdisk, exit_status);
    add_vdisk_clients(*vdisk, exit_status);
    add_vdisk_settings(*vdisk, exit_status);
}

}  // namespace lodge
