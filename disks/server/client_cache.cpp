#include "disks/server/client_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace lodge::server {

namespace {

constexpr u64 kCluster = ClientCache::kCluster;

// The header, all little-endian.
constexpr size_t kHeaderBytes = 512;
constexpr std::string_view kMagic = "LODGEcch";
constexpr u32 kVersion = 1;
constexpr size_t kAtVersion = 8, kAtKind = 12, kAtSaved = 16, kAtBytes = 24, kAtChanged = 32, kAtBoot = 64,
                 kAtHostBoot = 128, kAtChecksum = kHeaderBytes - 8;
constexpr size_t kTextBytes = 64;

struct Header {
    CacheKind kind = CacheKind::disk;
    bool saved = false;
    ImageVersion base;
    std::string boot, host_boot;
};

using HeaderBytes = std::array<u8, kHeaderBytes>;

u64 checksum_of(const HeaderBytes& bytes) {
    u64 hash = 0xCBF2'9CE4'8422'2325;  // FNV-1a
    for (size_t i = 0; i < kAtChecksum; ++i) hash = (hash ^ bytes[i]) * 0x100'0000'01B3;
    return hash;
}

std::string text_at(const HeaderBytes& bytes, size_t at) {
    const char* text = reinterpret_cast<const char*>(bytes.data() + at);
    return {text, ::strnlen(text, kTextBytes)};
}

HeaderBytes header_bytes(const Header& header) {
    HeaderBytes bytes{};
    std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
    store<u32>(bytes.data() + kAtVersion, kVersion);
    store<u32>(bytes.data() + kAtKind, header.kind == CacheKind::disk ? 0 : 1);
    store<u32>(bytes.data() + kAtSaved, header.saved ? 1 : 0);
    store<u64>(bytes.data() + kAtBytes, header.base.bytes);
    store<i64>(bytes.data() + kAtChanged, header.base.changed_at);
    std::memcpy(bytes.data() + kAtBoot, header.boot.data(), std::min(header.boot.size(), kTextBytes));
    std::memcpy(bytes.data() + kAtHostBoot, header.host_boot.data(), std::min(header.host_boot.size(), kTextBytes));
    store<u64>(bytes.data() + kAtChecksum, checksum_of(bytes));
    return bytes;
}

Error damaged(const std::string& path, const std::string& what) {
    return Error{ErrorKind::bad_format, path + ": " + what};
}

Result<Header> read_header(File& file) {
    HeaderBytes bytes;
    const auto size = file.size();
    if (!size) return size.error();
    if (*size < bytes.size()) return damaged(file.name(), "is too short for a cache");
    LODGE_TRY(file.read(0, bytes));
    if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0 ||
        load<u64>(bytes.data() + kAtChecksum) != checksum_of(bytes) || load<u32>(bytes.data() + kAtVersion) != kVersion)
        return damaged(file.name(), "is no cache, or a damaged one");
    Header header;
    header.kind = load<u32>(bytes.data() + kAtKind) == 0 ? CacheKind::disk : CacheKind::memory;
    header.saved = load<u32>(bytes.data() + kAtSaved) == 1;
    header.base = {load<u64>(bytes.data() + kAtBytes), load<i64>(bytes.data() + kAtChanged)};
    header.boot = text_at(bytes, kAtBoot);
    header.host_boot = text_at(bytes, kAtHostBoot);
    return header;
}

Error host_failure(const std::string& path, const char* what) {
    const int code = errno;
    return Error{code == ENOSPC || code == EDQUOT ? ErrorKind::no_space : ErrorKind::io,
                 path + ": " + what + ": " + std::strerror(code)};
}

// A new name in a folder survives a crash of the host once the folder is synced.
Result<void> sync_folder_of(const std::string& path) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return host_failure(folder, "cannot open");
    const int status = ::fsync(descriptor);
    const Error error = host_failure(folder, "cannot flush");
    ::close(descriptor);
    return status == 0 ? Result<void>() : Result<void>(error);
}

Result<std::unique_ptr<File>> make_empty_file(const std::string& path) {
    ::unlink(path.c_str());
    const int descriptor = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor < 0) return host_failure(path, "cannot create");
    ::close(descriptor);
    return open_host_file(path, FileAccess::read_write);
}

