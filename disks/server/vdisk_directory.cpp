#include "disks/server/vdisk_directory.h"

#include <algorithm>

#include "disks/server/boot_plan.h"

namespace lodge::server {

namespace {

using iscsi::Refusal;

constexpr const char* kOwnChapName = "lodge";  // the server's, in mutual CHAP

// ErrorKind::usage is what a client may not or can no longer do.
Refusal refusal_of(const Error& error) {
    switch (error.kind) {
        case ErrorKind::not_found:
            return {Refusal::Kind::not_found, error.context};
        case ErrorKind::usage:
            return {Refusal::Kind::forbidden, error.context};
        case ErrorKind::locked:
            return {Refusal::Kind::busy, error.context};
        default:
            return {Refusal::Kind::unavailable, error.context};
    }
}

Error forbidden(const std::string& why) {
    return Error{ErrorKind::usage, why};
}

class HeldDisk final : public iscsi::Attachment {
  public:
    explicit HeldDisk(std::unique_ptr<Library::Hold> hold) : hold_(std::move(hold)) {}
    std::shared_ptr<iscsi::Disk> disk() override { return hold_->disk(); }
    void logged_out() override { hold_->logged_out(); }

  private:
    std::unique_ptr<Library::Hold> hold_;
};

}  // namespace

Result<VDiskDirectory::Who> VDiskDirectory::who_is(const std::string& initiator) {
    auto client = store_.client_by_initiator(initiator);
    if (client) return Who{client->mac, std::move(*client)};
    if (client.error().kind != ErrorKind::not_found) return client.error();
    // One without a record may have got a boot script all the same, for the default vDisk.
    const std::string mac = mac_of_initiator(initiator);
    if (!mac.empty()) return Who{mac, {}};
    return forbidden("no client is called '" + initiator + "'");
}

Result<std::vector<iscsi::ChapIdentity>> VDiskDirectory::identities(const Caller& caller, const Who& who) {
    const auto tickets = store_.tickets(who.mac);
    if (!tickets) return tickets.error();
    std::vector<iscsi::ChapIdentity> all;
    for (const Ticket& ticket : *tickets) all.push_back({chap_name(who.mac), ticket.secret});
    if (who.record && !who.record->chap_secret.empty()) {
        all.push_back({chap_name(who.mac), who.record->chap_secret});
        all.push_back({caller.initiator, who.record->chap_secret});
    }
    return all;
}

iscsi::Answer<iscsi::Authentication> VDiskDirectory::authentication(const Caller& caller, const std::string& target) {
    const bool discovery = target.empty();
    const auto settings = store_.settings();
    if (!settings) return {std::nullopt, refusal_of(settings.error())};
    if (discovery && settings->open_discovery) return {iscsi::Authentication{}, {}};
    const auto who = who_is(caller.initiator);
    if (!who) return {std::nullopt, refusal_of(who.error())};
    auto accepted = identities(caller, *who);
    if (!accepted) return {std::nullopt, refusal_of(accepted.error())};
    iscsi::Authentication authentication;
    if (who->record && !who->record->target_secret.empty())
        authentication.mutual = iscsi::ChapIdentity{kOwnChapName, who->record->target_secret};
    if (who->record && who->record->trusted) return {authentication, {}};
    if (accepted->empty())
        return {
            std::nullopt,
            {Refusal::Kind::forbidden, "client " + who->mac + " has no secret: it has not asked for a boot script, " +
                                           "and was given none with 'lodge vdisk client'"}};
    authentication.accepted = std::move(*accepted);
    return {authentication, {}};
}

Result<VDiskDirectory::Proof> VDiskDirectory::proof_of(const Caller& caller, const Who& who) {
    if (caller.chap_name.empty()) {
        if (who.record && who.record->trusted) return Proof{};
        return forbidden("client " + who.mac + " has not proved itself");
    }
    const auto tickets = store_.tickets(who.mac);
    if (!tickets) return tickets.error();
    for (const Ticket& ticket : *tickets)
        if (caller.chap_secret == ticket.secret) return Proof{ticket.secret, !ticket.used};
    if (who.record && !caller.chap_secret.empty() && caller.chap_secret == who.record->chap_secret) return Proof{};
    // Between its proof and now it got another boot script, or another secret.
    return forbidden("client " + who.mac + " has got another secret since; it has to boot again");
}

Result<std::vector<Assignment>> VDiskDirectory::allowed(const Who& who, const Settings& settings) {
    std::vector<Assignment> assigned;
    if (who.record) {
        auto own = store_.assignments_of(who.mac);
        if (!own) return own.error();
        assigned = std::move(*own);
    }
    return allowed_vdisks(who.mac, who.record.has_value(), assigned, settings);
}

std::vector<std::string> VDiskDirectory::targets(const Caller& caller) {
    const auto settings = store_.settings();
    if (!settings) return {};
    std::vector<std::string> names;
    if (const auto who = who_is(caller.initiator)) {
        const auto all = allowed(*who, *settings);
        if (!all) return {};
        for (const Assignment& assignment : *all) names.push_back(target_name(assignment.vdisk));
    } else if (settings->open_discovery) {
        const auto vdisks = store_.vdisks();
        if (!vdisks) return {};
        for (const VDisk& vdisk : *vdisks) names.push_back(target_name(vdisk.name));
    }
    return names;
}

Result<Assignment> VDiskDirectory::assignment_at(const Who& who, const std::string& target, const Settings& settings) {
    const std::string vdisk = vdisk_of_target(target);
    if (vdisk.empty()) return Error{ErrorKind::not_found, "there is no target '" + target + "'"};
    const auto all = allowed(who, settings);
    if (!all) return all.error();
    const auto found = std::find_if(all->begin(), all->end(), [&](auto& each) { return each.vdisk == vdisk; });
    if (found != all->end()) return *found;
    // Who may not have it is not told whether it is there.
    return forbidden("vDisk '" + vdisk + "' is not assigned to client " + who.mac);
}

// The old boot's writes go before its ticket: if the server is killed in between, the ticket is still fresh.
Result<void> VDiskDirectory::begin_boot(const std::string& mac, const Proof& proof) {
    if (!proof.fresh) return {};
    library_.new_boot(mac);
    drop_(mac);
    return store_.use_ticket(mac, proof.boot);
}

Result<std::unique_ptr<Library::Hold>> VDiskDirectory::open(const Caller& caller, const std::string& target) {
    const auto settings = store_.settings();
    if (!settings) return settings.error();
    const auto who = who_is(caller.initiator);
    if (!who) return who.error();
    const auto proof = proof_of(caller, *who);
    if (!proof) return proof.error();
    const auto assignment = assignment_at(*who, target, *settings);
    if (!assignment) return assignment.error();
    const auto vdisk = store_.vdisk(assignment->vdisk);
    if (!vdisk) return vdisk.error();
    LODGE_TRY(begin_boot(who->mac, *proof));
    auto hold = library_.attach({who->mac, proof->boot, *vdisk, assignment->mode}, *settings);
    if (!hold) {
        // What the client cannot mend but by booting again is no question of permission.
        const ErrorKind kind = hold.error().kind == ErrorKind::locked ? ErrorKind::locked : ErrorKind::io;
        return Error{kind, "vDisk " + vdisk->name + ": " + hold.error().context};
    }
    if (assignment->mode == Mode::private_writes) {
        const auto mine = store_.hold(vdisk->name, who->mac, proof->boot);
        if (!mine) return mine.error();
        if (!*mine)
            return Error{ErrorKind::io, "vDisk " + vdisk->name + ": another client has written to it since client " +
                                            who->mac + " lost it; it has to boot again"};
    }
    remember(*who, *assignment, caller);
    return hold;
}

// That this cannot be written down is no reason to turn the client away.
void VDiskDirectory::remember(const Who& who, const Assignment& assignment, const Caller& caller) {
    const Time now = clock_time();
    if (auto done = store_.seen(who.mac, now); !done && done.error().kind != ErrorKind::not_found) return;
    if (auto done = store_.record(
            now, "client " + who.mac,
            "logs in to vDisk " + assignment.vdisk + ", " + name_of(assignment.mode) + ", from " + caller.address);
        !done)
        return;
}

iscsi::Answer<std::unique_ptr<iscsi::Attachment>> VDiskDirectory::attach(const Caller& caller,
                                                                         const std::string& target) {
    auto hold = open(caller, target);
    if (!hold) return {std::nullopt, refusal_of(hold.error())};
    return {std::make_unique<HeldDisk>(std::move(*hold)), {}};
}

}  // namespace lodge::server
