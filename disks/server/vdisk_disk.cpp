#include "disks/server/vdisk_disk.h"

namespace lodge::server {

using scsi::MediumOperation;
using scsi::MediumRequest;
using scsi::MediumResult;
using scsi::MediumStatus;

namespace {

// A request on its way to a worker and back.
struct Job {
    MediumRequest request;
    std::vector<u8> data;
    iscsi::Disk::Done done;
    MediumResult result;
};

bool changes(MediumOperation operation) {
    return operation == MediumOperation::write || operation == MediumOperation::zero ||
           operation == MediumOperation::discard;
}

MediumResult extent_result(const Extent& extent) {
    MediumResult result;
    result.extent_length = extent.length;
    result.extent_zero = extent.zero;
    return result;
}

}  // namespace

scsi::UnitIdentity VDiskDisk::identity() const {
    scsi::UnitIdentity identity;
    identity.product = "vDisk";
    identity.serial = unique_id_;
    return identity;
}

bool VDiskDisk::within(const MediumRequest& request, u64 bytes) {
    return request.offset <= bytes && request.length <= bytes - request.offset &&
           (request.operation != MediumOperation::extent || request.offset < bytes);
}

MediumResult VDiskDisk::result_of(const Result<void>& done, std::vector<u8> data) {
    if (done) return {.data = std::move(data)};
    const bool full = done.error().kind == ErrorKind::no_space;
    if (!(full ? told_full_ : told_failed_).exchange(true)) tell_(name_ + ": " + done.error().context);
    return {.status = full ? MediumStatus::no_space : MediumStatus::failed};
}

// Private.

PrivateDisk::PrivateDisk(std::string name, std::shared_ptr<PrivateImage> image, Tell tell)
    : VDiskDisk(std::move(name), image->device->size(), image->unique_id, std::move(tell)), image_(std::move(image)) {}

std::optional<MediumResult> PrivateDisk::try_now(const MediumRequest& request, std::vector<u8>&) {
    if (!image_) return failed();
    if (request.operation == MediumOperation::flush && image_->queue.only_reads() && !written_) return MediumResult{};
    return std::nullopt;
}

void PrivateDisk::submit(const MediumRequest& request, std::vector<u8> data, Done done) {
    if (!image_) return done(failed());
    const auto job = std::make_shared<Job>(Job{request, std::move(data), std::move(done), {}});
    // The driver serves one caller at a time, reads too.
    image_->queue.submit(
        RequestQueue::Kind::changes,
        [self = shared_from_this(), image = image_, job] {
            job->result = self->cut_off_ ? failed() : self->perform(*image->device, job->request, job->data);
        },
        [job] { job->done(std::move(job->result)); });
}

MediumResult PrivateDisk::perform(BlockDevice& device, const MediumRequest& request, const std::vector<u8>& data) {
    if (changes(request.operation)) written_ = true;
    switch (request.operation) {
        case MediumOperation::read: {
            if (!within(request, device.size())) return failed();
            std::vector<u8> bytes(request.length);
            const auto done = device.read(request.offset, bytes);
            return result_of(done, std::move(bytes));
        }
        case MediumOperation::write:
            return result_of(device.write(request.offset, data));
        case MediumOperation::flush: {
            const auto done = device.flush();
            if (done) written_ = false;
            return result_of(done);
        }
        case MediumOperation::discard:
            return result_of(device.discard(request.offset, request.length));
        case MediumOperation::zero:
            return result_of(device.zero(request.offset, request.length));
        case MediumOperation::extent:
            break;
    }
    if (!within(request, device.size())) return failed();
    const auto extent = device.extent(request.offset);
    return extent ? extent_result(*extent) : result_of(extent.error());
}

void PrivateDisk::cut_off() {
    cut_off_ = true;
    image_.reset();
}

// Shared.

SharedDisk::SharedDisk(std::string name, std::shared_ptr<SharedBase> base, std::shared_ptr<CacheWork> work, Tell tell)
    : VDiskDisk(std::move(name), base->bytes(), base->unique_id(), std::move(tell)),
      base_(std::move(base)),
      work_(std::move(work)) {}

// The cache is this thread's for a moment where nothing of it is under way, for reading where only reads are.
std::optional<MediumResult> SharedDisk::try_now(const MediumRequest& request, std::vector<u8>& data) {
    if (!work_ || !within(request, bytes())) return failed();
    if (request.operation == MediumOperation::flush) {
        // Nothing of it has to survive the host's crash.
        return work_->queue.only_reads() ? std::optional(MediumResult{}) : std::nullopt;
    }
    if (request.operation == MediumOperation::read && work_->queue.only_reads()) {
        MediumResult result{.data = std::vector<u8>(request.length)};
        if (work_->cache->try_read(*base_, request.offset, result.data)) return result;
    }
    if (request.operation == MediumOperation::write && work_->queue.idle() &&
        work_->cache->try_write(request.offset, data))
        return MediumResult{};
    return std::nullopt;
}

void SharedDisk::submit(const MediumRequest& request, std::vector<u8> data, Done done) {
    if (!work_) return done(failed());
    const auto job = std::make_shared<Job>(Job{request, std::move(data), std::move(done), {}});
    // A flush waits for what came before, as a change does.
    const bool reads = request.operation == MediumOperation::read || request.operation == MediumOperation::extent;
    work_->queue.submit(
        reads ? RequestQueue::Kind::reads : RequestQueue::Kind::changes,
        [self = shared_from_this(), base = base_, work = work_, job] {
            job->result = self->cut_off_ ? failed() : self->perform(*base, *work->cache, job->request, job->data);
        },
        [job] { job->done(std::move(job->result)); });
}

MediumResult SharedDisk::perform(SharedBase& base, ClientCache& cache, const MediumRequest& request,
                                 const std::vector<u8>& data) {
    if (!within(request, bytes())) return failed();
    switch (request.operation) {
        case MediumOperation::read: {
            std::vector<u8> into(request.length);
            const auto done = cache.read(base, request.offset, into);
            return result_of(done, std::move(into));
        }
        case MediumOperation::write:
            if (data.size() != request.length) return failed();
            return result_of(cache.write(base, request.offset, data));
        case MediumOperation::flush:
            return {};
        case MediumOperation::discard:
            return result_of(cache.discard(base, request.offset, request.length));
        case MediumOperation::zero:
            return result_of(cache.zero(base, request.offset, request.length));
        case MediumOperation::extent:
            break;
    }
    const auto extent = cache.extent(base, request.offset);
    return extent ? extent_result(*extent) : result_of(extent.error());
}

void SharedDisk::cut_off() {
    cut_off_ = true;
    base_.reset();
    work_.reset();
}

}  // namespace lodge::server
