// What one client has written to a shared vDisk in its present boot. It is thrown away when the client boots again,
// and never lost before without being told: that is what the file is for.
//
// The disk is in clusters of 4 KiB. A map says of each where it is: in the base, in memory, in this cache's file, or
// nowhere because it is zeros. The file, `cache/MAC.VDISK`, is made by the first write:
//
//     0        header: whose boot, over which version of the base, on which boot of the host, kind
//     4096     the map, two bits for each cluster
//     then     the clusters, each at its own place: the file is sparse
//
// A cache on disk writes a cluster first and then its map bits, into the host's page cache: a server that is killed
// between any two writes loses nothing that was answered. A crash of the host may lose what it had not written back;
// the header tells (the kernel's boot_id), and the client is told to boot again instead of being shown a mixture.
// A cache in memory, whose overflow alone is in the file, is lost with the server; its file says that there was one.
// The header is on the host's disk before the first write is answered. A server that stops in order saves() its
// caches, whatever their kind, and then even a reboot of the host does them no harm.
//
// Not safe from several threads, except: reads beside each other, and use() beside everything.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "disks/file.h"
#include "disks/server/shared_base.h"
#include "disks/server/store.h"

namespace lodge::server {

struct CacheOptions {
    std::string path;       // of its file
    std::string boot;       // of the client: its ticket's secret, or empty
    std::string host_boot;  // of the host: /proc/sys/kernel/random/boot_id
    ImageVersion base;
    CacheKind kind = CacheKind::disk;
    u64 memory = 0;  // bytes that may be in memory, if kind is memory
    u64 quota = 0;   // bytes in all; 0: as large as the disk
};

class ClientCache {
  public:
    static constexpr u64 kCluster = 4 * kKiB;

    struct Use {
        u64 memory_bytes = 0;
        u64 disk_bytes = 0;
        u64 quota = 0;
        bool full = false;
    };

    // An empty one. What is left of an earlier boot goes.
    static Result<std::unique_ptr<ClientCache>> create(CacheOptions options);
    // What the same boot of the client left behind; null if that is nothing. Errors: usage: its writes were lost, with
    // the server or the host, or are over another version of the base; bad_format: the file is damaged.
    static Result<std::unique_ptr<ClientCache>> resume(CacheOptions options);
    // Of the file at `path`; empty if there is none, or it cannot be read.
    static std::string boot_of(const std::string& path);

    // The range lies within the disk. Errors: base's and the file's; no_space: the quota, or the host's disk, is full,
    // and nothing or a part was written.
    Result<void> read(SharedBase& base, u64 offset, std::span<u8> into);
    Result<void> write(SharedBase& base, u64 offset, std::span<const u8> from);
    Result<void> zero(SharedBase& base, u64 offset, u64 length);
    // Gives back what it takes, for zeros.
    Result<void> discard(SharedBase& base, u64 offset, u64 length);
    Result<Extent> extent(SharedBase& base, u64 offset);

    // Those that take no wait: false, and nothing has happened, if they would.
    bool try_read(SharedBase& base, u64 offset, std::span<u8> into);
    bool try_write(u64 offset, std::span<const u8> from);

    // Everything to the host's disk; the next server can resume it. Writes go on afterwards as before.
    Result<void> save();

    // Whether nothing was ever written to it.
    bool untouched() const { return !file_; }
    // Any thread.
    Use use() const;
    u64 bytes() const { return options_.base.bytes; }
    const std::string& boot() const { return options_.boot; }
    const ImageVersion& base_version() const { return options_.base; }
    // Removes its file, which stays open until this goes.
    void remove_file();

  private:
    enum class Place : u8 { base, memory, file, zero };
    static constexpr u64 kLeafClusters = 8192;
    static constexpr u64 kLeafBytes = kLeafClusters / 4;
    using Leaf = std::array<u8, kLeafBytes>;
    using Page = std::array<u8, kCluster>;

    struct Run {
        u64 end;  // byte of the disk
        Place place;
    };

    explicit ClientCache(CacheOptions options);

    u64 map_bytes() const { return align_up((bytes() + kCluster - 1) / kCluster, 4) / 4; }
    u64 data_begin() const { return kCluster + align_up(map_bytes(), kCluster); }
    Place place_of(u64 cluster) const;
    void set_place(u64 cluster, Place place);
    // The run of clusters from `offset` on, below `end`, that are in the same place; in memory, one cluster.
    Run run_at(u64 offset, u64 end) const;
    bool may_take(u64 clusters) const;
    u64 clusters_to_take(u64 offset, u64 end) const;

    Result<void> make_file();
    Result<void> write_header(bool saved);
    Result<void> mark_unsaved();
    Result<void> load_map();
    Result<void> load_leaf(u64 leaf);
    // Enters clusters [first, end), into the file's map too if this cache is on disk.
    Result<void> enter(u64 first, u64 end, Place place);
    Result<void> write_map(u64 first, u64 end);
    Result<void> write_new(SharedBase& base, u64 offset, std::span<const u8> from);
    Result<void> write_new_cluster(SharedBase& base, u64 offset, std::span<const u8> from);
    Result<void> write_whole(u64 offset, std::span<const u8> from);
    Result<void> zero_whole(u64 first, u64 end);
    Error full();
    Result<void> noticing_full(Result<void> result);

    CacheOptions options_;
    std::unique_ptr<File> file_;  // once something was written
    bool saved_ = false;          // the header says so
    std::unordered_map<u64, Leaf> leaves_;
    std::unordered_map<u64, std::unique_ptr<Page>> pages_;
    std::atomic<u64> in_memory_ = 0, in_file_ = 0;  // clusters
    std::atomic<bool> full_ = false;
};

// The kernel's id of this boot of the host; empty if it has none.
std::string host_boot_id();

}  // namespace lodge::server
