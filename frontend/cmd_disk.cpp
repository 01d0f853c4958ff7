#include "frontend/cmd_disk.h"

#include <fmt/format.h>

#include "disks/check_image.h"
#include "frontend/cmd_disk_change.h"
#include "frontend/disk_arguments.h"
#include "frontend/disk_info.h"
#include "frontend/disk_making.h"

namespace lodge {

namespace {

Result<void> create_differencing(const TargetArguments& target, const std::string& size_text, const std::string& parent,
                                 bool force) {
    if (!size_text.empty())
        return Error{ErrorKind::usage, target.file + ": has its parent's size; 'lodge disk resize' changes it"};
    const SourceArguments source{parent};
    auto open_options = source.options();
    if (!open_options) return open_options.error();
    return make_child(target, parent, *open_options, force);
}

Result<void> create_disk(const TargetArguments& target, const std::string& size_text, const std::string& parent,
                         bool force) {
    if (!parent.empty()) return create_differencing(target, size_text, parent, force);
    if (size_text.empty()) return Error{ErrorKind::usage, target.file + ": say its --size, or its --parent"};
    auto size = parse_size(size_text);
    if (!size) return size.error();
    auto options = target.options(*size);
    if (!options) return options.error();
    const HeldSignals signals;
    auto made = NewFile::create(target.file, force);
    if (!made) return made.error();
    auto device = create_image((*made)->take_file(), *options);
    if (!device) return device.error();
    LODGE_TRY(finish_image(**device));
    return (*made)->commit();
}

Result<void> convert_disk(const SourceArguments& source, const TargetArguments& target) {
    auto open_options = source.options();
    if (!open_options) return open_options.error();
    auto from = open_image(source.file, *open_options);
    if (!from) return from.error();
    if (same_file(source.file, target.file))
        return Error{ErrorKind::usage, target.file + ": is the source itself; name another target"};
    auto options = target.options((*from)->size());
    if (!options) return options.error();
    return copy_to_new(**from, target.file, *options, true);
}

Result<void> show_disk(const SourceArguments& source, bool whole_chain, bool as_json) {
    auto options = source.options();
    if (!options) return options.error();
    const auto chain = inspect_chain(source.file, *options);
    if (!chain) return chain.error();
    if (whole_chain)
        as_json ? print_chain_json(*chain) : print_chain(*chain);
    else
        as_json ? print_image_json(*chain) : print_image(*chain);
    return whole_chain && chain->broken ? Result<void>(*chain->broken) : Result<void>();
}

void print_report(const CheckReport& report) {
    for (const std::string& problem : report.problems) fmt::print("problem: {}\n", problem);
    if (report.problem_count > report.problems.size())
        fmt::print("problem: and {} more\n", report.problem_count - report.problems.size());
    for (const std::string& done : report.repairs) fmt::print("repaired: {}\n", done);
    for (const std::string& note : report.notes) fmt::print("note: {}\n", note);
    if (report.left == 0) fmt::print("{}: {}, in order\n", report.path, name_of(report.format));
}

Result<void> check_disk(const SourceArguments& source, bool repair) {
    auto options = source.options();
    if (!options) return options.error();
    auto reports = check_chain(source.file, *options, repair);
    if (!reports) return reports.error();
    for (const CheckReport& report : *reports) print_report(report);
    const char* remedy = repair ? "what is left cannot be repaired without guessing; restore the file from a copy"
                                : "'lodge disk check --repair' puts right what it can";
    for (const CheckReport& report : *reports)
        if (report.left != 0)
            return Error{ErrorKind::bad_format, fmt::format("{}: {} problems; {}", report.path, report.left, remedy)};
    return {};
}

// A command's arguments live as long as the command.
void add_create(CLI::App& disk, int& exit_status) {
    struct Arguments {
        TargetArguments target;
        std::string size;
        std::string parent;
        bool force = false;
    };
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = disk.add_subcommand("create", "make an image that reads as zeros");
    arguments->target.add_to(*command, "FILE");
    command->add_option("--size", arguments->size, "of the disk: N, NK, NM, NG or NT");
    command->add_option("--parent", arguments->parent, "a VHD; the image holds what differs from it");
    command->add_flag("--force", arguments->force, "replace FILE if it exists");
    command->callback([arguments, &exit_status] {
        exit_status = report(create_disk(arguments->target, arguments->size, arguments->parent, arguments->force));
    });
}

void add_info(CLI::App& disk, int& exit_status) {
    struct Arguments {
        SourceArguments source;
        bool chain = false;
        bool json = false;
    };
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = disk.add_subcommand("info", "describe an image");
    arguments->source.add_to(*command, "FILE");
    command->add_flag("--chain", arguments->chain, "with the images that it depends on, as a tree");
    command->add_flag("--json", arguments->json, "as a JSON object");
    command->callback([arguments, &exit_status] {
        exit_status = report(show_disk(arguments->source, arguments->chain, arguments->json));
    });
}

void add_convert(CLI::App& disk, int& exit_status) {
    struct Arguments {
        SourceArguments source;
        TargetArguments target;
    };
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command =
        disk.add_subcommand("convert", "copy a disk, with all that it depends on, into an image of its own");
    arguments->source.add_to(*command, "SRC");
    arguments->target.add_to(*command, "DST");
    command->callback(
        [arguments, &exit_status] { exit_status = report(convert_disk(arguments->source, arguments->target)); });
}

void add_check(CLI::App& disk, int& exit_status) {
    struct Arguments {
        SourceArguments source;
        bool repair = false;
    };
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command =
        disk.add_subcommand("check", "look for damage, in all that it depends on too; exit status 0 if there is none");
    arguments->source.add_to(*command, "FILE");
    command->add_flag("--repair", arguments->repair, "put right what can be put right without guessing");
    command->callback(
        [arguments, &exit_status] { exit_status = report(check_disk(arguments->source, arguments->repair)); });
}

}  // namespace

void add_disk_command(CLI::App& app, int& exit_status) {
    CLI::App* disk = app.add_subcommand("disk", "make, describe, check, convert and change disk images");
    disk->require_subcommand(1);
    add_create(*disk, exit_status);
    add_info(*disk, exit_status);
    add_convert(*disk, exit_status);
    add_check(*disk, exit_status);
    add_disk_changes(*disk, exit_status);
}

}  // namespace lodge