Error lost(const std::string& how) {
    return Error{ErrorKind::usage, "its writes were lost " + how + "; it has to boot again"};
}

// Why what is in the file cannot be shown to the client.
Result<void> check_whole(const Header& header, const CacheOptions& options) {
    if (header.base != options.base) return lost("with the vDisk they were made on, which has changed");
    if (header.saved) return {};
    if (header.kind == CacheKind::memory) return lost("with the server, which had them in memory");
    if (header.host_boot != options.host_boot) return lost("with the server's computer");
    return {};
}

}  // namespace

std::string host_boot_id() {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string id;
    std::getline(file, id);
    return id;
}

ClientCache::ClientCache(CacheOptions options) : options_(std::move(options)) {
    if (options_.quota == 0) options_.quota = align_up(bytes(), kCluster);
    assert(options_.boot.size() <= kTextBytes && options_.host_boot.size() <= kTextBytes);
}

Result<std::unique_ptr<ClientCache>> ClientCache::create(CacheOptions options) {
    ::unlink(options.path.c_str());
    return std::unique_ptr<ClientCache>(new ClientCache(std::move(options)));
}

std::string ClientCache::boot_of(const std::string& path) {
    const auto file = HostFile::open(path, FileAccess::read);
    if (!file) return {};
    const auto header = read_header(**file);
    return header ? header->boot : std::string();
}

Result<std::unique_ptr<ClientCache>> ClientCache::resume(CacheOptions options) {
    auto file = open_host_file(options.path, FileAccess::read_write);
    if (!file && file.error().kind == ErrorKind::not_found) return std::unique_ptr<ClientCache>();
    if (!file) return file.error();
    const auto header = read_header(**file);
    if (!header) return header.error();
    if (header->boot != options.boot) return std::unique_ptr<ClientCache>();
    LODGE_TRY(check_whole(*header, options));
    options.kind = header->kind;
    std::unique_ptr<ClientCache> cache(new ClientCache(std::move(options)));
    cache->file_ = std::move(*file);
    cache->saved_ = header->saved;
    LODGE_TRY(cache->load_map());
    return cache;
}

// The map.

ClientCache::Place ClientCache::place_of(u64 cluster) const {
    const auto leaf = leaves_.find(cluster / kLeafClusters);
    if (leaf == leaves_.end()) return Place::base;
    const u64 at = cluster % kLeafClusters;
    return static_cast<Place>(bits<u8>(leaf->second[at / 4], at % 4 * 2, 2));
}

void ClientCache::set_place(u64 cluster, Place place) {
    const Place before = place_of(cluster);
    in_memory_ += u64{place == Place::memory} - u64{before == Place::memory};
    in_file_ += u64{place == Place::file} - u64{before == Place::file};
    const u64 at = cluster % kLeafClusters;
    const unsigned shift = at % 4 * 2;
    u8& byte = leaves_[cluster / kLeafClusters][at / 4];  // a new leaf is all base
    byte = replace_bits<u8>(byte, static_cast<u8>(3 << shift), static_cast<u8>(static_cast<u8>(place) << shift));
}

ClientCache::Run ClientCache::run_at(u64 offset, u64 end) const {
    const Place place = place_of(offset / kCluster);
    u64 at = align_down(offset, kCluster) + kCluster;
    if (place == Place::memory) return {std::min(at, end), place};
    while (at < end) {
        constexpr u64 kLeafReach = kLeafClusters * kCluster;
        if (place == Place::base && !leaves_.contains(at / kLeafReach)) {
            at = align_down(at, kLeafReach) + kLeafReach;
        } else if (place_of(at / kCluster) == place) {
            at += kCluster;
        } else {
            break;
        }
    }
    return {std::min(at, end), place};
}

Result<void> ClientCache::load_map() {
    const u64 size = map_bytes();
    auto file_size = file_->size();
    if (!file_size) return file_size.error();
    if (*file_size < kCluster + size) return damaged(file_->name(), "is cut short");
    for (u64 at = 0; at < size;) {
        const auto extent = file_->extent(kCluster + at);
        if (!extent) return extent.error();
        if (extent->zero && extent->length >= std::min(kLeafBytes, size - at)) {
            at = extent->length >= size - at ? size : align_down(at + extent->length, kLeafBytes);
            continue;
        }
        LODGE_TRY(load_leaf(at / kLeafBytes));
        at += kLeafBytes;
    }
    return {};
}

