#include <algorithm>
#include <cctype>
#include <sstream>

#include "disks/server/boot_service.h"
#include "tests/random_values.h"
#include "tests/unit/server_fixture.h"

using namespace lodge;
using namespace lodge::server;
using namespace lodge::test;

namespace {

struct BootFixture : ServerFixture {
    Log log;
    BootService service{*store, live, log, 3260};

    std::string ask(std::multimap<std::string, std::string> parameters, const std::string& host = "10.0.2.2:8080") {
        return service.script({std::move(parameters), host, "127.0.0.1", "127.0.0.1", 8080});
    }
    std::string ask(const std::string& mac) { return ask({{"mac", mac}}); }
    std::string last_log() { return must(store->log(0, 1)).at(0).what; }
};

bool has(const std::string& script, const std::string& text) {
    return script.find(text) != std::string::npos;
}

// A script that iPXE understands line by line, with every label that it jumps to.
void check_script(const std::string& script) {
    REQUIRE(script.starts_with("#!ipxe\n"));
    REQUIRE(script.ends_with("\n"));
    CHECK(std::all_of(script.begin(), script.end(), [](char c) { return c == '\n' || (c >= ' ' && c < 0x7F); }));
    std::vector<std::string> labels;
    std::istringstream lines(script);
    for (std::string line; std::getline(lines, line);) {
        CHECK_FALSE(line.ends_with('\\'));
        CHECK(line.size() < 700);
        if (line.starts_with(':')) labels.push_back(line.substr(1));
        if (line.starts_with("item ") && !line.starts_with("item --gap"))
            labels.push_back("wanted " + line.substr(5, line.find(' ', 5) - 5));
    }
    for (size_t at = script.find("goto "); at != std::string::npos; at = script.find("goto ", at)) {
        at += 5;
        const size_t end = script.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789", at);
        if (end != at) labels.push_back("wanted " + script.substr(at, end - at));
    }
    for (const std::string& each : labels)
        if (each.starts_with("wanted "))
            CHECK_MESSAGE(std::count(labels.begin(), labels.end(), each.substr(7)) == 1, each);
}

}  // namespace

TEST_CASE("one vDisk: straight in, with a fresh secret each time") {
    BootFixture fixture;
    fixture.assign("debian", Mode::shared);
    const std::string script = fixture.ask({{"mac", "52-54-00-12-34-56"}, {"uuid", kClientUuid}});
    check_script(script);
    CHECK(has(script, "\nset initiator-iqn iqn.2026-11.io.lodge.client:52-54-00-12-34-56\n"));
    CHECK(has(script, "\nset username 52-54-00-12-34-56\n"));
    CHECK(has(script, "\nset password " + must(fixture.store->tickets(kClientMac)).at(0).secret + "\n"));
    CHECK(has(script, "\nsanboot iscsi:10.0.2.2:::0:iqn.2026-11.io.lodge:debian "));
    CHECK(has(script, "http://10.0.2.2:8080/boot.ipxe?mac=52:54:00:12:34:56&uuid=" + kClientUuid));
    CHECK(fixture.last_log() == "boots vDisk debian, shared");
    CHECK(must(fixture.store->client(kClientMac)).last_seen > 0);
    CHECK(fixture.ask(kClientMac) != script);
}

TEST_CASE("several vDisks: a menu with a default and a time-out; what is chosen is booted") {
    BootFixture fixture;
    fixture.assign("win10", Mode::private_writes, 1);
    fixture.assign("debian", Mode::shared, 2);
    std::string script = fixture.ask(kClientMac);
    check_script(script);
    CHECK(has(script, "\nitem v0 win10 (private)\nitem v1 debian (shared)\n"));
    CHECK(has(script, "\nchoose --default v0 --timeout 10000 choice "));
    CHECK(has(script, "&vdisk=debian "));
    CHECK_FALSE(has(script, "sanboot"));
    CHECK(must(fixture.store->tickets(kClientMac)).empty());

    script = fixture.ask({{"mac", kClientMac}, {"vdisk", "debian"}});
    check_script(script);
    CHECK(has(script, "\nsanboot iscsi:10.0.2.2:::0:iqn.2026-11.io.lodge:debian "));

    // One that is in use is said to be, and not the default.
    fixture.live.users["win10"] = kStrangerMac;
    auto settings = must(fixture.store->settings());
    settings.menu_seconds = 0;
    must(fixture.store->change_settings(settings));
    script = fixture.ask(kClientMac);
    check_script(script);
    CHECK(has(script, "\nitem v0 win10 (private, in use by 52:54:00:00:00:01)\n"));
    CHECK(has(script, "\nchoose --default v1 choice "));
    script = fixture.ask({{"mac", kClientMac}, {"vdisk", "win10"}});
    check_script(script);
    CHECK(has(script, "vDisk win10 is in use\n"));
    CHECK(has(script, "in use by 52:54:00:00:00:01"));
    CHECK(has(script, "item again Try again"));
    CHECK_FALSE(has(script, "sanboot"));
    // Another's vDisk cannot be had by asking for it.
    must(fixture.store->unassign(kClientMac, "win10"));
    CHECK(has(fixture.ask({{"mac", kClientMac}, {"vdisk", "win10"}}), "is not assigned to this computer"));
}

