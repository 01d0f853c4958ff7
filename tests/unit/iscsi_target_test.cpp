// The target with its sockets and its thread.
#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>

#include "disks/iscsi/target.h"
#include "tests/iscsi/initiator.h"

using namespace lodge;
using namespace lodge::iscsi_test;

namespace {

struct Events final : Observer {
    std::mutex mutex;
    std::vector<std::string> ends, refusals;
    std::atomic<u32> began = 0;
    std::function<void(const SessionInfo&)> at_begin;

    void session_began(const SessionInfo& session) override {
        ++began;
        if (at_begin) at_begin(session);
    }
    void session_ended(const SessionInfo&, const std::string& why) override {
        std::lock_guard lock(mutex);
        ends.push_back(why);
    }
    void refused(const Caller&, const std::string&, const std::string& why) override {
        std::lock_guard lock(mutex);
        refusals.push_back(why);
    }
};

struct Running {
    explicit Running(Limits limits = {}, bool at_once = true) {
        directory.names = {"iqn.2026-11.io.lodge:one"};
        directory.disk = TrialDisk::in_memory(kMiB, at_once);
        target = Target::create({.port = 0, .limits = limits}, directory, &events, log);
        REQUIRE(target->start().ok());
    }
    u16 port() const {
        const std::string portal = target->portals().at(0);
        return static_cast<u16>(std::stoi(portal.substr(portal.rfind(':') + 1)));
    }

    Log log;
    Events events;
    TrialDirectory directory;
    std::unique_ptr<Target> target;
};

// A blocking socket to it.
class Client {
  public:
    explicit Client(const Running& running) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(running.port());
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        timeval patience{10, 0};
        ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        REQUIRE(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    }
    ~Client() { ::close(socket_); }

