#include "disks/server/library.h"

#include <cassert>
#include <chrono>

#include "disks/open_image.h"
#include "disks/server/store_files.h"

namespace lodge::server {

namespace {

constexpr auto kLongestClose = std::chrono::seconds(5);

std::string disk_name(const Wanted& wanted) {
    return "client " + wanted.mac + ", vDisk " + wanted.vdisk.name;
}

}  // namespace

Library::Library(LibraryOptions options, Tell tell)
    : options_(std::move(options)),
      tell_(std::move(tell)),
      host_boot_(host_boot_id()),
      base_cache_(options_.base_cache_bytes),
      pool_(options_.threads) {}

Library::~Library() {
    std::map<std::string, Entry> entries;
    {
        std::lock_guard lock(mutex_);
        for (auto& [name, entry] : entries_) {
            assert(entry.private_sessions == 0 && entry.shared_sessions == 0);
            entry.image.reset();
        }
        entries.swap(entries_);
    }
}

Library::Hold::~Hold() {
    library_.release(*this);
}

Result<std::unique_ptr<Library::Hold>> Library::attach(const Wanted& wanted, const Settings& settings) {
    std::unique_lock lock(mutex_);
    LODGE_TRY(wait_until_closed(lock, wanted.vdisk.name, wanted.mode));
    Entry& entry = entries_[wanted.vdisk.name];
    auto attached = Result<std::unique_ptr<Hold>>(Error{});
    if (auto why = conflict(entry, wanted.mode, wanted.mac))
        attached = Error{ErrorKind::locked, *why};
    else if (wanted.mode == Mode::private_writes)
        attached = attach_private(wanted, entry);
    else
        attached = attach_shared(wanted, entry, settings);
    forget_if_idle(wanted.vdisk.name);
    return attached;
}

std::optional<std::string> Library::conflict(const Entry& entry, Mode mode, const std::string& mac) const {
    if (entry.private_sessions != 0 && (entry.holder != mac || mode == Mode::shared))
        return "client " + entry.holder + " has it for itself";
    if (mode == Mode::shared || entry.shared_sessions == 0) return {};
    size_t others = 0;
    std::string first;
    for (const auto& [name, client] : entry.clients) {
        if (client.sessions == 0) continue;
        if (first.empty()) first = name;
        ++others;
    }
    return others == 1 ? "client " + first + " shares it"
                       : std::to_string(others) + " clients share it, " + first + " among them";
}

// A shared base cannot be opened while the last private client's image is being flushed and closed.
Result<void> Library::wait_until_closed(std::unique_lock<std::mutex>& lock, const std::string& vdisk, Mode mode) {
    const auto found = entries_.find(vdisk);
    if (found == entries_.end()) return {};
    Entry& entry = found->second;
    std::shared_ptr<PrivateImage> unused;
    if (mode == Mode::shared && entry.private_sessions == 0 && entry.image) {
        entry.closing = true;
        unused = std::move(entry.image);
    }
    if (!entry.closing) return {};
    lock.unlock();
    unused.reset();
    lock.lock();
    const auto is_closed = [&] {
        const auto now = entries_.find(vdisk);
        return now == entries_.end() || !now->second.closing;
    };
    if (closed_.wait_for(lock, kLongestClose, is_closed)) return {};
    return Error{ErrorKind::locked, "what was written to it is still on its way to the disk"};
}

// Private.

Result<std::shared_ptr<PrivateImage>> Library::open_image_of(const VDisk& vdisk) {
    const std::string path = image_path(options_.folder, vdisk.file);
    auto id = unique_id_of_image(path);
    if (!id) return id.error();
    OpenOptions open_options;
    open_options.mode = ImageMode::private_writes;
    auto device = open_image(path, open_options);
    if (!device) return device.error();
    // Closing takes a flush or two: a worker does it, whoever lets it go last.
    auto close = [this, name = vdisk.name](PrivateImage* image) {
        pool_.post([this, name, image] {
            delete image;
            closed(name);
        });
    };
    return std::shared_ptr<PrivateImage>(new PrivateImage(std::move(*device), std::move(*id), pool_), close);
}

void Library::closed(const std::string& vdisk) {
    {
        std::lock_guard lock(mutex_);
        const auto found = entries_.find(vdisk);
        if (found != entries_.end()) found->second.closing = false;
        forget_if_idle(vdisk);
    }
    closed_.notify_all();
}

Result<std::unique_ptr<Library::Hold>> Library::attach_private(const Wanted& wanted, Entry& entry) {
    if (!entry.image) {
        auto image = open_image_of(wanted.vdisk);
        if (!image) return image.error();
        entry.image = std::move(*image);
    }
    if (entry.private_sessions == 0) {
        entry.holder = wanted.mac;
        entry.private_disk = std::make_shared<PrivateDisk>(disk_name(wanted), entry.image, tell_);
    }
    ++entry.private_sessions;
    return std::unique_ptr<Hold>(new Hold(*this, wanted.mac, wanted.vdisk.name, entry.private_disk));
}

void Library::end_private(Entry& entry) {
    entry.private_sessions = 0;
    entry.private_disk.reset();
}

void Library::flushed(const std::string& vdisk, const PrivateImage* image) {
    std::shared_ptr<PrivateImage> unused;
    std::lock_guard lock(mutex_);
    const auto found = entries_.find(vdisk);
    if (found == entries_.end()) return;
    Entry& entry = found->second;
    if (entry.image.get() != image || entry.private_sessions != 0) return;
    entry.closing = true;
    unused = std::move(entry.image);
}

// Shared.

Result<void> Library::open_cache(const Wanted& wanted, Entry& entry, ClientEntry& client, const Settings& settings) {
    CacheOptions options;
    options.path = cache_path(options_.folder, wanted.mac, wanted.vdisk.name);
    options.boot = wanted.boot;
    options.host_boot = host_boot_;
    options.base = entry.base->version();
    options.kind = settings.cache;
    options.memory = settings.cache_memory;
    options.quota = settings.cache_quota;
    // An initiator without tickets goes on with what its client's boot loader began, and the other way round. What an
    // earlier boot left was thrown away by new_boot; if the server was killed then, its boot is another.
    const std::string before = ClientCache::boot_of(options.path);
    if (wanted.boot.empty()) options.boot = before;
    if (before.empty()) options.boot.clear();
    auto cache = ClientCache::resume(options);
    if (!cache) return cache.error();
    if (!*cache) {
        options.boot = wanted.boot;
        cache = ClientCache::create(options);
        if (!cache) return cache.error();
    }
    client.work = std::make_shared<CacheWork>(std::move(*cache), pool_);
    return {};
}

Result<std::unique_ptr<Library::Hold>> Library::attach_shared(const Wanted& wanted, Entry& entry,
                                                              const Settings& settings) {
    if (!entry.base) {
        auto base = SharedBase::open(image_path(options_.folder, wanted.vdisk.file), ++bases_, base_cache_);
        if (!base) return base.error();
        entry.base = std::move(*base);
    }
    ClientEntry& client = entry.clients[wanted.mac];
    if (client.work && client.work->cache->base_version() != entry.base->version()) client.work.reset();
    auto opened = client.work ? Result<void>() : open_cache(wanted, entry, client, settings);
    if (!opened) {
        entry.clients.erase(wanted.mac);
        if (entry.shared_sessions == 0) entry.base.reset();
        return opened.error();
    }
    if (client.sessions == 0)
        client.disk = std::make_shared<SharedDisk>(disk_name(wanted), entry.base, client.work, tell_);
    ++client.sessions;
    ++entry.shared_sessions;
    return std::unique_ptr<Hold>(new Hold(*this, wanted.mac, wanted.vdisk.name, client.disk));
}

void Library::end_shared(Entry& entry, ClientEntry& client) {
    entry.shared_sessions -= client.sessions;
    client.sessions = 0;
    client.disk.reset();
    if (entry.shared_sessions == 0) entry.base.reset();
}

// Both.

void Library::release(const Hold& hold) {
    std::shared_ptr<PrivateImage> image;
    {
        std::lock_guard lock(mutex_);
        const auto found = entries_.find(hold.vdisk_);
        if (found == entries_.end()) return;
        Entry& entry = found->second;
        const auto client = entry.clients.find(hold.mac_);
        if (entry.private_disk == hold.disk_) {
            if (--entry.private_sessions != 0) return;
            end_private(entry);
            image = entry.image;
        } else if (client != entry.clients.end() && client->second.disk == hold.disk_) {
            --entry.shared_sessions;
            if (--client->second.sessions != 0) return;
            end_shared(entry, client->second);
            const bool ended = hold.logged_out_ && !stopping_ && client->second.work->cache->boot().empty();
            if (ended) client->second.work->cache->remove_file();
            // What was never written to is nothing to keep.
            const CacheWork& work = *client->second.work;
            if (ended || (work.queue.idle() && work.cache->untouched())) entry.clients.erase(client);
        }
        forget_if_idle(hold.vdisk_);
    }
    if (image) flush_and_close(hold.vdisk_, std::move(image));
}

// Without the lock, and on a worker.
void Library::flush_and_close(const std::string& vdisk, std::shared_ptr<PrivateImage> image) {
    const PrivateImage* its = image.get();
    RequestQueue& queue = image->queue;
    queue.submit(
        RequestQueue::Kind::changes,
        [this, image = std::move(image)] {
            if (auto done = image->device->flush(); !done) tell_(done.error().context);
        },
        [this, its, vdisk] { flushed(vdisk, its); });
}

void Library::new_boot(const std::string& mac) {
    std::vector<std::shared_ptr<VDiskDisk>> disks;
    std::vector<std::pair<std::string, std::shared_ptr<PrivateImage>>> images;
    {
        std::lock_guard lock(mutex_);
        std::vector<std::string> names;
        for (auto& [name, entry] : entries_) {
            names.push_back(name);
            if (entry.private_sessions != 0 && entry.holder == mac) {
                disks.push_back(entry.private_disk);
                images.emplace_back(name, entry.image);
                end_private(entry);
            }
            const auto client = entry.clients.find(mac);
            if (client == entry.clients.end()) continue;
            if (client->second.disk) disks.push_back(client->second.disk);
            end_shared(entry, client->second);
            client->second.work->cache->remove_file();
            entry.clients.erase(client);
        }
        for (const std::string& name : names) forget_if_idle(name);
    }
    for (const auto& disk : disks) disk->cut_off();
    for (auto& [name, image] : images) flush_and_close(name, std::move(image));
    remove_caches(options_.folder, mac, "");
}

void Library::forget_if_idle(const std::string& vdisk) {
    const auto found = entries_.find(vdisk);
    if (found != entries_.end() && found->second.idle()) entries_.erase(found);
}

std::optional<std::string> Library::in_use(const std::string& vdisk, Mode mode, const std::string& mac) {
    std::lock_guard lock(mutex_);
    const auto found = entries_.find(vdisk);
    if (found == entries_.end()) return {};
    const Entry& entry = found->second;
    // What the client itself has ends when it boots again.
    if (entry.private_sessions != 0 && entry.holder == mac) return {};
    const auto own = entry.clients.find(mac);
    if (mode == Mode::private_writes && own != entry.clients.end() && own->second.sessions == entry.shared_sessions)
        return {};
    return conflict(entry, mode, mac);
}

std::vector<CacheUse> Library::caches() {
    std::lock_guard lock(mutex_);
    std::vector<CacheUse> all;
    for (const auto& [name, entry] : entries_)
        for (const auto& [mac, client] : entry.clients) {
            const auto use = client.work->cache->use();
            all.push_back({mac, name, use.memory_bytes, use.disk_bytes, use.quota, use.full});
        }
    return all;
}

void Library::save_caches() {
    std::lock_guard lock(mutex_);
    for (const auto& [name, entry] : entries_)
        for (const auto& [mac, client] : entry.clients) {
            if (auto saved = client.work->cache->save(); !saved)
                tell_("client " + mac + ", vDisk " + name + ": " + saved.error().context);
        }
}

}  // namespace lodge::server