Result<void> ClientCache::load_leaf(u64 leaf) {
    Leaf bytes{};
    const u64 begin = leaf * kLeafBytes;
    LODGE_TRY(file_->read(kCluster + begin, std::span(bytes).first(std::min(kLeafBytes, map_bytes() - begin))));
    const u64 clusters = (this->bytes() + kCluster - 1) / kCluster;
    for (u64 i = 0; i < kLeafClusters && leaf * kLeafClusters + i < clusters; ++i) {
        const auto place = static_cast<Place>(bits<u8>(bytes[i / 4], i % 4 * 2, 2));
        if (place == Place::memory) return damaged(file_->name(), "says that memory holds what it cannot");
        if (place != Place::base) set_place(leaf * kLeafClusters + i, place);
    }
    return {};
}

Result<void> ClientCache::enter(u64 first, u64 end, Place place) {
    for (u64 cluster = first; cluster < end; ++cluster) set_place(cluster, place);
    return options_.kind == CacheKind::disk ? write_map(first, end) : Result<void>();
}

// What is in memory is written as being in the file: save() puts it there.
Result<void> ClientCache::write_map(u64 first, u64 end) {
    while (first < end) {
        const u64 leaf = first / kLeafClusters;
        const u64 leaf_end = std::min(end, (leaf + 1) * kLeafClusters);
        const u64 from = first % kLeafClusters / 4, to = (leaf_end - 1) % kLeafClusters / 4 + 1;
        const auto found = leaves_.find(leaf);
        assert(found != leaves_.end());
        Leaf bytes = found->second;
        for (u64 i = from; i < to; ++i)
            for (unsigned shift = 0; shift < 8; shift += 2)
                if (bits<u8>(bytes[i], shift, 2) == static_cast<u8>(Place::memory))
                    bytes[i] = replace_bits<u8>(bytes[i], static_cast<u8>(3 << shift),
                                                static_cast<u8>(static_cast<u8>(Place::file) << shift));
        LODGE_TRY(file_->write(kCluster + leaf * kLeafBytes + from, std::span(bytes).subspan(from, to - from)));
        first = leaf_end;
    }
    return {};
}

// The file.

Result<void> ClientCache::write_header(bool saved) {
    LODGE_TRY(file_->write(0, header_bytes({options_.kind, saved, options_.base, options_.boot, options_.host_boot})));
    return file_->sync();
}

Result<void> ClientCache::make_file() {
    if (file_) return mark_unsaved();
    auto file = make_empty_file(options_.path);
    if (!file) return file.error();
    file_ = std::move(*file);
    auto made = file_->truncate(data_begin() + align_up(bytes(), kCluster));
    if (made) made = write_header(false);
    if (made) made = sync_folder_of(options_.path);
    if (!made) file_.reset();  // the next write tries again
    return made;
}

Result<void> ClientCache::mark_unsaved() {
    if (!saved_) return {};
    LODGE_TRY(write_header(false));
    saved_ = false;
    return {};
}

Result<void> ClientCache::save() {
    if (!file_ || saved_) return {};
    for (const auto& [cluster, page] : pages_) LODGE_TRY(file_->write(data_begin() + cluster * kCluster, *page));
    for (const auto& [leaf, unused] : leaves_) LODGE_TRY(write_map(leaf * kLeafClusters, (leaf + 1) * kLeafClusters));
    LODGE_TRY(file_->sync());
    LODGE_TRY(write_header(true));
    saved_ = true;
    return {};
}

void ClientCache::remove_file() {
    ::unlink(options_.path.c_str());
}

// Reading.

