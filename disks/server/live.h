// What a running server can say and do about itself: for the API and its page. Any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "disks/server/store.h"

namespace lodge::server {

// Counts since the session began.
struct Traffic {
    u64 read_bytes = 0, written_bytes = 0;
    u64 reads = 0, writes = 0;
};

struct LiveSession {
    std::string id;  // for disconnect
    std::string mac;
    std::string client_name;
    std::string initiator;
    std::string vdisk;
    Mode mode = Mode::private_writes;
    std::string address;
    Time since = 0;
    u32 connections = 0;
    Traffic traffic;
};

// The throw-away writes of one client on one shared vDisk; it may have no session at the moment.
struct CacheUse {
    std::string mac;
    std::string vdisk;
    u64 memory_bytes = 0, disk_bytes = 0;
    u64 quota = 0;      // bytes
    bool full = false;  // a write has failed for it
};

struct ServerFacts {
    Time started = 0;
    std::string iscsi_address;  // what it listens at, ADDRESS:PORT
    u64 base_cache_bytes = 0;   // blocks of shared bases in memory
    u64 base_cache_hits = 0, base_cache_misses = 0;
    u64 free_bytes = 0;  // of the file system of the store's folder
};

class Live {
  public:
    virtual ~Live() = default;
    virtual ServerFacts facts() = 0;
    virtual std::vector<LiveSession> sessions() = 0;
    virtual std::vector<CacheUse> caches() = 0;
    // Asks the session's initiator to log out, and ends it after some seconds. not_found.
    virtual Result<void> disconnect(const std::string& id) = 0;
    // Who has that vDisk for private writes, or whose sessions keep it from being so used, for `mac`: a line for
    // people, or nothing if it can be had.
    virtual std::optional<std::string> in_use(const std::string& vdisk, Mode mode, const std::string& mac) = 0;
};

}  // namespace lodge::server
