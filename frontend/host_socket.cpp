#include "frontend/host_socket.h"

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lodge {

namespace {

// How soon a client that waits for the guest to read is looked at again.
constexpr int kFullPollMilliseconds = 10;
// How long the end of lodge waits for a client to read what is left.
constexpr int kLastPollMilliseconds = 1000;

Error refused(const std::string& why) {
    return {ErrorKind::usage, why};
}

Error refused_by_host(const std::string& what) {
    return refused(what + ": " + std::strerror(errno));
}

// A socket file that answers is somebody's; one that refuses is left over from a process that was killed.
Result<void> clear_path(const std::string& path, const sockaddr_un& address) {
    struct stat status;
    if (lstat(path.c_str(), &status) != 0) return {};  // bind says what else is wrong
    if (!S_ISSOCK(status.st_mode)) return refused(path + " is there and no socket");
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0) return refused_by_host("cannot make a socket");
    const bool answered = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    const int why = errno;
    close(probe);
    if (answered || why != ECONNREFUSED) return refused(path + " is in use");
    if (unlink(path.c_str()) != 0) return refused_by_host("cannot replace " + path);
    return {};
}

struct AddressList {
    addrinfo* first = nullptr;
    ~AddressList() {
        if (first) freeaddrinfo(first);
    }
};

Result<void> resolve(const std::string& address, AddressList& list) {
    const size_t colon = address.rfind(':');
    if (colon == std::string::npos || colon == 0) return refused("must be tcp:HOST:PORT");
    std::string host = address.substr(0, colon);
    const std::string port = address.substr(colon + 1);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    const bool digits = !port.empty() && port.size() <= 5 &&
                        std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits || std::stoi(port) < 1 || std::stoi(port) > 65535) return refused("the port must be 1 to 65535");
    addrinfo hints = {};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    const int failure = getaddrinfo(host.c_str(), port.c_str(), &hints, &list.first);
    if (failure) return refused("host " + host + ": " + gai_strerror(failure));
    return {};
}

}  // namespace

Result<std::unique_ptr<HostPort>> SocketPort::listen_unix(const std::string& path) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (path.empty()) return refused("no path named");
    if (path.size() >= sizeof address.sun_path)
        return refused("a socket's path has at most " + std::to_string(sizeof address.sun_path - 1) + " bytes");
    std::memcpy(address.sun_path, path.c_str(), path.size());
    LODGE_TRY(clear_path(path, address));
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) return refused_by_host("cannot make a socket");
    if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(listener, 1) != 0) {
        const Error error = refused_by_host("cannot listen at " + path);
        close(listener);
        return error;
    }
    return std::unique_ptr<HostPort>(std::make_unique<SocketPort>(listener, path));
}

Result<std::unique_ptr<HostPort>> SocketPort::listen_tcp(const std::string& address) {
    AddressList list;
    LODGE_TRY(resolve(address, list));
    Error error = refused("the host has no address");
    for (const addrinfo* at = list.first; at; at = at->ai_next) {
        const int listener = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        const int on = 1;
        if (listener >= 0 && setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            bind(listener, at->ai_addr, at->ai_addrlen) == 0 && listen(listener, 1) == 0)
            return std::unique_ptr<HostPort>(std::make_unique<SocketPort>(listener, ""));
        error = refused_by_host("cannot listen at " + address);
        if (listener >= 0) close(listener);
    }
    return error;
}

SocketPort::SocketPort(int listener, std::string path)
    : listener_(listener),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      path_(std::move(path)),
      thread_([this] { run(); }) {}

SocketPort::~SocketPort() {
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
        feed_ = nullptr;
    }
    wake();
    thread_.join();
    close(listener_);
    close(wake_);
    if (!path_.empty()) unlink(path_.c_str());
}

void SocketPort::wake() {
    // Nothing to do about a failure: the counter is then full, and the thread awake.
    static_cast<void>(eventfd_write(wake_, 1));
}

void SocketPort::write(std::span<const u8> bytes) {
    {
        std::lock_guard lock(mutex_);
        if (!connected_) return;
        const size_t room = kMostWaiting - std::min(kMostWaiting, waiting_.size());
        const auto kept = bytes.first(std::min(bytes.size(), room));
        const bool awake = !waiting_.empty();
        waiting_.insert(waiting_.end(), kept.begin(), kept.end());
        if (awake) return;
    }
    wake();
}

void SocketPort::connect(PortFeed* feed) {
    {
        std::lock_guard lock(mutex_);
        feed_ = feed;
    }
    wake();
}

// The thread's side.

void SocketPort::run() {
    while (round()) {
    }
    drop_client();
}

bool SocketPort::round() {
    bool ending = false;
    {
        std::lock_guard lock(mutex_);
        ending = ending_;
        if (sent_ == sending_.size()) {
            sending_.clear();
            sent_ = 0;
            sending_.swap(waiting_);
        }
    }
    const bool has_output = sent_ < sending_.size();
    if (ending && (client_ < 0 || !has_output)) return false;
    const bool has_room = !ending && room() > 0;
    const short wanted = static_cast<short>((has_room ? POLLIN : 0) | (has_output ? POLLOUT : 0));
    pollfd sources[3] = {{wake_, POLLIN, 0}, {client_ < 0 ? listener_ : -1, POLLIN, 0}, {client_, wanted, 0}};
    const int timeout = ending ? kLastPollMilliseconds : client_ >= 0 && !has_room ? kFullPollMilliseconds : -1;
    const int ready = poll(sources, 3, timeout);
    if (ending && ready == 0) return false;
    eventfd_t unused;
    if (sources[0].revents) static_cast<void>(eventfd_read(wake_, &unused));
    if (sources[1].revents) accept_client();
    if (sources[2].revents & POLLOUT) send_waiting();
    if (client_ < 0) return true;
    if (sources[2].revents & POLLIN) {
        receive();
    } else if (sources[2].revents & (POLLERR | POLLHUP | POLLNVAL)) {
        drop_client();
    }
    return true;
}

void SocketPort::accept_client() {
    client_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client_ < 0) return;
    std::lock_guard lock(mutex_);
    connected_ = true;
    if (feed_) feed_->on_client(true);
}

void SocketPort::drop_client() {
    if (client_ < 0) return;
    close(client_);
    client_ = -1;
    sending_.clear();
    sent_ = 0;
    std::lock_guard lock(mutex_);
    connected_ = false;
    waiting_.clear();
    if (feed_) feed_->on_client(false);
}

void SocketPort::send_waiting() {
    const ssize_t count = send(client_, sending_.data() + sent_, sending_.size() - sent_, MSG_NOSIGNAL);
    if (count >= 0)
        sent_ += static_cast<size_t>(count);
    else if (errno != EAGAIN && errno != EINTR)
        drop_client();
}

// Without a feed what a client says is read and forgotten.
size_t SocketPort::room() {
    constexpr size_t kMostAtOnce = 4096;
    std::lock_guard lock(mutex_);
    return feed_ ? std::min(kMostAtOnce, feed_->room()) : kMostAtOnce;
}

void SocketPort::receive() {
    std::vector<u8> bytes(room());
    if (bytes.empty()) return;
    const ssize_t count = recv(client_, bytes.data(), bytes.size(), 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return drop_client();
    bytes.resize(static_cast<size_t>(count));
    std::lock_guard lock(mutex_);
    if (feed_) feed_->send(std::move(bytes));
}

}  // namespace lodge
