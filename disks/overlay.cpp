#include "disks/overlay.h"

#include <array>

#include "disks/range.h"

namespace lodge {

namespace {

constexpr u64 kCluster = 4 * kKiB;       // what guests' file systems write at least
constexpr u64 kLeafClusters = 8 * 1024;  // 32 MiB of disk in 1 KiB of map

u64 cluster_of(u64 offset) {
    return offset / kCluster;
}

}  // namespace

Overlay::Overlay(std::unique_ptr<BlockDevice> base, std::unique_ptr<File> layer)
    : base_(std::move(base)), layer_(std::move(layer)), leaves_(base_->size() / (kCluster * kLeafClusters) + 1) {}

bool Overlay::present(u64 cluster) const {
    const auto& leaf = leaves_[cluster / kLeafClusters];
    return leaf && bit((*leaf)[cluster % kLeafClusters / 64], cluster % 64);
}

void Overlay::set_present(u64 cluster) {
    auto& leaf = leaves_[cluster / kLeafClusters];
    if (!leaf) leaf = std::make_unique<Leaf>(kLeafClusters / 64);
    (*leaf)[cluster % kLeafClusters / 64] |= u64{1} << cluster % 64;
}

u64 Overlay::run_end(u64 offset, u64 end) const {
    const bool here = present(cluster_of(offset));
    u64 at = align_down(offset, kCluster) + kCluster;
    while (at < end && present(cluster_of(at)) == here) {
        // A leaf that does not exist is a run at once.
        at += !here && !leaves_[cluster_of(at) / kLeafClusters]
                  ? kCluster * kLeafClusters - at % (kCluster * kLeafClusters)
                  : kCluster;
    }
    return std::min(at, end);
}

Result<void> Overlay::read(u64 offset, std::span<u8> into) {
    LODGE_TRY(check_range(*this, offset, into.size()));
    const u64 end = offset + into.size();
    for (u64 at = offset; at < end;) {
        const u64 next = run_end(at, end);
        const auto part = into.subspan(at - offset, next - at);
        LODGE_TRY(present(cluster_of(at)) ? layer_->read(at, part) : base_->read(at, part));
        at = next;
    }
    return {};
}

bool Overlay::set_patience(Patience patience) {
    if (layer_->set_patience(patience) && base_->set_patience(patience)) return true;
    layer_->set_patience(Patience::wait);
    return false;
}

Result<void> Overlay::fill_cluster(u64 cluster) {
    if (present(cluster)) return {};
    std::array<u8, kCluster> bytes;
    const u64 begin = cluster * kCluster;
    const auto part = std::span(bytes).first(std::min(kCluster, size() - begin));
    LODGE_TRY(base_->read(begin, part));
    LODGE_TRY(layer_->write(begin, part));
    set_present(cluster);
    return {};
}

Result<void> Overlay::fill_edges(u64 offset, u64 length) {
    const u64 end = offset + length;
    if (offset % kCluster != 0) LODGE_TRY(fill_cluster(cluster_of(offset)));
    if (end % kCluster != 0 && end != size()) LODGE_TRY(fill_cluster(cluster_of(end)));
    return {};
}

Result<void> Overlay::write(u64 offset, std::span<const u8> from) {
    LODGE_TRY(check_range(*this, offset, from.size()));
    if (from.empty()) return {};
    LODGE_TRY(fill_edges(offset, from.size()));
    LODGE_TRY(layer_->write(offset, from));
    for (u64 cluster = cluster_of(offset); cluster <= cluster_of(offset + from.size() - 1); ++cluster)
        set_present(cluster);
    return {};
}

Result<void> Overlay::zero(u64 offset, u64 length) {
    LODGE_TRY(check_range(*this, offset, length));
    if (length == 0) return {};
    LODGE_TRY(fill_edges(offset, length));
    const u64 end = offset + length;
    auto layer_size = layer_->size();
    if (!layer_size) return layer_size.error();
    if (*layer_size < end) LODGE_TRY(layer_->truncate(end));
    LODGE_TRY(layer_->zero(offset, length, HostSpace::release));
    for (u64 cluster = cluster_of(offset); cluster <= cluster_of(end - 1); ++cluster) set_present(cluster);
    return {};
}

// Back to what the base says would be "as before" too, but costs what zeroing costs.
Result<void> Overlay::discard(u64 offset, u64 length) {
    return zero(offset, length);
}

Result<Extent> Overlay::extent(u64 offset) {
    LODGE_TRY(check_range(*this, offset, 1));
    const u64 length = run_end(offset, size()) - offset;
    auto extent = present(cluster_of(offset)) ? layer_->extent(offset) : base_->extent(offset);
    if (!extent) return extent;
    return Extent{std::min(extent->length, length), extent->zero};
}

}  // namespace lodge
