#include "devices/scsi_bus.h"

#include <algorithm>
#include <cassert>

#include "devices/scsi_target.h"

namespace lodge {

bool ScsiBus::select(unsigned target, unsigned initiator, bool attention) {
    assert(!connected_);
    if (target >= kIds || target == initiator || !targets_[target]) return false;
    connected_ = targets_[target];
    connected_->selected(initiator, attention);
    return true;
}

std::optional<unsigned> ScsiBus::reselecting() const {
    if (connected_ || waiting_.empty()) return std::nullopt;
    return waiting_.front();
}

void ScsiBus::accept_reselection() {
    assert(reselecting());
    connected_ = targets_[waiting_.front()];
    waiting_.erase(waiting_.begin());
    connected_->reselected();
}

void ScsiBus::reset() {
    connected_ = nullptr;
    waiting_.clear();
    for (ScsiTarget* target : targets_)
        if (target) target->bus_reset();
    waiting_.clear();
}

void ScsiBus::abandon() {
    if (!connected_) return;
    ScsiTarget* target = connected_;
    connected_ = nullptr;
    target->abandoned();
}

void ScsiBus::arbitrate(ScsiTarget& target) {
    const auto id = static_cast<u8>(std::find(targets_.begin(), targets_.end(), &target) - targets_.begin());
    if (std::find(waiting_.begin(), waiting_.end(), id) == waiting_.end()) waiting_.push_back(id);
    if (!connected_) changed();
}

void ScsiBus::let_go() {
    connected_ = nullptr;
    changed();
}

void ScsiBus::state(StateIo& io) {
    io.section("bus", 1, [&] {
        constexpr u8 kNobody = 0xFF;
        const auto at = std::find(targets_.begin(), targets_.end(), connected_) - targets_.begin();
        u8 connected = connected_ ? static_cast<u8>(at) : kNobody;
        io.field("connected", connected);
        io.sequence("waiting", waiting_, kIds);
        if (!io.loading()) return;
        connected_ = connected < kIds ? targets_[connected] : nullptr;
        std::erase_if(waiting_, [this](u8 id) { return id >= kIds || !targets_[id]; });
    });
}

}  // namespace lodge
