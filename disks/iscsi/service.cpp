#include "disks/iscsi/service.h"

#include <algorithm>
#include <cassert>

namespace lodge::iscsi {

Service::Service(const TargetOptions& options, Directory& directory, Observer* observer, Log& log,
                 Surroundings surroundings)
    : options_(options),
      directory_(directory),
      observer_(observer),
      log_(log),
      surroundings_(std::move(surroundings)) {}

Service::~Service() {
    for (const auto& [id, session] : sessions_) {
        if (!session->closing()) session->close("the target stops", false);
        session->release();
    }
    // Disks that others still hold have no unit of ours any more.
    for (const auto& held : disks_)
        if (const auto disk = held.lock()) disk->unit.reset();
}

Offer Service::offer() const {
    return {.max_connections = options_.limits.connections_per_session, .receive_bytes = options_.limits.receive_bytes};
}

// Connections.

Connection& Service::open(std::string peer, std::string local) {
    const u64 id = next_connection_++;
    auto connection = std::make_unique<Connection>(*this, id, std::move(peer), std::move(local), now_);
    Connection& opened = *connection;
    connections_[id] = std::move(connection);
    logins_.insert(id);
    return opened;
}

void Service::close(Connection& connection, const std::string& why) {
    Session* session = connection.session();
    logins_.erase(connection.id());
    if (session) {
        session->remove(connection);
        connection.leave_session();
        if (session->connections().empty()) end_session(*session, why);
    }
    connections_.erase(connection.id());
}

Connection* Service::find_connection(u64 id) const {
    const auto found = connections_.find(id);
    return found == connections_.end() ? nullptr : found->second.get();
}

Connection* Service::oldest_login() const {
    return logins_.empty() ? nullptr : find_connection(*logins_.begin());
}

void Service::tick(u64 now) {
    now_ = now;
    for (const auto& [id, connection] : connections_) connection->tick(now);
}

bool Service::work() {
    constexpr u32 kBudget = 256;
    for (Completion& completion : completions_->take())
        static_cast<DiskUnit*>(completion.disk->unit.get())
            ->completed(completion.operation, std::move(completion.result));
    const bool done = units_.run(kBudget);
    for (const Gone& gone : std::exchange(gone_, {})) bury(gone.session, gone.logout);
    return done && gone_.empty();
}

// Sessions.

Session* Service::find_session(u64 id) const {
    const auto found = sessions_.find(id);
    return found == sessions_.end() ? nullptr : found->second.get();
}

Session* Service::session_of(u16 tsih) const {
    for (const auto& [id, session] : sessions_)
        if (session->tsih() == tsih) return session.get();
    return nullptr;
}

// Of the same initiator port at the same target.
Session* Service::session_of_port(const LoginFacts& facts) const {
    for (const auto& [id, session] : sessions_) {
        const LoginFacts& other = session->facts();
        if (!other.discovery && other.target == facts.target && other.isid == facts.isid &&
            other.caller.initiator == facts.caller.initiator)
            return session.get();
    }
    return nullptr;
}

u16 Service::new_tsih() {
    do {
        ++last_tsih_;
    } while (last_tsih_ == 0 || session_of(last_tsih_));
    return last_tsih_;
}

LoginStatus Service::may_join(const LoginFacts& facts) const {
    const Session* session = session_of(facts.tsih);
    if (!session || session->closing()) return LoginStatus::session_does_not_exist;
    const LoginFacts& other = session->facts();
    const bool same = !facts.discovery && !other.discovery && other.target == facts.target &&
                      other.isid == facts.isid && other.caller.initiator == facts.caller.initiator;
    return same ? LoginStatus::success : LoginStatus::cannot_include_in_session;
}

LoginSite::Admission Service::admit(Connection& connection, const LoginFacts& facts) {
    if (refusing_) return {.status = LoginStatus::service_unavailable, .why = "the target is about to stop"};
    return facts.tsih ? join_session(connection, facts) : begin_session(connection, facts);
}

LoginSite::Admission Service::begin_session(Connection& connection, const LoginFacts& facts) {
    if (!facts.discovery) {
        // Session reinstatement, RFC 7143 6.3.5: what the old one has under way ends first.
        if (Session* old = session_of_port(facts)) {
            end_session(*old, "replaced by a new login");
            return {.later = true};
        }
    }
    if (sessions_.size() >= std::min<size_t>(options_.limits.sessions, 0xFFFF))
        return {.status = LoginStatus::out_of_resources, .why = "too many sessions"};
    std::unique_ptr<Attachment> attachment;
    if (!facts.discovery) {
        auto answer = directory_.attach(facts.caller, facts.target);
        if (!answer.value) return {.status = status_of(answer.refusal.kind), .why = answer.refusal.why};
        attachment = std::move(*answer.value);
        std::erase_if(disks_, [](const auto& disk) { return disk.expired(); });
        const std::weak_ptr<Disk> disk = attachment->disk();
        if (!disk.lock()->unit) disks_.push_back(disk);
    }
    const u64 id = next_session_++;
    auto session =
        std::make_unique<Session>(*this, id, new_tsih(), facts, std::move(attachment), surroundings_.wall_clock());
    Session& begun = *session;
    sessions_[id] = std::move(session);
    begun.add(connection);
    if (observer_) observer_->session_began(begun.info());
    connection.enter_session(begun);
    return {.tsih = begun.tsih(),
            .expected_command_sn = begun.expected_command_sn(),
            .most_command_sn = begun.most_command_sn()};
}

LoginSite::Admission Service::join_session(Connection& connection, const LoginFacts& facts) {
    const LoginStatus status = may_join(facts);
    if (status != LoginStatus::success) return {.status = status, .why = "it cannot join that session"};
    Session& session = *session_of(facts.tsih);
    if (session.facts().caller.chap_name != facts.caller.chap_name)
        return {.status = LoginStatus::cannot_include_in_session, .why = "the session is another's"};
    // Connection reinstatement, RFC 7143 6.3.4.
    if (Connection* old = session.connection(facts.cid)) {
        session.remove(*old);
        old->leave_session();
        old->end("replaced by a new login");
    }
    if (session.connections().size() >= session.parameters().max_connections)
        return {.status = LoginStatus::too_many_connections, .why = "too many connections in its session"};
    session.add(connection);
    connection.enter_session(session);
    return {.tsih = session.tsih(),
            .expected_command_sn = session.expected_command_sn(),
            .most_command_sn = session.most_command_sn()};
}

void Service::end_session(Session& session, const std::string& why, std::optional<Logout> logout) {
    if (session.closing()) return;
    session.close(why, logout.has_value());
    const std::vector<Connection*> connections = session.connections();
    for (Connection* connection : connections) {
        session.remove(*connection);
        connection->leave_session();
        if (!logout || logout->connection != connection->id()) connection->end(why);
    }
    const auto gone = [this, id = session.id(), logout] { gone_.push_back({id, logout}); };
    if (DiskUnit* unit = session.disk_unit()) return unit->when_quiet(gone);
    gone();
}

void Service::end_sessions_of(const DiskUnit* unit, const std::string& why) {
    for (const auto& [id, session] : sessions_)
        if (session->disk_unit() == unit) end_session(*session, why);
}

void Service::bury(u64 id, const std::optional<Logout>& logout) {
    Session* session = find_session(id);
    assert(session);
    const SessionInfo info = session->info();
    const std::string why = session->end_reason();
    session->release();
    sessions_.erase(id);
    if (observer_) observer_->session_ended(info, why);
    if (Connection* connection = logout ? find_connection(logout->connection) : nullptr) {
        connection->answer_logout(logout->tag, 0);
        connection->end("logged out");
    }
    retry_logins();
}

void Service::retry_logins() {
    for (const auto& [id, connection] : connections_)
        if (connection->login_waits() && !connection->ending()) connection->retry_login();
}

void Service::refused(const Connection& connection, const Login::Reply& reply, const LoginFacts& facts) {
    log_.write(LogChannel::disks, LogLevel::info, "iSCSI: login of '%s' from %s at '%s' refused: %s",
               facts.caller.initiator.c_str(), connection.peer().c_str(), facts.target.c_str(), reply.why.c_str());
    if (observer_) observer_->refused(facts.caller, facts.target, reply.why);
}

std::vector<SessionInfo> Service::sessions() const {
    std::vector<SessionInfo> all;
    for (const auto& [id, session] : sessions_)
        if (!session->closing()) all.push_back(session->info());
    return all;
}

bool Service::disconnect(u64 id, u32 seconds) {
    Session* session = find_session(id);
    if (!session || session->closing()) return false;
    for (Connection* connection : session->connections()) connection->ask_logout(seconds);
    return true;
}

u32 Service::drop_sessions(const std::function<bool(const SessionInfo&)>& which, const std::string& why) {
    u32 count = 0;
    for (const auto& [id, session] : sessions_) {
        if (session->closing() || !which(session->info())) continue;
        end_session(*session, why);
        ++count;
    }
    return count;
}

}  // namespace lodge::iscsi
