// A diskette drive: where its heads are, the disk change line, and the sectors that pass under the heads.
//
// The image is read a track at a time, as the diskette turns, and kept; it is written a sector at a time. Both go
// through a DiskQueue; its completions go to whoever made the drive.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/disk_queue.h"
#include "devices/floppy_format.h"
#include "devices/medium_slot.h"
#include "devices/platform.h"

namespace lodge {

class FloppyDrive final : public MediumDrive {
  public:
    static constexpr u8 kLastCylinder = 83;  // where the heads are stopped

    // All outlive the drive. `done` runs on the CPU thread, for each fetch and each write that was not cancelled.
    FloppyDrive(const Platform& platform, MediumSlot& slot, FloppyDriveType type, unsigned number,
                DiskQueue::Done done);

    // Power-on: the change line is up.
    void reset();
    FloppyDriveType type() const { return type_; }

    // One pulse moves the heads by one cylinder and takes the change line down if there is a medium.
    void step(bool inwards);
    u8 cylinder() const { return cylinder_; }
    bool at_track_0() const { return cylinder_ == 0; }
    bool changed() const { return changed_; }
    bool write_protected() const { return slot_.write_protected(); }

    // What the heads read at that rate: null without a medium, and of one that has another rate.
    const FloppyFormat* readable(FloppyRate rate) const;
    // Which of the medium's cylinders is under the heads; nothing beyond its last.
    std::optional<u8> medium_cylinder() const;

    // The track under that head, there after a fetch. Sectors count from 1 and exist.
    bool has_track(u8 head) const;
    void fetch_track(u8 head);
    std::span<const u8> sector(u8 head, u8 number) const;
    void write_sector(u8 head, u8 number, std::span<const u8> data);
    // What was written goes to the host's medium, if anything was.
    void flush();
    // To be called first for every completion.
    void completed(DiskCompletion& completion);
    // Whatever is on its way is still done, but nobody is told.
    void cancel();

    void settle_medium() override;
    void medium_changed() override;
    bool medium_locked() const override { return false; }  // nothing holds a diskette
    void eject_requested() override {}

    // In a section named "floppy" and the drive's number.
    void state(StateIo& io);

  private:
    bool double_steps() const;
    u64 track_offset(u8 head) const;
    void forget_track();
    bool track_sound() const;

    MediumSlot& slot_;
    FloppyDriveType type_;
    std::string name_;
    const FloppyFormat* format_ = nullptr;  // of the medium in the slot, if this drive reads it

    u8 cylinder_ = 0;
    bool changed_ = true;
    bool written_ = false;   // since the last flush
    std::vector<u8> track_;  // empty: none is held
    u8 track_cylinder_ = 0;  // the medium's, of what is held or being fetched
    u8 track_head_ = 0;
    bool fetching_ = false;  // what is on its way belongs to the medium in the slot

    DiskQueue queue_;  // last: its completions use all of the above
};

}  // namespace lodge
