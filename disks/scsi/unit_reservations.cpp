// RESERVE, RELEASE and PERSISTENT RESERVE as commands; what they do is in reservations.h.
#include <algorithm>

#include "disks/scsi/unit.h"

namespace lodge::scsi {

namespace {

// SPC-4 table 392: a port of a parallel bus, by its address.
std::vector<u8> parallel_transport_id(Nexus nexus) {
    constexpr u8 kParallel = 0x01;
    std::vector<u8> id(24);
    id[0] = kParallel;
    store_big_endian(&id[2], static_cast<u16>(nexus));
    store_big_endian(&id[6], u16{1});
    return id;
}

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
            return reply(task, Reservations::capabilities(), allocation);
        default: {
            const auto transport_id = [this](Nexus nexus) {
                const std::vector<u8>& id = nexus_state(nexus).transport_id;
                return id.empty() ? parallel_transport_id(nexus) : id;
            };
            return reply(task, reservations_.full_status(transport_id), allocation);
        }
    }
}

void Unit::persistent_reserve_out(Task& task) {
    constexpr u32 kParameters = 24;
    const u32 length = load_big_endian<u32>(&cdb(task)[5]);
    if (length != kParameters) return fail(task, Sense::illegal(kParameterListLengthError));
    want_parameters(task, length, kParameters);
}

void Unit::persistent_reserve_out_end(Task& task) {
    constexpr u8 kForOthers = 0x08, kKeepThroughPowerLoss = 0x01;
    const std::vector<u8> list = take_buffer(task);
    if (list.size() < 24) return fail(task, Sense::illegal(kParameterListLengthError));
    if (list[20] & kForOthers) return fail(task, Sense::invalid_parameter(20, 3));
    if (list[20] & kKeepThroughPowerLoss) return fail(task, Sense::invalid_parameter(20, 0));
    const Nexus nexus = task.command().nexus;
    const auto outcome = reservations_.out(nexus, {.action = static_cast<Reservations::Action>(cdb(task)[1] & 0x1F),
                                                   .scope = static_cast<u8>(cdb(task)[2] >> 4),
                                                   .type = static_cast<u8>(cdb(task)[2] & 0x0F),
                                                   .key = load_big_endian<u64>(&list[0]),
                                                   .service_key = load_big_endian<u64>(&list[8])});
    for (const auto& [other, code] : outcome.attentions) attention_to(other, code);
    const auto& ended = outcome.aborted;
    abort([&](const Task& other) {
        return &other != &task && std::find(ended.begin(), ended.end(), other.command().nexus) != ended.end();
    });
    if (outcome.sense) return fail(task, *outcome.sense);
    finish(task, outcome.status);
}

}  // namespace lodge::scsi
