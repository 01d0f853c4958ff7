// The vDisk server: a store, the vDisks that are open, the iSCSI target, the web side and PXE, put together.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/base/log.h"
#include "core/base/result.h"
#include "disks/server/live.h"

namespace lodge::server {

struct ServerConfig {
    std::string folder;              // the store's
    std::string listen = "0.0.0.0";  // numeric; IPv6 without brackets
    u16 http_port = 8080;            // 0: a free one, as the next
    u16 iscsi_port = 3260;
    std::string pxe_interface;  // empty: no PXE
    bool administer_from_anywhere = false;
    u64 base_cache_bytes = 256 * kMiB;
    u32 threads = 8;  // that wait for the host's disks
};

class VDiskServer : public Live {
  public:
    // Serves until it is destroyed, which drops everybody. What happens is written to `log`, channel server, a line
    // each at level info (somebody comes, goes, is turned away) or warning (a cache is full, a disk fails). Errors:
    // those of opening the store, of listening and of PXE; locked: another server runs on it.
    static Result<std::unique_ptr<VDiskServer>> start(const ServerConfig& config, Log& log);

    virtual u16 http_port() const = 0;
    // In order: asks all clients to log out, waits for them at most so long, and writes their caches to the disk, so
    // that they find everything again when there is a server again. Not on a thread of the server's.
    virtual void stop(u32 seconds) = 0;
};

}  // namespace lodge::server
