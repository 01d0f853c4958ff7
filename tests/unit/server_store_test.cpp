#include "disks/server/store.h"

#include <sqlite3.h>

#include <thread>

#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::server;
using namespace lodge::test;

namespace {

const std::string kMac = "52:54:00:12:34:56";
const std::string kOther = "52:54:00:12:34:57";

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = must(create_store(folder / "store"));

    void add(const std::string& vdisk) { must(store->add_vdisk({vdisk, vdisk + ".vhd", kMiB, "", 1})); }
    void add_client(const std::string& mac) { must(store->add_client({.mac = mac})); }
};

// Statements that no Store would make.
void meddle(const std::string& database, const std::string& sql) {
    sqlite3* handle = nullptr;
    REQUIRE(sqlite3_open(database.c_str(), &handle) == SQLITE_OK);
    char* error = nullptr;
    if (sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, &error) != SQLITE_OK) FAIL(error);
    sqlite3_close(handle);
}

template <class T>
ErrorKind kind_of(const Result<T>& result) {
    REQUIRE_FALSE(result);
    CHECK(is_one_line(result.error()));
    return result.error().kind;
}

// Every call that reads.
template <class Check>
void read_all(Store& store, Check check) {
    check(store.vdisks());
    check(store.vdisk("debian"));
    check(store.clients());
    check(store.client(kMac));
    check(store.client_by_uuid("1"));
    check(store.client_by_initiator("iqn.x"));
    check(store.assignments());
    check(store.assignments_of(kMac));
    check(store.tickets(kMac));
    check(store.settings());
    check(store.log(0, 100));
    check(store.sessions());
}

}  // namespace

TEST_CASE("names of clients, vDisks and targets") {
    CHECK(normal_mac("52-54-00-AB-cd-0F") == "52:54:00:ab:cd:0f");
    CHECK(normal_mac("525400ABcd0F") == "52:54:00:ab:cd:0f");
    for (const char* bad : {"", "52:54:00:ab:cd", "52:54-00:ab:cd:0f", "5254:00abcd0f0000", "52:54:00:ab:cd:0g",
                            "525400abcd0ff", "52:54:00:ab:cd:0f:"})
        CHECK(normal_mac(bad).empty());
    CHECK(is_vdisk_name("debian-12.1"));
    for (const char* bad : {"", "-a", ".a", "A", "a/b", "a b", "ä"}) CHECK_FALSE(is_vdisk_name(bad));
    CHECK_FALSE(is_vdisk_name(std::string(65, 'a')));
    CHECK(target_name("a") == "iqn.2026-11.io.lodge:a");
    CHECK(vdisk_of_target("iqn.2026-11.io.lodge:a") == "a");
    CHECK(vdisk_of_target("iqn.2026-11.io.lodge:../a").empty());
    CHECK(vdisk_of_target("iqn.2026-11.io:a").empty());
    CHECK(initiator_name(kMac) == "iqn.2026-11.io.lodge.client:52-54-00-12-34-56");
    CHECK(mac_of_initiator(initiator_name(kMac)) == kMac);
    CHECK(mac_of_initiator("iqn.2026-11.io.lodge.client:525400123456").empty());
    CHECK(mac_of_initiator("iqn.2026-11.io.lodge.client:").empty());
}

TEST_CASE("a store is a new folder and is found again") {
    const TemporaryFolder folder;
    CHECK(kind_of(open_store(folder / "none")) == ErrorKind::not_found);
    must(create_store(folder / "store"));
    CHECK(std::filesystem::is_directory(folder / "store/vdisks"));
    CHECK(std::filesystem::is_directory(folder / "store/cache"));
    using std::filesystem::perms;
    CHECK((std::filesystem::status(folder / "store/lodge.sqlite").permissions() &
           (perms::group_all | perms::others_all)) == perms::none);
    CHECK(kind_of(create_store(folder / "store")) == ErrorKind::usage);
    CHECK(must(open_store(folder / "store"))->folder() == folder / "store");
    std::filesystem::create_directory(folder / "full");
    write_content(folder / "full/file", pattern(10, 1));
    CHECK(kind_of(create_store(folder / "full")) == ErrorKind::usage);
    CHECK(kind_of(create_store(folder / "no/where")) == ErrorKind::usage);
}

