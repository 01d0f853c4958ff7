// The iSCSI target over one image, without a store: for tests and benchmarks.
//
//     iscsi_target_trial [options]: prints "portal ADDRESS:PORT", serves until its standard input ends.
#include <poll.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>

#include "disks/iscsi/target.h"
#include "tests/iscsi/trial_directory.h"

using namespace lodge;
using namespace lodge::iscsi_test;

namespace {

struct Options {
    std::string address = "127.0.0.1", file, user, secret, mutual_user, mutual_secret;
    std::vector<std::string> names{"iqn.2026-11.io.lodge:trial"};
    u16 port = 0;
    u64 memory = 64 * kMiB;
    bool read_only = false, by_worker = false, quiet = false;
    u32 drain_seconds = 0;
    iscsi::Limits limits;
};

class Teller final : public iscsi::Observer {
  public:
    void session_began(const iscsi::SessionInfo& session) override { tell("began", session, ""); }
    void session_ended(const iscsi::SessionInfo& session, const std::string& why) override {
        tell("ended", session, why);
    }
    void refused(const iscsi::Caller& caller, const std::string& target, const std::string& why) override {
        std::printf("refused '%s' from %s at '%s': %s\n", caller.initiator.c_str(), caller.address.c_str(),
                    target.c_str(), why.c_str());
        std::fflush(stdout);
    }

  private:
    static void tell(const char* what, const iscsi::SessionInfo& session, const std::string& why) {
        std::printf(
            "session %llu %s: '%s' from %s at '%s' as '%s', %llu reads of %llu bytes, %llu writes of %llu%s%s\n",
            static_cast<unsigned long long>(session.id), what, session.initiator.c_str(), session.address.c_str(),
            session.target.c_str(), session.chap_name.c_str(), static_cast<unsigned long long>(session.reads),
            static_cast<unsigned long long>(session.read_bytes), static_cast<unsigned long long>(session.writes),
            static_cast<unsigned long long>(session.written_bytes), why.empty() ? "" : ": ", why.c_str());
        std::fflush(stdout);
    }
};

std::shared_ptr<Disk> open_disk(const Options& options) {
    if (options.file.empty()) return TrialDisk::in_memory(options.memory, !options.by_worker);
    const int descriptor = ::open(options.file.c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    struct stat status {};
    if (descriptor < 0 || ::fstat(descriptor, &status) != 0) return nullptr;
    return std::make_shared<TrialDisk>(descriptor, align_down(static_cast<u64>(status.st_size), 512), options.read_only,
                                       !options.by_worker);
}

// Until there is nobody any more who could say something.
void wait_for_end() {
    char byte = 0;
    while (::read(STDIN_FILENO, &byte, 1) > 0) continue;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("The iSCSI target over one image");
    app.add_option("--address", options.address, "where it listens");
    app.add_option("--port", options.port, "0: any");
    app.add_option("--file", options.file, "an image, raw; otherwise memory");
    app.add_option("--memory", options.memory, "bytes of a disk in memory");
    app.add_option("--target", options.names, "target names");
    app.add_option("--user", options.user, "CHAP name");
    app.add_option("--secret", options.secret, "CHAP secret");
    app.add_option("--mutual-user", options.mutual_user, "the target's own CHAP name");
    app.add_option("--mutual-secret", options.mutual_secret, "the target's own CHAP secret");
    app.add_option("--ping", options.limits.ping_seconds, "see Limits");
    app.add_option("--login-seconds", options.limits.login_seconds, "see Limits");
    app.add_option("--connections", options.limits.connections, "see Limits");
    app.add_option("--logins", options.limits.logins, "see Limits");
    app.add_option("--silence", options.limits.silence_seconds, "see Limits");
    app.add_option("--drain", options.drain_seconds, "at the end, asks initiators to log out and waits so long");
    app.add_flag("--read-only", options.read_only);
    app.add_flag("--by-worker", options.by_worker, "nothing is answered at once");
    app.add_flag("--quiet", options.quiet, "does not tell of sessions");
    CLI11_PARSE(app, argc, argv);

    Log log([](LogChannel, LogLevel, const std::string& line) { std::cerr << line << std::endl; });
    TrialDirectory directory;
    directory.names = options.names;
    directory.disk = open_disk(options);
    if (!directory.disk) {
        std::cerr << "iscsi_target_trial: cannot open '" << options.file << "'\n";
        return 2;
    }
    if (!options.user.empty()) directory.proof.accepted.push_back({options.user, options.secret});
    if (!options.mutual_user.empty()) directory.proof.mutual = ChapIdentity{options.mutual_user, options.mutual_secret};
    Teller teller;
    const auto target =
        iscsi::Target::create({.addresses = {options.address}, .port = options.port, .limits = options.limits},
                              directory, options.quiet ? nullptr : &teller, log);
    if (const auto started = target->start(); !started) {
        std::cerr << "iscsi_target_trial: " << started.error().context << "\n";
        return 1;
    }
    std::printf("portal %s\n", target->portals().front().c_str());
    std::fflush(stdout);
    wait_for_end();
    if (options.drain_seconds) target->drain(options.drain_seconds);
    target->stop();
    return 0;
}
