// The target without its sockets and its clock: all connections, sessions and units. target.cpp has the sockets; the
// fuzz target feeds it bytes.
//
// Everything happens on one thread. Whoever owns it calls work() after each batch of events, then looks after the
// connections that take_touched() names.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "disks/iscsi/connection.h"
#include "disks/iscsi/target.h"

namespace lodge::iscsi {

class Service {
  public:
    struct Surroundings {
        std::function<void(std::span<u8>)> fill_randomly;  // for challenges: unpredictable
        std::function<i64()> wall_clock;                   // seconds since 1970
    };
    Service(const TargetOptions& options, Directory& directory, Observer* observer, Log& log,
            Surroundings surroundings);
    ~Service();

    // Milliseconds of a monotonic clock; once a second or so.
    void tick(u64 now);
    u64 now() const { return now_; }
    void set_now(u64 now) { now_ = now; }

    Connection& open(std::string peer, std::string local);
    // The socket is gone, or is to go: the connection is destroyed.
    void close(Connection& connection, const std::string& why);
    Connection* find_connection(u64 id) const;
    size_t connections() const { return connections_.size(); }
    // The one that has tried longest to log in; null: all have logged in.
    Connection* oldest_login() const;
    size_t logins() const { return logins_.size(); }

    // Goes on with everything that can. False: there is more to do, and the caller may look at its sockets first.
    bool work();
    const std::shared_ptr<Completions>& completions() const { return completions_; }
    // Connections with output, or that have ended: each once since the last call.
    std::vector<u64> take_touched() { return std::exchange(touched_, {}); }
    void touch(u64 connection) { touched_.push_back(connection); }

    std::vector<SessionInfo> sessions() const;
    size_t live_sessions() const { return sessions_.size(); }
    bool disconnect(u64 id, u32 seconds);
    u32 drop_sessions(const std::function<bool(const SessionInfo&)>& which, const std::string& why);
    // No more sessions begin.
    void refuse_all() { refusing_ = true; }
    // Whether work of sessions that have ended is still under way.
    bool quiet() const { return sessions_.empty(); }

    // For connections and sessions.
    const TargetOptions& options() const { return options_; }
    Directory& directory() { return directory_; }
    Log& log() { return log_; }
    UnitQueue& units() { return units_; }
    void fill_randomly(std::span<u8> bytes) { surroundings_.fill_randomly(bytes); }
    Session* find_session(u64 id) const;
    LoginStatus may_join(const LoginFacts& facts) const;
    LoginSite::Admission admit(Connection& connection, const LoginFacts& facts);
    // The session ends; `logout`: the connection and the tag of the request whose answer tells so.
    struct Logout {
        u64 connection;
        u32 tag;
    };
    void end_session(Session& session, const std::string& why, std::optional<Logout> logout = std::nullopt);
    void end_sessions_of(const DiskUnit* unit, const std::string& why);
    void refused(const Connection& connection, const Login::Reply& reply, const LoginFacts& facts);
    void logged_in(u64 connection) { logins_.erase(connection); }
    Offer offer() const;

  private:
    Session* session_of(u16 tsih) const;
    Session* session_of_port(const LoginFacts& facts) const;
    LoginSite::Admission begin_session(Connection& connection, const LoginFacts& facts);
    LoginSite::Admission join_session(Connection& connection, const LoginFacts& facts);
    void bury(u64 session, const std::optional<Logout>& logout);
    void retry_logins();
    u16 new_tsih();

    TargetOptions options_;
    Directory& directory_;
    Observer* observer_;
    Log& log_;
    Surroundings surroundings_;
    std::shared_ptr<Completions> completions_ = std::make_shared<Completions>();
    UnitQueue units_;
    u64 now_ = 0;
    u64 next_connection_ = 1, next_session_ = 1;
    u16 last_tsih_ = 0;
    std::set<u64> logins_;  // connections that have not logged in
    bool refusing_ = false;
    std::unordered_map<u64, std::unique_ptr<Connection>> connections_;
    std::map<u64, std::unique_ptr<Session>> sessions_;
    std::vector<u64> touched_;
    struct Gone {
        u64 session;
        std::optional<Logout> logout;
    };
    std::vector<Gone> gone_;                  // sessions of which nothing is under way any more
    std::vector<std::weak_ptr<Disk>> disks_;  // that have a unit of ours
};

}  // namespace lodge::iscsi
