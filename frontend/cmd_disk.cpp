#include "frontend/cmd_disk.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <ctime>
#include <nlohmann/json.hpp>

#include "disks/check_image.h"
#include "disks/copy_disk.h"
#include "disks/open_image.h"

namespace lodge {

namespace {

constexpr int kBadUsage = 2;
constexpr int kHostFailed = 6;

int exit_status_of(const Error& error) {
    return error.kind == ErrorKind::io || error.kind == ErrorKind::no_space ? kHostFailed : kBadUsage;
}

int report(const Result<void>& result) {
    if (result) return 0;
    fmt::print(stderr, "lodge: {}\n", result.error().context);
    return exit_status_of(result.error());
}

// N[K|M|G|T], in bytes or units of 1024, 1024^2, ... bytes.
Result<u64> parse_size(const std::string& text) {
    const Error bad{ErrorKind::usage, "size '" + text + "' is not a number with K, M, G, T or nothing behind it"};
    u64 number = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{}) return bad;
    const std::string_view unit(rest, static_cast<size_t>(text.data() + text.size() - rest));
    if (unit.empty()) return number;
    const size_t power = std::string_view("KMGTkmgt").find(unit.front());
    if (unit.size() != 1 || power == std::string_view::npos) return bad;
    const unsigned shift = 10 * static_cast<unsigned>(power % 4 + 1);
    if (number > ~u64{0} >> shift) return bad;
    return number << shift;
}

Result<ImageFormat> parse_type(const std::string& text) {
    if (text == "raw") return ImageFormat::raw;
    if (text == "fixed") return ImageFormat::vhd_fixed;
    if (text == "dynamic") return ImageFormat::vhd_dynamic;
    return Error{ErrorKind::usage, "type '" + text + "' is not dynamic, fixed or raw"};
}

Result<VhdSizeRule> parse_size_rule(const std::string& text) {
    if (text == "creator") return VhdSizeRule::by_creator;
    if (text == "geometry") return VhdSizeRule::geometry;
    if (text == "footer") return VhdSizeRule::current_size;
    return Error{ErrorKind::usage, "size rule '" + text + "' is not creator, geometry or footer"};
}

// What the commands that read an image have in common.
struct SourceArguments {
    std::string file;
    std::string format = "detect";
    std::string size_rule = "creator";

    void add_to(CLI::App& command, const std::string& name) {
        command.add_option(name, file, "the image")->required();
        command.add_option("--format", format, "raw: do not look at the content, it is a raw disk");
        command.add_option("--size-from", size_rule,
                           "where a VHD's size is read: creator (what its creator means), geometry or footer");
    }

    Result<OpenOptions> options() const {
        OpenOptions options;
        if (format != "raw" && format != "detect")
            return Error{ErrorKind::usage, "format '" + format + "' is not raw or detect"};
        options.raw = format == "raw";
        auto rule = parse_size_rule(size_rule);
        if (!rule) return rule.error();
        options.size_rule = *rule;
        return options;
    }
};

// What the commands that make an image have in common.
struct TargetArguments {
    std::string file;
    std::string type = "dynamic";
    std::string block_size = "2M";

    void add_to(CLI::App& command, const std::string& name) {
        command.add_option(name, file, "the image to make")->required();
        command.add_option("--type", type, "dynamic, fixed (both VHD) or raw");
        command.add_option("--block-size", block_size, "of a dynamic VHD; Microsoft tested 512K and 2M");
    }

    Result<CreateOptions> options(u64 size) const {
        CreateOptions options;
        options.size = size;
        auto format = parse_type(type);
        if (!format) return format.error();
        options.format = *format;
        auto block = parse_size(block_size);
        if (!block) return block.error();
        if (*block > kVhdMostBlockSize)
            return Error{ErrorKind::usage, file + ": a block size of " + block_size + " is above 256 MiB"};
        options.block_size = static_cast<u32>(*block);
        options.timestamp = vhd_timestamp(std::time(nullptr));
        auto id = random_unique_id();
        if (!id) return id.error();
        options.unique_id = *id;
        return options;
    }
};

// While it lives, the signals that ask the program to end wait, so that a command can leave no half target behind;
// then they have their usual effect.
class HeldSignals {
  public:
    HeldSignals() {
        sigemptyset(&ending_);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&ending_, signal);
        pthread_sigmask(SIG_BLOCK, &ending_, &before_);
    }
    ~HeldSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    HeldSignals(const HeldSignals&) = delete;
    HeldSignals& operator=(const HeldSignals&) = delete;

