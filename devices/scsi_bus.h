// A parallel SCSI bus: up to 16 addresses, one initiator (the host adapter), and targets. Sources: SCSI-2 (X3.131-1994)
// clauses 6 (bus, phases) and 7 (messages); SPI-3.
//
// What the wires carry is kept, what they look like is not: a phase, whether a byte is asked for (REQ), whether the
// initiator wants the target's ear (ATN). Bytes travel in runs; none is lost or padded, whatever the width.
// Arbitration, selection and reselection take no time. The initiator is told through bus_changed when something has
// happened that it did not do itself, and looks at the bus then.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/state_io.h"
#include "core/base/types.h"

namespace lodge {

class ScsiTarget;

// MSG, C/D and I/O as bits 2, 1 and 0.
enum class ScsiPhase : u8 {
    data_out = 0,
    data_in = 1,
    command = 2,
    status = 3,
    message_out = 6,
    message_in = 7,
};
constexpr bool to_initiator(ScsiPhase phase) {
    return static_cast<u8>(phase) & 1;
}

class ScsiInitiator {
  public:
    virtual ~ScsiInitiator() = default;
    // A target asks for a byte, has changed the phase or let go of the bus, or wants to reselect.
    virtual void bus_changed() = 0;
};

class ScsiBus {
  public:
    static constexpr unsigned kIds = 16;

    explicit ScsiBus(ScsiInitiator& initiator) : initiator_(initiator) {}
    ScsiBus(const ScsiBus&) = delete;
    ScsiBus& operator=(const ScsiBus&) = delete;

    // A target at a free address below kIds; it outlives the bus's use.
    void add(unsigned id, ScsiTarget& target) { targets_[id] = &target; }
    ScsiTarget* at(unsigned id) const { return targets_[id]; }

    // The initiator's side.
    // The target that has the bus; null while it is free.
    ScsiTarget* connected() const { return connected_; }
    // The bus is free. False: nobody answers at that address.
    bool select(unsigned target, unsigned initiator, bool attention);
    // The address of the target that would reselect the initiator now; the bus is free.
    std::optional<unsigned> reselecting() const;
    // It has the bus now.
    void accept_reselection();
    // The RST line: every target forgets what it was doing.
    void reset();
    // The initiator lets go of the wires in the middle of something.
    void abandon();

    // The targets' side.
    void arbitrate(ScsiTarget& target);
    void let_go();
    void changed() { initiator_.bus_changed(); }

    // Who has the bus and who waits for it. In a section named "bus"; the targets save themselves.
    void state(StateIo& io);

  private:
    ScsiInitiator& initiator_;
    std::array<ScsiTarget*, kIds> targets_{};
    ScsiTarget* connected_ = nullptr;
    std::vector<u8> waiting_;  // addresses that want to reselect, each once, in order of asking
};

}  // namespace lodge
