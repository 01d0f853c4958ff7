// What the target is given: a vDisk as one client sees it. The image or cache behind it, with the order of its
// requests, is shared with the disk objects of the client's later sessions; the disk object itself can be cut off from
// it, when the client has booted again and what is left of its earlier sessions must do no more harm.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "disks/iscsi/directory.h"
#include "disks/server/client_cache.h"
#include "disks/server/request_queue.h"
#include "disks/server/shared_base.h"

namespace lodge::server {

// A line for people about a disk: a full cache, an error of the host. Any thread.
using Tell = std::function<void(const std::string& line)>;

// An image that one client has for writing.
struct PrivateImage {
    PrivateImage(std::unique_ptr<BlockDevice> image, std::string id, WorkerPool& pool)
        : device(std::move(image)), unique_id(std::move(id)), queue(pool) {}

    std::unique_ptr<BlockDevice> device;  // the queue's alone
    std::string unique_id;
    RequestQueue queue;
};

// A cache, with the order of requests to it.
struct CacheWork {
    CacheWork(std::unique_ptr<ClientCache> its, WorkerPool& pool) : cache(std::move(its)), queue(pool) {}

    std::unique_ptr<ClientCache> cache;
    RequestQueue queue;
};

// What the two kinds have in common.
class VDiskDisk : public iscsi::Disk {
  public:
    // `name` for messages.
    VDiskDisk(std::string name, u64 bytes, std::string unique_id, Tell tell)
        : name_(std::move(name)), bytes_(bytes), unique_id_(std::move(unique_id)), tell_(std::move(tell)) {}

    u64 bytes() const override { return bytes_; }
    bool read_only() const override { return false; }
    scsi::UnitIdentity identity() const override;

    // Target's thread: every request that has not begun fails from now on, and nothing is held open.
    virtual void cut_off() = 0;

  protected:
    // What a worker was told to do, as the target wants it; tells people about the first failure of each kind.
    scsi::MediumResult result_of(const Result<void>& done, std::vector<u8> data = {});
    static scsi::MediumResult failed() { return {.status = scsi::MediumStatus::failed}; }
    static bool within(const scsi::MediumRequest& request, u64 bytes);

  private:
    const std::string name_;
    const u64 bytes_;
    const std::string unique_id_;
    const Tell tell_;
    std::atomic<bool> told_full_ = false, told_failed_ = false;
};

class PrivateDisk final : public VDiskDisk, public std::enable_shared_from_this<PrivateDisk> {
  public:
    PrivateDisk(std::string name, std::shared_ptr<PrivateImage> image, Tell tell);

    std::optional<scsi::MediumResult> try_now(const scsi::MediumRequest& request, std::vector<u8>& data) override;
    void submit(const scsi::MediumRequest& request, std::vector<u8> data, Done done) override;
    void cut_off() override;

  private:
    scsi::MediumResult perform(BlockDevice& device, const scsi::MediumRequest& request, const std::vector<u8>& data);

    std::shared_ptr<PrivateImage> image_;  // target's thread; null once cut off
    std::atomic<bool> cut_off_ = false;
    std::atomic<bool> written_ = true;  // since the last flush
};

class SharedDisk final : public VDiskDisk, public std::enable_shared_from_this<SharedDisk> {
  public:
    SharedDisk(std::string name, std::shared_ptr<SharedBase> base, std::shared_ptr<CacheWork> work, Tell tell);

    std::optional<scsi::MediumResult> try_now(const scsi::MediumRequest& request, std::vector<u8>& data) override;
    void submit(const scsi::MediumRequest& request, std::vector<u8> data, Done done) override;
    void cut_off() override;

  private:
    scsi::MediumResult perform(SharedBase& base, ClientCache& cache, const scsi::MediumRequest& request,
                               const std::vector<u8>& data);

    std::shared_ptr<SharedBase> base_;  // target's thread, as the next; null once cut off
    std::shared_ptr<CacheWork> work_;
    std::atomic<bool> cut_off_ = false;
};

}  // namespace lodge::server