TEST_CASE("vDisks") {
    Fixture fixture;
    Store& store = *fixture.store;
    must(store.add_vdisk({"debian", "debian.vhd", 2 * kGiB, "a note", 17}));
    fixture.add("alpine");
    CHECK(kind_of(store.add_vdisk({"debian", "x.vhd", 1, "", 0})) == ErrorKind::usage);
    CHECK(kind_of(store.add_vdisk({"Debian", "x.vhd", 1, "", 0})) == ErrorKind::usage);
    CHECK(kind_of(store.add_vdisk({"x", "../x.vhd", 1, "", 0})) == ErrorKind::usage);
    const auto all = must(store.vdisks());
    REQUIRE(all.size() == 2);
    CHECK(all[0].name == "alpine");
    CHECK(all[1].bytes == 2 * kGiB);
    CHECK(all[1].added == 17);
    VDisk debian = must(store.vdisk("debian"));
    debian.note = "another";
    must(store.change_vdisk(debian));
    CHECK(must(store.vdisk("debian")).note == "another");
    CHECK(kind_of(store.vdisk("none")) == ErrorKind::not_found);
    CHECK(kind_of(store.remove_vdisk("none")) == ErrorKind::not_found);

    Settings settings;
    settings.default_vdisk = "debian";
    must(store.change_settings(settings));
    CHECK(kind_of(store.remove_vdisk("debian")) == ErrorKind::usage);
    settings.default_vdisk = "none";
    CHECK(kind_of(store.change_settings(settings)) == ErrorKind::not_found);
    settings.default_vdisk = "";
    must(store.change_settings(settings));
    must(store.remove_vdisk("debian"));
    CHECK(must(store.vdisks()).size() == 1);
}

TEST_CASE("clients and their names") {
    Fixture fixture;
    Store& store = *fixture.store;
    must(store.add_client({.mac = kMac,
                           .name = "one",
                           .uuid = "u-1",
                           .initiators = {"iqn.b", "iqn.a"},
                           .chap_secret = "secret",
                           .added = 5,
                           .trusted = true}));
    fixture.add_client(kOther);
    CHECK(kind_of(store.add_client({.mac = kMac})) == ErrorKind::usage);
    CHECK(kind_of(store.add_client({.mac = "525400123458"})) == ErrorKind::usage);
    CHECK(must(store.clients()).size() == 2);
    Client client = must(store.client_by_uuid("u-1"));
    CHECK(client.initiators == std::vector<std::string>{"iqn.a", "iqn.b"});
    CHECK(client.trusted);
    CHECK(must(store.client_by_initiator("iqn.b")).mac == kMac);
    CHECK(must(store.client_by_initiator(initiator_name(kOther))).mac == kOther);
    CHECK(kind_of(store.client_by_initiator("iqn.c")) == ErrorKind::not_found);
    CHECK(kind_of(store.client_by_uuid("")) == ErrorKind::not_found);

    SUBCASE("a name has one client") {
        CHECK(kind_of(store.change_client({.mac = kOther, .initiators = {"iqn.a"}})) == ErrorKind::usage);
        CHECK(kind_of(store.change_client({.mac = kOther, .uuid = "u-1"})) == ErrorKind::usage);
        CHECK(kind_of(store.change_client({.mac = kOther, .initiators = {initiator_name(kMac)}})) == ErrorKind::usage);
        CHECK(kind_of(store.change_client({.mac = "52:54:00:12:34:58"})) == ErrorKind::not_found);
    }
    SUBCASE("changed and seen") {
        client.name = "two";
        client.initiators = {"iqn.c"};
        must(store.seen(kMac, 99));
        must(store.change_client(client));
        const Client changed = must(store.client(kMac));
        CHECK(changed.name == "two");
        CHECK(changed.initiators == std::vector<std::string>{"iqn.c"});
        CHECK(changed.last_seen == 99);
        CHECK(changed.added == 5);
        CHECK(kind_of(store.seen("52:54:00:12:34:58", 1)) == ErrorKind::not_found);
    }
    SUBCASE("removed") {
        must(store.remove_client(kMac));
        CHECK(kind_of(store.client(kMac)) == ErrorKind::not_found);
        CHECK(kind_of(store.client_by_initiator("iqn.a")) == ErrorKind::not_found);
        CHECK(kind_of(store.remove_client(kMac)) == ErrorKind::not_found);
        fixture.add_client(kMac);
    }
}

