#include "net/tap_network.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace lodge {

namespace {

class TapNetwork final : public NetworkBackend {
  public:
    explicit TapNetwork(int descriptor) : descriptor_(descriptor) {}
    ~TapNetwork() override { close(descriptor_); }

    void start(const NetworkHost& host) override { host_ = host; }

    // What the host cannot take now is lost, as on any wire.
    void from_guest(std::span<const u8> frame) override {
        static_cast<void>(!write(descriptor_, frame.data(), frame.size()));
    }

    int prepare(std::vector<pollfd>& wanted) override {
        // The kernel keeps (and drops) what a guest that does not keep up leaves there.
        wanted.push_back({host_.crowded() ? -1 : descriptor_, POLLIN, 0});
        return -1;
    }

    void ready(std::span<const pollfd> polled) override {
        if (polled.empty() || !(polled[0].revents & POLLIN)) return;
        for (int frames = 0; frames < kMostAtOnce && !host_.crowded(); ++frames) {
            const ssize_t size = read(descriptor_, frame_, sizeof frame_);
            if (size <= 0) return;
            host_.deliver({frame_, static_cast<size_t>(size)});
        }
    }

    bool has_peers() const override { return true; }

  private:
    static constexpr int kMostAtOnce = 64;

    int descriptor_;
    NetworkHost host_;
    u8 frame_[65536];
};

Error refused(const std::string& interface, int why) {
    std::string context = std::string(std::strerror(why));
    if (why == EPERM || why == EACCES)
        context +=
            "; as root: ip tuntap add dev " + interface + " mode tap user YOU && ip link set " + interface + " up";
    if (why == ENOENT) context += "; as root: modprobe tun";
    if (why == EBUSY) context += "; somebody else has it open";
    return {ErrorKind::usage, context};
}

}  // namespace

Result<std::unique_ptr<NetworkBackend>> open_tap(const std::string& interface) {
    if (interface.empty() || interface.size() >= IFNAMSIZ)
        return Error{ErrorKind::usage, "an interface's name has 1 to 15 characters"};
    const int descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (descriptor < 0) return refused(interface, errno);
    ifreq request = {};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    std::memcpy(request.ifr_name, interface.c_str(), interface.size());
    if (ioctl(descriptor, TUNSETIFF, &request) != 0) {
        const int why = errno;
        close(descriptor);
        return refused(interface, why);
    }
    return std::unique_ptr<NetworkBackend>(std::make_unique<TapNetwork>(descriptor));
}

}  // namespace lodge