    bool waiting() const {
        sigset_t pending;
        sigpending(&pending);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP})
            if (sigismember(&pending, signal)) return true;
        return false;
    }

  private:
    sigset_t ending_;
    sigset_t before_;
};

// A bar on standard error, where that is a terminal.
class ProgressBar {
  public:
    ~ProgressBar() {
        if (shown_ >= 0) fmt::print(stderr, "\r\x1b[K");
    }

    void show(u64 done, u64 total) {
        constexpr int kWidth = 40;
        const int percent = total == 0 ? 100 : static_cast<int>(u128{done} * 100 / total);
        if (!terminal_ || percent == shown_) return;
        shown_ = percent;
        const std::string bar(static_cast<size_t>(percent * kWidth / 100), '#');
        fmt::print(stderr, "\r[{:<{}}] {:3}% of {}", bar, kWidth, percent, size_for_people(total));
        std::fflush(stderr);
    }

  private:
    bool terminal_ = isatty(STDERR_FILENO);
    int shown_ = -1;
};

Result<void> create_disk(const TargetArguments& target, const std::string& size_text, bool force) {
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
    const HeldSignals signals;
    auto made = NewFile::create(target.file, true);
    if (!made) return made.error();
    auto to = create_image((*made)->take_file(), *options);
    if (!to) return to.error();
    ProgressBar bar;
    LODGE_TRY(copy_disk(**from, **to, [&](u64 done, u64 total) {
        bar.show(done, total);
        return !signals.waiting();
    }));
    LODGE_TRY(finish_image(**to));
    return (*made)->commit();
}

// Creators are four bytes of whatever somebody wrote there.
std::string printable(const std::array<char, 4>& text) {
    std::string result(text.begin(), text.end());
    for (char& letter : result)
        if (letter < ' ' || letter > '~') letter = '.';
    return result;
}

