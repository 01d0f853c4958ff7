// The logical units behind one address: finds a command's unit by its LUN, and answers for those that are not there.
// Source: SPC-4 6.6.2 and 6.33 (INQUIRY, REPORT LUNS), SAM-4 5.11 (incorrect logical unit selection).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string_view>

#include "disks/scsi/unit.h"

namespace lodge::scsi {

class Target {
  public:
    static constexpr u16 kMostLuns = 256;

    // `options` are of the unit that answers for missing LUNs: as its neighbours'.
    explicit Target(UnitOptions options);

    // `lun` below kMostLuns is free. The unit outlives the target's use.
    void add(u16 lun, Unit& unit);
    void remove(u16 lun);

    // The unit of that number; where there is none, one that says so.
    Unit& unit(u16 lun);
    // Every unit, the one that answers for the missing ones included: for resets, and for take_ready.
    void visit(const std::function<void(Unit&)>& visit);

    // The one for missing LUNs; the others are saved by their owners.
    void state(StateIo& io, std::string_view name) { absent_->state(io, name); }

  private:
    void tell_luns();

    std::map<u16, Unit*> units_;
    std::unique_ptr<Unit> absent_;
};

}  // namespace lodge::scsi
