#include "disks/server/vdisk_server.h"

#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "disks/iscsi/target.h"
#include "disks/server/http_server.h"
#include "disks/server/library.h"
#include "disks/server/pxe_server.h"
#include "disks/server/store_files.h"
#include "disks/server/vdisk_directory.h"

namespace lodge::server {

namespace {

constexpr u32 kDisconnectSeconds = 10;
constexpr Time kSameLineSeconds = 60;  // a client that is turned away again and again is worth a line a minute
constexpr size_t kMostLines = 1024;

u16 port_of(const std::string& portal) {
    return static_cast<u16>(std::strtoul(portal.c_str() + portal.rfind(':') + 1, nullptr, 10));
}

class Assembly final : public VDiskServer, private iscsi::Observer {
  public:
    Assembly(const ServerConfig& config, std::unique_ptr<Store> store, std::unique_ptr<File> lock, Log& log)
        : lock_(std::move(lock)),
          store_(std::move(store)),
          log_(log),
          library_({config.folder, config.base_cache_bytes, config.threads},
                   [this](const std::string& line) { trouble(line); }),
          directory_(*store_, library_, [this](const std::string& mac) { drop_sessions_of(mac); }) {}

    ~Assembly() override { end(0); }

    Result<void> begin(const ServerConfig& config);

    u16 http_port() const override { return web_->port(); }
    void stop(u32 seconds) override { end(seconds); }

    ServerFacts facts() override;
    std::vector<LiveSession> sessions() override;
    std::vector<CacheUse> caches() override { return library_.caches(); }
    Result<void> disconnect(const std::string& id) override;
    std::optional<std::string> in_use(const std::string& vdisk, Mode mode, const std::string& mac) override {
        return library_.in_use(vdisk, mode, mac);
    }

  private:
    void session_began(const iscsi::SessionInfo& session) override;
    void session_ended(const iscsi::SessionInfo& session, const std::string& why) override;
    void refused(const iscsi::Caller& caller, const std::string& target, const std::string& why) override;

    std::string mac_of(const std::string& initiator);
    std::string describe(const iscsi::SessionInfo& session);
    void drop_sessions_of(const std::string& mac);
    void trouble(const std::string& line);
    void write_down(const std::string& who, const std::string& what);
    bool is_news(const std::string& line);

    Result<void> clear_up();
    void end(u32 seconds);
    void keep_records();
    void write_sessions();

    const std::unique_ptr<File> lock_;
    const std::unique_ptr<Store> store_;
    Log& log_;
    const Time started_ = clock_time();
    std::mutex lines_mutex_;
    std::map<std::string, Time> said_;  // under lines_mutex_
    Library library_;
    VDiskDirectory directory_;
    std::unique_ptr<iscsi::Target> target_;
    std::unique_ptr<WebServer> web_;
    std::unique_ptr<PxeServer> pxe_;

