// Who may use a unit: RESERVE and RELEASE of SPC-2, persistent reservations of SPC-4 (5.12, 6.15, 6.16).
//
// Registrations last until power-on, whatever is reset meanwhile; they are not kept any longer (APTPL is refused).
// Registering for other ports (SPEC_I_PT) and moving a reservation (REGISTER AND MOVE) are not there.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/base/state_io.h"
#include "disks/scsi/task.h"

namespace lodge::scsi {

class Reservations {
  public:
    static constexpr size_t kMostRegistrations = 65536;

    // SPC-4 table 73.
    enum class Type : u8 {
        none = 0,
        write_exclusive = 1,
        exclusive_access = 3,
        write_exclusive_registrants = 5,
        exclusive_access_registrants = 6,
        write_exclusive_all = 7,
        exclusive_access_all = 8,
    };
    // PERSISTENT RESERVE OUT's service actions that are there.
    enum class Action : u8 {
        register_key = 0,
        reserve = 1,
        release = 2,
        clear = 3,
        preempt = 4,
        preempt_and_abort = 5,
        register_and_ignore = 6,
    };
    struct Request {
        Action action = Action::register_key;
        u8 scope = 0;
        u8 type = 0;
        u64 key = 0;          // RESERVATION KEY
        u64 service_key = 0;  // SERVICE ACTION RESERVATION KEY
    };
    // What came of it, and who must hear of it.
    struct Outcome {
        Status status = Status::good;
        std::optional<Sense> sense;  // with CHECK CONDITION
        std::vector<std::pair<Nexus, SenseCode>> attentions;
        std::vector<Nexus> aborted;  // their tasks are to be aborted
    };

    // Whether a command must end with RESERVATION CONFLICT. `reads`: it is allowed while writing is exclusive.
    bool conflicts(Nexus nexus, bool reads) const;
    bool reserved_by_other(Nexus nexus) const { return reserved_ && *reserved_ != nexus; }
    bool registered(Nexus nexus) const { return find(nexus) != nullptr; }
    bool persistent() const { return !registrations_.empty(); }

    // RESERVE and RELEASE. A conflict answers false.
    bool reserve(Nexus nexus);
    void release(Nexus nexus);

    Outcome out(Nexus nexus, const Request& request);
    std::vector<u8> read_keys() const;
    std::vector<u8> read_reservation() const;
    static std::vector<u8> capabilities();
    // `transport_id(nexus)`: the TransportID of an initiator port (SPC-4 7.6.4).
    template <class TransportId>
    std::vector<u8> full_status(TransportId transport_id) const {
        std::vector<u8> data = header();
        for (const Registration& registration : registrations_)
            append_status(data, registration, transport_id(registration.nexus));
        store_big_endian(&data[4], static_cast<u32>(data.size() - 8));
        return data;
    }

    // What a reset and the loss of a nexus end: a RESERVE.
    void end_reserve() { reserved_.reset(); }
    void clear();

    // Fields of the section that is open.
    void state(StateIo& io);

  private:
    struct Registration {
        Nexus nexus = 0;
        u64 key = 0;
    };
    bool all_registrants() const { return type_ == Type::write_exclusive_all || type_ == Type::exclusive_access_all; }
    bool holds(Nexus nexus) const;
    Registration* find(Nexus nexus);
    const Registration* find(Nexus nexus) const;
    std::vector<u8> header() const;
    void append_status(std::vector<u8>& data, const Registration& registration, std::span<const u8> id) const;
    void tell_others(Nexus nexus, SenseCode code, Outcome& outcome) const;
    void end_reservation() {
        type_ = Type::none;
        holder_ = 0;
    }

    void enter(Nexus nexus, const Request& request, Outcome& outcome);
    void unregister(Nexus nexus, Outcome& outcome);
    void take(Nexus nexus, const Request& request, Outcome& outcome);
    void give_up(Nexus nexus, const Request& request, Outcome& outcome);
    void preempt(Nexus nexus, const Request& request, Outcome& outcome);

    std::optional<Nexus> reserved_;  // by RESERVE
    std::vector<Registration> registrations_;
    u32 generation_ = 0;
    Type type_ = Type::none;
    Nexus holder_ = 0;  // of a reservation that is not all registrants'
};

}  // namespace lodge::scsi
