#include "frontend/vdisk_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "disks/file.h"
#include "disks/server/store_files.h"

namespace lodge {

namespace {

using server::Assignment;
using server::Client;
using server::SessionRecord;
using Json = nlohmann::ordered_json;

void print_json(const Json& json) {
    // Text that is not UTF-8 (a hand-made record) is mended, not an exception.
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

// Columns as wide as they need.
void print_table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<size_t> widths;
    for (const auto& row : rows)
        for (size_t i = 0; i < row.size(); ++i) {
            if (widths.size() <= i) widths.push_back(0);
            widths[i] = std::max(widths[i], row[i].size());
        }
    for (const auto& row : rows) {
        std::string line;
        for (size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}", row[i], widths[i] + 2);
        line.erase(line.find_last_not_of(' ') + 1);
        fmt::print("{}\n", line);
    }
}

std::string size_of_file(const std::string& path) {
    const auto file = HostFile::open(path, FileAccess::read);
    if (!file) return file.error().kind == ErrorKind::locked ? "?" : "missing";
    const auto space = (*file)->host_space();
    return space ? size_for_people(*space) : "?";
}

std::string users_of(const StoreContent& content, const std::string& vdisk) {
    std::vector<std::string> macs;
    for (const SessionRecord& session : content.sessions)
        if (session.vdisk == vdisk) macs.push_back(session.mac);
    macs.erase(std::unique(macs.begin(), macs.end()), macs.end());
    if (macs.empty()) return "-";
    return macs.size() == 1 ? macs.front() : fmt::format("{} clients", macs.size());
}

Json json_of(const Assignment& assignment) {
    return {{"mac", assignment.mac},
            {"vdisk", assignment.vdisk},
            {"mode", name_of(assignment.mode)},
            {"order", assignment.order}};
}

Json json_of(const SessionRecord& session) {
    return {{"id", session.id},           {"mac", session.mac},
            {"vdisk", session.vdisk},     {"mode", name_of(session.mode)},
            {"address", session.address}, {"since", session.since}};
}

std::string assigned_to(const StoreContent& content, const std::string& mac) {
    std::string text;
    for (const Assignment& assignment : content.assignments)
        if (assignment.mac == mac)
            text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", assignment.vdisk, name_of(assignment.mode));
    return text.empty() ? "-" : text;
}

const char* cache_name(server::CacheKind kind) {
    return kind == server::CacheKind::disk ? "disk" : "memory";
}

}  // namespace

Result<StoreContent> read_store(server::Store& store) {
    StoreContent content;
    content.folder = store.folder();
    auto vdisks = store.vdisks();
    if (!vdisks) return vdisks.error();
    auto clients = store.clients();
    if (!clients) return clients.error();
    auto assignments = store.assignments();
    if (!assignments) return assignments.error();
    auto settings = store.settings();
    if (!settings) return settings.error();
    content.vdisks = std::move(*vdisks);
    content.clients = std::move(*clients);
    content.assignments = std::move(*assignments);
    content.settings = std::move(*settings);
    if (!server::server_runs(store.folder())) return content;  // a server that was killed leaves its records
    auto sessions = store.sessions();
    if (!sessions) return sessions.error();
    content.sessions = std::move(*sessions);
    return content;
}

void print_vdisks(const StoreContent& content) {
    std::vector<std::vector<std::string>> rows{{"VDISK", "SIZE", "STORED", "IN USE BY", "NOTE"}};
    for (const server::VDisk& vdisk : content.vdisks)
        rows.push_back({vdisk.name + (vdisk.name == content.settings.default_vdisk ? " *" : ""),
                        size_for_people(vdisk.bytes), size_of_file(server::image_path(content.folder, vdisk.file)),
                        users_of(content, vdisk.name), vdisk.note});
    print_table(rows);
}

void print_vdisks_json(const StoreContent& content) {
    Json json = {{"vdisks", Json::array()}, {"default", content.settings.default_vdisk}};
    for (const server::VDisk& vdisk : content.vdisks) {
        Json one = {{"name", vdisk.name},       {"file", server::image_path(content.folder, vdisk.file)},
                    {"bytes", vdisk.bytes},     {"note", vdisk.note},
                    {"added", vdisk.added},     {"assignments", Json::array()},
                    {"sessions", Json::array()}};
        for (const Assignment& assignment : content.assignments)
            if (assignment.vdisk == vdisk.name) one["assignments"].push_back(json_of(assignment));
        for (const SessionRecord& session : content.sessions)
            if (session.vdisk == vdisk.name) one["sessions"].push_back(json_of(session));
        json["vdisks"].push_back(std::move(one));
    }
    print_json(json);
}

void print_clients(const StoreContent& content) {
    std::vector<std::vector<std::string>> rows{{"CLIENT", "NAME", "LAST SEEN", "VDISKS"}};
    for (const Client& client : content.clients)
        rows.push_back({client.mac, client.name.empty() ? "-" : client.name,
                        client.last_seen == 0 ? "never" : time_for_people(client.last_seen),
                        assigned_to(content, client.mac)});
    print_table(rows);
}

void print_clients_json(const StoreContent& content, Secrets secrets) {
    Json json = {{"clients", Json::array()}};
    for (const Client& client : content.clients) {
        Json one = {{"mac", client.mac},
                    {"name", client.name},
                    {"uuid", client.uuid},
                    {"initiator", server::initiator_name(client.mac)},
                    {"initiators", client.initiators},
                    {"has_secret", !client.chap_secret.empty()},
                    {"has_target_secret", !client.target_secret.empty()},
                    {"no_secret", client.trusted},
                    {"added", client.added},
                    {"last_seen", client.last_seen},
                    {"assignments", Json::array()}};
        if (secrets == Secrets::show) {
            one["secret"] = client.chap_secret;
            one["target_secret"] = client.target_secret;
        }
        for (const Assignment& assignment : content.assignments)
            if (assignment.mac == client.mac) one["assignments"].push_back(json_of(assignment));
        json["clients"].push_back(std::move(one));
    }
    print_json(json);
}

void print_settings(const server::Settings& settings) {
    print_table({{"unknown", name_of(settings.unknown_clients)},
                 {"default", settings.default_vdisk.empty() ? "-" : settings.default_vdisk},
                 {"menu-seconds", std::to_string(settings.menu_seconds)},
                 {"cache", cache_name(settings.cache)},
                 {"cache-memory", size_for_people(settings.cache_memory)},
                 {"cache-quota", settings.cache_quota == 0 ? "-" : size_for_people(settings.cache_quota)},
                 {"open-discovery", settings.open_discovery ? "yes" : "no"},
                 {"password", settings.admin_password_hash.empty() ? "-" : "set"}});
}

void print_settings_json(const server::Settings& settings) {
    print_json({{"unknown", name_of(settings.unknown_clients)},
                {"default", settings.default_vdisk},
                {"menu_seconds", settings.menu_seconds},
                {"cache", cache_name(settings.cache)},
                {"cache_memory", settings.cache_memory},
                {"cache_quota", settings.cache_quota},
                {"open_discovery", settings.open_discovery},
                {"has_password", !settings.admin_password_hash.empty()}});
}

void print_log(const std::vector<server::LogEntry>& newest_first) {
    for (auto entry = newest_first.rbegin(); entry != newest_first.rend(); ++entry)
        fmt::print("{}  {}: {}\n", time_for_people(entry->when), entry->who, entry->what);
}

std::string time_for_people(server::Time time) {
    struct tm parts {};
    const time_t seconds = time;
    char text[64];
    if (!::localtime_r(&seconds, &parts) || std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        return std::to_string(time);
    return text;
}

}  // namespace lodge
