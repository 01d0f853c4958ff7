// Writes that are thrown away: what is written goes to a nameless file, what is not comes from the base, and the base
// is never touched. For mode=shared, where several machines use one image.
//
// The nameless file is sparse and has the base's geometry: byte N of the disk is byte N of the file, so all the map has
// to say is which clusters are there, one bit each.
#pragma once

#include <memory>
#include <vector>

#include "disks/block_device.h"
#include "disks/file.h"

namespace lodge {

class Overlay final : public BlockDevice {
  public:
    // `layer` is empty; it is gone when its File is.
    Overlay(std::unique_ptr<BlockDevice> base, std::unique_ptr<File> layer);

    u64 size() const override { return base_->size(); }
    bool read_only() const override { return false; }
    std::string describe() const override { return base_->describe() + " under a throw-away layer"; }

    Result<void> read(u64 offset, std::span<u8> into) override;
    bool set_patience(Patience patience) override;
    Result<void> write(u64 offset, std::span<const u8> from) override;
    // Nothing of it is to survive, so there is nothing to do.
    Result<void> flush() override { return {}; }
    Result<void> discard(u64 offset, u64 length) override;
    Result<void> zero(u64 offset, u64 length) override;
    Result<Extent> extent(u64 offset) override;

  private:
    // The map is in leaves that come to be as their part of the disk is written: 2 TiB untouched need 512 KiB.
    using Leaf = std::vector<u64>;

    bool present(u64 cluster) const;
    void set_present(u64 cluster);
    // The end of the run of clusters, from the one of `offset` on, that are all present or all not; at most `end`.
    u64 run_end(u64 offset, u64 end) const;
    // Brings the rest of a cluster that a write fills only in part from the base.
    Result<void> fill_cluster(u64 cluster);
    Result<void> fill_edges(u64 offset, u64 length);

    std::unique_ptr<BlockDevice> base_;
    std::unique_ptr<File> layer_;
    std::vector<std::unique_ptr<Leaf>> leaves_;
};

}  // namespace lodge
