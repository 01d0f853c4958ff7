#include "disks/iscsi/target.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <ctime>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>

#include "disks/iscsi/service.h"

namespace lodge::iscsi {

namespace {

class Descriptor {
  public:
    explicit Descriptor(int number = -1) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int number() const { return number_; }
    explicit operator bool() const { return number_ >= 0; }

  private:
    int number_;
};

std::string name_of_address(const sockaddr_storage& address) {
    char text[INET6_ADDRSTRLEN] = "";
    if (address.ss_family == AF_INET) {
        const auto& four = reinterpret_cast<const sockaddr_in&>(address);
        ::inet_ntop(AF_INET, &four.sin_addr, text, sizeof text);
        return std::string(text) + ":" + std::to_string(ntohs(four.sin_port));
    }
    const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
    // A socket of both families names IPv4's addresses so.
    if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
        ::inet_ntop(AF_INET, &six.sin6_addr.s6_addr[12], text, sizeof text);
        return std::string(text) + ":" + std::to_string(ntohs(six.sin6_port));
    }
    ::inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(six.sin6_port));
}

std::string local_name(int socket) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
    return name_of_address(address);
}

std::string peer_name(int socket) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
    return name_of_address(address);
}

void set_option(int socket, int level, int option, int value) {
    ::setsockopt(socket, level, option, &value, sizeof value);
}

Result<Descriptor> listen_at(const std::string& host, u16 port) {
    const std::string where = host + " port " + std::to_string(port);
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST | AI_PASSIVE;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 || !found)
        return Error{ErrorKind::usage, "'" + host + "' is no numeric address"};
    Descriptor socket(::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) {
        ::freeaddrinfo(found);
        return Error{ErrorKind::io, "no socket: " + std::string(std::strerror(errno))};
    }
    set_option(socket.number(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (found->ai_family == AF_INET6) set_option(socket.number(), IPPROTO_IPV6, IPV6_V6ONLY, host != "::");
    const int bound = ::bind(socket.number(), found->ai_addr, found->ai_addrlen);
    const int problem = errno;
    ::freeaddrinfo(found);
    if (bound != 0)
        return Error{problem == EADDRINUSE ? ErrorKind::locked : ErrorKind::io,
                     "cannot listen at " + where + ": " + std::strerror(problem)};
    if (::listen(socket.number(), SOMAXCONN) != 0)
        return Error{ErrorKind::io, "cannot listen at " + where + ": " + std::strerror(errno)};
    return socket;
}

u16 port_of(int socket) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length);
    // The port lies at the same place in both families.
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

u64 milliseconds() {
    using namespace std::chrono;
    return static_cast<u64>(duration_cast<std::chrono::milliseconds>(steady_clock::now().time_since_epoch()).count());
}

void fill_randomly(std::span<u8> bytes) {
    while (!bytes.empty()) {
        const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
        if (got > 0) bytes = bytes.subspan(static_cast<size_t>(got));
    }
}

// The thread with its sockets. Other threads give it jobs; everything else happens on it.
class SocketTarget final : public Target {
  public:
    SocketTarget(TargetOptions options, Directory& directory, Observer* observer, Log& log)
        : options_(std::move(options)), directory_(directory), observer_(observer), log_(log) {}
    ~SocketTarget() override { stop(); }

    Result<void> start() override;
    std::vector<std::string> portals() const override { return portals_; }
    void stop() override;
    void drain(u32 seconds) override;
    std::vector<SessionInfo> sessions() override;
    bool disconnect(u64 id, u32 seconds) override;
    u32 drop_sessions(std::function<bool(const SessionInfo&)> which, const std::string& why) override;

  private:
    struct Socket {
        Descriptor descriptor;
        u64 connection = 0;  // 0: it only waits for the peer's end
        u32 events = 0;      // that epoll watches
        u64 linger_until = 0;
    };
    struct Job {
        std::function<void()> work;
        std::function<bool()> finished;  // asked until it is true; may be empty
        bool done = false;
    };
    // What epoll's events carry: the wake-up, the listeners, and from kFirstSocket on the sockets.
    static constexpr u64 kWake = 0;
    static constexpr u64 kFirstSocket = u64{1} << 16;
    static constexpr size_t kScratch = 256 * 1024;
    static constexpr u64 kLingerMilliseconds = 2000;
    static constexpr u64 kTickMilliseconds = 500;

