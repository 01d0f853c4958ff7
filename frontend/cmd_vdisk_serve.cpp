// `lodge vdisk serve`: runs the server until a signal ends it.
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>

#include "disks/server/vdisk_server.h"
#include "frontend/disk_arguments.h"
#include "frontend/vdisk_arguments.h"
#include "frontend/vdisk_output.h"

namespace lodge {

namespace {

constexpr u32 kDrainSeconds = 10;

struct ServeArguments {
    server::ServerConfig config;
    std::string base_cache = "256M";

    void add_to(CLI::App& command) {
        command.add_option("--listen", config.listen, "numeric address; 0.0.0.0: all of IPv4, ::: IPv6 too");
        command.add_option("--http-port", config.http_port, "of boot scripts, API and page; 0: a free one");
        command.add_option("--iscsi-port", config.iscsi_port, "of the iSCSI target; 0: a free one");
        command.add_option("--pxe", config.pxe_interface,
                           "boot real PCs on that network interface: proxy-DHCP and TFTP");
        command.add_flag("--admin-from-anywhere", config.administer_from_anywhere,
                         "API and page answer other hosts too; the settings must have a password");
        command.add_option("--base-cache", base_cache, "memory for blocks of shared vDisks: N, NK, NM, NG");
    }
};

// Signals come to one thread only, and only when it asks.
class EndSignals {
  public:
    EndSignals() {
        sigemptyset(&set_);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set_, signal);
        pthread_sigmask(SIG_BLOCK, &set_, &before_);
        ::signal(SIGPIPE, SIG_IGN);
    }
    ~EndSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    EndSignals(const EndSignals&) = delete;
    EndSignals& operator=(const EndSignals&) = delete;

    void wait() const {
        int signal = 0;
        while (sigwait(&set_, &signal) != 0) {
        }
    }

  private:
    sigset_t set_;
    sigset_t before_;
};

// A connection and a cache's file for each of thousands of clients.
void allow_many_files() {
    struct rlimit limit {};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

void say(const std::string& line) {
    fmt::print("{} {}\n", time_for_people(server::clock_time()), line);
    std::fflush(stdout);
}

Result<void> serve(ServeArguments& arguments, const std::string& folder) {
    const auto base_cache = parse_size(arguments.base_cache);
    if (!base_cache) return base_cache.error();
    arguments.config.folder = folder;
    arguments.config.base_cache_bytes = *base_cache;
    const EndSignals signals;
    allow_many_files();
    Log log([](LogChannel, LogLevel, const std::string& line) { say(line); });
    log.set_level(LogChannel::server, LogLevel::info);
    auto server = server::VDiskServer::start(arguments.config, log);
    if (!server) return server.error();
    const bool v6 = arguments.config.listen.find(':') != std::string::npos;
    const std::string host = v6 ? "[" + arguments.config.listen + "]" : arguments.config.listen;
    say(fmt::format("serving {}: iSCSI at {}, boot scripts and administration at http://{}:{}/", folder,
                    (*server)->facts().iscsi_address, host, (*server)->http_port()));
    signals.wait();
    say("stopping");
    (*server)->stop(kDrainSeconds);
    say("stopped");
    return {};
}

}  // namespace

void add_vdisk_serve(CLI::App& vdisk, int& exit_status) {
    const auto arguments = std::make_shared<ServeArguments>();
    arguments->add_to(*add_store_command(vdisk, "serve", "serve the vDisks until a signal ends it", exit_status,
                                         [arguments](const std::string& folder) { return serve(*arguments, folder); }));
}

}  // namespace lodge
