#include "disks/server/administration.h"

#include "disks/range.h"
#include "disks/server/store_files.h"
#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::server;
using namespace lodge::test;

namespace {

const std::string kMac = "52:54:00:12:34:56";
constexpr u64 kSize = 5 * kMiB + 512;

struct Fixture {
    TemporaryFolder folder;
    std::unique_ptr<Store> store = must(create_store(folder / "store"));
    Administration administration{*store, "the test"};

    std::string file(const std::string& vdisk) { return image_path(store->folder(), must(store->vdisk(vdisk)).file); }
    std::string last_line() { return must(store->log(0, 1)).at(0).what; }
};

ErrorKind kind_of(const Error& error) {
    CHECK(is_one_line(error));
    return error.kind;
}

std::vector<u8> read_image(const std::string& path) {
    return content_of(*must(open_image(path, {})));
}

}  // namespace

TEST_CASE("an import is a dynamic VHD of its own") {
    Fixture fixture;
    const auto content = pattern(kSize, 1);
    write_content(fixture.folder / "disk.raw", content);
    std::vector<u64> done;
    const VDisk vdisk = must(fixture.administration.import_vdisk({.name = "debian",
                                                                  .image = fixture.folder / "disk.raw",
                                                                  .note = "a note",
                                                                  .progress = [&](u64 so_far, u64 all) {
                                                                      CHECK(all == kSize);
                                                                      done.push_back(so_far);
                                                                      return true;
                                                                  }}));
    CHECK(vdisk.bytes == kSize);
    CHECK(done.back() == kSize);
    CHECK(must(inspect_image(fixture.file("debian"), {})).format == ImageFormat::vhd_dynamic);
    CHECK(read_image(fixture.file("debian")) == content);
    CHECK(mentions({ErrorKind::io, fixture.last_line()}, "debian"));

    SUBCASE("a chain is flattened") {
        OpenOptions options;
        auto child = memory_file("child");
        const std::string path = fixture.folder / "child.vhd";
        const ChildOptions with{path, fixture.file("debian"), {}, 0, must(random_unique_id())};
        must(create_child(*child, with, options));
        write_content(path, content_of(*child));
        auto expected = content;
        {
            const auto device = must(open_image(path, for_writing()));
            must(device->write(1000, pattern(5000, 9)));
        }
        std::copy_n(pattern(5000, 9).begin(), 5000, expected.begin() + 1000);
        must(fixture.administration.import_vdisk({.name = "child", .image = path}));
        CHECK(read_image(fixture.file("child")) == expected);
        CHECK(must(inspect_image(fixture.file("child"), {})).format == ImageFormat::vhd_dynamic);
    }
    SUBCASE("a name is taken once") {
        const auto again =
            fixture.administration.import_vdisk({.name = "debian", .image = fixture.folder / "disk.raw"});
        REQUIRE_FALSE(again);
        CHECK(kind_of(again.error()) == ErrorKind::usage);
    }
}

TEST_CASE("an import that fails leaves nothing") {
    Fixture fixture;
    const auto refused = [&](const ImportOptions& options, ErrorKind kind) {
        const auto result = fixture.administration.import_vdisk(options);
        REQUIRE_FALSE(result);
        CHECK(kind_of(result.error()) == kind);
        CHECK(must(fixture.store->vdisks()).empty());
        CHECK(std::filesystem::is_empty(image_path(fixture.store->folder(), "")));
    };
    write_content(fixture.folder / "disk.raw", pattern(kSize, 1));
    write_content(fixture.folder / "odd.raw", pattern(1000, 1));
    refused({.name = "Bad", .image = fixture.folder / "disk.raw"}, ErrorKind::usage);
    refused({.name = "a", .image = fixture.folder / "none"}, ErrorKind::not_found);
    refused({.name = "a", .image = fixture.folder / "odd.raw"}, ErrorKind::bad_format);
    refused({.name = "a", .image = fixture.folder / "disk.raw", .note = "two\nlines"}, ErrorKind::usage);
    refused({.name = "a", .image = fixture.folder / "disk.raw", .progress = [](u64, u64) { return false; }},
            ErrorKind::usage);
}