std::string time_text(i64 unix_seconds) {
    const std::time_t time = unix_seconds;
    std::tm parts{};
    gmtime_r(&time, &parts);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

u64 stored_blocks(const VhdLayout& layout) {
    return static_cast<u64>(
        std::count_if(layout.table.begin(), layout.table.end(), [](u32 entry) { return entry != kVhdUnusedBlock; }));
}

nlohmann::ordered_json vhd_json(const VhdLayout& layout) {
    const VhdFooter& footer = layout.footer;
    nlohmann::ordered_json json = {
        {"creator", printable(footer.creator_application)},
        {"creator_version", fmt::format("{}.{}", footer.creator_version >> 16, footer.creator_version & 0xFFFF)},
        {"creator_host", printable(footer.creator_host)},
        {"created", time_text(unix_seconds_of(footer.timestamp))},
        {"unique_id", vhd_id_text(footer.unique_id)},
        {"original_size", footer.original_size},
        {"current_size", footer.current_size},
        {"geometry",
         {{"cylinders", footer.geometry.cylinders},
          {"heads", footer.geometry.heads},
          {"sectors", footer.geometry.sectors}}},
        {"saved_state", footer.saved_state}};
    if (footer.type == VhdType::fixed) return json;
    json["block_size"] = layout.header.block_size;
    json["blocks"] = layout.table.size();
    json["blocks_stored"] = stored_blocks(layout);
    return json;
}

void print_json(const std::string& file, const ImageDetails& details) {
    nlohmann::ordered_json json = {{"file", file},
                                   {"format", name_of(details.format)},
                                   {"size", details.disk_size},
                                   {"file_size", details.file_size},
                                   {"host_space", details.host_space}};
    json["problems"] = nlohmann::ordered_json::array();
    if (details.vhd) {
        json["vhd"] = vhd_json(*details.vhd);
        for (const VhdProblem& problem : details.vhd->problems) json["problems"].push_back(problem.text);
    }
    // A file's name need not be UTF-8, JSON has to be.
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

void print_text(const std::string& file, const ImageDetails& details) {
    const auto size = [](u64 bytes) { return fmt::format("{} ({} bytes)", size_for_people(bytes), bytes); };
    fmt::print("file:       {}\nformat:     {}\ndisk size:  {}\nfile size:  {}\nhost space: {}\n", file,
               name_of(details.format), size(details.disk_size), size(details.file_size), size(details.host_space));
    if (!details.vhd) return;
    const VhdLayout& layout = *details.vhd;
    const VhdFooter& footer = layout.footer;
    if (footer.type != VhdType::fixed)
        fmt::print("blocks:     {} of {} stored, {} each\n", stored_blocks(layout), layout.table.size(),
                   size_for_people(layout.header.block_size));
    fmt::print("creator:    '{}' {}.{} on '{}', {}\n", printable(footer.creator_application),
               footer.creator_version >> 16, footer.creator_version & 0xFFFF, printable(footer.creator_host),
               time_text(unix_seconds_of(footer.timestamp)));
    fmt::print("geometry:   {} cylinders, {} heads, {} sectors\nunique id:  {}\n", footer.geometry.cylinders,
               footer.geometry.heads, footer.geometry.sectors, vhd_id_text(footer.unique_id));
    for (const VhdProblem& problem : layout.problems) fmt::print("problem:    {}\n", problem.text);
}

Result<void> show_disk(const SourceArguments& source, bool as_json) {
    auto options = source.options();
    if (!options) return options.error();
    auto details = inspect_image(source.file, *options);
    if (!details) return details.error();
    as_json ? print_json(source.file, *details) : print_text(source.file, *details);
    return {};
}

Result<void> check_disk(const SourceArguments& source, bool repair) {
    auto options = source.options();
    if (!options) return options.error();
    auto report = check_image(source.file, *options, repair);
    if (!report) return report.error();
    for (const std::string& problem : report->problems) fmt::print("problem: {}\n", problem);
    if (report->problem_count > report->problems.size())
        fmt::print("problem: and {} more\n", report->problem_count - report->problems.size());
    for (const std::string& done : report->repairs) fmt::print("repaired: {}\n", done);
    for (const std::string& note : report->notes) fmt::print("note: {}\n", note);
    if (report->left == 0) {
        fmt::print("{}: {}, in order\n", source.file, name_of(report->format));
        return {};
    }
    const char* remedy = repair ? "what is left cannot be repaired without guessing; restore the file from a copy"
                                : "'lodge disk check --repair' puts right what it can";
    return Error{ErrorKind::bad_format, fmt::format("{}: {} problems; {}", source.file, report->left, remedy)};
}

// A command's arguments live as long as the command.
void add_create(CLI::App& disk, int& exit_status) {
    struct Arguments {
        TargetArguments target;
        std::string size;
        bool force = false;
    };
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = disk.add_subcommand("create", "make an image that reads as zeros");
    arguments->target.add_to(*command, "FILE");
    command->add_option("--size", arguments->size, "of the disk: N, NK, NM, NG or NT")->required();
    command->add_flag("--force", arguments->force, "replace FILE if it exists");
    command->callback([arguments, &exit_status] {
        exit_status = report(create_disk(arguments->target, arguments->size, arguments->force));
    });
}

void add_info(CLI::App& disk, int& exit_status) {
    struct Arguments {
        SourceArguments source;
        bool json = false;
    };
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = disk.add_subcommand("info", "describe an image");
    arguments->source.add_to(*command, "FILE");
    command->add_flag("--json", arguments->json, "as a JSON object");
    command->callback(
        [arguments, &exit_status] { exit_status = report(show_disk(arguments->source, arguments->json)); });
}

void add_convert(CLI::App& disk, int& exit_status) {
    struct Arguments {
        SourceArguments source;
        TargetArguments target;
    };
    auto arguments = std::make_shared<Arguments>();
    CLI::App* command = disk.add_subcommand("convert", "copy a disk into an image of another kind");
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
    CLI::App* command = disk.add_subcommand("check", "look for damage; exit status 0 if there is none");
    arguments->source.add_to(*command, "FILE");
    command->add_flag("--repair", arguments->repair, "put right what can be put right without guessing");
    command->callback(
        [arguments, &exit_status] { exit_status = report(check_disk(arguments->source, arguments->repair)); });
}

}  // namespace

void add_disk_command(CLI::App& app, int& exit_status) {
    CLI::App* disk = app.add_subcommand("disk", "make, describe, check and convert disk images");
    disk->require_subcommand(1);
    add_create(*disk, exit_status);
    add_info(*disk, exit_status);
    add_convert(*disk, exit_status);
    add_check(*disk, exit_status);
}

}  // namespace lodge