    bool on_thread() const { return std::this_thread::get_id() == thread_.get_id(); }
    void wake() const;
    // Has it done on the thread, and waits. False: the thread has ended.
    bool do_there(std::function<void()> work, std::function<bool()> finished = {});
    void run_jobs();

    void watch(int descriptor, u32 events, u64 key, int operation) const;
    void loop();
    bool turn();
    int patience(bool busy) const;
    void accept_from(size_t listener);
    void take_in(Descriptor descriptor);
    void make_room();
    void serve(u64 key, u32 events);
    bool receive(Socket& socket, Connection& connection);
    bool send(Socket& socket, Connection& connection);
    void attend_touched();
    void attend(u64 key);
    void watch_as_wanted(u64 key, Socket& socket, const Connection& connection);
    void drop(u64 key, const std::string& why);
    void linger(u64 key, Socket& socket, const Connection& connection);
    void tick(u64 now);
    void listen_again(u64 now);
    void begin_stopping();

    TargetOptions options_;
    Directory& directory_;
    Observer* observer_;
    Log& log_;
    std::vector<std::string> portals_;

    std::thread thread_;
    Descriptor epoll_, wake_;

    std::mutex mutex_;  // of what follows
    std::condition_variable changed_;
    std::vector<std::shared_ptr<Job>> jobs_;
    bool serves_jobs_ = false;

    // The thread's own.
    std::vector<Descriptor> listeners_;
    std::vector<std::shared_ptr<Job>> unfinished_;
    std::vector<std::function<void()>> deferred_;
    std::unique_ptr<Service> service_;
    std::unordered_map<u64, Socket> sockets_;  // by key
    std::unordered_map<u64, u64> keys_;        // by connection
    u64 next_key_ = kFirstSocket;
    std::vector<u8> scratch_;
    u64 next_tick_ = 0;
    u64 listen_at_ = 0;  // when it listens again; 0: it does
    bool stopping_ = false;
    u64 stop_by_ = 0;
};

Result<void> SocketTarget::start() {
    if (service_) return Error{ErrorKind::usage, "the target has been started before"};
    epoll_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
    wake_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll_ || !wake_) return Error{ErrorKind::io, "no event queue: " + std::string(std::strerror(errno))};
    listeners_.clear();
    portals_.clear();
    u16 port = options_.port;
    for (const std::string& address : options_.addresses) {
        auto listener = listen_at(address, port);
        if (!listener) return listener.error();
        // All addresses have one port.
        port = port_of(listener->number());
        portals_.push_back(local_name(listener->number()));
        listeners_.push_back(std::move(*listener));
    }
    scratch_.resize(kScratch);
    Service::Surroundings surroundings{fill_randomly, [] { return static_cast<i64>(std::time(nullptr)); }};
    service_ = std::make_unique<Service>(options_, directory_, observer_, log_, std::move(surroundings));
    service_->tick(milliseconds());
    service_->completions()->set_wake([this] { wake(); });
    watch(wake_.number(), EPOLLIN, kWake, EPOLL_CTL_ADD);
    for (size_t i = 0; i < listeners_.size(); ++i) watch(listeners_[i].number(), EPOLLIN, 1 + i, EPOLL_CTL_ADD);
    serves_jobs_ = true;
    thread_ = std::thread([this] { loop(); });
    return {};
}

// Other threads.

void SocketTarget::wake() const {
    const u64 one = 1;
    // A counter that is full wakes as well.
    [[maybe_unused]] const ssize_t written = ::write(wake_.number(), &one, sizeof one);
}

bool SocketTarget::do_there(std::function<void()> work, std::function<bool()> finished) {
    const auto job = std::make_shared<Job>(Job{std::move(work), std::move(finished)});
    std::unique_lock lock(mutex_);
    if (!serves_jobs_) return false;
    jobs_.push_back(job);
    wake();
    changed_.wait(lock, [&] { return job->done || !serves_jobs_; });
    return job->done;
}

