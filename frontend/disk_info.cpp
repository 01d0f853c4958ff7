#include "frontend/disk_info.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

namespace lodge {

namespace {

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
    if (footer.type == VhdType::differencing) json["parent_unique_id"] = vhd_id_text(layout.header.parent_unique_id);
    return json;
}

nlohmann::ordered_json image_json(const std::string& file, const ImageDetails& details) {
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
    return json;
}

void print(const nlohmann::ordered_json& json) {
    // A file's name need not be UTF-8, JSON has to be.
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

// With what is known of its parent.
nlohmann::ordered_json member_json(const Chain& chain, size_t index) {
    const ChainMember& member = chain.members[index];
    nlohmann::ordered_json json = image_json(member.path, member.details);
    if (index + 1 < chain.members.size()) {
        json["parent"] = chain.members[index + 1].path;
    } else if (chain.broken) {
        json["problems"].push_back(chain.broken->context);
    }
    if (!member.warning.empty()) json["warnings"] = {member.warning};
    return json;
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
    if (footer.type == VhdType::differencing)
        fmt::print("parent id:  {}\n", vhd_id_text(layout.header.parent_unique_id));
    for (const VhdProblem& problem : layout.problems) fmt::print("problem:    {}\n", problem.text);
}

}  // namespace

void print_image(const Chain& chain) {
    const ChainMember& image = chain.members.front();
    print_text(image.path, image.details);
    if (chain.members.size() > 1) fmt::print("parent:     {}\n", chain.members[1].path);
    if (chain.members.size() == 1 && chain.broken) fmt::print("problem:    {}\n", chain.broken->context);
    if (!image.warning.empty()) fmt::print("warning:    {}\n", image.warning);
}

void print_image_json(const Chain& chain) {
    print(member_json(chain, 0));
}

void print_chain(const Chain& chain) {
    for (size_t index = 0; index < chain.members.size(); ++index) {
        const auto& [path, details, warning] = chain.members[index];
        const std::string indent(index == 0 ? 0 : 3 * (index - 1), ' ');
        fmt::print("{}{}{}: {}, {}", indent, index == 0 ? "" : "└─ ", path, name_of(details.format),
                   size_for_people(details.disk_size));
        if (details.vhd && details.format != ImageFormat::vhd_fixed)
            fmt::print(", {} of {} blocks of {} stored", stored_blocks(*details.vhd), details.vhd->table.size(),
                       size_for_people(details.vhd->header.block_size));
        fmt::print(", {} on the host\n", size_for_people(details.host_space));
        if (!warning.empty()) fmt::print("{}   warning: {}\n", std::string(3 * index, ' '), warning);
    }
    if (chain.broken) fmt::print("{}└─ {}\n", std::string(3 * (chain.members.size() - 1), ' '), chain.broken->context);
}

void print_chain_json(const Chain& chain) {
    nlohmann::ordered_json json = member_json(chain, 0);
    json["chain"] = nlohmann::ordered_json::array();
    for (size_t index = 0; index < chain.members.size(); ++index) json["chain"].push_back(member_json(chain, index));
    print(json);
}

}  // namespace lodge
