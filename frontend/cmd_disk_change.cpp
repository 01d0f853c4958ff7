#include "frontend/cmd_disk_change.h"

#include <fmt/format.h>

#include "disks/commit_image.h"
#include "disks/compact_image.h"
#include "disks/rebase_image.h"
#include "disks/resize_image.h"
#include "frontend/disk_arguments.h"
#include "frontend/disk_making.h"

namespace lodge {

namespace {

constexpr int kDisksDiffer = 1;

Result<void> commit_disk(const SourceArguments& child, bool force) {
    auto options = child.options();
    if (!options) return options.error();
    Watched watched;
    const auto done =
        commit_image(child.file, *options, watched.progress(), force ? OtherChildren::spoil : OtherChildren::refuse);
    if (!done) return done.error();
    fmt::print("{}: {} written to {}\n", child.file, size_for_people(done->bytes), done->parent);
    if (done->parent_grew) fmt::print("{}: was smaller, and has its size now\n", done->parent);
    if (done->parent_is_larger) fmt::print("{}: is larger, and keeps what it has behind its end\n", done->parent);
    return {};
}

Result<void> rebase_disk(const SourceArguments& child, const std::string& parent, bool metadata_only) {
    auto options = child.options();
    if (!options) return options.error();
    Watched watched;
    return rebase_image(child.file, parent, metadata_only ? RebaseKind::metadata_only : RebaseKind::keep_content,
                        *options, watched.progress());
}

Result<void> compact_disk(const SourceArguments& image) {
    auto options = image.options();
    if (!options) return options.error();
    Watched watched;
    const auto done = compact_image(image.file, *options, watched.progress());
    if (!done) return done.error();
    fmt::print("{}: {} blocks dropped, {} before, {} now\n", image.file, done->blocks_dropped,
               size_for_people(done->size_before), size_for_people(done->size_after));
    return {};
}

Result<void> resize_disk(const SourceArguments& image, const std::string& size_text, bool force) {
    auto options = image.options();
    if (!options) return options.error();
    const auto size = parse_size(size_text);
    if (!size) return size.error();
    const HeldSignals signals;
    return resize_image(image.file, *size, force ? Shrinking::lose_data : Shrinking::refuse_to_lose_data, *options);
}

// A copy that depends on nothing, of the same kind where that is possible.
Result<void> clone_whole(const SourceArguments& source, const std::string& target, const OpenOptions& options,
                         bool force) {
    const auto details = inspect_image(source.file, options);
    if (!details) return details.error();
    auto from = open_image(source.file, options);
    if (!from) return from.error();
    auto made = TargetArguments{target}.options((*from)->size());
    if (!made) return made.error();
    made->format = details->format == ImageFormat::vhd_differencing ? ImageFormat::vhd_dynamic : details->format;
    if (made->format == ImageFormat::vhd_dynamic) made->block_size = details->vhd->header.block_size;
    return copy_to_new(**from, target, *made, force);
}

Result<void> clone_disk(const SourceArguments& source, const std::string& target, bool linked, bool force) {
    auto options = source.options();
    if (!options) return options.error();
    if (same_file(source.file, target))
        return Error{ErrorKind::usage, target + ": is the source itself; name another target"};
    if (!linked) return clone_whole(source, target, *options, force);
    return make_child(TargetArguments{target}, source.file, *options, force);
}

Result<bool> compare_two(const SourceArguments& first, const std::string& second) {
    auto options = first.options();
    if (!options) return options.error();
    auto one = open_image(first.file, *options);
    if (!one) return one.error();
    auto other = open_image(second, *options);
    if (!other) return other.error();
    Watched watched;
    const auto difference = compare_disks(**one, **other, watched.progress());
    if (!difference) return difference.error();
    if (*difference) {
        fmt::print("differ at byte {} (sector {}): 0x{:02x} and 0x{:02x}\n", (*difference)->offset,
                   (*difference)->offset / kSectorSize, (*difference)->first, (*difference)->second);
        return false;
    }
    const bool same_size = (*one)->size() == (*other)->size();
    if (same_size)
        fmt::print("identical\n");
    else
        fmt::print("differ in size: {} and {} bytes; the rest of the larger one is zero\n", (*one)->size(),
                   (*other)->size());
    return same_size;
}

int report_comparison(const Result<bool>& same) {
    if (!same) return report(same.error());
    return *same ? 0 : kDisksDiffer;
}

// A command with its arguments, which live as long as it does.
template <class Arguments>
struct Command {
    Command(CLI::App& disk, const std::string& name, const std::string& text)
        : app(*disk.add_subcommand(name, text)), arguments(std::make_shared<Arguments>()) {}

