#include "disks/server/api_json.h"

namespace lodge::server {

using nlohmann::json;

const char* name_of(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::usage:
            return "usage";
        case ErrorKind::not_found:
            return "not_found";
        case ErrorKind::bad_format:
            return "bad_format";
        case ErrorKind::unsupported:
            return "unsupported";
        case ErrorKind::locked:
            return "locked";
        case ErrorKind::no_space:
            return "no_space";
        case ErrorKind::io:
        case ErrorKind::guest:
        case ErrorKind::would_wait:
            break;
    }
    return "io";
}

int status_of(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::usage:
            return 400;
        case ErrorKind::not_found:
            return 404;
        case ErrorKind::locked:
            return 409;
        case ErrorKind::bad_format:
        case ErrorKind::unsupported:
            return 422;
        case ErrorKind::no_space:
            return 507;
        case ErrorKind::io:
        case ErrorKind::guest:
        case ErrorKind::would_wait:
            break;
    }
    return 500;
}

const char* name_of(CacheKind kind) {
    return kind == CacheKind::memory ? "memory" : "disk";
}

json json_of(const Assignment& assignment) {
    return {{"mac", assignment.mac},
            {"vdisk", assignment.vdisk},
            {"mode", name_of(assignment.mode)},
            {"order", assignment.order}};
}

json json_of(const Client& client, const std::vector<Assignment>& assignments) {
    json assigned = json::array();
    for (const Assignment& each : assignments)
        if (each.mac == client.mac) assigned.push_back(json_of(each));
    return {{"mac", client.mac},
            {"name", client.name},
            {"uuid", client.uuid},
            {"initiator", initiator_name(client.mac)},
            {"initiators", client.initiators},
            {"has_secret", !client.chap_secret.empty()},
            {"has_target_secret", !client.target_secret.empty()},
            {"no_secret", client.trusted},
            {"added", client.added},
            {"last_seen", client.last_seen},
            {"assignments", std::move(assigned)}};
}

json json_of(const VDisk& vdisk, const Settings& settings, u64 stored_bytes) {
    return {{"name", vdisk.name},
            {"file", vdisk.file},
            {"bytes", vdisk.bytes},
            {"stored_bytes", stored_bytes},
            {"note", vdisk.note},
            {"added", vdisk.added},
            {"is_default", vdisk.name == settings.default_vdisk}};
}

json json_of(const Settings& settings) {
    return {{"unknown", name_of(settings.unknown_clients)}, {"default", settings.default_vdisk},
            {"menu_seconds", settings.menu_seconds},        {"cache", name_of(settings.cache)},
            {"cache_memory", settings.cache_memory},        {"cache_quota", settings.cache_quota},
            {"open_discovery", settings.open_discovery},    {"has_password", !settings.admin_password_hash.empty()}};
}

json json_of(const LogEntry& entry) {
    return {{"id", entry.id}, {"when", entry.when}, {"who", entry.who}, {"what", entry.what}};
}

json json_of(const LiveSession& session, const Rates& rates) {
    return {{"id", session.id},
            {"mac", session.mac},
            {"client_name", session.client_name},
            {"initiator", session.initiator},
            {"vdisk", session.vdisk},
            {"mode", name_of(session.mode)},
            {"address", session.address},
            {"since", session.since},
            {"connections", session.connections},
            {"read_bytes", session.traffic.read_bytes},
            {"written_bytes", session.traffic.written_bytes},
            {"reads", session.traffic.reads},
            {"writes", session.traffic.writes},
            {"per_second",
             {{"read_bytes", rates.read_bytes},
              {"written_bytes", rates.written_bytes},
              {"reads", rates.reads},
              {"writes", rates.writes}}}};
}

json json_of(const CacheUse& cache) {
    return {{"mac", cache.mac},
            {"vdisk", cache.vdisk},
            {"memory_bytes", cache.memory_bytes},
            {"disk_bytes", cache.disk_bytes},
            {"quota", cache.quota},
            {"full", cache.full}};
}

json json_of(const ImportJob& job) {
    return {{"id", job.id},         {"kind", "import"},
            {"who", job.who},       {"name", job.name},
            {"image", job.image},   {"started", job.started},
            {"ended", job.ended},   {"done_bytes", job.done},
            {"all_bytes", job.all}, {"state", name_of(job.state)},
            {"error", job.error}};
}

}  // namespace lodge::server
