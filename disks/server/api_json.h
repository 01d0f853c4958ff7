// Records as JSON. Secrets go in, never out.
#pragma once

#include <nlohmann/json.hpp>

#include "disks/server/api_jobs.h"
#include "disks/server/api_rates.h"
#include "disks/server/live.h"

namespace lodge::server {

const char* name_of(ErrorKind kind);  // "usage", "not_found", ...
int status_of(ErrorKind kind);        // of HTTP

nlohmann::json json_of(const Client& client, const std::vector<Assignment>& assignments);
nlohmann::json json_of(const VDisk& vdisk, const Settings& settings, u64 stored_bytes);
nlohmann::json json_of(const Assignment& assignment);
nlohmann::json json_of(const Settings& settings);
nlohmann::json json_of(const LogEntry& entry);
nlohmann::json json_of(const LiveSession& session, const Rates& rates);
nlohmann::json json_of(const CacheUse& cache);
nlohmann::json json_of(const ImportJob& job);

const char* name_of(CacheKind kind);  // "disk", "memory"

}  // namespace lodge::server
