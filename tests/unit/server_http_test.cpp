#include <httplib.h>
#include <sys/socket.h>

#include <thread>

#include "disks/server/http_guard.h"
#include "disks/server/http_listener.h"
#include "disks/server/http_page.h"
#include "disks/server/http_password.h"
#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::server;
using namespace lodge::test;

namespace {

constexpr const char* kHere = "127.0.0.1";

struct EchoListener {
    HttpListener listener{4,
                          {[](const HttpListener::Request& request, HttpListener::Response& response) {
                               response.set_content(request.path, "text/plain");
                               response.status = 200;
                               return request.method == "GET" || request.method == "HEAD";
                           },
                           [](const HttpListener::Request& request, HttpListener::Response& response) {
                               response.set_content(std::to_string(request.body.size()), "text/plain");
                           }}};
    u16 port = must(listener.start(kHere, 0));
};

// A connection by hand, for what no client library sends.
class RawClient {
  public:
    explicit RawClient(u16 port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    }
    ~RawClient() { ::close(socket_); }

    bool send(const std::string& text) {
        return ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
    }
    void end() { ::shutdown(socket_, SHUT_WR); }
    // All up to the end of the connection.
    std::string rest() {
        std::string text;
        char buffer[4096];
        for (ssize_t count; (count = ::recv(socket_, buffer, sizeof buffer, 0)) > 0;)
            text.append(buffer, static_cast<size_t>(count));
        return text;
    }

  private:
    const int socket_;
};

AdminRequest asking(const std::string& address, const std::string& host) {
    return {address, host, "", false, false};
}

int status(AdminGuard& guard, const AdminRequest& request, const std::string& hash = "") {
    const auto refusal = guard.refusal(request, hash);
    return refusal ? refusal->status : 200;
}

}  // namespace

TEST_CASE("the listener answers, on one connection and on many at a time") {
    EchoListener echo;
    httplib::Client client(kHere, echo.port);
    client.set_keep_alive(true);
    for (int i = 0; i < 5; ++i) CHECK(client.Get("/path")->body == "/path");
    CHECK(client.Head("/path")->body.empty());
    CHECK(client.Post("/x", std::string(1000, 'x'), "application/json")->body == "1000");
    CHECK(client.Put("/x", "", "application/json")->body == "0");
    // Ranges are nothing that we know.
    CHECK(client.Get("/path", {{"Range", "bytes=0-0,0-1,1-2"}})->body == "/path");
    std::vector<std::thread> threads;
    std::atomic<int> answers = 0;
    for (int i = 0; i < 40; ++i)
        threads.emplace_back([&] {
            httplib::Client other(kHere, echo.port);
            if (const auto answer = other.Get("/a"); answer && answer->body == "/a") ++answers;
        });
    for (auto& each : threads) each.join();
    CHECK(answers == 40);
}

