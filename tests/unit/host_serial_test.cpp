// Serial ports towards the host: files, real sockets, and input that waits for the guest.
#include "frontend/host_serial.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "core/scheduler.h"
#include "frontend/host_socket.h"

using namespace lodge;

namespace {

struct Folder {
    Folder() {
        char name[] = "/tmp/lodge-serial-XXXXXX";
        path = mkdtemp(name);
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string file(const std::string& name) const { return (path / name).string(); }
    std::filesystem::path path;
};

// A serial port of a guest that reads nothing, or all when asked to.
struct Guest {
    GuestClock clock{ClockMode::virtual_time};
    Scheduler scheduler{clock};
    InputQueue inputs;
    Log log;
    Uart uart{scheduler, inputs, nullptr, IrqLine(), log, "com1"};
    SerialFeed feed{inputs, uart};

    Guest() { uart.write(2, 0x01); }  // FIFOs on

    std::string read_all() {
        inputs.apply_all(0);
        std::string text;
        for (;;) {
            while (uart.read(5) & 1) text += static_cast<char>(uart.read(0));
            if (scheduler.next() == kNever) return text;
            clock.skip_to(scheduler.next());
            scheduler.run_due();
        }
    }
};

// A client's end of a connection; waits for ten seconds at most.
struct Client {
    explicit Client(int socket) : descriptor(socket) {}
    Client(const Client&) = delete;
    ~Client() { close(descriptor); }

    bool ready(short what, int milliseconds = 10'000) const {
        pollfd source{descriptor, what, 0};
        return poll(&source, 1, milliseconds) > 0;
    }
    std::string receive(size_t count) const {
        std::string text;
        char bytes[4096];
        while (text.size() < count && ready(POLLIN)) {
            const ssize_t got = recv(descriptor, bytes, std::min(sizeof bytes, count - text.size()), 0);
            if (got <= 0) break;
            text.append(bytes, static_cast<size_t>(got));
        }
        return text;
    }
    void send(const std::string& text) const { CHECK(::send(descriptor, text.data(), text.size(), 0) > 0); }