TEST_CASE("assignments go with the client and the vDisk") {
    Fixture fixture;
    Store& store = *fixture.store;
    for (const char* name : {"a", "b", "c"}) fixture.add(name);
    fixture.add_client(kMac);
    fixture.add_client(kOther);
    must(store.assign({kMac, "a", Mode::shared, 2}));
    must(store.assign({kMac, "b", Mode::private_writes, 1}));
    must(store.assign({kOther, "b", Mode::shared, 0}));
    CHECK(kind_of(store.assign({kMac, "none", Mode::shared, 0})) == ErrorKind::not_found);
    CHECK(kind_of(store.assign({"52:54:00:00:00:01", "a", Mode::shared, 0})) == ErrorKind::not_found);
    auto own = must(store.assignments_of(kMac));
    REQUIRE(own.size() == 2);
    CHECK(own[0].vdisk == "b");
    CHECK(own[0].mode == Mode::private_writes);
    must(store.assign({kMac, "a", Mode::private_writes, 0}));
    own = must(store.assignments_of(kMac));
    REQUIRE(own.size() == 2);
    CHECK(own[0].vdisk == "a");
    CHECK(own[0].mode == Mode::private_writes);
    CHECK(must(store.assignments()).size() == 3);
    must(store.unassign(kMac, "a"));
    CHECK(kind_of(store.unassign(kMac, "a")) == ErrorKind::not_found);
    must(store.remove_vdisk("b"));
    CHECK(must(store.assignments()).empty());
    must(store.assign({kMac, "a", Mode::shared, 0}));
    must(store.remove_client(kMac));
    CHECK(must(store.assignments()).empty());
}

TEST_CASE("a client has a ticket of this boot and one of the next") {
    Fixture fixture;
    Store& store = *fixture.store;
    const Ticket first = must(store.new_ticket(kMac, 1));
    CHECK(first.secret.size() == 32);
    const Ticket second = must(store.new_ticket(kMac, 2));
    CHECK(second.secret != first.secret);
    CHECK(must(store.tickets(kMac)).size() == 1);
    CHECK(kind_of(store.use_ticket(kMac, first.secret)) == ErrorKind::not_found);
    must(store.use_ticket(kMac, second.secret));
    CHECK(kind_of(store.use_ticket(kMac, second.secret)) == ErrorKind::not_found);
    const Ticket third = must(store.new_ticket(kMac, 3));
    auto tickets = must(store.tickets(kMac));
    REQUIRE(tickets.size() == 2);
    CHECK(tickets[0].secret == third.secret);
    CHECK_FALSE(tickets[0].used);
    CHECK(tickets[1].secret == second.secret);
    CHECK(tickets[1].used);
    must(store.use_ticket(kMac, third.secret));
    tickets = must(store.tickets(kMac));
    REQUIRE(tickets.size() == 1);
    CHECK(tickets[0].secret == third.secret);
    CHECK(must(store.tickets(kOther)).empty());
    CHECK(kind_of(store.new_ticket("x", 1)) == ErrorKind::usage);
}

TEST_CASE("a boot that lost a private vDisk to another client does not get it back") {
    Fixture fixture;
    Store& store = *fixture.store;
    fixture.add("a");
    CHECK(must(store.hold("a", kMac, "boot 1")));
    CHECK(must(store.hold("a", kMac, "boot 1")));
    CHECK(must(store.hold("a", kOther, "boot 1")));
    CHECK_FALSE(must(store.hold("a", kMac, "boot 1")));
    CHECK(must(store.hold("a", kOther, "boot 1")));
    CHECK(must(store.hold("a", kMac, "boot 2")));
    CHECK_FALSE(must(store.hold("a", kOther, "boot 1")));
    CHECK(must(store.hold("a", kMac, "")));
    CHECK(must(store.hold("a", kOther, "")));
    CHECK(must(store.hold("a", kMac, "")));
}

TEST_CASE("settings, log and sessions") {
    Fixture fixture;
    Store& store = *fixture.store;
    Settings settings = must(store.settings());
    CHECK(settings.unknown_clients == UnknownClients::refuse);
    CHECK(settings.cache == CacheKind::disk);
    CHECK(settings.cache_memory == 64 * kMiB);
    CHECK(settings.menu_seconds == 10);
    settings = {UnknownClients::take_down, "", 0, CacheKind::memory, 1, 2, true, "hash"};
    must(store.change_settings(settings));
    const Settings read = must(store.settings());
    CHECK(read.unknown_clients == UnknownClients::take_down);
    CHECK(read.cache == CacheKind::memory);
    CHECK(read.cache_quota == 2);
    CHECK(read.open_discovery);
    CHECK(read.admin_password_hash == "hash");

    for (Time when = 1; when <= 5; ++when) must(store.record(when, "me", "line\n" + std::to_string(when)));
    const auto newest = must(store.log(0, 2));
    REQUIRE(newest.size() == 2);
    CHECK(newest[0].what == "line?5");
    const auto before = must(store.log(newest[1].id, 10));
    REQUIRE(before.size() == 3);
    CHECK(before[0].when == 3);

    must(store.set_sessions(
        {{"1", kMac, "a", Mode::shared, "192.0.2.1:1", 5}, {"2", kOther, "a", Mode::shared, "x", 6}}));
    CHECK(must(store.sessions()).size() == 2);
    must(store.set_sessions({}));
    CHECK(must(store.sessions()).empty());
}

