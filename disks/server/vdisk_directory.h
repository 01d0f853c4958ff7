// Who may log in at the target, and which disk he gets: the store's records and the library put together.
//
// A client is who its initiator's name says, and it proves it with one of its secrets: the ticket of its next boot,
// that of its present one, or its fixed secret. The ticket tells boots apart: a login with a fresh one ends what the
// client did before; one with the used one goes on. See docs/interfaces.md for what that means to people.
#pragma once

#include <functional>
#include <string>

#include "disks/iscsi/directory.h"
#include "disks/server/library.h"
#include "disks/server/store.h"

namespace lodge::server {

class VDiskDirectory final : public iscsi::Directory {
  public:
    using Caller = iscsi::Caller;

    // `drop` ends the sessions that the client with that MAC address has at the moment.
    VDiskDirectory(Store& store, Library& library, std::function<void(const std::string& mac)> drop)
        : store_(store), library_(library), drop_(std::move(drop)) {}

    iscsi::Answer<iscsi::Authentication> authentication(const Caller& caller, const std::string& target) override;
    std::vector<std::string> targets(const Caller& caller) override;
    iscsi::Answer<std::unique_ptr<iscsi::Attachment>> attach(const Caller& caller, const std::string& target) override;

  private:
    struct Who {
        std::string mac;
        std::optional<Client> record;
    };
    struct Proof {
        std::string boot;    // a ticket's secret
        bool fresh = false;  // it has not been used
    };

    // not_found: nobody of ours is called so.
    Result<Who> who_is(const std::string& initiator);
    Result<std::vector<iscsi::ChapIdentity>> identities(const Caller& caller, const Who& who);
    Result<Proof> proof_of(const Caller& caller, const Who& who);
    Result<std::vector<Assignment>> allowed(const Who& who, const Settings& settings);
    Result<Assignment> assignment_at(const Who& who, const std::string& target, const Settings& settings);
    Result<std::unique_ptr<Library::Hold>> open(const Caller& caller, const std::string& target);
    Result<void> begin_boot(const std::string& mac, const Proof& proof);
    void remember(const Who& who, const Assignment& assignment, const Caller& caller);

    Store& store_;
    Library& library_;
    const std::function<void(const std::string& mac)> drop_;
};

}  // namespace lodge::server