Result<void> ClientCache::read(SharedBase& base, u64 offset, std::span<u8> into) {
    const u64 end = offset + into.size();
    for (u64 at = offset; at < end;) {
        const Run run = run_at(at, end);
        const auto part = into.subspan(at - offset, run.end - at);
        switch (run.place) {
            case Place::base:
                LODGE_TRY(base.read(at, part));
                break;
            case Place::memory:
                std::memcpy(part.data(), pages_.at(at / kCluster)->data() + at % kCluster, part.size());
                break;
            case Place::file:
                LODGE_TRY(file_->read(data_begin() + at, part));
                break;
            case Place::zero:
                std::fill(part.begin(), part.end(), u8{0});
                break;
        }
        at = run.end;
    }
    return {};
}

bool ClientCache::try_read(SharedBase& base, u64 offset, std::span<u8> into) {
    const u64 end = offset + into.size();
    for (u64 at = offset; at < end;) {
        const Run run = run_at(at, end);
        const auto part = into.subspan(at - offset, run.end - at);
        if (run.place == Place::file || (run.place == Place::base && !base.try_read(at, part))) return false;
        if (run.place == Place::memory)
            std::memcpy(part.data(), pages_.at(at / kCluster)->data() + at % kCluster, part.size());
        if (run.place == Place::zero) std::fill(part.begin(), part.end(), u8{0});
        at = run.end;
    }
    return true;
}

Result<Extent> ClientCache::extent(SharedBase& base, u64 offset) {
    const Run run = run_at(offset, std::min(bytes(), offset + kGiB));  // a bounded search
    Extent extent{run.end - offset, run.place == Place::zero};
    if (run.place != Place::base) return extent;
    const auto below = base.extent(offset);
    if (!below) return below;
    return Extent{std::min(extent.length, below->length), below->zero};
}

// Writing.

u64 ClientCache::clusters_to_take(u64 offset, u64 end) const {
    u64 count = 0;
    for (u64 at = offset; at < end;) {
        const Run run = run_at(at, end);
        if (run.place == Place::base || run.place == Place::zero) count += (run.end - 1) / kCluster - at / kCluster + 1;
        at = run.end;
    }
    return count;
}

bool ClientCache::may_take(u64 clusters) const {
    return (in_memory_ + in_file_ + clusters) * kCluster <= options_.quota || clusters == 0;
}

Error ClientCache::full() {
    full_ = true;
    return Error{ErrorKind::no_space, "its cache of " + size_for_people(options_.quota) + " is full"};
}

Result<void> ClientCache::noticing_full(Result<void> result) {
    if (!result && result.error().kind == ErrorKind::no_space) full_ = true;
    return result;
}

Result<void> ClientCache::write(SharedBase& base, u64 offset, std::span<const u8> from) {
    const u64 end = offset + from.size();
    if (from.empty()) return {};
    if (!may_take(clusters_to_take(offset, end))) return full();
    LODGE_TRY(noticing_full(make_file()));
    for (u64 at = offset; at < end;) {
        const Run run = run_at(at, end);
        const auto part = from.subspan(at - offset, run.end - at);
        if (run.place == Place::memory)
            std::memcpy(pages_.at(at / kCluster)->data() + at % kCluster, part.data(), part.size());
        else if (run.place == Place::file)
            LODGE_TRY(noticing_full(file_->write(data_begin() + at, part)));
        else
            LODGE_TRY(noticing_full(write_new(base, at, part)));
        at = run.end;
    }
    return {};
}

// Into clusters that are all in the base, or all zeros.
Result<void> ClientCache::write_new(SharedBase& base, u64 offset, std::span<const u8> from) {
    const u64 end = offset + from.size();
    const u64 head_end = std::min(align_up(offset, kCluster), end);
    if (head_end != offset) LODGE_TRY(write_new_cluster(base, offset, from.first(head_end - offset)));
    const u64 whole_end = end == bytes() ? end : std::max(align_down(end, kCluster), head_end);
    if (whole_end != head_end) LODGE_TRY(write_whole(head_end, from.subspan(head_end - offset, whole_end - head_end)));
    if (whole_end == end) return {};
    return write_new_cluster(base, whole_end, from.subspan(whole_end - offset));
}

// A part of one cluster: the rest of it comes along.
Result<void> ClientCache::write_new_cluster(SharedBase& base, u64 offset, std::span<const u8> from) {
    Page page{};
    const u64 begin = align_down(offset, kCluster);
    const auto content = std::span(page).first(std::min(kCluster, bytes() - begin));
    LODGE_TRY(read(base, begin, content));
    std::memcpy(page.data() + (offset - begin), from.data(), from.size());
    return write_whole(begin, content);
}