    int descriptor;
};

int connect_unix(const std::string& path) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const int descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    return descriptor;
}

sockaddr_in loopback(u16 port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

// A port that was free a moment ago.
u16 free_port() {
    const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    REQUIRE(bind(descriptor, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    close(descriptor);
    return ntohs(address.sin_port);
}

void write_text(CharPort& port, const std::string& text) {
    port.write(std::span(reinterpret_cast<const u8*>(text.data()), text.size()));
}

// The guest prints until the client hears it: a client is served a moment after its connect has returned.
bool served(CharPort& port, const Client& client) {
    for (int i = 0; i < 2000; ++i) {
        write_text(port, ".");
        if (client.ready(POLLIN, 5)) return true;
    }
    return false;
}

// Posts of other threads reach the guest.
std::string read_until(Guest& guest, size_t count) {
    std::string text;
    for (int i = 0; i < 1000 && text.size() < count; ++i) {
        guest.inputs.wait(10'000'000);
        text += guest.read_all();
    }
    return text;
}

std::string why_not(const std::string& value) {
    const auto port = open_host_port("--serial", value);
    return port.ok() ? "" : port.error().context;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("host_serial: words that are no port are refused in one line that names the option") {
    const Folder folder;
    std::ofstream(folder.file("plain")) << "text";
    CHECK(open_host_port("--serial", "null").ok());
    CHECK(contains(why_not("modem"), "--serial modem: not one of"));
    CHECK(contains(why_not(""), "--serial : not one of"));
    CHECK(contains(why_not("file:" + folder.file("no/such")), "cannot write " + folder.file("no/such")));
    CHECK(contains(why_not("unix:"), "--serial unix:: no path named"));
    CHECK(contains(why_not("unix:" + std::string(200, 'x')), "at most 107 bytes"));
    CHECK(contains(why_not("unix:" + folder.file("plain")), folder.file("plain") + " is there and no socket"));
    CHECK(contains(why_not("unix:" + folder.file("no/such")), "cannot listen at " + folder.file("no/such")));
    for (const char* address : {"", "5555", ":5555"})
        CHECK(contains(why_not(std::string("tcp:") + address), "HOST:PORT"));
    for (const char* port : {"", "0", "65536", "-1", "http", "999999"})
        CHECK(contains(why_not(std::string("tcp:127.0.0.1:") + port), "the port must be 1 to 65535"));
    CHECK(contains(why_not("tcp:no such host:5555"), "no such host"));
    CHECK(std::filesystem::file_size(folder.file("plain")) == 4);
}

TEST_CASE("host_serial: a file gets everything before the port is gone") {
    const Folder folder;
    std::string expected;
    {
        auto port = open_host_port("--serial", "file:" + folder.file("out"));
        REQUIRE(port.ok());
        for (int i = 0; i < 5000; ++i) {
            const std::string line = "line " + std::to_string(i) + "\n";
            write_text(**port, line);
            expected += line;
        }
    }
    std::ifstream file(folder.file("out"));
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    CHECK(text == expected);
}

TEST_CASE("host_serial: a pipe that is full makes the guest wait, and nothing is lost") {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const std::string text(3 * kMiB, 'x');
    std::atomic<bool> written = false;
    auto writer = std::make_unique<AsyncWriter>(ends[1], true);
    std::thread guest([&] {
        for (size_t at = 0; at < text.size(); at += 64 * kKiB) write_text(*writer, text.substr(at, 64 * kKiB));
        written = true;
        writer.reset();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK_FALSE(written);
    size_t got = 0;
    std::vector<char> bytes(64 * kKiB);
    for (ssize_t count; (count = read(ends[0], bytes.data(), bytes.size())) > 0;) got += static_cast<size_t>(count);
    guest.join();
    close(ends[0]);
    CHECK(got == text.size());
}

TEST_CASE("host_serial: an abandoned port waits for no reader, and still writes what one takes") {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const auto started = std::chrono::steady_clock::now();
    {
        AsyncWriter writer(ends[1], true);
        std::thread guest([&] {
            for (int i = 0; i < 40; ++i) write_text(writer, std::string(64 * kKiB, 'x'));
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        writer.abandon();
        guest.join();
    }
    CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(20));
    close(ends[0]);

    const Folder folder;
    {
        auto port = open_host_port("--serial", "file:" + folder.file("out"));
        REQUIRE(port.ok());
        (*port)->abandon();
        write_text(**port, std::string(100'000, 'x'));
    }
    CHECK(std::filesystem::file_size(folder.file("out")) == 100'000);
}

TEST_CASE("host_serial: a unix socket carries bytes both ways, one client after the other") {
    const Folder folder;
    Guest guest;
    {
        auto port = open_host_port("--serial", "unix:" + folder.file("serial"));
        REQUIRE(port.ok());
        write_text(**port, "nobody listens, the guest does not wait");
        (*port)->connect(&guest.feed);
        for (int turn = 0; turn < 3; ++turn) {
            const Client client(connect_unix(folder.file("serial")));
            REQUIRE(served(**port, client));
            write_text(**port, "login: ");
            std::string heard;
            while (!contains(heard, "login: ") && client.ready(POLLIN)) heard += client.receive(1);
            CHECK(heard.substr(heard.find_first_not_of('.')) == "login: ");
            client.send("root\n");
            CHECK(read_until(guest, 5) == "root\n");
        }
        (*port)->connect(nullptr);
        const Client last(connect_unix(folder.file("serial")));
        REQUIRE(served(**port, last));
        last.send("nobody wants to know");
        write_text(**port, "the end");
        port = Error{};
        std::string heard = last.receive(10'000);
        CHECK(heard.ends_with("the end"));  // then the connection ends
    }
    CHECK(guest.inputs.empty());
    CHECK_FALSE(std::filesystem::exists(folder.file("serial")));
}

TEST_CASE("host_serial: a second client waits until the first has gone") {
    const Folder folder;
    auto port = open_host_port("--serial", "unix:" + folder.file("serial"));
    REQUIRE(port.ok());
    auto first = std::make_unique<Client>(connect_unix(folder.file("serial")));
    REQUIRE(served(**port, *first));
    const Client second(connect_unix(folder.file("serial")));
    write_text(**port, "for the first");
    CHECK_FALSE(second.ready(POLLIN, 30));
    first.reset();
    CHECK(served(**port, second));
}

TEST_CASE("host_serial: a socket that was left over is replaced, one that is in use is not") {
    const Folder folder;
    const std::string path = folder.file("serial");
    {
        sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
        REQUIRE(bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        close(stale);
    }
    REQUIRE(std::filesystem::exists(path));
    auto port = open_host_port("--serial", "unix:" + path);
    REQUIRE(port.ok());
    CHECK(contains(why_not("unix:" + path), "--serial unix:" + path + ": " + path + " is in use"));
    const Client client(connect_unix(path));
    CHECK(served(**port, client));
}

TEST_CASE("host_serial: a TCP port") {
    const u16 number = free_port();
    const std::string value = "tcp:127.0.0.1:" + std::to_string(number);
    Guest guest;
    auto port = open_host_port("--serial", value);
    REQUIRE(port.ok());
    (*port)->connect(&guest.feed);
    CHECK(contains(why_not(value), value + ": cannot listen at 127.0.0.1:"));
    const Client client(socket(AF_INET, SOCK_STREAM, 0));
    const sockaddr_in address = loopback(number);
    REQUIRE(connect(client.descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(served(**port, client));
    client.send("hello");
    CHECK(read_until(guest, 5) == "hello");
    (*port)->connect(nullptr);
}

TEST_CASE("host_serial: a client that does not read does not stop the guest") {
    const Folder folder;
    auto port = open_host_port("--serial", "unix:" + folder.file("serial"));
    REQUIRE(port.ok());
    const Client client(connect_unix(folder.file("serial")));
    REQUIRE(served(**port, client));
    const std::string text(kMiB, 'x');
    for (int i = 0; i < 8; ++i) write_text(**port, text);
    CHECK(client.receive(kMiB).size() == kMiB);
}

TEST_CASE("host_serial: a client waits while the guest does not read; nothing is lost") {
    const Folder folder;
    Guest guest;
    auto port = open_host_port("--serial", "unix:" + folder.file("serial"));
    REQUIRE(port.ok());
    (*port)->connect(&guest.feed);
    const Client client(connect_unix(folder.file("serial")));
    std::string text;
    while (text.size() < kMiB) text += "number " + std::to_string(text.size()) + "\n";
    std::atomic<bool> sent = false;
    std::thread sender([&] {
        for (size_t at = 0; at < text.size();) {
            const ssize_t count = ::send(client.descriptor, text.data() + at, text.size() - at, 0);
            if (count <= 0) break;
            at += static_cast<size_t>(count);
        }
        sent = true;
    });
    for (int i = 0; i < 20; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        guest.inputs.apply_all(0);
    }
    CHECK_FALSE(sent);
    CHECK(guest.uart.waiting() <= Uart::kBacklog);
    CHECK(read_until(guest, text.size()) == text);
    sender.join();
    (*port)->connect(nullptr);
}

TEST_CASE("host_serial: the feed counts what is under way and what waits") {
    Guest guest;
    const size_t all = guest.feed.room();
    CHECK(all == Uart::kBacklog);
    guest.feed.send(std::vector<u8>(1000, 'x'));
    CHECK(guest.feed.room() == all - 1000);
    guest.inputs.apply_all(0);
    CHECK(guest.uart.received_count() == 1000);
    CHECK(guest.feed.room() == all - guest.uart.waiting());
    CHECK(guest.read_all().size() == 1000);
    CHECK(guest.feed.room() == all);
    guest.feed.send(std::vector<u8>(all, 'x'));
    CHECK(guest.feed.room() == 0);
    CHECK(guest.read_all().size() == all);
    CHECK(guest.feed.room() == all);
    guest.uart.receive(std::vector<u8>(all, 'x'));  // another sender, who does not ask
    CHECK(guest.feed.room() == all - guest.uart.waiting());
    guest.read_all();
    CHECK(guest.feed.room() == all);

    // A state that is loaded brings its own backlog.
    guest.feed.send(std::vector<u8>(500, 'x'));
    guest.inputs.apply_all(0);
    StateIo out;
    guest.uart.state(out);
    Guest other;
    StateIo in(out.take());
    other.uart.state(in);
    CHECK(other.uart.waiting() == guest.uart.waiting());
    CHECK(other.feed.room() == all - other.uart.waiting());
}