TEST_CASE("an empty vDisk") {
    Fixture fixture;
    must(fixture.administration.create_vdisk("empty", kSize, ""));
    CHECK(all_zero(read_image(fixture.file("empty"))));
    CHECK_FALSE(fixture.administration.create_vdisk("odd", 1000, ""));
    CHECK_FALSE(fixture.administration.create_vdisk("large", u64{3} << 40, ""));
    must(fixture.administration.change_note("empty", "for an installation"));
    CHECK(must(fixture.store->vdisk("empty")).note == "for an installation");
}

TEST_CASE("a vDisk that is needed or in use is not removed") {
    Fixture fixture;
    Administration& administration = fixture.administration;
    must(administration.create_vdisk("a", kMiB, ""));
    must(administration.add_client({.mac = "52-54-00-12-34-56"}));
    must(administration.assign({kMac, "a", Mode::shared, 0}));
    const auto refused = [&](bool force, ErrorKind kind) {
        const auto result = administration.remove_vdisk("a", force);
        REQUIRE_FALSE(result);
        CHECK(kind_of(result.error()) == kind);
        CHECK(std::filesystem::exists(fixture.file("a")));
    };
    refused(false, ErrorKind::usage);
    must(administration.unassign(kMac, "a"));
    Settings settings = must(fixture.store->settings());
    settings.default_vdisk.assign(1, 'a');
    must(administration.change_settings(settings));
    refused(false, ErrorKind::usage);
    const std::string file = fixture.file("a");
    {
        const auto reader = must(open_image(file, {}));
        refused(true, ErrorKind::locked);
    }
    write_content(cache_path(fixture.store->folder(), kMac, "a"), pattern(10, 1));
    write_content(cache_path(fixture.store->folder(), kMac, "ab"), pattern(10, 1));
    must(administration.remove_vdisk("a", true));
    CHECK_FALSE(std::filesystem::exists(file));
    CHECK_FALSE(std::filesystem::exists(cache_path(fixture.store->folder(), kMac, "a")));
    CHECK(std::filesystem::exists(cache_path(fixture.store->folder(), kMac, "ab")));
    CHECK(must(fixture.store->settings()).default_vdisk.empty());
    CHECK(kind_of(administration.remove_vdisk("a", true).error()) == ErrorKind::not_found);
}

TEST_CASE("clients are written in one form and checked") {
    Fixture fixture;
    Administration& administration = fixture.administration;
    const Client client = must(administration.add_client(
        {.mac = "525400ABCDEF", .name = "desk", .uuid = "ABC", .initiators = {"IQN.1993-08.org.debian:X"}}));
    CHECK(client.mac == "52:54:00:ab:cd:ef");
    CHECK(must(fixture.store->client_by_uuid("abc")).initiators.at(0) == "iqn.1993-08.org.debian:x");
    CHECK(client.added > 0);
    CHECK_FALSE(administration.add_client({.mac = "x"}));
    CHECK_FALSE(administration.add_client({.mac = kMac, .chap_secret = "short"}));
    CHECK_FALSE(
        administration.add_client({.mac = kMac, .chap_secret = "long enough a", .target_secret = "long enough a"}));
    CHECK_FALSE(administration.add_client({.mac = kMac, .name = "two\nlines"}));
    must(administration.change_client({.mac = "525400ABCDEF", .chap_secret = "a long secret"}));
    CHECK_FALSE(mentions({ErrorKind::io, fixture.last_line()}, "a long secret"));
    must(administration.remove_client("52-54-00-ab-cd-ef"));
    CHECK(must(fixture.store->clients()).empty());
}

TEST_CASE("what changed in the settings is in the log") {
    Fixture fixture;
    Settings settings;
    settings.cache = CacheKind::memory;
    settings.cache_quota = kGiB;
    must(fixture.administration.change_settings(settings));
    CHECK(fixture.last_line() == "settings: caches in memory, quota of a cache: 1 GiB");
    CHECK(must(fixture.store->log(0, 1)).at(0).who == "the test");
    must(fixture.administration.change_settings(settings));
    CHECK(must(fixture.store->log(0, 10)).size() == 1);
}

TEST_CASE("one server at a time runs on a store") {
    Fixture fixture;
    CHECK_FALSE(server_runs(fixture.store->folder()));
    {
        const auto lock = must(lock_for_server(fixture.store->folder()));
        CHECK(server_runs(fixture.store->folder()));
        const auto second = lock_for_server(fixture.store->folder());
        REQUIRE_FALSE(second);
        CHECK(kind_of(second.error()) == ErrorKind::locked);
    }
    CHECK_FALSE(server_runs(fixture.store->folder()));
}