    void send(Header header, std::vector<u8> data = {}) {
        header.set_data_bytes(static_cast<u32>(data.size()));
        data.resize(align_up(data.size(), 4));
        std::vector<u8> bytes(header.bytes().begin(), header.bytes().end());
        bytes.insert(bytes.end(), data.begin(), data.end());
        CHECK(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
    }
    // Nothing: the connection has ended.
    std::optional<Received> receive() {
        std::vector<u8> bytes(kHeaderBytes);
        if (!fill(bytes)) return std::nullopt;
        Received received{Header(bytes), {}};
        received.data.resize(align_up(received.header.data_bytes(), 4));
        if (!fill(received.data)) return std::nullopt;
        received.data.resize(received.header.data_bytes());
        return received;
    }
    bool log_in(const std::string& initiator = "iqn.2026-11.test:a", u16 isid = 1) {
        Header header(Opcode::login, 0x87);
        header.set(0, u8{0x43});
        header.set(12, isid);
        std::vector<u8> text;
        append_text(text, "InitiatorName", initiator);
        append_text(text, "TargetName", "iqn.2026-11.io.lodge:one");
        send(header, text);
        const auto answer = receive();
        return answer && answer->header.get<u16>(36) == 0;
    }
    void read(u32 tag, u32 bytes) {
        Header header(Opcode::scsi_command, 0xC1);
        header.set_initiator_tag(tag);
        header.set(20, bytes);
        header.set(24, command_sn++);
        const auto cdb = Initiator::read_10(0, static_cast<u16>(bytes / 512));
        for (size_t i = 0; i < cdb.size(); ++i) header.set(32 + i, cdb[i]);
        send(header);
    }
    u32 command_sn = 0;

  private:
    bool fill(std::vector<u8>& bytes) {
        size_t at = 0;
        while (at < bytes.size()) {
            const ssize_t got = ::recv(socket_, &bytes[at], bytes.size() - at, 0);
            if (got <= 0) return false;
            at += static_cast<size_t>(got);
        }
        return true;
    }
    int socket_;
};

bool within_seconds(int seconds, const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

}  // namespace

TEST_CASE("a session through sockets, with its counts") {
    Running running;
    Client client(running);
    REQUIRE(client.log_in());
    client.read(1, 512);
    CHECK(client.receive()->header.byte(3) == 2);  // the power-on attention
    client.read(2, 65536);
    const auto data = client.receive();
    REQUIRE(data);
    CHECK(data->is(Opcode::data_in));
    CHECK(data->data.size() == 8192);
    for (int i = 1; i < 8; ++i) CHECK(client.receive()->data.size() == 8192);
    const auto sessions = running.target->sessions();
    REQUIRE(sessions.size() == 1);
    CHECK(sessions[0].reads == 1);
    CHECK(sessions[0].read_bytes == 65536);
    CHECK(sessions[0].connections == 1);
    CHECK(sessions[0].address.starts_with("127.0.0.1:"));
    CHECK(sessions[0].since > 1'700'000'000);
}

TEST_CASE("addresses that cannot be listened at") {
    Running running;
    TargetOptions options{.addresses = {"nowhere"}};
    auto result = Target::create(options, running.directory, nullptr, running.log)->start();
    CHECK(result.error().kind == ErrorKind::usage);
    options = {.port = running.port()};
    result = Target::create(options, running.directory, nullptr, running.log)->start();
    CHECK(result.error().kind == ErrorKind::locked);
}

TEST_CASE("sessions are dropped from any thread") {
    Running running;
    Client one(running), two(running);
    REQUIRE(one.log_in("iqn.2026-11.test:a"));
    REQUIRE(two.log_in("iqn.2026-11.test:b"));
    const u32 dropped = running.target->drop_sessions(
        [](const SessionInfo& session) { return session.initiator.ends_with(":a"); }, "no more");
    CHECK(dropped == 1);
    const auto sessions = running.target->sessions();
    REQUIRE(sessions.size() == 1);
    CHECK(sessions[0].initiator == "iqn.2026-11.test:b");
    CHECK_FALSE(one.receive());
    CHECK(running.events.ends == std::vector<std::string>{"no more"});
    CHECK_FALSE(running.target->disconnect(99, 1));
    CHECK(running.target->disconnect(sessions[0].id, 0));
    CHECK(two.receive()->is(Opcode::asynchronous_message));
    CHECK(within_seconds(5, [&] { return running.target->sessions().empty(); }));
}

TEST_CASE("an observer may have sessions dropped") {
    Running running;
    running.events.at_begin = [&](const SessionInfo& began) {
        CHECK(running.target->sessions().size() == running.events.began);
        running.target->drop_sessions([&](const SessionInfo& session) { return session.id != began.id; }, "replaced");
    };
    Client one(running), two(running);
    REQUIRE(one.log_in("iqn.2026-11.test:a"));
    REQUIRE(two.log_in("iqn.2026-11.test:b"));
    CHECK_FALSE(one.receive());
    CHECK(running.target->sessions().size() == 1);
    running.events.at_begin = {};
}

TEST_CASE("floods: the oldest that has not logged in makes room") {
    Limits limits;
    limits.connections = 4;
    limits.logins = 3;
    Running running(limits);
    Client session(running);
    REQUIRE(session.log_in());
    Client one(running), two(running), three(running);
    Client four(running);
    CHECK_FALSE(one.receive());
    CHECK(four.log_in("iqn.2026-11.test:b"));
    CHECK(two.log_in("iqn.2026-11.test:c"));
    CHECK(three.log_in("iqn.2026-11.test:d"));
    // Whoever has logged in stays, and no more come in.
    Client five(running);
    CHECK_FALSE(five.receive());
    CHECK(running.target->sessions().size() == 4);
}

TEST_CASE("a connection that says nothing is closed in time") {
    Limits limits;
    limits.login_seconds = 1;
    Running running(limits);
    Client client(running);
    CHECK_FALSE(client.receive());
}

TEST_CASE("a slow reader stops, and goes on") {
    Limits limits;
    limits.queued_bytes = 64 * 1024;
    Running running(limits);
    Client client(running);
    REQUIRE(client.log_in());
    client.read(1, 512);
    client.receive();
    constexpr u32 kReads = 64, kBytes = 512 * 1024;
    std::thread sender([&] {
        for (u32 i = 0; i < kReads; ++i) client.read(10 + i, kBytes);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    u64 bytes = 0;
    for (u32 done = 0; done < kReads;) {
        const auto pdu = client.receive();
        REQUIRE(pdu);
        bytes += pdu->data.size();
        if (pdu->header.flags() & 1) ++done;
    }
    sender.join();
    CHECK(bytes == u64{kReads} * kBytes);
}

TEST_CASE("the target stops with work under way, and its directory's disk lives on") {
    Running running({}, false);
    {
        Client client(running);
        REQUIRE(client.log_in());
        for (u32 i = 0; i < 16; ++i) client.read(i, 65536);
        running.target->stop();
    }
    CHECK(running.target->sessions().empty());
    auto other = Target::create({.port = 0}, running.directory, nullptr, running.log);
    REQUIRE(other->start().ok());
    other.swap(running.target);
    other.reset();
    Client again(running);
    CHECK(again.log_in());
}

TEST_CASE("draining asks initiators to log out") {
    Running running;
    Client polite(running), deaf(running);
    REQUIRE(polite.log_in("iqn.2026-11.test:a"));
    REQUIRE(deaf.log_in("iqn.2026-11.test:b"));
    std::thread drain([&] { running.target->drain(1); });
    const auto message = polite.receive();
    REQUIRE(message);
    CHECK(message->is(Opcode::asynchronous_message));
    Header header(Opcode::logout, 0x80);
    header.set(0, u8{0x46});
    polite.send(header);
    const auto answer = polite.receive();
    REQUIRE(answer);
    CHECK(answer->is(Opcode::logout_response));
    drain.join();
    CHECK(running.events.ends.size() == 2);
    CHECK(std::count(running.events.ends.begin(), running.events.ends.end(), "logged out") == 1);
}
