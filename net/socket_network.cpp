#include "net/socket_network.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "net/frame_stream.h"

namespace lodge {

namespace {

constexpr size_t kMostWaiting = 1 * kMiB;  // for one peer
constexpr size_t kMostPeers = 64;
constexpr int kRetryMilliseconds = 200;

// A file descriptor that closes itself.
class Descriptor {
  public:
    explicit Descriptor(int value = -1) : value_(value) {}
    Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(value_, other.value_);
        return *this;
    }
    ~Descriptor() {
        if (value_ >= 0) close(value_);
    }
    int get() const { return value_; }
    explicit operator bool() const { return value_ >= 0; }

  private:
    int value_;
};

struct Peer {
    Descriptor socket;
    FrameReader reader;
    std::vector<u8> waiting;
    size_t sent = 0;  // of waiting
    bool gone = false;
};

class SocketNetwork final : public NetworkBackend {
  public:
    SocketNetwork(std::string path, const sockaddr_un& address, Log& log)
        : path_(std::move(path)), address_(address), log_(log) {}
    ~SocketNetwork() override {
        if (listener_) unlink(path_.c_str());
    }

    // Connects, or else listens.
    Result<void> join();

    void start(const NetworkHost& host) override { host_ = host; }
    void from_guest(std::span<const u8> frame) override {
        for (Peer& peer : peers_) send(peer, frame);
    }
    int prepare(std::vector<pollfd>& wanted) override;
    void ready(std::span<const pollfd> polled) override;
    bool has_peers() const override { return !peers_.empty(); }

  private:
    Result<void> refused(const std::string& what) const {
        return Error{ErrorKind::usage, what + ": " + std::strerror(errno)};
    }
    Result<void> listen_there();
    void rejoin();
    void accept_peer();
    void send(Peer& peer, std::span<const u8> frame);
    void send_waiting(Peer& peer);
    void receive(Peer& peer);
    void forget_gone();

    std::string path_;
    sockaddr_un address_;
    Log& log_;
    NetworkHost host_;
    Descriptor listener_;  // of the hub
    std::vector<Peer> peers_;
    bool plugged_ = true;
    u8 buffer_[65536];
};

Result<void> SocketNetwork::join() {
    const std::filesystem::path folder = std::filesystem::absolute(path_).parent_path();
    const Descriptor lock(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock || flock(lock.get(), LOCK_EX) != 0) return refused("cannot open its folder");
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) return refused("cannot make a socket");
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_) == 0) {
        fcntl(socket.get(), F_SETFL, O_NONBLOCK);
        peers_.push_back({std::move(socket), {}, {}, 0, false});
        return {};
    }
    if (errno != ENOENT && errno != ECONNREFUSED) return refused("cannot connect");
    return listen_there();
}

// A socket file that refuses connections is left over from a process that was killed.
Result<void> SocketNetwork::listen_there() {
    struct stat status;
    if (lstat(path_.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode))
        return Error{ErrorKind::usage, path_ + " is there and no socket"};
    unlink(path_.c_str());
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket || bind(socket.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_) != 0 ||
        listen(socket.get(), kMostPeers) != 0)
        return refused("cannot listen");
    listener_ = std::move(socket);
    return {};
}

// The hub has gone: the cable stays out until there is another.
void SocketNetwork::rejoin() {
    if (std::exchange(plugged_, false)) host_.set_cable(false);
    if (const auto joined = join(); !joined) {
        log_.once(LogChannel::net, "%s", joined.error().context.c_str());
        return;
    }
    plugged_ = true;
    host_.set_cable(true);
}

int SocketNetwork::prepare(std::vector<pollfd>& wanted) {
    wanted.push_back({listener_ && peers_.size() < kMostPeers ? listener_.get() : -1, POLLIN, 0});
    // One peer waits for a guest that does not keep up; among several it would keep the others waiting, too.
    const bool reading = peers_.size() != 1 || !host_.crowded();
    for (const Peer& peer : peers_) {
        const int events = (reading ? POLLIN : 0) | (peer.waiting.empty() ? 0 : POLLOUT);
        wanted.push_back({peer.socket.get(), static_cast<short>(events), 0});
    }
    return plugged_ ? -1 : kRetryMilliseconds;
}

void SocketNetwork::ready(std::span<const pollfd> polled) {
    for (size_t i = 0; i < peers_.size() && i + 1 < polled.size(); ++i) {
        const short events = polled[i + 1].revents;
        if (events & POLLOUT) send_waiting(peers_[i]);
        if (events & POLLIN)
            receive(peers_[i]);
        else if (events & (POLLERR | POLLHUP | POLLNVAL))
            peers_[i].gone = true;
    }
    if (!polled.empty() && (polled[0].revents & POLLIN)) accept_peer();
    forget_gone();
    if (!listener_ && peers_.empty()) rejoin();
}

void SocketNetwork::accept_peer() {
    Descriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) peers_.push_back({std::move(socket), {}, {}, 0, false});
}

void SocketNetwork::forget_gone() {
    std::erase_if(peers_, [](const Peer& peer) { return peer.gone; });
}

void SocketNetwork::send(Peer& peer, std::span<const u8> frame) {
    if (peer.waiting.size() - peer.sent + frame.size() > kMostWaiting) return;
    const bool waits = !peer.waiting.empty();
    append_frame(peer.waiting, frame);
    if (!waits) send_waiting(peer);
}

void SocketNetwork::send_waiting(Peer& peer) {
    const ssize_t count = ::send(peer.socket.get(), peer.waiting.data() + peer.sent, peer.waiting.size() - peer.sent,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
        peer.gone = peer.gone || (errno != EAGAIN && errno != EINTR);
        return;
    }
    peer.sent += static_cast<size_t>(count);
    if (peer.sent == peer.waiting.size()) {
        peer.waiting.clear();
        peer.sent = 0;
    } else if (peer.sent > kMostWaiting) {
        peer.waiting.erase(peer.waiting.begin(), peer.waiting.begin() + static_cast<long>(peer.sent));
        peer.sent = 0;
    }
}

void SocketNetwork::receive(Peer& peer) {
    const ssize_t count = recv(peer.socket.get(), buffer_, sizeof buffer_, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    const auto bytes = std::span<const u8>(buffer_).first(count > 0 ? static_cast<size_t>(count) : 0);
    const bool sane = peer.reader.feed(bytes, [&](std::span<const u8> frame) {
        host_.deliver(frame);
        for (Peer& other : peers_)
            if (&other != &peer) send(other, frame);
    });
    if (count <= 0 || !sane) peer.gone = true;
}

}  // namespace

Result<std::unique_ptr<NetworkBackend>> join_socket_network(const std::string& path, Log& log) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (path.empty()) return Error{ErrorKind::usage, "no path named"};
    if (path.size() >= sizeof address.sun_path)
        return Error{ErrorKind::usage,
                     "a socket's path has at most " + std::to_string(sizeof address.sun_path - 1) + " bytes"};
    std::memcpy(address.sun_path, path.c_str(), path.size());
    auto network = std::make_unique<SocketNetwork>(path, address, log);
    LODGE_TRY(network->join());
    return std::unique_ptr<NetworkBackend>(std::move(network));
}

}  // namespace lodge
