// The iSCSI target (RFC 7143): listens, logs initiators in, and serves their commands on the disks that its Directory
// gives. One thread of its own does the protocol for all connections; disks have workers where they need to wait.
//
// Memory: a connection that is idle holds a few hundred bytes; one that does not read what it asked for is not read
// from either, and what it may make the target hold is bounded by Limits.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/base/result.h"
#include "core/base/types.h"
#include "disks/iscsi/directory.h"

namespace lodge::iscsi {

struct Limits {
    u32 connections = 8192;           // at the same time; a further one takes the place of the oldest that has not
                                      // logged in, or is closed
    u32 logins = 256;                 // connections that have not logged in yet; a further one takes the oldest's place
    u32 sessions = 4096;              // a further one is refused: out of resources
    u32 connections_per_session = 4;  // offered as MaxConnections
    u32 commands = 64;                // of a session, at the same time: what MaxCmdSN leaves open
    u32 login_seconds = 15;           // from the connection's beginning to the full feature phase
    // An initiator from which nothing has come for so long is asked for a sign of life (NOP-In), if it is of a kind
    // that answers: iPXE and other firmware look at the network only while somebody waits for their disk, so only
    // those that have sent a NOP-Out themselves are asked. One that does not answer for as long again is dropped.
    u32 ping_seconds = 30;  // 0: never
    // A peer that acknowledges nothing for so long is dropped (TCP_USER_TIMEOUT).
    u32 silence_seconds = 300;
    u64 queued_bytes = kMiB;         // of a connection's answers on their way; beyond, it is not read from
    u64 session_bytes = 2 * kMiB;    // of data that a session's commands hold at the same time, one command excepted
    u32 receive_bytes = 256 * 1024;  // MaxRecvDataSegmentLength: 512 to 1 MiB
};

// A session, and what it has done since it began.
struct SessionInfo {
    u64 id = 0;  // of this target's life; never used again
    std::string initiator;
    std::string target;   // empty: discovery
    std::string address;  // of the leading connection's peer
    std::string chap_name;
    i64 since = 0;  // seconds since 1970-01-01 00:00 UTC
    u32 connections = 0;
    u64 reads = 0, writes = 0;  // commands that moved data
    u64 read_bytes = 0, written_bytes = 0;
};

// What happens at the door. Called on the target's thread; it may call the target's functions.
class Observer {
  public:
    virtual ~Observer() = default;
    virtual void session_began(const SessionInfo&) {}
    // `why` is a line for people: logged out, connection lost, replaced by a new login, dropped.
    virtual void session_ended(const SessionInfo&, const std::string& /*why*/) {}
    // A login that failed: an unknown target, a wrong secret, a full house.
    virtual void refused(const Caller&, const std::string& /*target*/, const std::string& /*why*/) {}
};

struct TargetOptions {
    // Numeric: 192.0.2.1, 2001:db8::1, 0.0.0.0, :: (which takes IPv4 too).
    std::vector<std::string> addresses{"127.0.0.1"};
    u16 port = 3260;  // 0: any that is free
    u16 portal_group = 1;
    Limits limits;
};

class Target {
  public:
    // `directory`, `observer` (may be null) and `log` (channel disks) outlive the target.
    static std::unique_ptr<Target> create(TargetOptions options, Directory& directory, Observer* observer, Log& log);
    virtual ~Target() = default;  // stops

    // Listens and serves. Errors: usage (no such address), locked (the port is taken), io. Once in a target's life.
    virtual Result<void> start() = 0;
    // Where it listens, as ADDRESS:PORT or [ADDRESS]:PORT, once it has been started.
    virtual std::vector<std::string> portals() const = 0;

    // Ends all sessions and returns when no work of theirs is under way. Not on the target's thread.
    virtual void stop() = 0;
    // Takes no new sessions, asks all initiators to log out, and stops when they have or after `seconds`. Not on the
    // target's thread.
    virtual void drain(u32 seconds) = 0;

    // Any thread. On the target's own thread (a Directory's or Observer's function) what they do to sessions happens
    // after that function has returned.
    virtual std::vector<SessionInfo> sessions() = 0;
    // Asks the session's initiator to log out, and drops it after `seconds`. False: there is no such session.
    virtual bool disconnect(u64 id, u32 seconds) = 0;
    // Drops at once those of which the predicate holds, and tells how many: `why` is for the observer. The predicate
    // is called on the target's thread. On any other thread they are gone when this returns.
    virtual u32 drop_sessions(std::function<bool(const SessionInfo&)> which, const std::string& why) = 0;
};

}  // namespace lodge::iscsi