    CLI::App& app;
    std::shared_ptr<Arguments> arguments;
};

void add_commit(CLI::App& disk, int& exit_status) {
    struct Arguments {
        SourceArguments child;
        bool force = false;
    };
    const Command<Arguments> command(disk, "commit", "write what a differencing image holds into its parent");
    command.arguments->child.add_to(command.app, "CHILD");
    command.app.add_flag("--force", command.arguments->force,
                         "even if there are other children of the parent, which read something else afterwards");
    command.app.callback([arguments = command.arguments, &exit_status] {
        exit_status = report(commit_disk(arguments->child, arguments->force));
    });
}

void add_rebase(CLI::App& disk, int& exit_status) {
    struct Arguments {
        SourceArguments child;
        std::string parent;
        bool metadata_only = false;
    };
    const Command<Arguments> command(disk, "rebase", "give a differencing image another parent");
    command.arguments->child.add_to(command.app, "CHILD");
    command.app.add_option("--parent", command.arguments->parent, "the new one")->required();
    command.app.add_flag(
        "--metadata-only", command.arguments->metadata_only,
        "only name the new parent, without storing what it has otherwise: the old one, moved or mended");
    command.app.callback([arguments = command.arguments, &exit_status] {
        exit_status = report(rebase_disk(arguments->child, arguments->parent, arguments->metadata_only));
    });
}

void add_compact(CLI::App& disk, int& exit_status) {
    const Command<SourceArguments> command(disk, "compact", "make the file of a dynamic or differencing image smaller");
    command.arguments->add_to(command.app, "FILE");
    command.app.callback(
        [arguments = command.arguments, &exit_status] { exit_status = report(compact_disk(*arguments)); });
}

void add_resize(CLI::App& disk, int& exit_status) {
    struct Arguments {
        SourceArguments image;
        std::string size;
        bool force = false;
    };
    const Command<Arguments> command(disk, "resize", "give a disk another size; what is added reads as zeros");
    command.arguments->image.add_to(command.app, "FILE");
    command.app.add_option("--size", command.arguments->size, "of the disk: N, NK, NM, NG or NT")->required();
    command.app.add_flag("--force", command.arguments->force, "cut data off");
    command.app.callback([arguments = command.arguments, &exit_status] {
        exit_status = report(resize_disk(arguments->image, arguments->size, arguments->force));
    });
}

void add_clone(CLI::App& disk, int& exit_status) {
    struct Arguments {
        SourceArguments source;
        std::string target;
        bool linked = false;
        bool force = false;
    };
    const Command<Arguments> command(disk, "clone", "copy an image, or make one that depends on it");
    command.arguments->source.add_to(command.app, "SRC");
    command.app.add_option("DST", command.arguments->target, "the image to make")->required();
    command.app.add_flag("--linked", command.arguments->linked, "a differencing image with SRC as its parent");
    command.app.add_flag("--force", command.arguments->force, "replace DST if it exists");
    command.app.callback([arguments = command.arguments, &exit_status] {
        exit_status = report(clone_disk(arguments->source, arguments->target, arguments->linked, arguments->force));
    });
}

void add_compare(CLI::App& disk, int& exit_status) {
    struct Arguments {
        SourceArguments first;
        std::string second;
    };
    const Command<Arguments> command(disk, "compare", "compare two disks; exit status 0 if they are equal, else 1");
    command.arguments->first.add_to(command.app, "A");
    command.app.add_option("B", command.arguments->second, "the other image")->required();
    command.app.callback([arguments = command.arguments, &exit_status] {
        exit_status = report_comparison(compare_two(arguments->first, arguments->second));
    });
}

}  // namespace

void add_disk_changes(CLI::App& disk, int& exit_status) {
    add_commit(disk, exit_status);
    add_rebase(disk, exit_status);
    add_compact(disk, exit_status);
    add_resize(disk, exit_status);
    add_clone(disk, exit_status);
    add_compare(disk, exit_status);
}

}  // namespace lodge
