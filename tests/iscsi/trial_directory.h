// Disks and a directory for trying the iSCSI target without a store: a file or memory as one disk that all targets'
// sessions share.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "disks/iscsi/directory.h"

namespace lodge::iscsi_test {

using namespace lodge::iscsi;
using scsi::MediumOperation;
using scsi::MediumRequest;
using scsi::MediumResult;
using scsi::MediumStatus;

// A file, or anonymous memory, of which reads are answered at once as far as the host has them in memory, and all else
// by one worker, in order.
class TrialDisk final : public Disk {
  public:
    // `at_once`: whether anything is answered at once. `may_wait`: reading may have to wait for a disk.
    TrialDisk(int descriptor, u64 bytes, bool read_only, bool at_once, bool may_wait = true)
        : descriptor_(descriptor), bytes_(bytes), read_only_(read_only), at_once_(at_once), may_wait_(may_wait) {
        worker_ = std::thread([this] { work(); });
    }
    ~TrialDisk() override {
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        worker_.join();
        ::close(descriptor_);
    }

    // Of `bytes` zeros, in memory.
    static std::shared_ptr<TrialDisk> in_memory(u64 bytes, bool at_once = true) {
        const int descriptor = ::memfd_create("trial", MFD_CLOEXEC);
        if (descriptor < 0 || ::ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) std::abort();
        return std::make_shared<TrialDisk>(descriptor, bytes, false, at_once, false);
    }

    u64 bytes() const override { return bytes_; }
    bool read_only() const override { return read_only_; }
    scsi::UnitIdentity identity() const override { return {.product = "TRIAL", .serial = "trial-0001"}; }

    std::optional<MediumResult> try_now(const MediumRequest& request, std::vector<u8>& data) override {
        if (!at_once_ || busy_.load(std::memory_order_acquire)) return std::nullopt;
        if (request.operation == MediumOperation::write) return perform(request, data, 0);
        if (request.operation != MediumOperation::read) return std::nullopt;
        MediumResult result = perform(request, data, may_wait_ ? RWF_NOWAIT : 0);
        if (result.status != MediumStatus::ok) return std::nullopt;
        return result;
    }
    void submit(const MediumRequest& request, std::vector<u8> data, Done done) override {
        std::lock_guard lock(mutex_);
        ++busy_;
        jobs_.push_back({request, std::move(data), std::move(done)});
        changed_.notify_all();
    }

  private:
    struct Job {
        MediumRequest request;
        std::vector<u8> data;
        Done done;
    };

    void work() {
        std::unique_lock lock(mutex_);
        while (true) {
            changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
            if (jobs_.empty()) return;
            Job job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            MediumResult result = perform(job.request, job.data, 0);
            --busy_;
            job.done(std::move(result));
            job.done = {};
            lock.lock();
        }
    }

    MediumResult perform(const MediumRequest& request, std::vector<u8>& data, int flags) {
        const off_t offset = static_cast<off_t>(request.offset);
        const off_t length = static_cast<off_t>(request.length);
        MediumResult result;
        bool ok = true;
        switch (request.operation) {
            case MediumOperation::read: {
                result.data = std::move(data);
                result.data.resize(request.length);
                const iovec piece{result.data.data(), result.data.size()};
                ok = ::preadv2(descriptor_, &piece, 1, offset, flags) == length;
                break;
            }
            case MediumOperation::write:
                ok = ::pwrite(descriptor_, data.data(), data.size(), offset) == length;
                break;
            case MediumOperation::flush:
                ok = ::fdatasync(descriptor_) == 0;
                break;
            case MediumOperation::discard:
            case MediumOperation::zero:
                ok = length == 0 ||
                     ::fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0;
                break;
            case MediumOperation::extent:
                extent(request.offset, result);
                break;
        }
        if (!ok) result = {.status = MediumStatus::failed};
        return result;
    }

    void extent(u64 offset, MediumResult& result) const {
        const off_t data = ::lseek(descriptor_, static_cast<off_t>(offset), SEEK_DATA);
        result.extent_zero = data < 0 || static_cast<u64>(data) > offset;
        const off_t end = result.extent_zero ? data : ::lseek(descriptor_, static_cast<off_t>(offset), SEEK_HOLE);
        result.extent_length = (end < 0 ? bytes_ : std::min<u64>(static_cast<u64>(end), bytes_)) - offset;
    }

    int descriptor_;
    u64 bytes_;
    bool read_only_, at_once_, may_wait_;
    std::atomic<u32> busy_ = 0;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Job> jobs_;
    bool stopping_ = false;
    std::thread worker_;
};

class TrialAttachment final : public Attachment {
  public:
    explicit TrialAttachment(std::shared_ptr<Disk> disk) : disk_(std::move(disk)) {}
    std::shared_ptr<Disk> disk() override { return disk_; }

  private:
    std::shared_ptr<Disk> disk_;
};

class TrialDirectory final : public Directory {
  public:
    std::vector<std::string> names;  // of targets, all with the one disk
    std::shared_ptr<Disk> disk;
    Authentication proof;

    Answer<Authentication> authentication(const Caller&, const std::string& target) override {
        if (!target.empty() && !knows(target)) return {{}, {Refusal::Kind::not_found, "no such target"}};
        return {proof, {}};
    }
    std::vector<std::string> targets(const Caller&) override { return names; }
    Answer<std::unique_ptr<Attachment>> attach(const Caller&, const std::string& target) override {
        if (!knows(target)) return {{}, {Refusal::Kind::not_found, "no such target"}};
        return {std::make_unique<TrialAttachment>(disk), {}};
    }

  private:
    bool knows(const std::string& name) const { return std::find(names.begin(), names.end(), name) != names.end(); }
};

}  // namespace lodge::iscsi_test
