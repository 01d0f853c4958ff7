#include "disks/scsi/target.h"

#include <cassert>

namespace lodge::scsi {

namespace {

// SAM-4 5.11: INQUIRY says that nothing is there, REQUEST SENSE and all else that there is no such unit.
class AbsentUnit final : public Unit {
  public:
    explicit AbsentUnit(UnitOptions options) : Unit(DeviceType::absent, false, {}, options) {}

  protected:
    std::span<const Operation> operations() const override { return {}; }
    std::optional<Sense> not_ready() const override { return Sense::illegal(kLogicalUnitNotSupported); }
    std::optional<Sense> refuses(u8 code) const override {
        constexpr u8 kRequestSense = 0x03, kInquiry = 0x12, kReportLuns = 0xA0;
        if (code == kRequestSense || code == kInquiry || code == kReportLuns) return std::nullopt;
        return not_ready();
    }
    // Whatever is not there tells of no attention either.
    bool has_attentions() const override { return false; }
};

}  // namespace

Target::Target(UnitOptions options) : absent_(std::make_unique<AbsentUnit>(options)) {
    tell_luns();
}

void Target::add(u16 lun, Unit& unit) {
    assert(lun < kMostLuns && !units_.contains(lun));
    units_[lun] = &unit;
    tell_luns();
}

void Target::remove(u16 lun) {
    units_.erase(lun);
    tell_luns();
}

// Peripheral device addressing, SAM-4 4.6.7: the number is in the second byte.
void Target::tell_luns() {
    std::vector<u64> luns;
    for (const auto& [lun, unit] : units_) luns.push_back(u64{lun} << 48);
    for (const auto& [lun, unit] : units_) unit->set_luns(luns);
    absent_->set_luns(luns);
}

Unit& Target::unit(u16 lun) {
    const auto found = units_.find(lun);
    return found == units_.end() ? *absent_ : *found->second;
}

void Target::visit(const std::function<void(Unit&)>& visit) {
    for (const auto& [lun, unit] : units_) visit(*unit);
    visit(*absent_);
}

}  // namespace lodge::scsi
