#include "disks/server/library.h"

#include <future>
#include <thread>

#include "disks/server/administration.h"
#include "disks/server/store_files.h"
#include "disks/server/vdisk_directory.h"
#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::server;
using namespace lodge::test;
using scsi::MediumOperation;
using scsi::MediumResult;
using scsi::MediumStatus;

namespace {

const std::string kOne = "52:54:00:00:00:01", kTwo = "52:54:00:00:00:02";
constexpr u64 kSize = 8 * kMiB + 512;

MediumResult perform(iscsi::Disk& disk, MediumOperation operation, u64 offset, u64 length, std::vector<u8> data = {}) {
    const scsi::MediumRequest request{operation, offset, length};
    if (auto now = disk.try_now(request, data)) return *now;
    std::promise<MediumResult> done;
    disk.submit(request, std::move(data), [&](MediumResult result) { done.set_value(std::move(result)); });
    return done.get_future().get();
}

std::vector<u8> read(iscsi::Disk& disk, u64 offset, u64 length) {
    const auto result = perform(disk, MediumOperation::read, offset, length);
    CHECK(result.status == MediumStatus::ok);
    return result.data;
}

MediumStatus write(iscsi::Disk& disk, u64 offset, const std::vector<u8>& data) {
    return perform(disk, MediumOperation::write, offset, data.size(), data).status;
}

// A store with one vDisk, "a", and two clients; a library on it, that can be killed.
struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = must(create_store(folder / "store"));
    std::vector<u8> content = pattern(kSize, 1);
    Settings settings;
    std::mutex mutex;
    std::vector<std::string> told;  // under mutex
    std::unique_ptr<Library> library;

    Fixture() {
        write_content(folder / "a.raw", content);
        Administration administration(*store, "the test");
        must(administration.import_vdisk({.name = "a", .image = folder / "a.raw"}));
        for (const std::string& mac : {kOne, kTwo}) must(administration.add_client({.mac = mac}));
        begin();
    }
    void begin() {
        library.reset();
        library =
            std::make_unique<Library>(LibraryOptions{store->folder(), 4 * kMiB, 4}, [this](const std::string& line) {
                std::lock_guard lock(mutex);
                told.push_back(line);
            });
    }
    std::string image() { return image_path(store->folder(), "a.vhd"); }
    std::vector<u8> image_content() { return content_of(*must(open_image(image(), {}))); }

    Result<std::unique_ptr<Library::Hold>> try_attach(const std::string& mac, Mode mode, const std::string& boot = "") {
        return library->attach({mac, boot, must(store->vdisk("a")), mode}, settings);
    }
    std::unique_ptr<Library::Hold> attach(const std::string& mac, Mode mode, const std::string& boot = "") {
        return must(try_attach(mac, mode, boot));
    }
    Error refusal(const std::string& mac, Mode mode, const std::string& boot = "") {
        auto attached = try_attach(mac, mode, boot);
        REQUIRE_FALSE(attached);
        CHECK(is_one_line(attached.error()));
        return attached.error();
    }
    // Until the last private client's image is closed.
    void wait_for_close() {
        for (int i = 0; i < 2000; ++i) {
            if (HostFile::open(image(), FileAccess::read_write)) return;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        FAIL("the image stays open");
    }
};

}  // namespace

