#include "disks/server/pxe_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "disks/server/pxe_configuration.h"

namespace lodge::server {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kStartTime{10'000};
constexpr milliseconds kFirstPause{1000}, kLongestPause{60'000};  // before it is started again
constexpr size_t kLongestLine = 512;
constexpr const char* kReady = "DHCP, proxy on subnet";  // what dnsmasq says when it serves
constexpr const char* kTrouble[] = {"fail", "error", "cannot", "bad ", "unknown", "illegal", "missing"};

class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Descriptor() { close(); }
    void close() {
        if (number_ >= 0) ::close(std::exchange(number_, -1));
    }
    int get() const { return number_; }

  private:
    int number_ = -1;
};

struct Pipe {
    Descriptor read, write;
};

Result<Pipe> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return Error{ErrorKind::io, std::string("pipe: ") + std::strerror(errno)};
    return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

std::string dotted(u32 address) {
    const in_addr network_order{htonl(address)};
    std::array<char, INET_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET, &network_order, text.data(), text.size());
    return text.data();
}

u32 ipv4(const sockaddr* address) {
    return ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
}

Result<PxeNetwork> network_of(const std::string& interface) {
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return Error{ErrorKind::io, std::string("getifaddrs: ") + std::strerror(errno)};
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
    bool there = false;
    for (const ifaddrs* each = list; each; each = each->ifa_next) {
        if (interface != each->ifa_name) continue;
        there = true;
        if (!each->ifa_addr || each->ifa_addr->sa_family != AF_INET || !each->ifa_netmask) continue;
        const u32 address = ipv4(each->ifa_addr), mask = ipv4(each->ifa_netmask);
        return PxeNetwork{interface, dotted(address), dotted(address & mask), dotted(mask)};
    }
    return Error{
        ErrorKind::usage,
        "--pxe " + interface + (there ? ": the interface has no IPv4 address" : ": there is no such interface")};
}

Result<void> need_file(const std::string& path, int access, const std::string& package) {
    if (::access(path.c_str(), access) == 0) return {};
    return Error{ErrorKind::not_found, path + ": " + std::strerror(errno) + "; install Debian's package " + package};
}

// A running dnsmasq. It is the child of a shell that ends it when the pipe `life` closes, which the kernel does for us
// if we are killed. (A parent-death signal would be forgotten when dnsmasq gives up being root.)
struct Running {
    pid_t shell = -1;
    Descriptor life, output;
    std::string unfinished;  // line

    Running() = default;
    Running(Running&&) = default;
    Running& operator=(Running&&) = default;
};

constexpr const char* kShell = R"("$@" </dev/null 3<&3 >&4 2>&4 & exec 3<&- 4>&- >/dev/null 2>&1; read -r line; kill $!; wait)";

// Descriptors of the shell's: 0 the life pipe, 3 the configuration, 4 where dnsmasq writes.
Result<Running> spawn(const std::string& program, const std::string& configuration) {
    Descriptor file(::memfd_create("dnsmasq.conf", MFD_CLOEXEC));
    if (file.get() < 0 || ::pwrite(file.get(), configuration.data(), configuration.size(), 0) !=
                              static_cast<ssize_t>(configuration.size()))
        return Error{ErrorKind::io, std::string("dnsmasq's configuration: ") + std::strerror(errno)};
    auto life = make_pipe();
    if (!life) return life.error();
    auto output = make_pipe();
    if (!output) return output.error();

    // Numbers above those that they are to have, so that none is overwritten before it is used.
    constexpr int kAbove = 10, kFirstClosed = 5;
    const Descriptor from(::fcntl(life->read.get(), F_DUPFD_CLOEXEC, kAbove));
    const Descriptor text(::fcntl(file.get(), F_DUPFD_CLOEXEC, kAbove));
    const Descriptor to(::fcntl(output->write.get(), F_DUPFD_CLOEXEC, kAbove));
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, from.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, text.get(), 3);
    ::posix_spawn_file_actions_adddup2(&actions, to.get(), 4);
    ::posix_spawn_file_actions_adddup2(&actions, to.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, to.get(), STDERR_FILENO);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, kFirstClosed);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);  // Ctrl-C on our terminal is not for it

    std::array<std::string, 8> words = {
        "sh", "-c", kShell, "dnsmasq", program, "--keep-in-foreground", "--conf-file=/dev/fd/3", "--log-facility=-"};
    std::string no_pid_file = "--pid-file=";
    std::vector<char*> arguments;
    for (auto& each : words) arguments.push_back(each.data());
    arguments.push_back(no_pid_file.data());
    arguments.push_back(nullptr);
    Running running;
    const int error = ::posix_spawn(&running.shell, "/bin/sh", &actions, &attributes, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    if (error != 0) return Error{ErrorKind::io, std::string("/bin/sh: ") + std::strerror(error)};
    running.life = std::move(life->write);
    running.output = std::move(output->read);
    return running;
}

void end(Running& running) {
    if (running.shell < 0) return;
    running.life.close();
    ::waitpid(running.shell, nullptr, 0);
    running.shell = -1;
}