std::vector<SessionInfo> SocketTarget::sessions() {
    if (on_thread()) return service_->sessions();
    std::vector<SessionInfo> all;
    do_there([&] { all = service_->sessions(); });
    return all;
}

bool SocketTarget::disconnect(u64 id, u32 seconds) {
    if (on_thread()) return service_->disconnect(id, seconds);
    bool known = false;
    do_there([&] { known = service_->disconnect(id, seconds); });
    return known;
}

u32 SocketTarget::drop_sessions(std::function<bool(const SessionInfo&)> which, const std::string& why) {
    std::vector<u64> ids;
    const auto choose = [&] {
        for (const SessionInfo& session : service_->sessions())
            if (which(session)) ids.push_back(session.id);
    };
    const auto drop_them = [this, why](const std::vector<u64>& chosen) {
        service_->drop_sessions(
            [&](const SessionInfo& session) {
                return std::find(chosen.begin(), chosen.end(), session.id) != chosen.end();
            },
            why);
    };
    if (on_thread()) {
        choose();
        deferred_.push_back([drop_them, ids] { drop_them(ids); });
    } else {
        const auto gone = [&] {
            return std::none_of(ids.begin(), ids.end(), [this](u64 id) { return service_->find_session(id); });
        };
        do_there(
            [&] {
                choose();
                drop_them(ids);
            },
            gone);
    }
    return static_cast<u32>(ids.size());
}

void SocketTarget::stop() {
    if (!thread_.joinable()) return;
    do_there([this] { begin_stopping(); });
    thread_.join();
    service_->completions()->set_wake({});
}

void SocketTarget::drain(u32 seconds) {
    u64 until = 0;
    do_there(
        [&] {
            until = milliseconds() + u64{seconds} * 1000;
            listeners_.clear();
            service_->refuse_all();
            for (const SessionInfo& session : service_->sessions()) service_->disconnect(session.id, seconds);
        },
        [&] { return service_->live_sessions() == 0 || milliseconds() >= until; });
    stop();
}

// The thread.

void SocketTarget::run_jobs() {
    std::vector<std::shared_ptr<Job>> jobs;
    {
        std::lock_guard lock(mutex_);
        jobs.swap(jobs_);
    }
    for (const auto& job : jobs) job->work();
    unfinished_.insert(unfinished_.end(), jobs.begin(), jobs.end());
    if (unfinished_.empty()) return;
    const auto done = std::stable_partition(unfinished_.begin(), unfinished_.end(),
                                            [](const auto& job) { return job->finished && !job->finished(); });
    if (done == unfinished_.end()) return;
    std::lock_guard lock(mutex_);
    for (auto job = done; job != unfinished_.end(); ++job) (*job)->done = true;
    unfinished_.erase(done, unfinished_.end());
    changed_.notify_all();
}

void SocketTarget::watch(int descriptor, u32 events, u64 key, int operation) const {
    epoll_event event{};
    event.events = events;
    event.data.u64 = key;
    ::epoll_ctl(epoll_.number(), operation, descriptor, &event);
}

void SocketTarget::begin_stopping() {
    if (stopping_) return;
    stopping_ = true;
    stop_by_ = milliseconds() + kLingerMilliseconds;
    listeners_.clear();
    service_->refuse_all();
    service_->drop_sessions([](const SessionInfo&) { return true; }, "the target stops");
}

void SocketTarget::loop() {
    bool busy = false;
    while (true) {
        epoll_event events[256];
        const int count = ::epoll_wait(epoll_.number(), events, std::size(events), patience(busy));
        const u64 now = milliseconds();
        service_->set_now(now);
        for (int i = 0; i < count; ++i) serve(events[i].data.u64, events[i].events);
        busy = turn();
        if (now >= next_tick_) tick(now);
        // Work on disks is waited for as long as it takes: its buffers are ours.
        if (stopping_ && service_->quiet() && (sockets_.empty() || now >= stop_by_)) break;
    }
    while (!sockets_.empty()) drop(sockets_.begin()->first, "the target stops");
    while (!service_->quiet()) service_->work();
    std::lock_guard lock(mutex_);
    serves_jobs_ = false;
    changed_.notify_all();
}

