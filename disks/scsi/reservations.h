// Who may use a unit: RESERVE and RELEASE of SPC-2, persistent reservations of SPC-4 (5.12, 6.15, 6.16).
//
// Registrations last until power-on, whatever is reset meanwhile. Where the owner can keep them they last longer if the
// initiator asks for it (APTPL): `kept()` and `restore()`; ports are then known by their TransportIDs.
#pragma once

#include <functional>
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
        register_and_move = 7,
    };
    struct Request {
        Action action = Action::register_key;
        u8 scope = 0;
        u8 type = 0;
        u64 key = 0;          // RESERVATION KEY
        u64 service_key = 0;  // SERVICE ACTION RESERVATION KEY
        // Registering: the further ports of SPEC_I_PT. Moving: the one port that it goes to.
        std::vector<Nexus> ports;
        bool for_ports = false;    // SPEC_I_PT
        bool unregisters = false;  // moving: UNREG
        bool keep = false;         // registering and moving: APTPL
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
    // `keeps`: whether the owner can keep them through a loss of power.
    std::vector<u8> capabilities(bool keeps) const;
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
    // Power-on: nothing is left but what is kept.
    void power_on();

    // What the owner must keep, empty when there is nothing; and what it has kept. `transport_id(nexus)` as above,
    // `nexus_of(id)` the port of a TransportID, if it can be told. False: it cannot be, and there are none.
    using TransportIdOf = std::function<std::vector<u8>(Nexus)>;
    using NexusOf = std::function<std::optional<Nexus>(std::span<const u8> id)>;
    std::vector<u8> kept(const TransportIdOf& transport_id) const;
    bool restore(std::span<const u8> kept, const NexusOf& nexus_of);

    // Fields of the section that is open.
    void state(StateIo& io);

  private:
    struct Registration {
        Nexus nexus = 0;
        u64 key = 0;
    };
    static constexpr size_t kMostTransportId = 256;
    static constexpr u32 kMostKept = 1024;
    bool all_registrants() const { return type_ == Type::write_exclusive_all || type_ == Type::exclusive_access_all; }
    bool holds(Nexus nexus) const;
    Registration* find(Nexus nexus);
    const Registration* find(Nexus nexus) const;
    bool room_for(size_t more) const { return more <= kMostRegistrations - registrations_.size(); }
    std::vector<u8> header() const;
    void append_status(std::vector<u8>& data, const Registration& registration, std::span<const u8> id) const;
    void tell_others(Nexus nexus, SenseCode code, Outcome& outcome) const;
    void end_reservation() {
        type_ = Type::none;
        holder_ = 0;
    }

    void walk_kept(StateIo& io, std::vector<std::vector<u8>>& ids);
    static void refuse(Outcome& outcome, const Sense& sense);
    void enter(Nexus nexus, const Request& request, Outcome& outcome);
    void enter_all(Nexus nexus, const Request& request, Outcome& outcome);
    void move(Nexus nexus, const Request& request, Outcome& outcome);
    void unregister(Nexus nexus, Outcome& outcome);
    void take(Nexus nexus, const Request& request, Outcome& outcome);
    void give_up(Nexus nexus, const Request& request, Outcome& outcome);
    void preempt(Nexus nexus, const Request& request, Outcome& outcome);

    std::optional<Nexus> reserved_;  // by RESERVE
    std::vector<Registration> registrations_;
    u32 generation_ = 0;
    Type type_ = Type::none;
    Nexus holder_ = 0;   // of a reservation that is not all registrants'
    bool keep_ = false;  // APTPL of the last registration
};

}  // namespace lodge::scsi