TEST_CASE("the listener keeps its bounds") {
    EchoListener echo;
    httplib::Client client(kHere, echo.port);
    CHECK(client.Post("/x", std::string(65'536, 'x'), "application/json")->body == "65536");
    CHECK(client.Post("/x", std::string(65'537, 'x'), "application/json")->status == 413);
    SUBCASE("headers without an end") {
        RawClient raw(echo.port);
        raw.send("GET / HTTP/1.1\r\nHost: x\r\n");
        bool sending = true;
        for (int i = 0; i < 100'000 && sending; ++i)
            sending = raw.send("X-Header-" + std::to_string(i) + ": value\r\n");
        CHECK((!sending || raw.rest().starts_with("HTTP/1.1 400")));
    }
    SUBCASE("long lines and odd requests") {
        for (const std::string& request :
             {"GET /" + std::string(20'000, 'x') + " HTTP/1.1\r\n\r\n", std::string("nonsense\r\n\r\n"),
              "GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n",
              "GET / HTTP/1.1\r\nRange: bytes=" + std::string(8000, '-') + "\r\n\r\n",
              std::string("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n"),
              std::string("POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n"), std::string(8, '\0')}) {
            RawClient raw(echo.port);
            raw.send(request);
            raw.end();
            const std::string answer = raw.rest();
            CHECK((answer.empty() || answer.starts_with("HTTP/1.1 4")));
        }
        CHECK(client.Get("/still-there")->body == "/still-there");
    }
}

TEST_CASE("a second listener does not share a port, and one that ends lets its connections go") {
    auto first = std::make_unique<EchoListener>();
    HttpListener second(1, {});
    CHECK_FALSE(second.start(kHere, first->port));
    CHECK_FALSE(second.start("192.0.2.77", 0));
    CHECK_FALSE(second.start("no host", 0));
    RawClient idle(first->port), half(first->port);
    half.send("GET /");
    const auto began = std::chrono::steady_clock::now();
    first.reset();
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(2));
}

TEST_CASE("passwords") {
    const std::string hash = must(hash_password("correct horse"));
    CHECK(hash.starts_with("$y$"));
    CHECK(hash != must(hash_password("correct horse")));
    CHECK(is_password("correct horse", hash));
    CHECK_FALSE(is_password("correct hors", hash));
    CHECK_FALSE(is_password("", ""));
    CHECK_FALSE(is_password("x", "*"));
    CHECK_FALSE(is_password("x", "$nonsense$"));
    CHECK_FALSE(hash_password("short"));
    CHECK_FALSE(hash_password(std::string(300, 'x')));
    CHECK_FALSE(hash_password("12345678\n"));
}

TEST_CASE("the guard: from where, under which name, with which header") {
    AdminGuard guard(false);
    for (const char* host : {"localhost:8080", "LOCALHOST", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080"})
        CHECK_MESSAGE(status(guard, asking(kHere, host)) == 200, host);
    for (const char* host : {"", "evil.example:8080", "localhost.evil.example", "10.0.2.2:8080", "[::2]", "[::1",
                             "127.0.0.1.evil.example"})
        CHECK_MESSAGE(status(guard, asking(kHere, host)) == 403, host);
    CHECK(status(guard, asking("::1", "localhost")) == 200);
    CHECK(status(guard, asking("192.0.2.1", "localhost")) == 403);
    AdminRequest change = asking(kHere, "localhost");
    change.changes = true;
    CHECK(status(guard, change) == 403);
    change.has_our_header = true;
    CHECK(status(guard, change) == 200);
    AdminGuard anywhere(true);
    CHECK(status(anywhere, asking("192.0.2.1", "localhost")) == 403);
}

TEST_CASE("the guard: the password") {
    const std::string hash = must(hash_password("correct horse"));
    // "me:correct horse", "me:wrong horse!"
    const std::string right = "Basic bWU6Y29ycmVjdCBob3JzZQ==", wrong = "basic bWU6d3JvbmcgaG9yc2Uh";
    CHECK(basic_password(right) == "correct horse");
    CHECK(basic_password(wrong) == "wrong horse!");
    for (const char* bad :
         {"", "Basic", "Basic ", "Basic !!!!", "Basic bWU", "Bearer bWU6Y29ycmVjdCBob3JzZQ==", "Basic bWU="})
        CHECK_FALSE(basic_password(bad));

    AdminGuard guard(true);
    AdminRequest request = asking("192.0.2.1", "server.example");
    CHECK(status(guard, request, hash) == 401);
    request.authorization = right;
    CHECK(status(guard, request, hash) == 200);
    AdminRequest other = request;
    other.authorization = wrong;
    CHECK(status(guard, other, hash) == 401);
    CHECK(status(guard, other, hash) == 429);    // at once again
    CHECK(status(guard, request, hash) == 200);  // it is remembered
    CHECK(status(guard, request, must(hash_password("another one"))) != 200);
    other.address = "192.0.2.2";
    CHECK(status(guard, other, hash) == 401);
    // On this host too, once there is one.
    AdminGuard here(false);
    CHECK(status(here, asking(kHere, "localhost"), hash) == 401);
    CHECK(status(here, request, hash) == 403);
}

TEST_CASE("the page's files are in the program") {
    bool page = false;
    for (const PageFile& each : page_files()) {
        page = page || (each.path == "/" && each.type == "text/html; charset=utf-8");
        CHECK(each.content.find("http://") == std::string::npos);
        CHECK(each.content.find("https://") == std::string::npos);
        CHECK(each.content.find("<script>") == std::string::npos);
    }
    CHECK(page);
}
