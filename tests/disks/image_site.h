// Where the trials of images keep their files: in a folder of the host, or in memory, where a crash can be had at will.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "disks/open_image.h"

namespace lodge::trial {

class Site {
  public:
    using Fill = std::function<Result<void>(std::unique_ptr<File> file)>;

    virtual ~Site() = default;
    virtual OpenOptions options() = 0;
    virtual std::string path_of(const std::string& name) = 0;
    // A file that is there when it is complete, or never.
    virtual Result<void> make(const std::string& name, const Fill& fill) = 0;
    virtual void remove(const std::string& name) = 0;
    virtual bool exists(const std::string& name) = 0;
};

// A folder of the host.
class HostSite : public Site {
  public:
    explicit HostSite(std::string folder) : folder_(std::move(folder)) {}
    OpenOptions options() override;
    std::string path_of(const std::string& name) override { return folder_ + "/" + name; }
    Result<void> make(const std::string& name, const Fill& fill) override;
    void remove(const std::string& name) override;
    bool exists(const std::string& name) override;

  protected:
    // Put between lodge and a file that is opened for writing.
    virtual std::unique_ptr<File> wrap(std::unique_ptr<File> file) { return file; }

  private:
    std::string folder_;
};

// Bytes of which most are zero.
class SparseBytes {
  public:
    u64 size() const { return size_; }
    void read(u64 offset, std::span<u8> into) const;
    void write(u64 offset, std::span<const u8> from);
    void zero(u64 offset, u64 length);
    void truncate(u64 size);
    Extent extent(u64 offset) const;
    u64 stored() const { return sectors_.size() * kSectorSize; }

  private:
    using Sector = std::array<u8, kSectorSize>;
    std::map<u64, Sector> sectors_;
    u64 size_ = 0;
};

// A folder in memory on a host that can die: what was not flushed is then there in part, by sectors, or not at all.
class MemorySite final : public Site {
  public:
    OpenOptions options() override;
    std::string path_of(const std::string& name) override { return "/memory/" + name; }
    Result<void> make(const std::string& name, const Fill& fill) override;
    void remove(const std::string& name) override { files_.erase(path_of(name)); }
    bool exists(const std::string& name) override { return files_.contains(path_of(name)); }

    // Changes to files so far.
    u64 changes() const { return changes_; }
    // The change after so many is not made, nor any later one; each fails.
    void stop_after(u64 changes) { last_change_ = changes; }
    bool stopped() const { return stopped_; }

    enum class Loss {
        none,  // the process died: the host has everything
        some,  // the host died: of what was not flushed, sectors at random
        all,
    };
    // A site with what is there after the crash.
    std::unique_ptr<MemorySite> after_crash(Loss loss, std::mt19937& random) const;

  private:
    struct Change {
        enum class Kind { write, zero, truncate } kind;
        u64 offset;
        u64 length;
        std::vector<u8> bytes;
    };
    struct Stored {
        SparseBytes now;
        SparseBytes flushed;
        std::vector<Change> unflushed;
    };
    class Handle;

    static void apply(SparseBytes& bytes, const Change& change, const std::function<bool(u64 sector)>& keep);
    Result<void> change(Stored& stored, Change change);
    bool may_change();

    std::map<std::string, std::shared_ptr<Stored>> files_;
    u64 changes_ = 0;
    u64 last_change_ = ~u64{0};
    bool stopped_ = false;
};

}  // namespace lodge::trial
