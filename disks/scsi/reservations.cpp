#include "disks/scsi/reservations.h"

#include <algorithm>
#include <string>

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

void Reservations::power_on() {
    reserved_.reset();
    if (keep_) return;
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
    const bool moves = request.action == Action::register_and_move;
    const u64 key = own ? own->key : 0;
    const bool knows_key = request.action == Action::register_and_ignore || request.key == key;
    if ((!registers && !own) || !knows_key || reserved_by_other(nexus)) {
        outcome.status = Status::reservation_conflict;
        return outcome;
    }
    switch (request.action) {
        case Action::register_key:
        case Action::register_and_ignore:
            request.for_ports ? enter_all(nexus, request, outcome) : enter(nexus, request, outcome);
            break;
        case Action::register_and_move:
            move(nexus, request, outcome);
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
    if ((registers || moves) && outcome.status == Status::good) keep_ = request.keep;
    return outcome;
}

void Reservations::refuse(Outcome& outcome, const Sense& sense) {
    outcome.status = Status::check_condition;
    outcome.sense = sense;
}

// SPC-4 5.12.7: a key of zero takes the registration away.
void Reservations::enter(Nexus nexus, const Request& request, Outcome& outcome) {
    Registration* own = find(nexus);
    if (request.service_key == 0) {
        if (own) unregister(nexus, outcome);
    } else if (own) {
        own->key = request.service_key;
    } else if (!room_for(1)) {
        return refuse(outcome, Sense::illegal(kInsufficientRegistrationResources));
    } else {
        registrations_.push_back({nexus, request.service_key});
    }
    ++generation_;
}

// SPC-4 5.12.7: SPEC_I_PT, for a port that is not registered itself; all of them or none.
void Reservations::enter_all(Nexus nexus, const Request& request, Outcome& outcome) {
    constexpr u16 kListBegins = 28;
    if (find(nexus)) return refuse(outcome, Sense::invalid_parameter(20, 3));
    std::vector<Nexus> ports = request.ports;
    ports.push_back(nexus);
    std::sort(ports.begin(), ports.end());
    ports.erase(std::unique(ports.begin(), ports.end()), ports.end());
    const bool known = std::any_of(ports.begin(), ports.end(), [this](Nexus port) { return find(port) != nullptr; });
    if (known) return refuse(outcome, Sense::invalid_parameter(kListBegins));
    if (!room_for(ports.size())) return refuse(outcome, Sense::illegal(kInsufficientRegistrationResources));
    if (request.service_key)
        for (const Nexus port : ports) registrations_.push_back({port, request.service_key});
    ++generation_;
}

// SPC-4 5.12.8: the holder registers another port and makes it the holder.
void Reservations::move(Nexus nexus, const Request& request, Outcome& outcome) {
    constexpr u16 kTransportId = 24;
    const Nexus target = request.ports.front();
    if (type_ != Type::none && all_registrants()) {
        outcome.status = Status::reservation_conflict;
        return;
    }
    if (!holds(nexus)) return refuse(outcome, Sense::invalid_cdb(1, 4));
    if (request.service_key == 0) return refuse(outcome, Sense::invalid_parameter(8));
    if (target == nexus) return refuse(outcome, Sense::invalid_parameter(kTransportId));
    if (Registration* known = find(target)) {
        known->key = request.service_key;
    } else if (!room_for(1)) {
        return refuse(outcome, Sense::illegal(kInsufficientRegistrationResources));
    } else {
        registrations_.push_back({target, request.service_key});
    }
    holder_ = target;
    if (request.unregisters) unregister(nexus, outcome);
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
        refuse(outcome, Sense::invalid_cdb(2));
    } else if (type_ == Type::none) {
        type_ = type;
        holder_ = nexus;
    } else if (!holds(nexus) || type_ != type) {
        outcome.status = Status::reservation_conflict;
    }
}

void Reservations::give_up(Nexus nexus, const Request& request, Outcome& outcome) {
    if (!holds(nexus)) return;  // SPC-4 5.12.11.2.2: no error
    if (request.scope || static_cast<Type>(request.type) != type_)
        return refuse(outcome, Sense::illegal(kInvalidReleaseOfReservation));
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
    if (request.service_key == 0 && !everybody) return refuse(outcome, Sense::invalid_parameter(8));
    if (takes && (request.scope || !is_type(request.type))) return refuse(outcome, Sense::invalid_cdb(2));
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
std::vector<u8> Reservations::capabilities(bool keeps) const {
    constexpr u8 kForPorts = 0x08, kCanKeep = 0x01;     // SIP_C, PTPL_C
    constexpr u8 kTypesValid = 0x80, kKeepsNow = 0x01;  // TMV, PTPL_A
    return {0,
            8,
            static_cast<u8>(kForPorts | (keeps ? kCanKeep : 0)),
            static_cast<u8>(kTypesValid | (keep_ ? kKeepsNow : 0)),
            0xEA,
            0x01,
            0,
            0};
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

// What lasts longer than power.

void Reservations::walk_kept(StateIo& io, std::vector<std::vector<u8>>& ids) {
    u32 count = static_cast<u32>(ids.size());
    u32 holder = ~u32{0};
    for (u32 index = 0; index < count; ++index)
        if (registrations_[index].nexus == holder_) holder = index;
    io.field("generation", generation_);
    io.field("type", type_);
    io.field("count", count);
    if (count > kMostKept) io.fail("too many registrations");
    if (io.failed()) return;
    ids.resize(count);
    registrations_.resize(count);
    for (u32 index = 0; index < count; ++index)
        io.section("registration" + std::to_string(index), 1, [&] {
            io.blob("port", ids[index], kMostTransportId);
            io.field("key", registrations_[index].key);
        });
    io.field("holder", holder);
    if (io.loading() && !io.failed()) holder_ = holder < count ? holder : 0;  // an index, until nexuses are known
}

std::vector<u8> Reservations::kept(const TransportIdOf& transport_id) const {
    if (!keep_ || registrations_.empty()) return {};
    Reservations copy = *this;
    std::vector<std::vector<u8>> ids;
    for (const Registration& registration : registrations_) ids.push_back(transport_id(registration.nexus));
    StateIo io;
    io.section("reservations", 1, [&] { copy.walk_kept(io, ids); });
    return io.take();
}

bool Reservations::restore(std::span<const u8> kept, const NexusOf& nexus_of) {
    Reservations fresh;
    if (kept.empty()) {
        *this = fresh;
        return true;
    }
    std::vector<std::vector<u8>> ids;
    StateIo io(kept);
    io.section("reservations", 1, [&] { fresh.walk_kept(io, ids); });
    bool sound = !io.failed() && (fresh.type_ == Type::none || is_type(static_cast<u8>(fresh.type_)));
    for (size_t index = 0; index < ids.size() && sound; ++index) {
        const auto nexus = nexus_of(ids[index]);
        sound = nexus.has_value();
        fresh.registrations_[index].nexus = nexus.value_or(0);
    }
    if (sound && !fresh.registrations_.empty()) fresh.holder_ = fresh.registrations_[fresh.holder_].nexus;
    fresh.keep_ = true;
    *this = sound ? fresh : Reservations{};
    return sound;
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
    io.field("keep", keep_);
    if (!io.loading()) return;
    reserved_ = reserved ? std::optional(reserver) : std::nullopt;
    registrations_.clear();
    for (size_t i = 0; i < std::min(nexuses.size(), keys.size()); ++i) registrations_.push_back({nexuses[i], keys[i]});
    if (!is_type(static_cast<u8>(type_))) end_reservation();
}

}  // namespace lodge::scsi
