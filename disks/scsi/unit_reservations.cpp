// RESERVE, RELEASE and PERSISTENT RESERVE as commands; what they do is in reservations.h.
#include <algorithm>

#include "disks/scsi/unit.h"

namespace lodge::scsi {

namespace {

// TransportIDs, SPC-4 7.6.4: byte 0 has the protocol and the form.
constexpr u8 kProtocol = 0x0F;
constexpr u8 kIscsi = 0x05;
constexpr size_t kFixedTransportId = 24;  // of all protocols but iSCSI

// Table 392: a port of a parallel bus, by its address.
constexpr u8 kParallel = 0x01;
constexpr u16 kMostAddresses = 16;

std::vector<u8> parallel_transport_id(Nexus nexus) {
    std::vector<u8> id(kFixedTransportId);
    id[0] = kParallel;
    store_big_endian(&id[2], static_cast<u16>(nexus));
    store_big_endian(&id[6], u16{1});
    return id;
}

// How long the TransportID at the front of the list is; 0 where it is cut short. Table 399: an iSCSI one has its
// length.
size_t transport_id_length(std::span<const u8> list) {
    if (list.size() < 4) return 0;
    const bool iscsi = (list[0] & kProtocol) == kIscsi;
    const size_t length = iscsi ? size_t{4} + load_big_endian<u16>(&list[2]) : kFixedTransportId;
    return length <= list.size() ? length : 0;
}

// PERSISTENT RESERVE OUT's parameters (SPC-4 tables 208 and 218), and those of REGISTER AND MOVE.
constexpr u32 kParameters = 24;
constexpr u32 kMostParameters = 4096;
constexpr size_t kFlags = 20, kMoveFlags = 17, kTargetPort = 18, kMoveLength = 20, kPortsLength = 24;
constexpr u8 kForPorts = 0x08, kUnregister = 0x02, kKeep = 0x01;
constexpr u16 kOnlyTargetPort = 1;

}  // namespace

// SPC-2 7.21: the whole unit, for the port that asks; extents and third parties are long obsolete.
void Unit::reserve(Task& task) {
    if (cdb(task)[1] & 0x1F) return fail(task, Sense::invalid_cdb(1, 4));
    finish(task, reservations_.reserve(task.command().nexus) ? Status::good : Status::reservation_conflict);
}

void Unit::release(Task& task) {
    if (cdb(task)[1] & 0x1F) return fail(task, Sense::invalid_cdb(1, 4));
    if (reservations_.persistent()) return finish(task, Status::reservation_conflict);
    reservations_.release(task.command().nexus);
    finish(task);
}

void Unit::persistent_reserve_in(Task& task) {
    constexpr u8 kReadKeys = 0, kReadReservation = 1, kReportCapabilities = 2;
    const u16 allocation = load_big_endian<u16>(&cdb(task)[7]);
    if (reservations_.reserved_by_other(task.command().nexus)) return finish(task, Status::reservation_conflict);
    switch (cdb(task)[1] & 0x1F) {
        case kReadKeys:
            return reply(task, reservations_.read_keys(), allocation);
        case kReadReservation:
            return reply(task, reservations_.read_reservation(), allocation);
        case kReportCapabilities:
            return reply(task, reservations_.capabilities(keep_ != nullptr), allocation);
        default:
            return reply(task, reservations_.full_status([this](Nexus nexus) { return transport_id_of(nexus); }),
                         allocation);
    }
}

std::vector<u8> Unit::transport_id_of(Nexus nexus) const {
    const auto known = nexuses_.find(nexus);
    const bool has_id = known != nexuses_.end() && !known->second.transport_id.empty();
    return has_id ? known->second.transport_id : parallel_transport_id(nexus);
}

std::optional<Nexus> Unit::nexus_of(std::span<const u8> id) const {
    if (nexus_of_) return nexus_of_(id);
    for (const auto& [nexus, state] : nexuses_)
        if (std::equal(id.begin(), id.end(), state.transport_id.begin(), state.transport_id.end())) return nexus;
    const u16 address = load_big_endian<u16>(&id[2]);
    if ((id[0] & kProtocol) == kParallel && address < kMostAddresses) return address;
    return std::nullopt;
}

bool Unit::restore_reservations(std::span<const u8> kept) {
    return reservations_.restore(kept, [this](std::span<const u8> id) {
        return transport_id_length(id) == id.size() && !id.empty() ? nexus_of(id) : std::nullopt;
    });
}

void Unit::persistent_reserve_out(Task& task) {
    const u32 length = load_big_endian<u32>(&cdb(task)[5]);
    if (length < kParameters) return fail(task, Sense::illegal(kParameterListLengthError));
    want_parameters(task, length, kMostParameters);
}

// The ports that the list names behind its fixed part.
std::optional<Sense> Unit::parse_reservation_ports(std::span<const u8> list, Reservations::Request& request) const {
    const bool moves = request.action == Reservations::Action::register_and_move;
    const size_t field = moves ? kMoveLength : kPortsLength;
    const size_t begin = field + sizeof(u32);
    if (list.size() < begin) return Sense::illegal(kParameterListLengthError);
    if (load_big_endian<u32>(&list[field]) != list.size() - begin) return Sense::illegal(kParameterListLengthError);
    for (size_t at = begin; at < list.size();) {
        const auto rest = list.subspan(at);
        const size_t length = transport_id_length(rest);
        const auto nexus = length ? nexus_of(rest.first(length)) : std::nullopt;
        if (!nexus) return Sense::invalid_parameter(static_cast<u16>(at));
        request.ports.push_back(*nexus);
        at += length;
    }
    if (moves && request.ports.size() != 1) return Sense::invalid_parameter(kMoveLength);
    return std::nullopt;
}

void Unit::persistent_reserve_out_end(Task& task) {
    using Action = Reservations::Action;
    const std::vector<u8> list = take_buffer(task);
    if (list.size() < kParameters) return fail(task, Sense::illegal(kParameterListLengthError));
    const auto action = static_cast<Action>(cdb(task)[1] & 0x1F);
    const bool registers = action == Action::register_key || action == Action::register_and_ignore;
    const bool moves = action == Action::register_and_move;
    const u8 flags = list[moves ? kMoveFlags : kFlags];
    Reservations::Request request{.action = action,
                                  .scope = static_cast<u8>(cdb(task)[2] >> 4),
                                  .type = static_cast<u8>(cdb(task)[2] & 0x0F),
                                  .key = load_big_endian<u64>(&list[0]),
                                  .service_key = load_big_endian<u64>(&list[8]),
                                  .ports = {},
                                  .for_ports = registers && (flags & kForPorts),
                                  .unregisters = moves && (flags & kUnregister),
                                  .keep = (registers || moves) && (flags & kKeep)};
    const u16 flags_at = moves ? kMoveFlags : kFlags;
    if (!registers && !moves && (flags & kForPorts)) return fail(task, Sense::invalid_parameter(flags_at, 3));
    if (request.keep && !keep_) return fail(task, Sense::invalid_parameter(flags_at, 0));
    if (moves && load_big_endian<u16>(&list[kTargetPort]) != kOnlyTargetPort)
        return fail(task, Sense::invalid_parameter(kTargetPort));
    if (moves || request.for_ports) {
        if (const auto wrong = parse_reservation_ports(list, request)) return fail(task, *wrong);
    } else if (list.size() != kParameters) {
        return fail(task, Sense::illegal(kParameterListLengthError));
    }
    carry_out_reservation(task, request);
}

// What cannot be kept must not have happened.
void Unit::carry_out_reservation(Task& task, const Reservations::Request& request) {
    const auto transport_id = [this](Nexus nexus) { return transport_id_of(nexus); };
    const Reservations before = reservations_;
    const auto outcome = reservations_.out(task.command().nexus, request);
    if (keep_) {
        const std::vector<u8> kept = reservations_.kept(transport_id);
        if (kept != before.kept(transport_id) && !keep_(kept)) {
            reservations_ = before;
            return fail(task, Sense::illegal(kInsufficientRegistrationResources));
        }
    }
    for (const auto& [other, code] : outcome.attentions) attention_to(other, code);
    const auto& ended = outcome.aborted;
    abort([&](const Task& other) {
        return &other != &task && std::find(ended.begin(), ended.end(), other.command().nexus) != ended.end();
    });
    if (outcome.sense) return fail(task, *outcome.sense);
    finish(task, outcome.status);
}

}  // namespace lodge::scsi
