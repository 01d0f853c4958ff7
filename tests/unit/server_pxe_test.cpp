#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <mutex>
#include <thread>

#include "disks/server/pxe_configuration.h"
#include "disks/server/pxe_server.h"
#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::server;
using namespace lodge::test;

namespace {

// What is told dnsmasq's options, and does as the lines of a shell script say.
struct FakeDnsmasq {
    TemporaryFolder folder;
    std::mutex mutex;
    std::string lines;
    Log log{[this](LogChannel, LogLevel level, const std::string& line) {
        std::lock_guard lock(mutex);
        lines += (level <= LogLevel::warning ? "! " : "") + line + "\n";
    }};
    PxeConfig config{"lo", 8080, folder.path(), folder / "dnsmasq"};

    explicit FakeDnsmasq(const std::string& script) {
        log.set_level(LogLevel::info);
        write("dnsmasq", "#!/bin/sh\n" + script);
        write("undionly.kpxe", "");
        write("ipxe.efi", "");
    }
    void write(const std::string& name, const std::string& content) {
        std::ofstream(folder / name) << content;
        REQUIRE(::chmod((folder / name).c_str(), 0755) == 0);
    }
    bool says(const std::string& text) {
        std::lock_guard lock(mutex);
        return lines.find(text) != std::string::npos;
    }
    bool waits_for(const std::string& text) {
        for (int i = 0; i < 500 && !says(text); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
        return says(text);
    }
};

bool runs(pid_t process) {
    return ::kill(process, 0) == 0;
}

constexpr const char* kServe = "echo dnsmasq-dhcp: DHCP, proxy on subnet 127.0.0.0 >&2; echo $$ > \"${0%/*}/pid\"; ";

}  // namespace

TEST_CASE("dnsmasq's configuration") {
    const std::string text =
        pxe_configuration({"eth0", "192.168.7.1", "192.168.7.0", "255.255.255.0"}, 8080, "/usr/lib/ipxe");
    CHECK(text.find("\ndhcp-range=192.168.7.0,proxy,255.255.255.0\n") != std::string::npos);
    CHECK(text.find("\npxe-service=tag:!ipxe,0,\"lodge\",undionly.kpxe\n") != std::string::npos);
    CHECK(text.find("\ndhcp-boot=tag:ipxe,\"http://192.168.7.1:8080/boot.ipxe?mac=") != std::string::npos);
    // The longest must fit the field `file` of a BOOTP message, 128 bytes with the end.
    const std::string longest =
        pxe_configuration({"eth0", "255.255.255.255", "255.255.255.0", "255.255.255.0"}, 65535, "/usr/lib/ipxe");
    const size_t begin = longest.find("http://");
    CHECK(longest.find('"', begin) - begin < 128);
}

TEST_CASE("dnsmasq is started with its configuration, and ends with us") {
    FakeDnsmasq fake(std::string(kServe) + "cat /dev/fd/3 >&2; echo failed to frobnicate; exec sleep 1000");
    auto server = must(PxeServer::start(fake.config, fake.log));
    CHECK(fake.waits_for("\ndhcp-range=127.0.0.0,proxy,255.0.0.0\n"));
    CHECK(fake.waits_for("\n! failed to frobnicate\n"));
    pid_t process = 0;
    std::ifstream(fake.folder / "pid") >> process;
    CHECK(runs(process));
    server.reset();
    CHECK_FALSE(runs(process));
}

TEST_CASE("dnsmasq is started again when it ends") {
    FakeDnsmasq fake(std::string(kServe) + "test -e \"${0%/*}/again\" && exec sleep 1000; > \"${0%/*}/again\"; exit 3");
    const auto server = must(PxeServer::start(fake.config, fake.log));
    CHECK(fake.waits_for("! dnsmasq has ended; PXE is off for 1 s\n"));
    CHECK(fake.waits_for("! dnsmasq runs again\n"));
}

TEST_CASE("what keeps PXE from starting") {
    FakeDnsmasq fake("echo dnsmasq: cannot do it >&2; exit 2");
    auto error = PxeServer::start(fake.config, fake.log);
    REQUIRE_FALSE(error);
    CHECK(error.error().context == "dnsmasq does not start: dnsmasq: cannot do it");
    const auto context = [&](const PxeConfig& config, ErrorKind kind) {
        auto failed = PxeServer::start(config, fake.log);
        REQUIRE_FALSE(failed);
        CHECK(failed.error().kind == kind);
        return failed.error().context;
    };
    PxeConfig other = fake.config;
    other.interface = "nosuch0";
    CHECK(context(other, ErrorKind::usage) == "--pxe nosuch0: there is no such interface");
    other = fake.config;
    other.dnsmasq = "/nonexistent";
    CHECK(context(other, ErrorKind::not_found).ends_with("install Debian's package dnsmasq-base"));
    REQUIRE(::unlink((fake.folder / "ipxe.efi").c_str()) == 0);
    CHECK(context(fake.config, ErrorKind::not_found).ends_with("install Debian's package ipxe"));
}
