// Which files a store's folder has beside its database:
//
//     vdisks/FILE                       images, as the records name them
//     cache/MAC-WITH-HYPHENS.VDISK      throw-away writes of a client (client_cache.h)
//     server.lock                       locked while a server runs on the store
#pragma once

#include <memory>

#include "disks/file.h"
#include "disks/server/store.h"

namespace lodge::server {

std::string image_path(const std::string& folder, const std::string& file);
std::string cache_folder(const std::string& folder);
std::string cache_path(const std::string& folder, const std::string& mac, const std::string& vdisk);

// Removes the caches of a client (of all: empty) on a vDisk (on all: empty), but for those that a server has open.
void remove_caches(const std::string& folder, const std::string& mac, const std::string& vdisk);

// Keeps a second server away for as long as it lives. Locked: one runs.
Result<std::unique_ptr<File>> lock_for_server(const std::string& folder);
bool server_runs(const std::string& folder);

}  // namespace lodge::server
