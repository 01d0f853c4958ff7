#include "devices/scsi_cdrom.h"

namespace lodge {

ScsiCdRom::ScsiCdRom(const Platform& platform, ScsiBus& bus, const std::string& name, const std::string& serial,
                     MediumSlot& slot)
    : name_(name), slot_(slot), target_(platform, bus, name, make_unit(serial), &slot.disk()) {
    slot.connect(*this);
}

std::unique_ptr<scsi::Unit> ScsiCdRom::make_unit(const std::string& serial) {
    auto unit = std::make_unique<scsi::CdRom>(scsi::UnitIdentity{.product = "CD-ROM", .serial = serial}, disc(),
                                              scsi::CdRom::Interface::scsi, scsi::UnitOptions{.parallel = true});
    unit_ = unit.get();
    return unit;
}

std::optional<scsi::Medium> ScsiCdRom::disc() const {
    return slot_.loaded() ? std::optional(scsi::Medium{slot_.size(), true}) : std::nullopt;
}

void ScsiCdRom::medium_changed() {
    unit_->change_disc(disc());
    target_.unit_changed();
}

void ScsiCdRom::state(StateIo& io) {
    io.section(name_ + ".slot", 1, [&] { slot_.state(io); });
    target_.state(io);
}

}  // namespace lodge
