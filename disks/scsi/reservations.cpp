#include "disks/scsi/reservations.h"

#include <algorithm>

namespace lodge::scsi {

namespace {

bool is_type(u8 value) {
    return value == 1 || value == 3 || (value >= 5 && value <= 8);
}

bool writers_only(Reservations::Type type) {
    using Type = Reservations::Type;
    return type == Type::write_exclusive || type == Type::write_exclusive_registrants ||
           type == Type::write_exclusive_all;
}

bool lets_registrants_in(Reservations::Type type) {
    return type >= Reservations::Type::write_exclusive_registrants;
}

template <class T>
void append_big_endian(std::vector<u8>& to, T value) {
    const size_t at = to.size();
    to.resize(at + sizeof value);
    store_big_endian(&to[at], value);
}

}  // namespace

const Reservations::Registration* Reservations::find(Nexus nexus) const {
    for (const Registration& registration : registrations_)
        if (registration.nexus == nexus) return &registration;
    return nullptr;
}

Reservations::Registration* Reservations::find(Nexus nexus) {
    return const_cast<Registration*>(static_cast<const Reservations*>(this)->find(nexus));
}

bool Reservations::holds(Nexus nexus) const {
    if (type_ == Type::none) return false;
    return all_registrants() ? find(nexus) != nullptr : holder_ == nexus;
}

// SPC-4 table 66, in short.
bool Reservations::conflicts(Nexus nexus, bool reads) const {
    if (reserved_by_other(nexus)) return true;
    if (type_ == Type::none || holds(nexus)) return false;
    if (lets_registrants_in(type_) && find(nexus)) return false;
    return !(reads && writers_only(type_));
}

bool Reservations::reserve(Nexus nexus) {
    if (reserved_by_other(nexus) || persistent()) return false;
    reserved_ = nexus;
    return true;
}

void Reservations::release(Nexus nexus) {
    if (reserved_ == nexus) reserved_.reset();
}

void Reservations::clear() {
    reserved_.reset();
    registrations_.clear();
    end_reservation();
    generation_ = 0;
}

void Reservations::tell_others(Nexus nexus, SenseCode code, Outcome& outcome) const {
    for (const Registration& registration : registrations_)
        if (registration.nexus != nexus) outcome.attentions.emplace_back(registration.nexus, code);
}

Reservations::Outcome Reservations::out(Nexus nexus, const Request& request) {
    Outcome outcome;
    const Registration* own = find(nexus);
    const bool registers = request.action == Action::register_key || request.action == Action::register_and_ignore;
    const u64 key = own ? own->key : 0;
    const bool knows_key = request.action == Action::register_and_ignore || request.key == key;
    if ((!registers && !own) || !knows_key || reserved_by_other(nexus)) {
        outcome.status = Status::reservation_conflict;
        return outcome;
    }
    switch (request.action) {
        case Action::register_key:
        case Action::register_and_ignore:
            enter(nexus, request, outcome);
            break;
        case Action::reserve:
            take(nexus, request, outcome);
            break;
        case Action::release:
            give_up(nexus, request, outcome);
            break;
        case Action::clear:
            tell_others(nexus, kReservationsPreempted, outcome);
            registrations_.clear();
            end_reservation();
            ++generation_;
            break;
        case Action::preempt:
        case Action::preempt_and_abort:
            preempt(nexus, request, outcome);
            break;
    }
    return outcome;
}

// SPC-4 5.12.7: a key of zero takes the registration away.
void Reservations::enter(Nexus nexus, const Request& request, Outcome& outcome) {
    Registration* own = find(nexus);
    if (request.service_key == 0) {
        if (own) unregister(nexus, outcome);
    } else if (own) {
        own->key = request.service_key;
    } else if (registrations_.size() >= kMostRegistrations) {
        outcome.status = Status::check_condition;
        outcome.sense = Sense::illegal(kInsufficientRegistrationResources);
        return;
    } else {
        registrations_.push_back({nexus, request.service_key});
    }
    ++generation_;
}

void Reservations::unregister(Nexus nexus, Outcome& outcome) {
    const bool held = holds(nexus);
    std::erase_if(registrations_, [nexus](const Registration& entry) { return entry.nexus == nexus; });
    if (!held || (all_registrants() && !registrations_.empty())) return;
    // SPC-4 5.12.11.2.3: the other registrants lose what the reservation gave them.
    if (lets_registrants_in(type_)) tell_others(nexus, kReservationsReleased, outcome);
    end_reservation();
}

void Reservations::take(Nexus nexus, const Request& request, Outcome& outcome) {
    const auto type = static_cast<Type>(request.type);
    if (request.scope || !is_type(request.type)) {
        outcome.status = Status::check_condition;
        outcome.sense = Sense::invalid_cdb(2);
    } else if (type_ == Type::none) {
        type_ = type;
        holder_ = nexus;
    } else if (!holds(nexus) || type_ != type) {
        outcome.status = Status::reservation_conflict;
    }
}

void Reservations::give_up(Nexus nexus, const Request& request, Outcome& outcome) {
    if (!holds(nexus)) return;  // SPC-4 5.12.11.2.2: no error
    if (request.scope || static_cast<Type>(request.type) != type_) {
        outcome.status = Status::check_condition;
        outcome.sense = Sense::illegal(kInvalidReleaseOfReservation);
        return;
    }
    if (lets_registrants_in(type_)) tell_others(nexus, kReservationsReleased, outcome);
    end_reservation();
}

// SPC-4 5.12.11.2.4 and .5: registrations with the service action's key go, and with them the reservation, if it was
// theirs; the port that preempts then holds it.
void Reservations::preempt(Nexus nexus, const Request& request, Outcome& outcome) {
    const bool aborts = request.action == Action::preempt_and_abort;
    const Registration* holder = type_ == Type::none || all_registrants() ? nullptr : find(holder_);
    const bool everybody = all_registrants() && request.service_key == 0;
    const bool takes = everybody || (holder && holder->key == request.service_key);
    if (request.service_key == 0 && !everybody) {
        outcome.status = Status::check_condition;
        outcome.sense = Sense::invalid_parameter(8);
        return;
    }
    if (takes && (request.scope || !is_type(request.type))) {
        outcome.status = Status::check_condition;
        outcome.sense = Sense::invalid_cdb(2);
        return;
    }
    std::vector<Registration> kept;
    bool any = false;
    for (const Registration& entry : registrations_) {
        const bool goes = everybody ? entry.nexus != nexus : entry.key == request.service_key;
        any |= goes;
        if (goes && aborts) outcome.aborted.push_back(entry.nexus);
        if (!goes || entry.nexus == nexus) {
            // The preempting port keeps its own registration where it takes the reservation.
            if (!goes || takes) kept.push_back(entry);
            continue;
        }
        outcome.attentions.emplace_back(entry.nexus, kRegistrationsPreempted);
    }
    if (!any && !takes) {
        outcome.status = Status::reservation_conflict;
        return;
    }
    registrations_ = std::move(kept);
    if (takes) {
        const auto type = static_cast<Type>(request.type);
        if (type != type_) tell_others(nexus, kReservationsReleased, outcome);
        type_ = type;
        holder_ = nexus;
    }
    ++generation_;
}

// PERSISTENT RESERVE IN.

std::vector<u8> Reservations::header() const {
    std::vector<u8> data(8);
    store_big_endian(&data[0], generation_);
    return data;
}

std::vector<u8> Reservations::read_keys() const {
    std::vector<u8> data = header();
    for (const Registration& registration : registrations_) append_big_endian(data, registration.key);
    store_big_endian(&data[4], static_cast<u32>(data.size() - 8));
    return data;
}

std::vector<u8> Reservations::read_reservation() const {
    std::vector<u8> data = header();
    if (type_ == Type::none) return data;
    const Registration* holder = find(holder_);
    append_big_endian(data, all_registrants() || !holder ? u64{0} : holder->key);
    data.insert(data.end(), {0, 0, 0, 0, 0, static_cast<u8>(type_), 0, 0});
    store_big_endian(&data[4], static_cast<u32>(data.size() - 8));
    return data;
}

// SPC-4 6.15.4: RESERVE and RELEASE are handled as SPC-2 says unless there are registrations; all types are there.
std::vector<u8> Reservations::capabilities() {
    return {0, 8, 0, 0x80, 0xEA, 0x01, 0, 0};
}

// SPC-4 6.15.5.
void Reservations::append_status(std::vector<u8>& data, const Registration& registration,
                                 std::span<const u8> id) const {
    const bool holder = holds(registration.nexus);
    append_big_endian(data, registration.key);
    data.insert(data.end(), {0, 0, 0, 0, static_cast<u8>(holder ? 1 : 0), static_cast<u8>(holder ? type_ : Type::none),
                             0, 0, 0, 0, 0, 1});
    append_big_endian(data, static_cast<u32>(id.size()));
    data.insert(data.end(), id.begin(), id.end());
}

void Reservations::state(StateIo& io) {
    bool reserved = reserved_.has_value();
    Nexus reserver = reserved_.value_or(0);
    std::vector<Nexus> nexuses;
    std::vector<u64> keys;
    for (const Registration& registration : registrations_) {
        nexuses.push_back(registration.nexus);
        keys.push_back(registration.key);
    }
    io.field("reserved", reserved);
    io.field("reserver", reserver);
    io.sequence("registered", nexuses, kMostRegistrations);
    io.sequence("keys", keys, kMostRegistrations);
    io.field("generation", generation_);
    io.field("type", type_);
    io.field("holder", holder_);
    if (!io.loading()) return;
    reserved_ = reserved ? std::optional(reserver) : std::nullopt;
    registrations_.clear();
    for (size_t i = 0; i < std::min(nexuses.size(), keys.size()); ++i) registrations_.push_back({nexuses[i], keys[i]});
    if (!is_type(static_cast<u8>(type_))) end_reservation();
}

}  // namespace lodge::scsi