TEST_CASE("a client is found by its UUID when its card is new") {
    BootFixture fixture;
    fixture.assign("debian", Mode::private_writes);
    std::string upper = kClientUuid;
    for (char& c : upper) c = static_cast<char>(std::toupper(c));
    const std::string script = fixture.ask({{"mac", kStrangerMac}, {"uuid", upper}});
    check_script(script);
    CHECK(has(script, "\nset username 52-54-00-12-34-56\n"));
    CHECK(must(fixture.store->tickets(kStrangerMac)).empty());
    CHECK(normal_uuid("00000000-0000-0000-0000-000000000000").empty());
    CHECK(normal_uuid("FFFFFFFF-ffff-ffff-ffff-ffffffffffff").empty());
    CHECK(normal_uuid(kClientUuid + "0").empty());
}

TEST_CASE("unknown clients: each policy") {
    BootFixture fixture;
    SUBCASE("refuse") {
        const std::string script = fixture.ask(kStrangerMac);
        check_script(script);
        CHECK(has(script, "The server does not know this computer."));
        CHECK(has(script, "MAC address 52:54:00:00:00:01"));
        // Asking again and again is one line in the log.
        const auto lines = must(fixture.store->log(0, 100)).size();
        fixture.ask(kStrangerMac);
        CHECK(must(fixture.store->log(0, 100)).size() == lines);
    }
    SUBCASE("the default vDisk") {
        fixture.set_policy(UnknownClients::fallback, "debian");
        const std::string script = fixture.ask(kStrangerMac);
        check_script(script);
        CHECK(has(script, "echo lodge: vDisk debian (shared)\n"));
        CHECK(must(fixture.store->tickets(kStrangerMac)).size() == 1);
        CHECK_FALSE(fixture.store->client(kStrangerMac));
        // Somebody has recorded this one, and given it nothing.
        CHECK(has(fixture.ask(kClientMac), "No vDisk is assigned to this computer."));
    }
    SUBCASE("the default vDisk, but there is none") {
        fixture.set_policy(UnknownClients::fallback);
        CHECK(has(fixture.ask(kStrangerMac), "and has no default vDisk"));
    }
    SUBCASE("register") {
        fixture.set_policy(UnknownClients::take_down);
        std::string script = fixture.ask({{"mac", kStrangerMac}, {"uuid", "11234567-89ab-cdef-0123-456789abcdef"}});
        check_script(script);
        CHECK(has(script, "This computer is recorded now"));
        CHECK(must(fixture.store->client(kStrangerMac)).uuid == "11234567-89ab-cdef-0123-456789abcdef");
        must(fixture.store->assign({kStrangerMac, "win10", Mode::private_writes, 0}));
        CHECK(has(fixture.ask(kStrangerMac), "echo lodge: vDisk win10 (private)\n"));
    }
    SUBCASE("register, with a default") {
        fixture.set_policy(UnknownClients::take_down, "debian");
        for (int boot = 0; boot < 2; ++boot)
            CHECK(has(fixture.ask(kStrangerMac), "echo lodge: vDisk debian (shared)\n"));
        CHECK(fixture.store->client(kStrangerMac));
    }
    SUBCASE("no address at all") {
        const std::string script = fixture.ask({{"mac", "nonsense"}, {"uuid", "$(reboot)"}});
        check_script(script);
        CHECK(has(script, "without a MAC address"));
    }
}

