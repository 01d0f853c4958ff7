#include "frontend/disk_arguments.h"

#include <fmt/format.h>

#include <charconv>
#include <ctime>

namespace lodge {

namespace {

constexpr int kBadUsage = 2;
constexpr int kHostFailed = 6;

int exit_status_of(const Error& error) {
    return error.kind == ErrorKind::io || error.kind == ErrorKind::no_space ? kHostFailed : kBadUsage;
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

}  // namespace

int report(const Result<void>& result) {
    if (result) return 0;
    fmt::print(stderr, "lodge: {}\n", result.error().context);
    return exit_status_of(result.error());
}

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

void SourceArguments::add_to(CLI::App& command, const std::string& name) {
    command.add_option(name, file, "the image")->required();
    command.add_option("--format", format, "raw: do not look at the content, it is a raw disk");
    command.add_option("--size-from", size_rule,
                       "where a VHD's size is read: creator (what its creator means), geometry or footer");
}

Result<OpenOptions> SourceArguments::options() const {
    OpenOptions options;
    if (format != "raw" && format != "detect")
        return Error{ErrorKind::usage, "format '" + format + "' is not raw or detect"};
    options.raw = format == "raw";
    auto rule = parse_size_rule(size_rule);
    if (!rule) return rule.error();
    options.size_rule = *rule;
    options.warn = [](const std::string& line) { fmt::print(stderr, "lodge: warning: {}\n", line); };
    return options;
}

void TargetArguments::add_to(CLI::App& command, const std::string& name) {
    command.add_option(name, file, "the image to make")->required();
    command.add_option("--type", type, "dynamic, fixed (both VHD) or raw");
    command.add_option("--block-size", block_size, "of a dynamic VHD, usually 2M; Microsoft tested 512K and 2M");
}

Result<std::optional<u32>> TargetArguments::parse_block_size() const {
    if (block_size.empty()) return std::optional<u32>();
    const auto block = parse_size(block_size);
    if (!block) return block.error();
    if (*block > kVhdMostBlockSize)
        return Error{ErrorKind::usage, file + ": a block size of " + block_size + " is above 256 MiB"};
    return std::optional(static_cast<u32>(*block));
}

Result<CreateOptions> TargetArguments::options(u64 size) const {
    CreateOptions options;
    options.size = size;
    auto format = parse_type(type);
    if (!format) return format.error();
    options.format = *format;
    auto block = parse_block_size();
    if (!block) return block.error();
    options.block_size = block->value_or(kVhdDefaultBlockSize);
    options.timestamp = vhd_timestamp(std::time(nullptr));
    auto id = random_unique_id();
    if (!id) return id.error();
    options.unique_id = *id;
    return options;
}

Result<ChildOptions> TargetArguments::child_options(const std::string& parent) const {
    auto block = parse_block_size();
    if (!block) return block.error();
    auto id = random_unique_id();
    if (!id) return id.error();
    return ChildOptions{file, parent, *block, vhd_timestamp(std::time(nullptr)), *id};
}

HeldSignals::HeldSignals() {
    sigemptyset(&ending_);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&ending_, signal);
    pthread_sigmask(SIG_BLOCK, &ending_, &before_);
}

bool HeldSignals::waiting() const {
    sigset_t pending;
    sigpending(&pending);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        if (sigismember(&pending, signal)) return true;
    return false;
}

ProgressBar::~ProgressBar() {
    if (shown_ >= 0) fmt::print(stderr, "\r\x1b[K");
}

void ProgressBar::show(u64 done, u64 total) {
    constexpr int kWidth = 40;
    const int percent = total == 0 ? 100 : static_cast<int>(u128{done} * 100 / total);
    if (!terminal_ || percent == shown_) return;
    shown_ = percent;
    const std::string bar(static_cast<size_t>(percent * kWidth / 100), '#');
    fmt::print(stderr, "\r[{:<{}}] {:3}%", bar, kWidth, percent);
    std::fflush(stderr);
}

}  // namespace lodge
