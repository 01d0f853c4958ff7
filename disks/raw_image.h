// A disk whose bytes are one run of a file: a raw image, or the data of a fixed VHD, whose footer follows them.
#pragma once

#include <memory>

#include "disks/block_device.h"
#include "disks/file.h"

namespace lodge {

class RawImage final : public BlockDevice {
  public:
    // The disk is the first `size` bytes of `file`. HostSpace::keep (fixed VHDs: Windows refuses to attach a sparse
    // one) makes zero() leave the space allocated. A discard, which only a guest asks for, gives it back anyway.
    RawImage(std::unique_ptr<File> file, u64 size, bool read_only, HostSpace space, std::string format)
        : file_(std::move(file)), size_(size), read_only_(read_only), space_(space), format_(std::move(format)) {}

    ~RawImage() override;  // flushes, and cannot say if that fails

    u64 size() const override { return size_; }
    bool read_only() const override { return read_only_; }
    std::string describe() const override { return file_->name() + " (" + format_ + ")"; }

    Result<void> read(u64 offset, std::span<u8> into) override;
    bool set_patience(Patience patience) override { return file_->set_patience(patience); }
    Result<void> write(u64 offset, std::span<const u8> from) override;
    Result<void> flush() override;
    Result<void> discard(u64 offset, u64 length) override;
    Result<void> zero(u64 offset, u64 length) override;
    Result<Extent> extent(u64 offset) override;

    // With HostSpace::keep, all of the file has space on the host from now on.
    Result<void> allocate();

  private:
    std::unique_ptr<File> file_;
    u64 size_;
    bool read_only_;
    bool unflushed_ = false;  // something was written since the last flush
    HostSpace space_;
    std::string format_;
};

}  // namespace lodge
