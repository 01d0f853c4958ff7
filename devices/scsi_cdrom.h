// A CD-ROM drive on a parallel SCSI bus: a ScsiTarget around a scsi::CdRom, and the slot that the disc is in.
#pragma once

#include <string>

#include "devices/medium_slot.h"
#include "devices/scsi_target.h"
#include "disks/scsi/cdrom.h"

namespace lodge {

class ScsiCdRom final : private MediumDrive {
  public:
    // All outlive the drive. `name` is unique in its machine, and so is `serial` among its drives.
    ScsiCdRom(const Platform& platform, ScsiBus& bus, const std::string& name, const std::string& serial,
              MediumSlot& slot);

    ScsiTarget& target() { return target_; }
    // In two sections, the slot's and the target's.
    void state(StateIo& io);

  private:
    void settle_medium() override { target_.settle(); }
    void medium_changed() override;
    bool medium_locked() const override { return unit_->locked(); }
    void eject_requested() override { unit_->request_eject(); }
    std::optional<scsi::Medium> disc() const;
    std::unique_ptr<scsi::Unit> make_unit(const std::string& serial);

    std::string name_;
    MediumSlot& slot_;
    scsi::CdRom* unit_ = nullptr;  // the target's
    ScsiTarget target_;
};

}  // namespace lodge