    // The sessions' records in the store, at most once a second.
    std::mutex records_mutex_;
    std::condition_variable records_changed_;
    bool sessions_changed_ = true;  // under records_mutex_, as the next
    bool ending_ = false;
    std::thread records_;
};

// What nobody can come back to: records of a server that was killed, caches on vDisks that are gone and of strangers
// whose tickets are.
Result<void> Assembly::clear_up() {
    LODGE_TRY(store_->set_sessions({}));
    for (const CacheName& name : cache_names(store_->folder())) {
        const auto vdisk = store_->vdisk(name.vdisk);
        const auto client = store_->client(name.mac);
        const auto tickets = store_->tickets(name.mac);
        if (!tickets) return tickets.error();
        const bool stranger = !client && client.error().kind == ErrorKind::not_found && tickets->empty();
        if (stranger || (!vdisk && vdisk.error().kind == ErrorKind::not_found))
            remove_caches(store_->folder(), name.mac, name.vdisk);
    }
    return {};
}

Result<void> Assembly::begin(const ServerConfig& config) {
    LODGE_TRY(clear_up());
    iscsi::TargetOptions options;
    options.addresses = {config.listen};
    options.port = config.iscsi_port;
    target_ = iscsi::Target::create(options, directory_, this, log_);
    LODGE_TRY(target_->start());
    WebConfig web;
    web.address = config.listen;
    web.port = config.http_port;
    web.iscsi_port = port_of(target_->portals().front());
    web.administer_from_anywhere = config.administer_from_anywhere;
    auto served = WebServer::create(web, *store_, *this, log_);
    if (!served) return served.error();
    web_ = std::move(*served);
    if (!config.pxe_interface.empty()) {
        PxeConfig pxe;
        pxe.interface = config.pxe_interface;
        pxe.http_port = web_->port();
        auto started = PxeServer::start(pxe, log_);
        if (!started) return started.error();
        pxe_ = std::move(*started);
    }
    records_ = std::thread([this] { keep_records(); });
    return {};
}

void Assembly::end(u32 seconds) {
    pxe_.reset();
    web_.reset();
    {
        std::lock_guard lock(records_mutex_);
        ending_ = true;
    }
    records_changed_.notify_all();
    if (records_.joinable()) records_.join();
    if (!target_) return;
    library_.expect_logouts();
    seconds == 0 ? target_->stop() : target_->drain(seconds);
    target_.reset();
    library_.save_caches();
    if (auto done = store_->set_sessions({}); !done) trouble(done.error().context);
}

// Sessions' records.

void Assembly::keep_records() {
    std::unique_lock lock(records_mutex_);
    while (!ending_) {
        if (std::exchange(sessions_changed_, false)) {
            lock.unlock();
            write_sessions();
            lock.lock();
        }
        records_changed_.wait_for(lock, std::chrono::seconds(1), [this] { return ending_; });
    }
}

void Assembly::write_sessions() {
    std::vector<SessionRecord> records;
    for (const LiveSession& session : sessions())
        records.push_back({session.id, session.mac, session.vdisk, session.mode, session.address, session.since});
    if (auto done = store_->set_sessions(records); !done) trouble(done.error().context);
}

// Live.

ServerFacts Assembly::facts() {
    std::error_code ignored;
    const auto space = std::filesystem::space(store_->folder(), ignored);
    const BlockCache& cache = library_.base_cache();
    return {started_,       target_->portals().front(),   cache.bytes(), cache.hits(),
            cache.misses(), ignored ? 0 : space.available};
}

std::string Assembly::mac_of(const std::string& initiator) {
    std::string mac = mac_of_initiator(initiator);
    if (!mac.empty()) return mac;
    const auto client = store_->client_by_initiator(initiator);
    return client ? client->mac : std::string();
}

std::vector<LiveSession> Assembly::sessions() {
    std::map<std::string, std::string> names;
    if (const auto clients = store_->clients())
        for (const Client& client : *clients) names[client.mac] = client.name;
    std::vector<LiveSession> all;
    for (const iscsi::SessionInfo& info : target_->sessions()) {
        if (info.target.empty()) continue;
        LiveSession session;
        session.id = std::to_string(info.id);
        session.mac = mac_of(info.initiator);
        session.client_name = names[session.mac];
        session.initiator = info.initiator;
        session.vdisk = vdisk_of_target(info.target);
        session.mode = library_.mode_of(session.vdisk);
        session.address = info.address;
        session.since = info.since;
        session.connections = info.connections;
        session.traffic = {info.read_bytes, info.written_bytes, info.reads, info.writes};
        all.push_back(std::move(session));
    }
    return all;
}

Result<void> Assembly::disconnect(const std::string& id) {
    for (const iscsi::SessionInfo& info : target_->sessions()) {
        if (std::to_string(info.id) != id) continue;
        library_.expect_logout(mac_of(info.initiator));
        if (target_->disconnect(info.id, kDisconnectSeconds)) return {};
    }
    return Error{ErrorKind::not_found, "there is no session " + id};
}

// A boot of the client's has ended. The sessions of the next one come later.
void Assembly::drop_sessions_of(const std::string& mac) {
    std::set<u64> ids;
    for (const iscsi::SessionInfo& info : target_->sessions())
        if (!info.target.empty() && mac_of(info.initiator) == mac) ids.insert(info.id);
    if (ids.empty()) return;
    target_->drop_sessions([ids](const iscsi::SessionInfo& info) { return ids.contains(info.id); },
                           "its client has booted again");
}

// What happens.

std::string Assembly::describe(const iscsi::SessionInfo& session) {
    const std::string mac = mac_of(session.initiator);
    return (mac.empty() ? "initiator " + session.initiator : "client " + mac) + " (" + session.address + ")";
}

void Assembly::session_began(const iscsi::SessionInfo& session) {
    const std::string vdisk = vdisk_of_target(session.target);
    const std::string what = session.target.empty()
                                 ? "asks for targets"
                                 : "has logged in to vDisk " + vdisk + ", " + name_of(library_.mode_of(vdisk));
    log_.write(LogChannel::server, LogLevel::info, "%s %s", describe(session).c_str(), what.c_str());
    std::lock_guard lock(records_mutex_);
    sessions_changed_ = true;
}

void Assembly::session_ended(const iscsi::SessionInfo& session, const std::string& why) {
    std::lock_guard lock(records_mutex_);
    sessions_changed_ = true;
    if (session.target.empty()) return;
    log_.write(LogChannel::server, LogLevel::info, "%s has left vDisk %s: %s", describe(session).c_str(),
               vdisk_of_target(session.target).c_str(), why.c_str());
}

void Assembly::refused(const iscsi::Caller& caller, const std::string& target, const std::string& why) {
    const std::string mac = mac_of(caller.initiator);
    const std::string who = mac.empty() ? "initiator " + caller.initiator : "client " + mac;
    const std::string host = caller.address.substr(0, caller.address.rfind(':'));
    const std::string what = "is refused " + (target.empty() ? "a list of targets" : target) + ": " + why;
    if (!is_news(who + what + host)) return;
    log_.write(LogChannel::server, LogLevel::info, "%s (%s) %s", who.c_str(), caller.address.c_str(), what.c_str());
    write_down(who, what + " (from " + caller.address + ")");
}

void Assembly::trouble(const std::string& line) {
    if (!is_news(line)) return;
    log_.write(LogChannel::server, LogLevel::warning, "%s", line.c_str());
    write_down("server", line);
}

void Assembly::write_down(const std::string& who, const std::string& what) {
    if (auto done = store_->record(clock_time(), who, what); !done)
        log_.write(LogChannel::server, LogLevel::error, "%s", done.error().context.c_str());
}

bool Assembly::is_news(const std::string& line) {
    const Time now = clock_time();
    std::lock_guard lock(lines_mutex_);
    const auto found = said_.find(line);
    if (found != said_.end() && now - found->second < kSameLineSeconds) return false;
    if (said_.size() >= kMostLines) said_.clear();
    said_[line] = now;
    return true;
}

}  // namespace

Result<std::unique_ptr<VDiskServer>> VDiskServer::start(const ServerConfig& config, Log& log) {
    auto store = open_store(config.folder);
    if (!store) return store.error();
    auto lock = lock_for_server(config.folder);
    if (!lock) return lock.error();
    auto server = std::make_unique<Assembly>(config, std::move(*store), std::move(*lock), log);
    LODGE_TRY(server->begin(config));
    return std::unique_ptr<VDiskServer>(std::move(server));
}

}  // namespace lodge::server
