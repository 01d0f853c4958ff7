#include "disks/raw_image.h"

#include "disks/range.h"

namespace lodge {

RawImage::~RawImage() {
    if (!unflushed_) return;
    if (auto done = file_->sync(); !done) return;
}

Result<void> RawImage::read(u64 offset, std::span<u8> into) {
    LODGE_TRY(check_range(*this, offset, into.size()));
    return file_->read(offset, into);
}

Result<void> RawImage::write(u64 offset, std::span<const u8> from) {
    LODGE_TRY(check_writable(*this, offset, from.size()));
    unflushed_ = true;
    return file_->write(offset, from);
}

Result<void> RawImage::flush() {
    if (read_only_) return {};
    LODGE_TRY(file_->sync());
    unflushed_ = false;
    return {};
}

Result<void> RawImage::discard(u64 offset, u64 length) {
    LODGE_TRY(check_writable(*this, offset, length));
    unflushed_ = true;
    return file_->zero(offset, length, HostSpace::release);
}

Result<void> RawImage::zero(u64 offset, u64 length) {
    LODGE_TRY(check_writable(*this, offset, length));
    unflushed_ = true;
    return file_->zero(offset, length, space_);
}

Result<void> RawImage::allocate() {
    if (space_ == HostSpace::release) return {};
    const auto size = file_->size();
    return size ? file_->allocate(*size) : Result<void>(size.error());
}

Result<Extent> RawImage::extent(u64 offset) {
    LODGE_TRY(check_range(*this, offset, 1));
    auto extent = file_->extent(offset);
    if (!extent) return extent;
    return Extent{std::min(extent->length, size_ - offset), extent->zero};
}

}  // namespace lodge
