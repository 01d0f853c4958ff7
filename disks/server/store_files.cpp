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

// Nothing: no cache is called so.
std::optional<CacheName> cache_named(const std::string& file) {
    if (file.size() <= kMacLength + 1 || file[kMacLength] != '.') return {};
    CacheName name{normal_mac(file.substr(0, kMacLength)), file.substr(kMacLength + 1)};
    if (name.mac.empty() || !is_vdisk_name(name.vdisk)) return {};
    return name;
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

std::vector<CacheName> cache_names(const std::string& folder) {
    std::vector<CacheName> names;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(cache_folder(folder), ignored))
        if (auto name = cache_named(entry.path().filename().string())) names.push_back(std::move(*name));
    return names;
}

void remove_caches(const std::string& folder, const std::string& mac, const std::string& vdisk) {
    for (const CacheName& name : cache_names(folder)) {
        if ((!mac.empty() && name.mac != mac) || (!vdisk.empty() && name.vdisk != vdisk)) continue;
        const std::string path = cache_path(folder, name.mac, name.vdisk);
        std::error_code ignored;
        if (HostFile::open(path, FileAccess::read_write)) fs::remove(path, ignored);
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
