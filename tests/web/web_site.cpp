// web_site STORE [PXE-INTERFACE]: the server's web side on a free port, without a target: sessions and caches are made
// up, and grow evenly, so that a test knows what the page is to show. Says its port in a line, and ends with its
// standard input.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>

#include "disks/server/http_server.h"
#include "disks/server/pxe_server.h"

using namespace lodge;
using namespace lodge::server;

namespace {

constexpr u64 kReadRate = 8'000'000, kWriteRate = 1'000'000;  // bytes per second of the first session
constexpr u64 kRequestBytes = 16'384;

class MadeUpLive final : public Live {
  public:
    ServerFacts facts() override {
        const u64 seconds = elapsed();
        return {.started = clock_time() - static_cast<Time>(seconds),
                .iscsi_address = "127.0.0.1:3260",
                .base_cache_bytes = 96 * kMiB,
                .base_cache_hits = 900 * seconds,
                .base_cache_misses = 100 * seconds,
                .free_bytes = 512 * kGiB};
    }
    std::vector<LiveSession> sessions() override {
        std::vector<LiveSession> list;
        if (!disconnected_) list.push_back(session("a1", "52:54:00:00:00:01", "Front desk", "debian", Mode::shared, 1));
        list.push_back(session("b2", "52:54:00:00:00:02", "", "win10", Mode::private_writes, 4));
        return list;
    }
    std::vector<CacheUse> caches() override {
        return {{"52:54:00:00:00:01", "debian", 48 * kMiB, 16 * kMiB, 1024 * kMiB, false},
                {"52:54:00:00:00:03", "debian", 0, 1024 * kMiB, 1024 * kMiB, true}};
    }
    Result<void> disconnect(const std::string& id) override {
        if (id != "a1" || disconnected_) return Error{ErrorKind::not_found, "there is no session " + id};
        disconnected_ = true;
        return {};
    }
    std::optional<std::string> in_use(const std::string& vdisk, Mode mode, const std::string& mac) override {
        if (vdisk != "win10" || mac == "52:54:00:00:00:02") return {};
        return "in use by 52:54:00:00:00:02";
    }

  private:
    u64 elapsed() const { return static_cast<u64>(microseconds() / 1'000'000); }
    u64 microseconds() const {
        return static_cast<u64>(std::chrono::duration_cast<std::chrono::microseconds>(
                                    std::chrono::steady_clock::now() - began_)
                                    .count());
    }
    LiveSession session(const char* id, const char* mac, const char* name, const char* vdisk, Mode mode, u64 slower) {
        const u64 read = kReadRate * microseconds() / 1'000'000 / slower;
        const u64 written = kWriteRate * microseconds() / 1'000'000 / slower;
        return {.id = id,
                .mac = mac,
                .client_name = name,
                .initiator = initiator_name(mac),
                .vdisk = vdisk,
                .mode = mode,
                .address = "192.0.2.7:49152",
                .since = clock_time() - static_cast<Time>(elapsed()),
                .connections = 1,
                .traffic = {read, written, read / kRequestBytes, written / kRequestBytes}};
    }

    const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
    std::atomic<bool> disconnected_ = false;
};

int fail(const Error& error) {
    std::fprintf(stderr, "web_site: %s\n", error.context.c_str());
    return 2;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 2) return fail({ErrorKind::usage, "web_site STORE [PXE-INTERFACE]"});
    const auto store = open_store(arguments[1]);
    if (!store) return fail(store.error());
    Log log([](LogChannel, LogLevel, const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); });
    log.set_level(LogLevel::info);
    MadeUpLive live;
    const auto web = WebServer::create({.port = 0}, **store, live, log);
    if (!web) return fail(web.error());
    std::unique_ptr<PxeServer> pxe;
    if (count > 2) {
        auto started = PxeServer::start({.interface = arguments[2], .http_port = (*web)->port()}, log);
        if (!started) return fail(started.error());
        pxe = std::move(*started);
    }
    std::printf("%u\n", (*web)->port());
    std::fflush(stdout);
    while (std::getchar() != EOF) {
    }
    return 0;
}
