#include "disks/server/store_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace lodge::server {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMacLength = 17;

std::string lock_path(const std::string& folder) {
    return (fs::path(folder) / "server.lock").string();
}

// Of the cache with that file name.
bool belongs_to(const std::string& name, const std::string& mac, const std::string& vdisk) {
    if (name.size() <= kMacLength + 1 || name[kMacLength] != '.') return false;
    const std::string owner = normal_mac(name.substr(0, kMacLength));
    return !owner.empty() && (mac.empty() || owner == mac) && (vdisk.empty() || name.substr(kMacLength + 1) == vdisk);
}

}  // namespace

std::string image_path(const std::string& folder, const std::string& file) {
    return (fs::path(folder) / "vdisks" / file).string();
}

std::string cache_folder(const std::string& folder) {
    return (fs::path(folder) / "cache").string();
}

std::string cache_path(const std::string& folder, const std::string& mac, const std::string& vdisk) {
    return (fs::path(folder) / "cache" / (chap_name(mac) + "." + vdisk)).string();
}

void remove_caches(const std::string& folder, const std::string& mac, const std::string& vdisk) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(cache_folder(folder), ignored)) {
        if (!belongs_to(entry.path().filename().string(), mac, vdisk)) continue;
        const auto file = HostFile::open(entry.path().string(), FileAccess::read_write);
        if (file) fs::remove(entry.path(), ignored);
    }
}

Result<std::unique_ptr<File>> lock_for_server(const std::string& folder) {
    const std::string path = lock_path(folder);
    const int descriptor = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor < 0) return Error{ErrorKind::usage, path + ": cannot create: " + std::strerror(errno)};
    ::close(descriptor);
    auto file = open_host_file(path, FileAccess::read_write);
    if (!file && file.error().kind == ErrorKind::locked)
        return Error{ErrorKind::locked, folder + ": a server runs on this store already"};
    return file;
}

bool server_runs(const std::string& folder) {
    const auto file = HostFile::open(lock_path(folder), FileAccess::read_write);
    return !file && file.error().kind == ErrorKind::locked;
}

}  // namespace lodge::server
