#include "net/user_network.h"

#include <arpa/inet.h>
#include <libslirp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace lodge {

namespace {

in_addr to_network(Ipv4Address address) {
    return in_addr{htonl(address)};
}

short to_poll(int slirp) {
    int events = 0;
    if (slirp & SLIRP_POLL_IN) events |= POLLIN;
    if (slirp & SLIRP_POLL_OUT) events |= POLLOUT;
    if (slirp & SLIRP_POLL_PRI) events |= POLLPRI;
    return static_cast<short>(events);
}

int from_poll(short events) {
    int slirp = 0;
    if (events & POLLIN) slirp |= SLIRP_POLL_IN;
    if (events & POLLOUT) slirp |= SLIRP_POLL_OUT;
    if (events & POLLPRI) slirp |= SLIRP_POLL_PRI;
    if (events & POLLERR) slirp |= SLIRP_POLL_ERR;
    if (events & POLLHUP) slirp |= SLIRP_POLL_HUP;
    return slirp;
}

class UserNetwork final : public NetworkBackend {
  public:
    UserNetwork(const UserNetworkConfig& config, Log& log) : log_(log), dhcp_(config.dhcp) {
        SlirpConfig slirp = {};
        slirp.version = 4;
        slirp.in_enabled = true;
        slirp.vnetwork = to_network(config.dhcp.server & config.dhcp.mask);
        slirp.vnetmask = to_network(config.dhcp.mask);
        slirp.vhost = to_network(config.dhcp.server);
        slirp.vdhcp_start = to_network(config.dhcp.first);
        slirp.vnameserver = to_network(config.dhcp.name_server);
        slirp.in6_enabled = true;
        inet_pton(AF_INET6, "fec0::", &slirp.vprefix_addr6);
        slirp.vprefix_len = 64;
        inet_pton(AF_INET6, "fec0::2", &slirp.vhost6);
        inet_pton(AF_INET6, "fec0::3", &slirp.vnameserver6);
        slirp.tftp_path = config.tftp_folder.empty() ? nullptr : config.tftp_folder.c_str();
        slirp.disable_dhcp = true;
        slirp_ = slirp_new(&slirp, &kCallbacks, this);
    }
    ~UserNetwork() override { slirp_cleanup(slirp_); }

    Result<void> forward(const PortForward& forward) {
        if (slirp_add_hostfwd(slirp_, forward.udp, to_network(forward.host), forward.host_port,
                              to_network(forward.guest), forward.guest_port) != 0)
            return Error{ErrorKind::usage, "cannot listen at " + to_text(forward.host) + ":" +
                                               std::to_string(forward.host_port) + ": " + std::strerror(errno)};
        ++listening_;
        return {};
    }

    void start(const NetworkHost& host) override {
        host_ = host;
        next_announcement_ = host.now() + kAnnouncements;
    }

    void from_guest(std::span<const u8> frame) override {
        if (DhcpServer::is_request(frame)) {
            if (const auto answer = dhcp_.answer(frame)) host_.deliver(*answer);
            return;
        }
        slirp_input(slirp_, frame.data(), static_cast<int>(frame.size()));
    }

    int prepare(std::vector<pollfd>& wanted) override {
        wanted_ = &wanted;
        first_ = wanted.size();
        u32 timeout = UINT32_MAX;
        slirp_pollfds_fill(slirp_, &timeout, &UserNetwork::add_poll, this);
        wanted_ = nullptr;
        polled_ = wanted.size() - first_;
        if (!host_.now) return -1;
        const u64 now = host_.now();
        const u64 announcement = next_announcement_ > now ? (next_announcement_ - now) / kMillisecond + 1 : 0;
        return static_cast<int>(std::min<u64>(timeout, announcement));
    }

    void ready(std::span<const pollfd> polled) override {
        ready_ = polled;
        slirp_pollfds_poll(slirp_, 0, &UserNetwork::revents, this);
        ready_ = {};
        if (host_.now() < next_announcement_) return;
        next_announcement_ = host_.now() + kAnnouncements;
        slirp_handle_timer(slirp_, SLIRP_TIMER_RA, announcement_opaque_);
    }

    bool has_peers() const override { return polled_ > listening_; }

  private:
    static constexpr u64 kMillisecond = 1'000'000;
    // How often a router announces itself unasked. libslirp's own choice is random, and two runs would differ.
    static constexpr u64 kAnnouncements = 200'000 * kMillisecond;

    static UserNetwork& self(void* opaque) { return *static_cast<UserNetwork*>(opaque); }

    static ssize_t send_packet(const void* bytes, size_t size, void* opaque) {
        const UserNetwork& network = self(opaque);
        if (network.host_.deliver) network.host_.deliver({static_cast<const u8*>(bytes), size});
        return static_cast<ssize_t>(size);
    }
    static void guest_error(const char* message, void* opaque) {
        self(opaque).log_.once(LogChannel::net, "user network: %s", message);
    }
    static i64 clock_get_ns(void* opaque) {
        const UserNetwork& network = self(opaque);
        return network.host_.now ? static_cast<i64>(network.host_.now()) : 0;
    }
    static int add_poll(int descriptor, int events, void* opaque) {
        UserNetwork& network = self(opaque);
        network.wanted_->push_back({descriptor, to_poll(events), 0});
        return static_cast<int>(network.wanted_->size() - network.first_ - 1);
    }
    static int revents(int index, void* opaque) {
        const auto& ready = self(opaque).ready_;
        const size_t at = static_cast<size_t>(index);
        return index >= 0 && at < ready.size() ? from_poll(ready[at].revents) : 0;
    }

    // libslirp's one timer is for router announcements, whose times are ours.
    static void* new_timer(SlirpTimerId, void* timer_opaque, void* opaque) {
        self(opaque).announcement_opaque_ = timer_opaque;
        return opaque;
    }

    // Descriptors are asked for anew before every wait.
    static constexpr SlirpCb kCallbacks = {
        .send_packet = send_packet,
        .guest_error = guest_error,
        .clock_get_ns = clock_get_ns,
        .timer_new = nullptr,
        .timer_free = [](void*, void*) {},
        .timer_mod = [](void*, i64, void*) {},
        .register_poll_fd = [](int, void*) {},
        .unregister_poll_fd = [](int, void*) {},
        .notify = [](void*) {},
        .init_completed = nullptr,
        .timer_new_opaque = new_timer,
    };

    Log& log_;
    DhcpServer dhcp_;
    NetworkHost host_;
    Slirp* slirp_ = nullptr;
    size_t listening_ = 0;
    u64 next_announcement_ = 0;
    void* announcement_opaque_ = nullptr;
    size_t first_ = 0;
    size_t polled_ = 0;
    std::vector<pollfd>* wanted_ = nullptr;
    std::span<const pollfd> ready_;
};

}  // namespace

Result<std::unique_ptr<NetworkBackend>> make_user_network(const UserNetworkConfig& config, Log& log) {
    std::error_code ignored;
    if (!config.tftp_folder.empty() && !std::filesystem::is_directory(config.tftp_folder, ignored))
        return Error{ErrorKind::usage, config.tftp_folder + " is no folder"};
    auto network = std::make_unique<UserNetwork>(config, log);
    for (const PortForward& forward : config.forwards) LODGE_TRY(network->forward(forward));
    return std::unique_ptr<NetworkBackend>(std::move(network));
}

}  // namespace lodge