TEST_CASE("requests that only read run beside each other, what changes something alone and in order") {
    WorkerPool pool(4);
    RequestQueue queue(pool);
    std::mutex mutex;
    std::vector<int> order;
    std::atomic<int> reading = 0, changing = 0, answers = 0;
    std::mt19937 random(1);
    constexpr int kRequests = 3000;
    for (int i = 0; i < kRequests; ++i) {
        const bool change = random() % 3 == 0;
        queue.submit(
            change ? RequestQueue::Kind::changes : RequestQueue::Kind::reads,
            [&, i, change] {
                (change ? changing : reading)++;
                if (change ? changing != 1 || reading != 0 : changing != 0) order.clear();
                if (change) order.push_back(i);
                (change ? changing : reading)--;
            },
            [&] { answers++; });
    }
    while (answers != kRequests) std::this_thread::yield();
    CHECK(queue.idle());
    CHECK(order.size() > kRequests / 4);
    CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("a private vDisk keeps what is written to it") {
    Fixture fixture;
    auto expected = fixture.content;
    {
        const auto hold = fixture.attach(kOne, Mode::private_writes);
        iscsi::Disk& disk = *hold->disk();
        CHECK(disk.bytes() == kSize);
        CHECK_FALSE(disk.read_only());
        CHECK(disk.identity().serial.size() == 32);
        CHECK(read(disk, 0, kSize / 16) == std::vector<u8>(expected.begin(), expected.begin() + kSize / 16));
        std::mt19937 random(1);
        for (u32 i = 0; i < 200; ++i) {
            const u64 length = (random() % 64 + 1) * 512, offset = random() % (kSize - length) / 512 * 512;
            const auto bytes = pattern(length, i);
            CHECK(write(disk, offset, bytes) == MediumStatus::ok);
            std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
            CHECK(read(disk, offset, length) == bytes);
        }
        CHECK(perform(disk, MediumOperation::zero, 512, 4096).status == MediumStatus::ok);
        std::fill_n(expected.begin() + 512, 4096, u8{0});
        CHECK(perform(disk, MediumOperation::flush, 0, 0).status == MediumStatus::ok);
        CHECK(perform(disk, MediumOperation::discard, 0, 512).status == MediumStatus::ok);
        CHECK(perform(disk, MediumOperation::extent, 0, 0).extent_length > 0);
        CHECK(perform(disk, MediumOperation::read, kSize, 512).status == MediumStatus::failed);
        std::copy_n(read(disk, 0, 512).begin(), 512, expected.begin());
    }
    fixture.wait_for_close();
    CHECK(fixture.image_content() == expected);
    CHECK(read(*fixture.attach(kTwo, Mode::private_writes)->disk(), 0, 8192) ==
          std::vector<u8>(expected.begin(), expected.begin() + 8192));
}

TEST_CASE("who has a vDisk keeps others out, and the refusal names him") {
    Fixture fixture;
    {
        const auto hold = fixture.attach(kOne, Mode::private_writes, "boot");
        const auto again = fixture.attach(kOne, Mode::private_writes, "boot");
        CHECK(hold->disk() == again->disk());
        for (const Mode mode : {Mode::private_writes, Mode::shared}) {
            const Error error = fixture.refusal(kTwo, mode);
            CHECK(error.kind == ErrorKind::locked);
            CHECK(mentions(error, kOne));
            CHECK(mentions({ErrorKind::io, fixture.library->in_use("a", mode, kTwo).value()}, kOne));
        }
        CHECK_FALSE(fixture.library->in_use("a", Mode::private_writes, kOne));
        CHECK(fixture.library->mode_of("a") == Mode::private_writes);
    }
    {
        const auto hold = fixture.attach(kTwo, Mode::shared);
        const auto also = fixture.attach(kOne, Mode::shared);
        CHECK(hold->disk() != also->disk());
        const Error error = fixture.refusal(kOne, Mode::private_writes);
        CHECK(error.kind == ErrorKind::locked);
        CHECK(mentions(error, "2 clients"));
        CHECK_FALSE(fixture.library->in_use("a", Mode::shared, "52:54:00:00:00:03"));
        CHECK(fixture.library->in_use("a", Mode::private_writes, kOne));
    }
    const auto hold = fixture.attach(kOne, Mode::private_writes);
    CHECK_FALSE(fixture.library->in_use("b", Mode::private_writes, kOne));
    const auto elsewhere = open_image(fixture.image(), {});
    REQUIRE_FALSE(elsewhere);
    CHECK(elsewhere.error().kind == ErrorKind::locked);
}

TEST_CASE("another process's lock is a reason") {
    Fixture fixture;
    const auto other = must(open_image(fixture.image(), for_writing()));
    CHECK(fixture.refusal(kOne, Mode::private_writes).kind == ErrorKind::locked);
    CHECK(fixture.refusal(kOne, Mode::shared).kind == ErrorKind::locked);
}

TEST_CASE("shared clients see their own writes, until they boot again, and the base never changes") {
    for (const CacheKind kind : {CacheKind::disk, CacheKind::memory}) {
        Fixture fixture;
        fixture.settings.cache = kind;
        const auto image_before = content_of(fixture.image());
        const auto a = pattern(10'240, 1), b = pattern(10'240, 2);
        const auto begin = std::vector<u8>(fixture.content.begin(), fixture.content.begin() + 10'240);
        auto one = fixture.attach(kOne, Mode::shared, "boot 1");
        auto two = fixture.attach(kTwo, Mode::shared, "boot 1");
        for (int i = 0; i < 3; ++i) {
            CHECK(write(*one->disk(), 0, a) == MediumStatus::ok);
            CHECK(write(*two->disk(), 0, b) == MediumStatus::ok);
        }
        CHECK(read(*one->disk(), 0, a.size()) == a);
        CHECK(read(*two->disk(), 0, b.size()) == b);
        CHECK(fixture.library->caches().size() == 2);

        // The network went away and came back.
        one.reset();
        one = fixture.attach(kOne, Mode::shared, "boot 1");
        CHECK(read(*one->disk(), 0, a.size()) == a);

        // It booted again while its old session was still there.
        const auto old = one->disk();
        fixture.library->new_boot(kOne);
        CHECK(perform(*old, MediumOperation::read, 0, 512).status == MediumStatus::failed);
        CHECK(write(*old, 0, b) == MediumStatus::failed);
        auto again = fixture.attach(kOne, Mode::shared, "boot 2");
        one.reset();
        CHECK(read(*again->disk(), 0, a.size()) == begin);
        CHECK(read(*two->disk(), 0, b.size()) == b);
        again.reset();
        two.reset();
        CHECK(content_of(fixture.image()) == image_before);
        CHECK(fixture.library->caches().size() == 1);  // what was not written to is not kept
    }
}

TEST_CASE("a server that is killed: caches on disk go on, those in memory were lost, and that is said") {
    Fixture fixture;
    const auto bytes = pattern(8192, 3);
    SUBCASE("on disk") {
        auto hold = fixture.attach(kOne, Mode::shared, "boot 1");
        CHECK(write(*hold->disk(), 4096, bytes) == MediumStatus::ok);
        hold.reset();
        fixture.begin();  // the destructor writes nothing that a kill would not leave
        hold = fixture.attach(kOne, Mode::shared, "boot 1");
        CHECK(read(*hold->disk(), 4096, bytes.size()) == bytes);
        hold.reset();
        fixture.begin();
        hold = fixture.attach(kOne, Mode::shared, "boot 2");
        CHECK(read(*hold->disk(), 4096, 1) == std::vector<u8>{fixture.content[4096]});
    }
    SUBCASE("in memory") {
        fixture.settings.cache = CacheKind::memory;
        auto hold = fixture.attach(kOne, Mode::shared, "boot 1");
        auto idle = fixture.attach(kTwo, Mode::shared, "boot 1");
        CHECK(write(*hold->disk(), 4096, bytes) == MediumStatus::ok);
        hold.reset();
        idle.reset();
        fixture.begin();
        const Error error = fixture.refusal(kOne, Mode::shared, "boot 1");
        CHECK(mentions(error, "boot again"));
        idle = fixture.attach(kTwo, Mode::shared, "boot 1");  // it had not written anything
        hold = fixture.attach(kOne, Mode::shared, "boot 2");
        CHECK(read(*hold->disk(), 4096, 1) == std::vector<u8>{fixture.content[4096]});
    }
    SUBCASE("in memory, but stopped in order") {
        fixture.settings.cache = CacheKind::memory;
        auto hold = fixture.attach(kOne, Mode::shared, "boot 1");
        CHECK(write(*hold->disk(), 4096, bytes) == MediumStatus::ok);
        hold.reset();
        fixture.library->save_caches();
        fixture.begin();
        hold = fixture.attach(kOne, Mode::shared, "boot 1");
        CHECK(read(*hold->disk(), 4096, bytes.size()) == bytes);
        CHECK(write(*hold->disk(), 0, bytes) == MediumStatus::ok);
        CHECK(read(*hold->disk(), 0, bytes.size()) == bytes);
    }
}

TEST_CASE("a cache over a vDisk that has changed is refused") {
    Fixture fixture;
    auto hold = fixture.attach(kOne, Mode::shared, "boot 1");
    CHECK(write(*hold->disk(), 4096, pattern(512, 3)) == MediumStatus::ok);
    hold.reset();
    hold = fixture.attach(kTwo, Mode::private_writes);
    CHECK(write(*hold->disk(), 0, pattern(512, 4)) == MediumStatus::ok);
    hold.reset();
    CHECK(mentions(fixture.refusal(kOne, Mode::shared, "boot 1"), "boot again"));
    hold = fixture.attach(kOne, Mode::shared, "boot 2");
    CHECK(read(*hold->disk(), 0, 512) == pattern(512, 4));
}

TEST_CASE("an initiator without tickets: kept after a loss, thrown away after a logout") {
    Fixture fixture;
    const auto bytes = pattern(4096, 3);
    const auto before = std::vector<u8>(fixture.content.begin(), fixture.content.begin() + 4096);
    auto hold = fixture.attach(kOne, Mode::shared);
    CHECK(write(*hold->disk(), 0, bytes) == MediumStatus::ok);
    hold.reset();
    hold = fixture.attach(kOne, Mode::shared);
    CHECK(read(*hold->disk(), 0, 4096) == bytes);
    SUBCASE("its own wish") {
        hold->logged_out();
        hold.reset();
        hold = fixture.attach(kOne, Mode::shared);
        CHECK(read(*hold->disk(), 0, 4096) == before);
    }
    SUBCASE("the server's") {
        fixture.library->expect_logout(kOne);
        hold->logged_out();
        hold.reset();
        hold = fixture.attach(kOne, Mode::shared);
        CHECK(read(*hold->disk(), 0, 4096) == bytes);
    }
    SUBCASE("one of two sessions") {
        auto second = fixture.attach(kOne, Mode::shared);
        second->logged_out();
        second.reset();
        CHECK(read(*hold->disk(), 0, 4096) == bytes);
    }
    SUBCASE("the server was killed") {
        hold.reset();
        fixture.begin();
        hold = fixture.attach(kOne, Mode::shared);
        CHECK(read(*hold->disk(), 0, 4096) == bytes);
    }
}

TEST_CASE("a full cache is an error that the client and the log see") {
    Fixture fixture;
    fixture.settings.cache_quota = 64 * kKiB;
    const auto hold = fixture.attach(kOne, Mode::shared, "boot");
    CHECK(write(*hold->disk(), 0, pattern(64 * kKiB, 1)) == MediumStatus::ok);
    for (int i = 0; i < 3; ++i) CHECK(write(*hold->disk(), kMiB, pattern(4096, 1)) == MediumStatus::no_space);
    CHECK(read(*hold->disk(), 0, 64 * kKiB) == pattern(64 * kKiB, 1));
    const auto caches = fixture.library->caches();
    REQUIRE(caches.size() == 1);
    CHECK(caches[0].full);
    CHECK(caches[0].disk_bytes == 64 * kKiB);
    CHECK(caches[0].quota == 64 * kKiB);
    REQUIRE(fixture.told.size() == 1);
    CHECK(fixture.told[0].find("full") != std::string::npos);
    CHECK(fixture.told[0].find(kOne) != std::string::npos);
}

TEST_CASE("requests of many clients at once") {
    Fixture fixture;
    fixture.settings.cache = CacheKind::memory;
    fixture.settings.cache_memory = 256 * kKiB;
    struct OneClient {
        std::unique_ptr<Library::Hold> hold;
        std::vector<u8> content;
    };
    std::vector<OneClient> clients;
    for (int i = 0; i < 20; ++i) {
        char mac[18];
        std::snprintf(mac, sizeof mac, "52:54:00:00:01:%02x", i);
        clients.push_back({fixture.attach(mac, Mode::shared, "boot"), fixture.content});
    }
    std::mt19937 random(1);
    std::atomic<int> answers = 0;
    int asked = 0;
    // In flight all the time; within a client, a read sees the writes that were submitted before it.
    struct Check {
        std::vector<u8> expected, got;
    };
    std::vector<std::unique_ptr<Check>> checks;
    for (int i = 0; i < 6000; ++i) {
        OneClient& client = clients[random() % clients.size()];
        iscsi::Disk& disk = *client.hold->disk();
        const u64 length = (random() % 16 + 1) * 512, offset = random() % (kMiB - length) / 512 * 512;
        const auto at = client.content.begin() + static_cast<std::ptrdiff_t>(offset);
        std::vector<u8> data;
        auto check = std::make_unique<Check>();
        scsi::MediumRequest request{MediumOperation::read, offset, length};
        if (random() % 2 == 0) {
            request.operation = MediumOperation::write;
            data = pattern(length, static_cast<u32>(i));
            std::copy(data.begin(), data.end(), at);
        } else {
            check->expected.assign(at, at + static_cast<std::ptrdiff_t>(length));
        }
        ++asked;
        const auto done = [&answers, their = check.get()](MediumResult result) {
            their->got = std::move(result.data);
            answers++;
        };
        if (auto now = disk.try_now(request, data))
            done(*now);
        else
            disk.submit(request, std::move(data), done);
        checks.push_back(std::move(check));
    }
    while (answers != asked) std::this_thread::yield();
    for (const auto& check : checks) REQUIRE(check->got == check->expected);
    for (OneClient& client : clients)
        REQUIRE(read(*client.hold->disk(), 0, kMiB) ==
                std::vector<u8>(client.content.begin(), client.content.begin() + kMiB));
}

// The directory: who may come in.

namespace {

struct DirectoryFixture : Fixture {
    std::vector<std::string> dropped;
    std::unique_ptr<VDiskDirectory> directory;

    DirectoryFixture() {
        must(store->add_vdisk({"b", "b.vhd", kSize, "", 1}));
        must(store->assign({kOne, "a", Mode::shared, 0}));
        make();
    }
    void make() {
        directory = std::make_unique<VDiskDirectory>(*store, *library,
                                                     [this](const std::string& mac) { dropped.push_back(mac); });
    }
    static iscsi::Caller caller(const std::string& mac, const std::string& secret = "") {
        iscsi::Caller caller{.initiator = initiator_name(mac), .address = "192.0.2.1:1000"};
        if (!secret.empty()) caller.chap_name = chap_name(mac);
        caller.chap_secret = secret;
        return caller;
    }
    std::unique_ptr<iscsi::Attachment> enter(const iscsi::Caller& caller, const std::string& vdisk = "a") {
        auto answer = directory->attach(caller, target_name(vdisk));
        if (!answer.value) FAIL(answer.refusal.why);
        return std::move(*answer.value);
    }
    iscsi::Refusal refusal(const iscsi::Caller& caller, const std::string& vdisk = "a") {
        auto answer = directory->attach(caller, target_name(vdisk));
        REQUIRE_FALSE(answer.value);
        return answer.refusal;
    }
    std::string ticket(const std::string& mac) { return must(store->new_ticket(mac, 1)).secret; }
};

using Kind = iscsi::Refusal::Kind;

}  // namespace

TEST_CASE("a client proves itself with a ticket or its secret") {
    DirectoryFixture fixture;
    VDiskDirectory& directory = *fixture.directory;
    const std::string target = target_name("a");
    const auto accepted = [&](const iscsi::Caller& caller) {
        auto answer = directory.authentication(caller, target);
        return answer.value ? answer.value->accepted.size() : 99;
    };
    CHECK(directory.authentication(fixture.caller(kOne), target).refusal.kind == Kind::forbidden);  // it has none
    const std::string first = fixture.ticket(kOne);
    CHECK(accepted(fixture.caller(kOne)) == 1);
    auto session = fixture.enter(fixture.caller(kOne, first));
    fixture.ticket(kOne);
    CHECK(accepted(fixture.caller(kOne)) == 2);
    CHECK(fixture.refusal(fixture.caller(kOne)).kind == Kind::forbidden);
    CHECK(fixture.refusal(fixture.caller(kOne, "something else")).kind == Kind::forbidden);
    // A client that lies about its name has only its own secrets.
    auto liar = fixture.caller(kTwo, fixture.ticket(kTwo));
    liar.initiator = initiator_name(kOne);
    CHECK(fixture.refusal(liar).kind == Kind::forbidden);
    CHECK(fixture.refusal(fixture.caller(kTwo, must(fixture.store->tickets(kTwo))[0].secret)).kind == Kind::forbidden);
    CHECK(fixture.refusal({.initiator = "iqn.nobody"}).kind == Kind::forbidden);
    CHECK(fixture.refusal(fixture.caller(kOne, first), "none").kind == Kind::forbidden);
    CHECK(fixture.refusal(fixture.caller(kOne, first), "b").kind == Kind::forbidden);

    must(fixture.store->change_client(
        {.mac = kOne, .initiators = {"iqn.one"}, .chap_secret = "a fixed secret", .target_secret = "another secret"}));
    const auto answer = directory.authentication({.initiator = "iqn.one"}, target);
    REQUIRE(answer.value);
    CHECK(answer.value->accepted.size() == 4);
    CHECK(answer.value->accepted.back().name == "iqn.one");
    CHECK(answer.value->mutual.value().name == "lodge");
    session = fixture.enter({.initiator = "iqn.one", .chap_name = "iqn.one", .chap_secret = "a fixed secret"});

    must(fixture.store->change_client({.mac = kTwo, .trusted = true}));
    CHECK(accepted(fixture.caller(kTwo)) == 0);
    must(fixture.store->assign({kTwo, "a", Mode::shared, 0}));
    const auto trusted = fixture.enter(fixture.caller(kTwo));
    CHECK(must(fixture.store->client(kTwo)).last_seen > 0);
}

TEST_CASE("a fresh ticket is a new boot, a used one the same") {
    DirectoryFixture fixture;
    const auto bytes = pattern(512, 3);
    const std::string first = fixture.ticket(kOne);
    auto session = fixture.enter(fixture.caller(kOne, first));
    CHECK(fixture.dropped.size() == 1);
    CHECK(write(*session->disk(), 0, bytes) == MediumStatus::ok);
    auto second = fixture.enter(fixture.caller(kOne, first));
    CHECK(fixture.dropped.size() == 1);
    CHECK(second->disk() == session->disk());
    session.reset();
    second.reset();
    session = fixture.enter(fixture.caller(kOne, first));
    CHECK(read(*session->disk(), 0, 512) == bytes);
    // The server is killed between two logins of the boot.
    session.reset();
    fixture.begin();
    fixture.make();
    session = fixture.enter(fixture.caller(kOne, first));
    CHECK(read(*session->disk(), 0, 512) == bytes);
    // Asking for a script is no boot yet.
    const std::string next = fixture.ticket(kOne);
    CHECK(read(*session->disk(), 0, 512) == bytes);
    auto fresh = fixture.enter(fixture.caller(kOne, next));
    CHECK(fixture.dropped.size() == 2);
    CHECK(read(*fresh->disk(), 0, 512) == std::vector<u8>(fixture.content.begin(), fixture.content.begin() + 512));
    CHECK(perform(*session->disk(), MediumOperation::read, 0, 512).status == MediumStatus::failed);
    CHECK(fixture.refusal(fixture.caller(kOne, first)).kind == Kind::forbidden);
}

TEST_CASE("private vDisks: one client, and none that has lost it to another") {
    DirectoryFixture fixture;
    for (const std::string& mac : {kOne, kTwo}) must(fixture.store->assign({mac, "a", Mode::private_writes, 0}));
    const std::string one = fixture.ticket(kOne), two = fixture.ticket(kTwo);
    auto session = fixture.enter(fixture.caller(kOne, one));
    const auto busy = fixture.refusal(fixture.caller(kTwo, two));
    CHECK(busy.kind == Kind::busy);
    CHECK(busy.why.find(kOne) != std::string::npos);
    session.reset();  // its network is gone
    session = fixture.enter(fixture.caller(kTwo, two));
    session.reset();
    const auto outdated = fixture.refusal(fixture.caller(kOne, one));
    CHECK(outdated.kind == Kind::unavailable);
    CHECK(outdated.why.find("boot again") != std::string::npos);
    session = fixture.enter(fixture.caller(kOne, fixture.ticket(kOne)));
}

TEST_CASE("clients without a record, and discovery") {
    DirectoryFixture fixture;
    VDiskDirectory& directory = *fixture.directory;
    const std::string stranger = "52:54:00:00:00:99";
    const std::string ticket = fixture.ticket(stranger);
    Settings settings;
    CHECK(fixture.refusal(fixture.caller(stranger, ticket)).kind == Kind::forbidden);
    settings.unknown_clients = UnknownClients::fallback;
    settings.default_vdisk.assign(1, 'a');
    must(fixture.store->change_settings(settings));
    auto session = fixture.enter(fixture.caller(stranger, ticket));
    CHECK(fixture.refusal(fixture.caller(kTwo, fixture.ticket(kTwo))).kind == Kind::forbidden);  // known, has none

    const std::vector<std::string> only_a{target_name("a")};
    CHECK(directory.targets(fixture.caller(kOne)) == only_a);
    CHECK(directory.targets(fixture.caller(kTwo)).empty());
    CHECK(directory.targets({.initiator = "iqn.nobody"}).empty());
    CHECK(directory.authentication({.initiator = "iqn.nobody"}, "").refusal.kind == Kind::forbidden);
    settings.open_discovery = true;
    must(fixture.store->change_settings(settings));
    CHECK(directory.targets({.initiator = "iqn.nobody"}).size() == 2);
    CHECK(directory.authentication({.initiator = "iqn.nobody"}, "").value);
    CHECK(directory.authentication({.initiator = "iqn.nobody"}, target_name("a")).refusal.kind == Kind::forbidden);
}