TEST_CASE("several stores on one folder, several threads") {
    Fixture fixture;
    const auto other = must(open_store(fixture.store->folder()));
    const auto work = [](Store& store, int first) {
        for (int i = 0; i < 20; ++i)
            must(store.add_vdisk({"v" + std::to_string(first + i), std::to_string(first + i), 1, "", 1}));
    };
    std::thread one([&] { work(*fixture.store, 0); }), two([&] { work(*fixture.store, 100); });
    work(*other, 200);
    one.join();
    two.join();
    CHECK(must(other->vdisks()).size() == 60);
}

TEST_CASE("what is no store's database is refused") {
    Fixture fixture;
    const std::string folder = fixture.store->folder(), database = folder + "/lodge.sqlite";
    fixture.add("debian");
    fixture.add_client(kMac);
    fixture.store.reset();
    SUBCASE("a newer version") {
        meddle(database, "PRAGMA user_version = 99");
        const auto opened = open_store(folder);
        CHECK(kind_of(opened) == ErrorKind::bad_format);
        CHECK(mentions(opened.error(), "99"));
    }
    SUBCASE("another program's") {
        meddle(database, "PRAGMA application_id = 1");
        CHECK(kind_of(open_store(folder)) == ErrorKind::bad_format);
    }
    SUBCASE("views and triggers") {
        meddle(database,
               "DROP TABLE log; CREATE VIEW log AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) "
               "SELECT id, 0 AS moment, '' AS who, '' AS what FROM n");
        CHECK(kind_of(open_store(folder)) == ErrorKind::bad_format);
    }
    SUBCASE("nothing") {
        write_content(database, {});
        CHECK(kind_of(open_store(folder)) == ErrorKind::bad_format);
    }
    SUBCASE("text") {
        write_content(database, pattern(5000, 1));
        CHECK(kind_of(open_store(folder)) == ErrorKind::bad_format);
    }
    SUBCASE("records that cannot be") {
        meddle(database, "UPDATE vdisk SET file = '../../etc/passwd'");
        const auto store = must(open_store(folder));
        CHECK(kind_of(store->vdisks()) == ErrorKind::bad_format);
        CHECK(kind_of(store->vdisk("debian")) == ErrorKind::bad_format);
    }
    SUBCASE("a table is missing") {
        meddle(database, "DROP TABLE ticket");
        const auto store = must(open_store(folder));
        CHECK(kind_of(store->tickets(kMac)) == ErrorKind::bad_format);
    }
}

TEST_CASE("random damage to the database gives errors or records") {
    Fixture fixture;
    const std::string folder = fixture.store->folder(), database = folder + "/lodge.sqlite";
    fixture.add("debian");
    fixture.add_client(kMac);
    must(fixture.store->assign({kMac, "debian", Mode::shared, 0}));
    for (int i = 0; i < 50; ++i) must(fixture.store->record(i, "who", "what " + std::string(200, 'x')));
    fixture.store.reset();
    const auto whole = content_of(database);
    std::mt19937 random(7);
    for (int i = 0; i < 150; ++i) {
        auto bytes = whole;
        for (u32 j = random() % 40 + 1; j > 0; --j)
            bytes[100 + random() % (bytes.size() - 100)] = static_cast<u8>(random());
        if (random() % 4 == 0) bytes.resize(random() % bytes.size());
        for (const char* rest : {"-wal", "-shm"}) std::filesystem::remove(database + rest);
        write_content(database, bytes);
        auto store = open_store(folder);
        if (!store) continue;
        read_all(**store, [](const auto& result) { CHECK((result.ok() || is_one_line(result.error()))); });
        if (auto written = (*store)->record(1, "a", "b"); !written) CHECK(is_one_line(written.error()));
        if (auto added = (*store)->add_client({.mac = kOther}); !added) CHECK(is_one_line(added.error()));
    }
}
