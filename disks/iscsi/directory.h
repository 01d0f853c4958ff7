// What the target asks of whoever knows initiators and disks: who may come in, and what is behind a target's name. The
// vDisk server's is in disks/server; tests have simpler ones.
//
// Directory is called on the target's thread; a call may take some milliseconds (a database, opening an image), never
// as long as a network's answer.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/types.h"
#include "disks/scsi/direct_disk.h"

namespace lodge::iscsi {

// A name and its secret, of CHAP (RFC 7143 section 12.1.3). RFC 7143 9.2.1 asks for secrets of 12 bytes and more.
struct ChapIdentity {
    std::string name;
    std::string secret;
};

// Who asks, as far as the login has told.
struct Caller {
    std::string initiator;             // InitiatorName, normalised
    std::string address;               // of its end of the connection: 192.0.2.1:40000, [2001:db8::1]:40000
    std::string chap_name;             // as whom it proved itself; empty before that, or when nobody asked for proof
    std::vector<u8> initiator_port{};  // its SCSI name: InitiatorName,i,0xISID (RFC 7143 section 4.4.1)
};

// How a caller is to prove itself.
struct Authentication {
    std::vector<ChapIdentity> accepted;  // any of these; empty: AuthMethod None is enough
    std::optional<ChapIdentity> mutual;  // the target's answer to a caller that asks for proof in return
};

// Why a caller is turned away: a status of the Login Response (RFC 7143 section 11.13.5), and a line for the log.
struct Refusal {
    enum class Kind : u8 {
        not_found,    // 0203h: no such target
        forbidden,    // 0202h: not for this initiator
        busy,         // 0301h: somebody else has it; service unavailable
        unavailable,  // 0301h: it cannot be opened, or its writes were lost
    };
    Kind kind = Kind::not_found;
    std::string why;
};

template <class T>
struct Answer {
    std::optional<T> value;  // empty: see refusal
    Refusal refusal;
};

// The medium of one logical unit. All sessions that are given the same Disk see the same unit; it is closed when the
// last of them lets it go.
class Disk {
  public:
    using Done = std::function<void(scsi::MediumResult)>;

    virtual ~Disk() = default;

    virtual u64 bytes() const = 0;  // a multiple of 512
    virtual bool read_only() const = 0;
    virtual scsi::UnitIdentity identity() const = 0;

    // Target's thread: the answer, if it takes no wait (the bytes are in memory). Nothing: submit it. `data` is what a
    // write writes; it is taken only if there is an answer.
    virtual std::optional<scsi::MediumResult> try_now(const scsi::MediumRequest& request, std::vector<u8>& data) = 0;
    // Target's thread: does it on a worker, and calls `done` there, once. Requests whose ranges overlap happen in the
    // order in which they were submitted, as far as one of them writes; a flush covers every write that was answered
    // before it was submitted. `done` is called even after the last session has gone; the Disk lives until then.
    virtual void submit(const scsi::MediumRequest& request, std::vector<u8> data, Done done) = 0;

    // The target's own: the unit that it made for this disk.
    std::shared_ptr<void> unit;
};

// A session's hold on a disk. Destroyed when the session is over.
class Attachment {
  public:
    virtual ~Attachment() = default;
    virtual std::shared_ptr<Disk> disk() = 0;
    // Before it is destroyed: the initiator logged out of the session (closing it), it was not just lost.
    virtual void logged_out() {}
};

class Directory {
  public:
    virtual ~Directory() = default;

    // Before the security stage ends. `target` is empty in a discovery session.
    virtual Answer<Authentication> authentication(const Caller& caller, const std::string& target) = 0;
    // Names for SendTargets=All, of those that this caller may see.
    virtual std::vector<std::string> targets(const Caller& caller) = 0;
    // At the end of the leading login of a normal session.
    virtual Answer<std::unique_ptr<Attachment>> attach(const Caller& caller, const std::string& target) = 0;
};

}  // namespace lodge::iscsi