// Whole clusters, of which the disk's last one may be short.
Result<void> ClientCache::write_whole(u64 offset, std::span<const u8> from) {
    u64 cluster = offset / kCluster;
    const u64 end = (offset + from.size() - 1) / kCluster + 1;
    while (options_.kind == CacheKind::memory && cluster < end && (in_memory_ + 1) * kCluster <= options_.memory) {
        auto page = std::make_unique<Page>();
        const auto part = from.first(std::min<u64>(from.size(), kCluster));
        std::memcpy(page->data(), part.data(), part.size());
        pages_[cluster] = std::move(page);
        set_place(cluster++, Place::memory);
        from = from.subspan(part.size());
    }
    if (cluster == end) return {};
    LODGE_TRY(file_->write(data_begin() + cluster * kCluster, from));
    return enter(cluster, end, Place::file);
}

bool ClientCache::try_write(u64 offset, std::span<const u8> from) {
    if (options_.kind != CacheKind::memory || !file_ || saved_ || from.empty()) return false;
    const u64 end = offset + from.size();
    u64 more = 0;
    for (u64 at = offset; at < end; at = align_down(at, kCluster) + kCluster) {
        const Place place = place_of(at / kCluster);
        const bool whole = at % kCluster == 0 && (end - at >= kCluster || end == bytes());
        if (place == Place::file || (place != Place::memory && !whole)) return false;
        more += place == Place::memory ? 0 : 1;
    }
    if (!may_take(more) || (in_memory_ + more) * kCluster > options_.memory) return false;
    for (u64 at = offset; at < end;) {
        const u64 next = std::min(align_down(at, kCluster) + kCluster, end);
        auto& page = pages_[at / kCluster];
        if (!page) page = std::make_unique<Page>();
        std::memcpy(page->data() + at % kCluster, from.data() + (at - offset), next - at);
        set_place(at / kCluster, Place::memory);
        at = next;
    }
    return true;
}

Result<void> ClientCache::zero(SharedBase& base, u64 offset, u64 length) {
    static constexpr Page kZeros{};
    const u64 end = offset + length;
    if (length == 0) return {};
    const u64 head_end = std::min(align_up(offset, kCluster), end);
    const u64 whole_end = end == bytes() ? end : std::max(align_down(end, kCluster), head_end);
    LODGE_TRY(write(base, offset, std::span(kZeros).first(head_end - offset)));
    LODGE_TRY(noticing_full(zero_whole(head_end / kCluster, (whole_end + kCluster - 1) / kCluster)));
    return write(base, whole_end, std::span(kZeros).first(end - whole_end));
}

// The map first: a page or a part of the file that it no longer names can go.
Result<void> ClientCache::zero_whole(u64 first, u64 end) {
    if (first >= end) return {};
    LODGE_TRY(make_file());
    while (first < end) {
        const Run run = run_at(first * kCluster, end * kCluster);
        const u64 run_end = run.end / kCluster;
        if (run.place != Place::zero) LODGE_TRY(enter(first, run_end, Place::zero));
        if (run.place == Place::memory) pages_.erase(first);
        if (run.place == Place::file)
            LODGE_TRY(file_->zero(data_begin() + first * kCluster, (run_end - first) * kCluster, HostSpace::release));
        first = run_end;
    }
    return {};
}

Result<void> ClientCache::discard(SharedBase& base, u64 offset, u64 length) {
    const u64 end = offset + length;
    const u64 last = end == bytes() ? (end + kCluster - 1) / kCluster : end / kCluster;
    for (u64 cluster = (offset + kCluster - 1) / kCluster; cluster < last;) {
        const Run run = run_at(cluster * kCluster, last * kCluster);
        const u64 run_end = run.end / kCluster;
        if (run.place == Place::memory || run.place == Place::file)
            LODGE_TRY(noticing_full(zero_whole(cluster, run_end)));
        cluster = run_end;
    }
    return {};
}

ClientCache::Use ClientCache::use() const {
    return {in_memory_ * kCluster, in_file_ * kCluster, options_.quota, full_};
}

}  // namespace lodge::server
