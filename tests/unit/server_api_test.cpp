#include "disks/server/api_handler.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "disks/server/api_rates.h"
#include "disks/server/http_server.h"
#include "tests/unit/server_fixture.h"

// The last: it brings names that others have too.
#include <httplib.h>

using namespace lodge;
using namespace lodge::server;
using namespace lodge::test;
using nlohmann::json;

namespace {

struct ApiFixture : ServerFixture {
    std::unique_ptr<ApiHandler> api = ApiHandler::create({}, *store, live);
    ApiAnswer last;

    json call(const std::string& method, const std::string& path, const json& body = json::object(),
              std::multimap<std::string, std::string> parameters = {}) {
        return call_text(method, path, body.dump(), std::move(parameters));
    }
    json call_text(const std::string& method, const std::string& path, const std::string& body,
                   std::multimap<std::string, std::string> parameters = {}) {
        last = api->handle({method, path, std::move(parameters), body, "192.0.2.7"});
        return json::parse(last.body, nullptr, false);
    }
    int status(const std::string& method, const std::string& path, const json& body = json::object()) {
        call(method, path, body);
        return last.status;
    }
    std::string last_log() {
        const auto entry = must(store->log(0, 1)).at(0);
        return entry.who + ": " + entry.what;
    }
    json wait_for_job(const json& job) {
        for (int i = 0; i < 1000; ++i) {
            const json now = call("GET", "jobs/" + job["id"].dump());
            if (now["state"] != "running") return now;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return {};
    }
};

}  // namespace

TEST_CASE("clients by the API") {
    ApiFixture fixture;
    const json added = fixture.call("POST", "clients",
                                    {{"mac", "52-54-00-AA-BB-CC"}, {"name", "Büro 2"}, {"secret", "a secret of 16 b"}});
    CHECK(fixture.last.status == 201);
    CHECK(added["mac"] == "52:54:00:aa:bb:cc");
    CHECK(added["has_secret"] == true);
    CHECK_FALSE(added.contains("secret"));
    CHECK(fixture.last_log() == "API: 192.0.2.7: added client 52:54:00:aa:bb:cc (Büro 2)");
    CHECK(fixture.status("POST", "clients", {{"mac", "52:54:00:aa:bb:cc"}}) == 400);
    CHECK(fixture.call("GET", "clients")["clients"].size() == 2);

    // A change leaves alone what it does not name.
    const json changed = fixture.call("PATCH", "clients/525400aabbcc",
                                      {{"name", "Office"}, {"initiators", {"iqn.1993-08.org.debian:01:x"}}});
    CHECK(changed["name"] == "Office");
    CHECK(changed["initiators"].size() == 1);
    CHECK(must(fixture.store->client("52:54:00:aa:bb:cc")).chap_secret == "a secret of 16 b");
    CHECK(fixture.call("PATCH", "clients/525400aabbcc", {{"secret", nullptr}})["has_secret"] == false);

    CHECK(fixture.status("PUT", "clients/525400aabbcc/vdisks/debian", {{"mode", "shared"}, {"order", -3}}) == 200);
    CHECK(fixture.status("PUT", "clients/525400aabbcc/vdisks/debian", {{"order", 5}}) == 200);
    CHECK(fixture.call("GET", "clients/525400aabbcc")["assignments"] ==
          json::parse(R"([{"mac":"52:54:00:aa:bb:cc","vdisk":"debian","mode":"shared","order":5}])"));
    CHECK(fixture.status("PUT", "clients/525400aabbcc/vdisks/nosuch") == 404);
    CHECK(fixture.status("PUT", "clients/525400000000/vdisks/debian") == 404);
    CHECK(fixture.call("GET", "assignments")["assignments"].size() == 1);
    CHECK(fixture.status("DELETE", "clients/525400aabbcc/vdisks/debian") == 200);
    CHECK(fixture.status("DELETE", "clients/525400aabbcc/vdisks/debian") == 404);
    CHECK(fixture.status("DELETE", "clients/525400aabbcc") == 200);
    CHECK(fixture.status("GET", "clients/525400aabbcc") == 404);
    CHECK(fixture.status("GET", "clients/nonsense") == 400);
}

TEST_CASE("what is wrong with a body is said") {
    ApiFixture fixture;
    const auto why = [&](const std::string& body) {
        const json answer = fixture.call_text("POST", "clients", body);
        CHECK(fixture.last.status == 400);
        CHECK(answer["error"]["kind"] == "usage");
        return answer["error"]["message"].get<std::string>();
    };
    for (const char* body : {"", "{", "[]", "7", "null", "{\"mac\": \"\xFF\"}", "{} {}"})
        CHECK(why(body) == "the request's body is no JSON object");
    CHECK(why(R"({"mac": 7})") == "the field 'mac' is no line of text of at most 256 bytes");
    CHECK(why(R"({"mac": "a\nb"})") == "the field 'mac' is no line of text of at most 256 bytes");
    CHECK(why(R"({"initiators": "x"})") == "the field 'initiators' is no list of at most 64 lines of text");
    CHECK(why(R"({"initiators": [1]})") == "the field 'initiators' is no list of at most 64 lines of text");
    CHECK(why(R"({"mac": "525400000001", "nmae": "x"})") == "there is no field 'nmae' here");
    CHECK(why(R"({"mac": "x"})") == "'x' is no MAC address");
    CHECK(why(R"({"no_secret": 1})") == "the field 'no_secret' is neither true nor false");
    fixture.call_text("POST", "clients", std::string(60'000, '['));
    CHECK(fixture.last.status == 400);
    for (const char* order : {"1.5", "\"1\"", "3000000000", "-3000000000", "18446744073709551615"}) {
        fixture.call_text("PUT", "clients/525400123456/vdisks/debian", std::string("{\"order\": ") + order + "}");
        CHECK(fixture.last.status == 400);
    }
    CHECK(fixture.status("PUT", "clients/525400123456/vdisks/debian", {{"mode", "both"}}) == 400);
}

TEST_CASE("paths and methods") {
    ApiFixture fixture;
    for (const char* path : {"", "/", "nosuch", "clients/", "clients/a/b", "clients//vdisks/debian/", "vdisks/.."})
        CHECK_MESSAGE(fixture.status("GET", path) >= 400, path);
    CHECK(fixture.status("DELETE", "clients") == 405);
    CHECK(fixture.last.allowed == "GET, POST");
    CHECK(fixture.status("HEAD", "clients") == 200);
    CHECK(fixture.status("POST", "facts") == 405);
}

TEST_CASE("settings by the API") {
    ApiFixture fixture;
    CHECK(fixture.call("GET", "settings")["unknown"] == "refuse");
    const json changed = fixture.call("PATCH", "settings",
                                      {{"unknown", "register"},
                                       {"default", "debian"},
                                       {"menu_seconds", 0},
                                       {"cache", "memory"},
                                       {"cache_memory", 1048576},
                                       {"cache_quota", 2097152},
                                       {"open_discovery", true},
                                       {"password", "correct horse"}});
    CHECK(fixture.last.status == 200);
    CHECK(changed["has_password"] == true);
    CHECK(changed["cache"] == "memory");
    CHECK(fixture.last.body.find("$y$") == std::string::npos);
    CHECK(must(fixture.store->settings()).admin_password_hash.starts_with("$y$"));
    CHECK(fixture.last_log().find("new administrator's password") != std::string::npos);
    CHECK(fixture.status("PATCH", "settings", {{"menu_seconds", 5}}) == 200);
    CHECK_FALSE(must(fixture.store->settings()).admin_password_hash.empty());
    CHECK(fixture.status("PATCH", "settings", {{"default", "nosuch"}}) == 404);
    CHECK(fixture.status("PATCH", "settings", {{"unknown", "perhaps"}}) == 400);
    CHECK(fixture.status("PATCH", "settings", {{"cache", "paper"}}) == 400);
    CHECK(fixture.status("PATCH", "settings", {{"password", "short"}}) == 400);
    CHECK(fixture.call("PATCH", "settings", {{"password", nullptr}})["has_password"] == false);
    const auto anywhere = ApiHandler::create({true}, *fixture.store, fixture.live);
    CHECK(anywhere->handle({"PATCH", "settings", {}, R"({"password": ""})", "192.0.2.7"}).status == 400);
}

TEST_CASE("vDisks and imports by the API") {
    ApiFixture fixture;
    const json made = fixture.call("POST", "vdisks", {{"name", "empty"}, {"bytes", 1048576}, {"note", "for a test"}});
    CHECK(fixture.last.status == 201);
    CHECK(made["bytes"] == 1048576);
    CHECK(made["stored_bytes"] > 0);
    CHECK(fixture.call("PATCH", "vdisks/empty", {{"note", "other"}})["note"] == "other");
    CHECK(fixture.status("POST", "vdisks", {{"name", "../x"}, {"bytes", 512}}) == 400);
    CHECK(fixture.status("POST", "vdisks", {{"name", "x"}, {"bytes", -1}}) == 400);
    CHECK(fixture.status("DELETE", "vdisks/empty") == 200);
    CHECK(fixture.status("DELETE", "vdisks/empty") == 404);

    std::filesystem::create_directories(fixture.folder / "store/import");
    std::ofstream(fixture.folder / "store/import/small.raw") << std::string(1 << 20, 'x');
    std::ofstream(fixture.folder / "elsewhere.raw") << std::string(1 << 20, 'x');
    std::filesystem::create_symlink(fixture.folder / "elsewhere.raw", fixture.folder / "store/import/link.raw");
    const json job = fixture.wait_for_job(
        fixture.call("POST", "jobs", {{"kind", "import"}, {"name", "small"}, {"image", "small.raw"}, {"raw", true}}));
    CHECK(job["state"] == "done");
    CHECK(job["done_bytes"] == job["all_bytes"]);
    CHECK(must(fixture.store->vdisk("small")).bytes == 1 << 20);
    CHECK(fixture.last_log().starts_with("API: 192.0.2.7: imported vDisk small"));
    CHECK(fixture.status("DELETE", "jobs/1") == 400);
    CHECK(fixture.status("DELETE", "jobs/77") == 404);
    CHECK(fixture.wait_for_job(fixture.call("POST", "jobs", {{"name", "small"}, {"image", "small.raw"}}))["state"] ==
          "failed");
    CHECK(fixture.call("GET", "jobs")["jobs"].size() == 2);
    // From elsewhere only with a password.
    for (const std::string& path :
         {fixture.folder / "elsewhere.raw", std::string("../../elsewhere.raw"), std::string("link.raw")})
        CHECK(fixture.status("POST", "jobs", {{"name", "other"}, {"image", path}, {"raw", true}}) == 400);
    CHECK(fixture.status("PATCH", "settings", {{"password", "correct horse"}}) == 200);
    CHECK(fixture.wait_for_job(fixture.call(
              "POST", "jobs",
              {{"name", "other"}, {"image", fixture.folder / "elsewhere.raw"}, {"raw", true}}))["state"] == "done");
}

TEST_CASE("sessions, caches, log and facts by the API") {
    ApiFixture fixture;
    fixture.live.list.push_back({.id = "1",
                                 .mac = kClientMac,
                                 .client_name = "Front desk",
                                 .vdisk = "debian",
                                 .mode = Mode::shared,
                                 .address = "192.0.2.9:1000",
                                 .since = 5,
                                 .traffic = {10, 20, 1, 2}});
    const json session = fixture.call("GET", "sessions")["sessions"].at(0);
    CHECK(session["vdisk"] == "debian");
    CHECK(session["read_bytes"] == 10);
    CHECK(session["per_second"].contains("written_bytes"));
    CHECK(fixture.call("GET", "caches")["caches"].at(0)["full"] == true);
    CHECK(fixture.status("DELETE", "sessions/1") == 202);
    CHECK(fixture.status("DELETE", "sessions/1") == 404);
    CHECK(fixture.last_log() == "API: 192.0.2.7: disconnected session 1");
    for (int i = 0; i < 5; ++i) must(fixture.store->record(i, "me", "line " + std::to_string(i)));
    const json log = fixture.call("GET", "log", {}, {{"most", "2"}})["log"];
    CHECK(log.size() == 2);
    CHECK(log[0]["what"] == "line 4");
    CHECK(fixture.call("GET", "log", {}, {{"most", "2"}, {"before", log[1]["id"].dump()}})["log"][0]["what"] ==
          "line 2");
    fixture.call("GET", "log", {}, {{"before", "x"}});
    CHECK(fixture.last.status == 400);
    CHECK(fixture.call("GET", "facts")["iscsi_address"] == "127.0.0.1:3260");
}

TEST_CASE("rates are over a few seconds") {
    using Seconds = RateWindow::Seconds;
    RateWindow window;
    const auto sample = [&](double when, u64 read) {
        LiveSession session{.id = "a", .traffic = {read, 0, read / 10, 0}};
        window.add(Seconds(when), {session});
    };
    CHECK(window.of("a").read_bytes == 0);
    sample(0, 1000);
    CHECK(window.of("a").read_bytes == 0);
    sample(2, 5000);
    CHECK(window.of("a").read_bytes == 2000);
    CHECK(window.of("a").reads == 200);
    for (int second = 3; second <= 20; ++second) sample(second, 5000);
    CHECK(window.of("a").read_bytes == 0);
    sample(21, 0);  // another session with that name
    CHECK(window.of("a").read_bytes == 0);
    CHECK(window.of("b").read_bytes == 0);
}

TEST_CASE("the web server: boot scripts for all, the rest for this host") {
    ServerFixture fixture;
    Log log;
    const auto web = must(WebServer::create({.address = "127.0.0.1", .port = 0}, *fixture.store, fixture.live, log));
    httplib::Client client("127.0.0.1", web->port());
    const auto boot = client.Get("/boot.ipxe?mac=52-54-00-00-00-01", {{"Host", "10.0.2.2:8080"}});
    REQUIRE(boot);
    CHECK(boot->status == 200);
    CHECK(boot->body.starts_with("#!ipxe\n"));
    const auto page = client.Get("/");
    CHECK(page->status == 200);
    CHECK(page->get_header_value("Content-Security-Policy").starts_with("default-src 'none'"));
    CHECK(client.Get("/", {{"Host", "evil.example"}})->status == 403);
    CHECK(client.Get("/api/v1/clients")->status == 200);
    CHECK(client.Get("/api/v1/clients", {{"Host", "evil.example:8080"}})->status == 403);
    const std::string body = R"({"mac": "525400000009"})";
    CHECK(client.Post("/api/v1/clients", body, "application/json")->status == 403);
    const httplib::Headers ours = {{"X-Lodge", "1"}};
    CHECK(client.Post("/api/v1/clients", ours, body, "text/plain")->status == 415);
    CHECK(client.Post("/api/v1/clients", {{"X-Lodge", "1"}, {"Content-Encoding", "br"}}, body, "application/json")
              ->status == 415);
    CHECK(client.Post("/api/v1/clients", ours, body, "application/json")->status == 201);
    CHECK(client.Patch("/api/v1/clients/525400000009", ours, R"({"name": "x"})", "application/json")->status == 200);
    CHECK(client.Put("/api/v1/clients/525400000009/vdisks/debian", ours, "{}", "application/json")->status == 200);
    CHECK(client.Delete("/api/v1/clients/525400000009", ours)->status == 200);
    CHECK(client.Post("/", ours, body, "application/json")->status == 405);
    CHECK(client.Options("/api/v1/clients")->status == 405);
    CHECK(client.Get("/nosuch")->status == 404);
    CHECK(client.Get(("/" + std::string(2000, 'x')).c_str())->status == 414);
    CHECK(client.Get("/a%0Ab")->status == 414);

    // With a password, for everything but boot scripts.
    CHECK(client.Patch("/api/v1/settings", ours, R"({"password": "correct horse"})", "application/json")->status ==
          200);
    const auto refused = client.Get("/");
    CHECK(refused->status == 401);
    CHECK(refused->get_header_value("WWW-Authenticate").starts_with("Basic "));
    CHECK(client.Get("/boot.ipxe?mac=52-54-00-00-00-01")->status == 200);
    client.set_basic_auth("me", "correct horse");
    CHECK(client.Get("/")->status == 200);
    CHECK(client.Get("/api/v1/clients", {{"Host", "server.example"}})->status == 200);
    CHECK(client.Delete("/api/v1/clients/525400123456")->status == 403);

    ServerFixture other;
    const auto anywhere = WebServer::create({.address = "127.0.0.1", .port = 0, .administer_from_anywhere = true},
                                            *other.store, other.live, log);
    REQUIRE_FALSE(anywhere);
    CHECK(anywhere.error().kind == ErrorKind::usage);
}