int SocketTarget::patience(bool busy) const {
    if (busy || !deferred_.empty()) return 0;
    // Without connections there is nothing to time.
    const bool idle = sockets_.empty() && unfinished_.empty() && !stopping_ && listen_at_ == 0;
    if (idle) return -1;
    return static_cast<int>(!unfinished_.empty() || stopping_ ? 20 : kTickMilliseconds);
}

// What is not any socket's. True: there is more to do at once.
bool SocketTarget::turn() {
    run_jobs();
    for (const auto& work : std::exchange(deferred_, {})) work();
    const bool done = service_->work();
    attend_touched();
    return !done;
}

void SocketTarget::tick(u64 now) {
    next_tick_ = now + kTickMilliseconds;
    service_->tick(now);
    attend_touched();
    std::vector<u64> over;
    for (const auto& [key, socket] : sockets_)
        if (socket.linger_until && (now >= socket.linger_until || stopping_)) over.push_back(key);
    for (const u64 key : over) sockets_.erase(key);
    listen_again(now);
}

// New connections.

void SocketTarget::accept_from(size_t listener) {
    constexpr int kAtOnce = 64;
    constexpr u64 kRest = 200;
    if (listener >= listeners_.size()) return;
    for (int i = 0; i < kAtOnce; ++i) {
        Descriptor socket(::accept4(listeners_[listener].number(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (socket) {
            take_in(std::move(socket));
            continue;
        }
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return;
        log_.once(LogChannel::disks, "iSCSI: no more connections can be taken: %s", std::strerror(errno));
        for (size_t other = 0; other < listeners_.size(); ++other)
            watch(listeners_[other].number(), 0, 1 + other, EPOLL_CTL_MOD);
        listen_at_ = milliseconds() + kRest;
        return;
    }
}

void SocketTarget::listen_again(u64 now) {
    if (listen_at_ == 0 || now < listen_at_) return;
    listen_at_ = 0;
    for (size_t i = 0; i < listeners_.size(); ++i) watch(listeners_[i].number(), EPOLLIN, 1 + i, EPOLL_CTL_MOD);
}

void SocketTarget::make_room() {
    const Limits& limits = options_.limits;
    if (service_->logins() < limits.logins && service_->connections() < limits.connections) return;
    Connection* oldest = service_->oldest_login();
    if (oldest) drop(keys_.at(oldest->id()), "others want to log in");
}

void SocketTarget::take_in(Descriptor descriptor) {
    const int number = descriptor.number();
    const int patience = static_cast<int>(std::min<u32>(options_.limits.silence_seconds, 86400));
    make_room();
    if (service_->connections() >= options_.limits.connections) return;
    set_option(number, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(number, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(number, IPPROTO_TCP, TCP_KEEPIDLE, std::max(patience / 2, 1));
    set_option(number, IPPROTO_TCP, TCP_KEEPINTVL, std::max(patience / 8, 1));
    set_option(number, IPPROTO_TCP, TCP_KEEPCNT, 4);
    set_option(number, IPPROTO_TCP, TCP_USER_TIMEOUT, patience * 1000);
    Connection& connection = service_->open(peer_name(number), local_name(number));
    const u64 key = next_key_++;
    keys_[connection.id()] = key;
    watch(number, EPOLLIN, key, EPOLL_CTL_ADD);
    sockets_[key] = Socket{std::move(descriptor), connection.id(), EPOLLIN};
}

// Sockets.

void SocketTarget::serve(u64 key, u32 events) {
    if (key == kWake) {
        u64 count = 0;
        [[maybe_unused]] const ssize_t got = ::read(wake_.number(), &count, sizeof count);
        return;
    }
    if (key < kFirstSocket) return accept_from(key - 1);
    const auto found = sockets_.find(key);
    if (found == sockets_.end()) return;
    Socket& socket = found->second;
    Connection* connection = service_->find_connection(socket.connection);
    if (!connection) {
        // What the peer still says is of no interest, its end is.
        if (::recv(socket.descriptor.number(), scratch_.data(), scratch_.size(), 0) <= 0) sockets_.erase(found);
        return;
    }
    const bool readable = events & (EPOLLIN | EPOLLHUP | EPOLLERR);
    if (readable && (connection->wants_input() || (events & (EPOLLHUP | EPOLLERR))) && !receive(socket, *connection))
        return drop(key, "connection lost");
    if (readable) {
        connection->serve();
        service_->work();
    }
    attend(key);
    attend_touched();
}

bool SocketTarget::receive(Socket& socket, Connection& connection) {
    const auto space = connection.input().space(scratch_);
    iovec pieces[2];
    int count = 0;
    for (const auto& piece : space)
        if (!piece.empty()) pieces[count++] = {piece.data(), piece.size()};
    const ssize_t got = ::readv(socket.descriptor.number(), pieces, count);
    connection.input().arrived(got > 0 ? static_cast<size_t>(got) : 0);
    if (got > 0) return true;
    return got < 0 && (errno == EAGAIN || errno == EINTR);
}

bool SocketTarget::send(Socket& socket, Connection& connection) {
    // So much, and then it is another's turn.
    constexpr int kTurns = 8;
    for (int turn = 0; turn < kTurns && !connection.output().empty(); ++turn) {
        iovec pieces[128];
        msghdr message{};
        message.msg_iov = pieces;
        message.msg_iovlen = connection.output().gather(pieces);
        const ssize_t sent = ::sendmsg(socket.descriptor.number(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) return errno == EAGAIN || errno == EINTR;
        connection.output().sent(static_cast<size_t>(sent));
        connection.sent();
    }
    return true;
}

void SocketTarget::attend_touched() {
    while (true) {
        const std::vector<u64> touched = service_->take_touched();
        if (touched.empty()) return;
        for (const u64 id : touched) {
            const auto key = keys_.find(id);
            if (key != keys_.end()) attend(key->second);
        }
        service_->work();
    }
}

void SocketTarget::attend(u64 key) {
    const auto found = sockets_.find(key);
    Connection* connection = found == sockets_.end() ? nullptr : service_->find_connection(found->second.connection);
    if (!connection) return;
    Socket& socket = found->second;
    connection->attended();
    if (connection->dead()) return drop(key, connection->end_reason());
    if (!send(socket, *connection)) return drop(key, "connection lost");
    if (connection->ending() && connection->output().empty()) return linger(key, socket, *connection);
    watch_as_wanted(key, socket, *connection);
}

void SocketTarget::watch_as_wanted(u64 key, Socket& socket, const Connection& connection) {
    const u32 events = (connection.wants_input() ? EPOLLIN : 0u) | (connection.has_output() ? EPOLLOUT : 0u);
    if (events == socket.events) return;
    socket.events = events;
    watch(socket.descriptor.number(), events, key, EPOLL_CTL_MOD);
}

void SocketTarget::drop(u64 key, const std::string& why) {
    const auto found = sockets_.find(key);
    const u64 id = found->second.connection;
    if (Connection* connection = service_->find_connection(id)) {
        service_->close(*connection, connection->end_reason().empty() ? why : connection->end_reason());
        keys_.erase(id);
    }
    sockets_.erase(found);
}

// Closing with bytes unread would have the peer's kernel throw away our last words: it closes first, or has some time.
void SocketTarget::linger(u64 key, Socket& socket, const Connection& connection) {
    keys_.erase(socket.connection);
    service_->close(*service_->find_connection(socket.connection), connection.end_reason());
    socket.connection = 0;
    socket.linger_until = milliseconds() + kLingerMilliseconds;
    ::shutdown(socket.descriptor.number(), SHUT_WR);
    socket.events = EPOLLIN;
    watch(socket.descriptor.number(), EPOLLIN, key, EPOLL_CTL_MOD);
}

}  // namespace

std::unique_ptr<Target> Target::create(TargetOptions options, Directory& directory, Observer* observer, Log& log) {
    return std::make_unique<SocketTarget>(std::move(options), directory, observer, log);
}

}  // namespace lodge::iscsi