TEST_CASE("where the server is: hosts, ports, gateways") {
    BootFixture fixture;
    fixture.assign("debian", Mode::shared);
    const std::string clear = "\nset netX/gateway 0.0.0.0\n";
    CHECK_FALSE(has(fixture.ask(kClientMac), clear));
    const auto at = [&](std::multimap<std::string, std::string> more, const std::string& host) {
        more.insert({"mac", kClientMac});
        const std::string script = fixture.ask(more, host);
        check_script(script);
        return script;
    };
    const std::string near = at({{"ip", "192.168.7.9"}, {"netmask", "255.255.255.0"}}, "192.168.7.1:8080");
    CHECK(has(near, clear));
    CHECK(has(near, "&ip=${netX/ip}&netmask=${netX/netmask} "));
    CHECK_FALSE(has(at({{"ip", "192.168.8.9"}, {"netmask", "255.255.255.0"}}, "192.168.7.1:8080"), clear));
    CHECK_FALSE(has(at({{"ip", "192.168.7.9"}, {"netmask", "0.0.0.0"}}, "192.168.7.1:8080"), clear));
    const std::string kept =
        at({{"ip", "192.168.7.9"}, {"netmask", "255.255.255.0"}, {"gateway", "keep"}}, "192.168.7.1:8080");
    CHECK_FALSE(has(kept, clear));
    CHECK(has(kept, "&gateway=keep "));
    CHECK(has(at({{"gateway", "clear"}}, "10.1.1.1"), clear));

    CHECK(has(at({}, "server.example"), "sanboot iscsi:server.example:::0:"));
    CHECK(has(at({}, "[2001:db8::1]:8080"), "sanboot iscsi:[2001:db8::1]:::0:"));
    // What is no host is not used; the connection's own address is.
    for (const char* bad : {"", "a b", "a;reboot", "${x}", "a:b", "a:", "a:123456", "[::1", "[]", ":80", "[::1]x"})
        CHECK_MESSAGE(has(at({}, bad), "sanboot iscsi:127.0.0.1:::0:"), bad);
    BootService other(*fixture.store, fixture.live, fixture.log, 13260);
    CHECK(has(other.script({{{"mac", kClientMac}}, "h:1", "127.0.0.1", "127.0.0.1", 1}), "iscsi:h::13260:0:iqn"));
}

TEST_CASE("what people write is harmless in a script") {
    CHECK(script_text("R&D #1; a|b") == "R&D +1; a|b");
    CHECK(script_text("a && reboot || b ; c") == "a +& reboot +| b + c");
    CHECK(script_text("${password} \\") == "??password? ?");
    CHECK(script_text(" two\n  lines\t") == "two lines");
    CHECK(script_text("B\xC3\xBCro") == "B?ro");
    CHECK(script_text(std::string(1000, 'x')).size() == 200);

    BootFixture fixture;
    auto client = must(fixture.store->client(kClientMac));
    client.name = "x; reboot\n:top\nreboot || ${password} \\";
    REQUIRE(fixture.store->change_client(client));
    const std::string script = fixture.ask(kClientMac);
    check_script(script);
    CHECK_FALSE(has(script, "${password}"));
    CHECK_FALSE(has(script, "|| ??"));

    Random random;
    random.seed(7);
    for (int round = 0; round < 2000; ++round) {
        BootPlan plan;
        plan.mac = kClientMac;
        for (u64 i = random.below(40); i > 0; --i) {
            plan.client_name += static_cast<char>(random());
            plan.message += "|&;#$\\{} -\nx"[random.below(12)];
        }
        plan.kind = static_cast<BootPlan::Kind>(random.below(4));
        plan.choices = {{"debian", Mode::shared, plan.message}, {"win10", Mode::private_writes, plan.client_name}};
        check_script(boot_script(plan, {}, {"h", 3260, true, ""}, {}, {"name", "secret"}));
    }
}

TEST_CASE("the URL for DHCP servers") {
    CHECK(boot_script_url("192.0.2.1:8080") ==
          "http://192.0.2.1:8080/boot.ipxe?mac=${netX/mac:hexhyp}&uuid=${uuid}&ip=${netX/ip}&netmask=${netX/netmask}");
}
