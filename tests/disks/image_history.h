// Random histories of a chain of images, and what its disk may hold after each step.
//
// A history is drawn from its seed alone: who knows the seed knows all its steps, also in another process than the one
// that makes them.
#pragma once

#include <array>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/disks/image_site.h"

namespace lodge::trial {

struct Step {
    enum class Kind {
        write,
        zero,
        discard,
        flush,
        reopen,
        snapshot,  // a child of the top image becomes the top image
        commit,    // of the image at `level`
        drop,      // of the top image, which was just committed
        rebase,    // the image at `level` onto the one at `target`, or onto a new base
        compact,   // of the image at `level`
        resize,
        check,
    };
    static constexpr size_t kKinds = 12;

    Kind kind = Kind::write;
    u64 offset = 0;
    u64 length = 0;
    u32 value = 0;      // what the bytes are made of
    size_t level = 0;   // 0: the base
    size_t target = 0;  // of a rebase
    bool new_base = false;
    u64 size = 0;
    std::string name;  // of a new file
    u32 block_size = 0;

    std::string describe() const;
};

// What kinds of steps to draw, and on what.
struct HistoryRules {
    u64 most_size = 96 * kKiB;
    u32 structure_steps = 6;  // of 100: snapshots, commits, rebases, compactions, resizes
};

// The chain as the steps make it: names and sizes, base first.
class ChainShape {
  public:
    struct Level {
        std::string name;
        u64 size;
    };

    ChainShape(std::mt19937& random, const HistoryRules& rules);

    const std::vector<Level>& levels() const { return levels_; }
    u64 size() const { return levels_.back().size; }
    u32 base_block_size() const { return base_block_size_; }
    Step draw(std::mt19937& random) const;
    void apply(const Step& step);

  private:
    Step draw_structure(std::mt19937& random) const;
    std::string next_name() const { return "image" + std::to_string(made_) + ".vhd"; }

    HistoryRules rules_;
    std::vector<Level> levels_;
    unsigned made_ = 0;
    u32 base_block_size_;
    bool top_is_committed_ = false;
};

// What each sector may hold: now, and after a crash.
class DiskModel {
  public:
    explicit DiskModel(u64 size) : sectors_(size / kSectorSize) {}

    u64 size() const { return sectors_.size() * kSectorSize; }
    void apply(const Step& step);
    // A flush is over: what was there before cannot come back.
    void forget_older();
    // Empty, or where these bytes are not what the disk may hold.
    std::string compare(std::span<const u8> disk, bool after_crash) const;
    // What a discard left is known now.
    void settle(std::span<const u8> disk);

  private:
    using Sector = std::array<u8, kSectorSize>;
    struct Possible {
        std::vector<Sector> now = {Sector{}};
        std::vector<Sector> older;
    };
    void overwrite(u64 offset, std::span<const u8> bytes);
    static void keep_older(Possible& sector);

    std::vector<Possible> sectors_;
};

std::vector<u8> bytes_of(const Step& step);

// Makes the steps of a history on a site.
class HistoryRunner {
  public:
    HistoryRunner(Site& site, const ChainShape& shape) : site_(site), shape_(shape) {}

    Result<void> start();
    // `shape` is as before the step, and is changed by the caller afterwards.
    Result<void> make(const Step& step);
    Result<std::vector<u8>> read_disk();
    void close() { device_.reset(); }

  private:
    Result<void> open();
    Result<void> make_base(const std::string& name, u64 size, u32 block_size, u32 value);
    Result<void> make_structure(const Step& step);
    std::string path(size_t level) { return site_.path_of(shape_.levels()[level].name); }

    Site& site_;
    const ChainShape& shape_;
    std::unique_ptr<BlockDevice> device_;
};

// After a crash: opens the chain at `name`, repairs it where it must, and compares it. Empty, or what is wrong.
std::string verify(Site& site, const std::string& name, const DiskModel& model, bool after_crash);

}  // namespace lodge::trial
