// The vDisks that are open, and who has them.
//
// A vDisk is open in one way at a time: by one client, for writing; or for any number of clients, read only, each with
// its cache. The file's own locks keep other processes away. A client's caches last from boot to boot: they stay here,
// or in their files, while the client has no session, since it may only have lost its network, or be between its boot
// loader and its system.
//
// new_boot ends what the client did before; whatever attaches afterwards is of its present boot.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "disks/server/block_cache.h"
#include "disks/server/live.h"
#include "disks/server/store.h"
#include "disks/server/vdisk_disk.h"

namespace lodge::server {

struct LibraryOptions {
    std::string folder;  // the store's
    u64 base_cache_bytes = 256 * kMiB;
    u32 threads = 8;  // that wait for the host's disks
};

// Who wants which vDisk, and how.
struct Wanted {
    std::string mac;
    std::string boot;  // its ticket's secret; empty: an initiator without tickets
    VDisk vdisk;
    Mode mode = Mode::private_writes;
};

class Library {
  public:
    // A session's hold on a disk.
    class Hold {
      public:
        ~Hold();
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;
        const std::shared_ptr<VDiskDisk>& disk() const { return disk_; }
        // It ends because the initiator wants it to: see ClientCache and docs/interfaces.md for what that means to an
        // initiator without tickets.
        void logged_out() { logged_out_ = true; }

      private:
        friend class Library;
        Hold(Library& library, std::string mac, std::string vdisk, std::shared_ptr<VDiskDisk> disk)
            : library_(library), mac_(std::move(mac)), vdisk_(std::move(vdisk)), disk_(std::move(disk)) {}

        Library& library_;
        const std::string mac_, vdisk_;
        std::shared_ptr<VDiskDisk> disk_;
        bool logged_out_ = false;
    };

    // `tell` gets the lines of VDiskDisk.
    Library(LibraryOptions options, Tell tell);
    // No Hold is left.
    ~Library();

    // The target's thread, as all that changes something here. Errors: locked: others have it, and who; usage: this
    // boot's writes were lost, it has to boot again; those of opening the image.
    Result<std::unique_ptr<Hold>> attach(const Wanted& wanted, const Settings& settings);
    // The client has booted again: its disks are cut off, its caches thrown away.
    void new_boot(const std::string& mac);
    // Logouts are not the initiators' wish from now on: the server stops.
    void expect_logouts() { stopping_ = true; }
    // All caches to the host's disk, for the next server. No request is under way.
    void save_caches();

    // Any thread.
    std::optional<std::string> in_use(const std::string& vdisk, Mode mode, const std::string& mac);
    std::vector<CacheUse> caches();
    const BlockCache& base_cache() const { return base_cache_; }

  private:
    struct ClientEntry {
        std::shared_ptr<CacheWork> work;   // of its present boot
        std::shared_ptr<SharedDisk> disk;  // while it has sessions
        u32 sessions = 0;
    };
    struct Entry {
        // Private.
        std::string holder;  // its MAC address
        u32 private_sessions = 0;
        std::shared_ptr<PrivateDisk> private_disk;
        std::shared_ptr<PrivateImage> image;  // a moment longer than there are sessions, to be flushed
        bool closing = false;                 // the image is let go, but may not be closed yet
        // Shared.
        std::map<std::string, ClientEntry> clients;  // by MAC address, also without sessions
        u32 shared_sessions = 0;
        std::shared_ptr<SharedBase> base;  // while there are sessions

        bool idle() const {
            return private_sessions == 0 && !image && !closing && clients.empty() && shared_sessions == 0;
        }
    };

    // All of these with the lock held.
    Result<std::unique_ptr<Hold>> attach_private(const Wanted& wanted, Entry& entry);
    Result<std::unique_ptr<Hold>> attach_shared(const Wanted& wanted, Entry& entry, const Settings& settings);
    Result<void> open_cache(const Wanted& wanted, Entry& entry, ClientEntry& client, const Settings& settings);
    Result<std::shared_ptr<PrivateImage>> open_image_of(const VDisk& vdisk);
    Result<void> wait_until_closed(std::unique_lock<std::mutex>& lock, const std::string& vdisk, Mode mode);
    std::optional<std::string> conflict(const Entry& entry, Mode mode, const std::string& mac) const;
    void end_private(Entry& entry);
    void end_shared(Entry& entry, ClientEntry& client);
    void forget_if_idle(const std::string& vdisk);

    void release(const Hold& hold);
    void flush_and_close(const std::string& vdisk, std::shared_ptr<PrivateImage> image);
    void flushed(const std::string& vdisk, const PrivateImage* image);
    void closed(const std::string& vdisk);

    const LibraryOptions options_;
    const Tell tell_;
    const std::string host_boot_;
    BlockCache base_cache_;
    std::atomic<bool> stopping_ = false;
    std::mutex mutex_;
    std::condition_variable closed_;
    std::map<std::string, Entry> entries_;  // under mutex_, by vDisk
    u64 bases_ = 0;                         // under mutex_: numbers given to bases
    WorkerPool pool_;                       // first to go: its work uses all of the above
};

}  // namespace lodge::server
