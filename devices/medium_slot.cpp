#include "devices/medium_slot.h"

namespace lodge {

namespace {

// An input: u8 operation, u64 ticket, u64 size of the medium in bytes.
constexpr size_t kTicket = 1;
constexpr size_t kSize = 9;
constexpr size_t kPayload = 17;

Error empty_slot() {
    return {ErrorKind::not_found, "no medium in the drive"};
}

}  // namespace

MediumSlot::MediumSlot(InputQueue& inputs, Log& log, std::string name, std::unique_ptr<BlockDevice> medium)
    : inputs_(inputs),
      log_(log),
      name_(std::move(name)),
      source_(inputs.add_source("slot." + name_, [this](std::span<const u8> payload) { on_input(payload); })) {
    disk_.medium = std::move(medium);
}

void MediumSlot::insert(std::unique_ptr<BlockDevice> medium) {
    const u64 size = medium->size();
    u64 ticket = 0;
    {
        std::lock_guard lock(mutex_);
        ticket = next_ticket_++;
        delivered_[ticket] = std::move(medium);
    }
    post(Operation::insert, ticket, size);
}

void MediumSlot::eject(Eject how) {
    post(how == Eject::force ? Operation::force_eject : Operation::eject, 0, 0);
}

void MediumSlot::post(Operation operation, u64 ticket, u64 size) {
    std::vector<u8> payload(kPayload);
    payload[0] = static_cast<u8>(operation);
    store(&payload[kTicket], ticket);
    store(&payload[kSize], size);
    inputs_.post(source_, std::move(payload));
}

// A recording may be replayed without the media it names: then the slot stays as it is.
void MediumSlot::on_input(std::span<const u8> payload) {
    if (payload.size() != kPayload || payload[0] > static_cast<u8>(Operation::force_eject)) return;
    const auto operation = static_cast<Operation>(payload[0]);
    const bool inserts = operation == Operation::insert;
    std::unique_ptr<BlockDevice> medium = inserts ? collect(load<u64>(&payload[kTicket])) : nullptr;
    if (inserts && (!medium || medium->size() != load<u64>(&payload[kSize]))) return;
    const bool locked = loaded() && drive_ && drive_->medium_locked();
    if (locked && operation == Operation::eject) return drive_->eject_requested();
    if (locked && inserts) {
        log_.write(LogChannel::disks, LogLevel::warning, "%s: the guest has locked the medium; %s is not inserted",
                   name_.c_str(), medium->describe().c_str());
        return;
    }
    if (inserts || loaded()) change(std::move(medium));
}

std::unique_ptr<BlockDevice> MediumSlot::collect(u64 ticket) {
    std::lock_guard lock(mutex_);
    auto found = delivered_.extract(ticket);
    return found ? std::move(found.mapped()) : nullptr;
}

void MediumSlot::change(std::unique_ptr<BlockDevice> medium) {
    if (drive_) drive_->settle_medium();
    // What the guest has written stays written, also when its drive never asked for a flush.
    if (loaded() && !write_protected()) {
        if (const auto flushed = disk_.medium->flush(); !flushed)
            log_.write(LogChannel::disks, LogLevel::error, "%s: %s", name_.c_str(), flushed.error().context.c_str());
    }
    disk_.medium = std::move(medium);
    if (drive_) drive_->medium_changed();
}

void MediumSlot::state(StateIo& io) {
    io.section("slot", 1, [&] {
        u64 bytes = size();
        bool present = loaded();
        io.field("present", present);
        io.field("size", bytes);
        if (present != loaded() || bytes != size()) io.fail(name_ + ": the saved drive had another medium in it");
    });
}

Result<void> MediumSlot::Contents::read(u64 offset, std::span<u8> into) {
    return medium ? medium->read(offset, into) : empty_slot();
}

Result<void> MediumSlot::Contents::write(u64 offset, std::span<const u8> from) {
    return medium ? medium->write(offset, from) : empty_slot();
}

Result<void> MediumSlot::Contents::flush() {
    return medium ? medium->flush() : Result<void>();
}

Result<void> MediumSlot::Contents::discard(u64 offset, u64 length) {
    return medium ? medium->discard(offset, length) : empty_slot();
}

Result<void> MediumSlot::Contents::zero(u64 offset, u64 length) {
    return medium ? medium->zero(offset, length) : empty_slot();
}

}  // namespace lodge
