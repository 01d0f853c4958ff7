#include "devices/floppy_drive.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace lodge {

FloppyDrive::FloppyDrive(const Platform& platform, MediumSlot& slot, FloppyDriveType type, unsigned number,
                         DiskQueue::Done done)
    : slot_(slot),
      type_(type),
      name_("floppy" + std::to_string(number)),
      queue_(platform.scheduler, platform.inputs, platform.log, name_, slot.disk(), std::move(done)) {
    slot.connect(*this);
    medium_changed();
}

void FloppyDrive::reset() {
    cancel();
    forget_track();
    cylinder_ = 0;
    changed_ = true;
}

void FloppyDrive::step(bool inwards) {
    if (inwards && cylinder_ < kLastCylinder) ++cylinder_;
    if (!inwards && cylinder_ > 0) --cylinder_;
    if (slot_.loaded()) changed_ = false;
}

// 40 cylinders in a drive of 80: the heads take two steps for each.
bool FloppyDrive::double_steps() const {
    return type_ == FloppyDriveType::k1200 && format_ && format_->cylinders == 40;
}

// The 1.2 MB drive turns at 360 revolutions a minute, so that 250 Kbit/s at 300 are 300 there.
const FloppyFormat* FloppyDrive::readable(FloppyRate rate) const {
    if (!format_) return nullptr;
    const FloppyRate wanted = double_steps() ? FloppyRate::k300 : format_->rate;
    return rate == wanted ? format_ : nullptr;
}

std::optional<u8> FloppyDrive::medium_cylinder() const {
    if (!format_) return {};
    const u8 cylinder = double_steps() ? cylinder_ / 2 : cylinder_;
    if (cylinder >= format_->cylinders) return {};
    return cylinder;
}

u64 FloppyDrive::track_offset(u8 head) const {
    assert(format_ && medium_cylinder() && head < format_->heads);
    const u64 track = u64{*medium_cylinder()} * format_->heads + head;
    return track * format_->sectors * kSectorSize;
}

bool FloppyDrive::has_track(u8 head) const {
    return !track_.empty() && medium_cylinder() == track_cylinder_ && head == track_head_;
}

void FloppyDrive::fetch_track(u8 head) {
    const u64 offset = track_offset(head);
    forget_track();
    track_cylinder_ = *medium_cylinder();
    track_head_ = head;
    fetching_ = true;
    queue_.submit({DiskOperation::read, offset, u64{format_->sectors} * kSectorSize, {}});
}

std::span<const u8> FloppyDrive::sector(u8 head, u8 number) const {
    assert(has_track(head) && number >= 1 && size_t{number} * kSectorSize <= track_.size());
    return std::span(track_).subspan((number - 1u) * kSectorSize, kSectorSize);
}

void FloppyDrive::write_sector(u8 head, u8 number, std::span<const u8> data) {
    assert(number >= 1 && number <= format_->sectors && data.size() == kSectorSize);
    const size_t at = (number - 1u) * kSectorSize;
    written_ = true;
    if (has_track(head)) std::copy(data.begin(), data.end(), track_.begin() + static_cast<long>(at));
    queue_.submit({DiskOperation::write, track_offset(head) + at, 0, std::vector<u8>(data.begin(), data.end())});
}

void FloppyDrive::flush() {
    if (!std::exchange(written_, false)) return;
    queue_.submit({DiskOperation::flush, 0, 0, {}});
}

void FloppyDrive::completed(DiskCompletion& completion) {
    if (completion.operation != DiskOperation::read || !std::exchange(fetching_, false)) return;
    if (completion.status != DiskStatus::ok) return;
    // A state that was tampered with may have brought another length.
    if (format_ && completion.data.size() == size_t{format_->sectors} * kSectorSize) track_.swap(completion.data);
}

void FloppyDrive::cancel() {
    queue_.cancel();
}

void FloppyDrive::settle_medium() {
    queue_.settle();
}

void FloppyDrive::medium_changed() {
    forget_track();
    fetching_ = false;
    changed_ = true;
    written_ = false;
    format_ = floppy_format(slot_.size());
    if (format_ && !floppy_drive_reads(type_, *format_)) format_ = nullptr;
}

void FloppyDrive::forget_track() {
    track_.clear();
}

void FloppyDrive::state(StateIo& io) {
    io.section(name_, 1, [&] {
        slot_.state(io);
        io.field("cylinder", cylinder_);
        io.field("changed", changed_);
        io.field("written", written_);
        io.blob("track", track_, u64{255} * kSectorSize);
        io.field("track_cylinder", track_cylinder_);
        io.field("track_head", track_head_);
        io.field("fetching", fetching_);
        queue_.state(io);
    });
    if (!io.loading()) return;
    if (io.failed()) queue_.cancel();
    cylinder_ = std::min(cylinder_, kLastCylinder);
    if (track_sound()) return;
    io.fail(name_ + ": the saved track cannot be");
    forget_track();
}

bool FloppyDrive::track_sound() const {
    if (track_.empty()) return true;
    return format_ && track_.size() == size_t{format_->sectors} * kSectorSize;
}

}  // namespace lodge