class Server final : public PxeServer {
  public:
    Server(const PxeConfig& config, std::string configuration, Pipe wake, Log& log)
        : config_(config), configuration_(std::move(configuration)), wake_(std::move(wake)), log_(log) {}

    ~Server() override {
        wake_.write.close();
        if (thread_.joinable()) thread_.join();
        end(running_);
    }

    Result<void> start() {
        LODGE_TRY(start_once());
        thread_ = std::thread([this] { watch(); });
        return {};
    }

  private:
    enum class Read : u8 { line, nothing, ended, told_to_end };

    // The next line that dnsmasq writes, or what else happens until then.
    Read next_line(Clock::time_point deadline, std::string& line);
    Result<void> start_once();
    void watch();
    void tell(const std::string& line);
    bool pause(milliseconds time);

    const PxeConfig config_;
    const std::string configuration_;
    Pipe wake_;  // its writing end closes when it is time to end
    Log& log_;
    Running running_;
    std::thread thread_;
};

Server::Read Server::next_line(Clock::time_point deadline, std::string& line) {
    std::string& text = running_.unfinished;
    for (;;) {
        const size_t end = text.find('\n');
        if (end != std::string::npos || text.size() > kLongestLine) {
            line = text.substr(0, std::min(end, kLongestLine));
            text.erase(0, end == std::string::npos ? text.size() : end + 1);
            return Read::line;
        }
        std::array<pollfd, 2> polls{pollfd{running_.output.get(), POLLIN, 0}, pollfd{wake_.read.get(), POLLIN, 0}};
        const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
        const int ready = ::poll(polls.data(), polls.size(), static_cast<int>(std::clamp<i64>(left, 0, 3'600'000)));
        if (ready < 0 && errno == EINTR) continue;
        if (polls[1].revents != 0) return Read::told_to_end;
        if (ready == 0) return Read::nothing;
        std::array<char, 1024> buffer{};
        const ssize_t count = ::read(running_.output.get(), buffer.data(), buffer.size());
        if (count <= 0) return Read::ended;
        text.append(buffer.data(), static_cast<size_t>(count));
    }
}

// dnsmasq's lines are "dnsmasq-dhcp[PID]: what".
void Server::tell(const std::string& line) {
    const bool trouble = std::any_of(std::begin(kTrouble), std::end(kTrouble),
                                     [&](const char* word) { return line.find(word) != std::string::npos; });
    log_.write(LogChannel::server, trouble ? LogLevel::warning : LogLevel::info, "%s", line.c_str());
}

// Until it says that it serves the network.
Result<void> Server::start_once() {
    auto running = spawn(config_.dnsmasq, configuration_);
    if (!running) return running.error();
    running_ = std::move(*running);
    const auto deadline = Clock::now() + kStartTime;
    std::string line, last = "it says nothing";
    for (;;) {
        const Read read = next_line(deadline, line);
        if (read != Read::line) {
            end(running_);
            return Error{ErrorKind::io, "dnsmasq does not start: " + last};
        }
        tell(line);
        if (line.find(kReady) != std::string::npos) return {};
        last = line;
    }
}

bool Server::pause(milliseconds time) {
    pollfd poll{wake_.read.get(), POLLIN, 0};
    return ::poll(&poll, 1, static_cast<int>(time.count())) == 0;
}

void Server::watch() {
    milliseconds wait = kFirstPause;
    for (;;) {
        std::string line;
        const auto started = Clock::now();
        for (;;) {
            const Read read = next_line(Clock::time_point::max(), line);
            if (read == Read::told_to_end) return;
            if (read == Read::ended) break;
            if (read == Read::line) tell(line);
        }
        end(running_);
        if (Clock::now() - started > kLongestPause) wait = kFirstPause;
        for (;;) {
            log_.write(LogChannel::server, LogLevel::error, "dnsmasq has ended; PXE is off for %lld s",
                       static_cast<long long>(wait.count() / 1000));
            if (!pause(wait)) return;
            wait = std::min(wait * 2, kLongestPause);
            const auto again = start_once();
            if (again) break;
            log_.write(LogChannel::server, LogLevel::error, "%s", again.error().context.c_str());
        }
        log_.write(LogChannel::server, LogLevel::warning, "dnsmasq runs again");
    }
}

}  // namespace

Result<std::unique_ptr<PxeServer>> PxeServer::start(const PxeConfig& config, Log& log) {
    const auto network = network_of(config.interface);
    if (!network) return network.error();
    LODGE_TRY(need_file(config.dnsmasq, X_OK, "dnsmasq-base"));
    for (const char* file : {"/undionly.kpxe", "/ipxe.efi"})
        LODGE_TRY(need_file(config.ipxe_folder + file, R_OK, "ipxe"));
    auto wake = make_pipe();
    if (!wake) return wake.error();
    auto server = std::make_unique<Server>(config, pxe_configuration(*network, config.http_port, config.ipxe_folder),
                                           std::move(*wake), log);
    LODGE_TRY(server->start());
    return std::unique_ptr<PxeServer>(std::move(server));
}

}  // namespace lodge::server
