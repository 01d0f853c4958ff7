#include "disks/server/client_cache.h"

#include "disks/range.h"
#include "tests/unit/image_support.h"

using namespace lodge;
using namespace lodge::server;
using namespace lodge::test;

namespace {

constexpr u64 kSize = 70 * ClientCache::kCluster + 512;
constexpr u64 kFar = 40 * kMiB;  // beyond what one leaf of the map covers

struct Fixture {
    TemporaryFolder folder;
    BlockCache blocks{16 * kMiB};
    std::vector<u8> content;  // what the client is to see
    std::shared_ptr<SharedBase> base;
    CacheOptions options;

    explicit Fixture(CacheKind kind = CacheKind::disk, u64 size = kSize) : content(pattern(size, 1)) {
        // A hole in the base, too.
        std::fill_n(content.begin() + 20 * 4096, 10 * 4096, u8{0});
        CreateOptions create;
        create.size = size;
        auto made = must(NewFile::create(base_path(), false));
        auto device = must(create_image(made->take_file(), create));
        must(device->write(0, content));
        must(finish_image(*device));
        must(made->commit());
        device.reset();
        base = must(SharedBase::open(base_path(), 1, blocks));
        options.path = folder / "cache";
        options.boot = "boot 1";
        options.host_boot = "host 1";
        options.base = base->version();
        options.kind = kind;
        options.memory = 20 * ClientCache::kCluster;
    }
    std::string base_path() const { return folder / "base.vhd"; }
    std::unique_ptr<ClientCache> make() const { return must(ClientCache::create(options)); }

    std::vector<u8> all_of(ClientCache& cache) {
        std::vector<u8> bytes(cache.bytes());
        must(cache.read(*base, 0, bytes));
        return bytes;
    }
    void write(ClientCache& cache, u64 offset, u64 length, u32 seed) {
        const auto bytes = pattern(length, seed);
        must(cache.write(*base, offset, bytes));
        std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    void zero(ClientCache& cache, u64 offset, u64 length) {
        must(cache.zero(*base, offset, length));
        std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(offset), length, u8{0});
    }
    // Something at random, compared with the content.
    void step(ClientCache& cache, std::mt19937& random, u64 most = 30000) {
        const u64 offset = random() % content.size();
        const u64 length = std::min<u64>(random() % most + 1, content.size() - offset);
        switch (random() % 6) {
            case 0:
                return zero(cache, offset, length);
            case 1: {
                must(cache.discard(*base, offset, length));
                // Zeros or as before: whatever it is, it stays.
                std::vector<u8> now(length);
                must(cache.read(*base, offset, now));
                for (u64 i = 0; i < length; ++i) {
                    if (now[i] != content[offset + i]) REQUIRE(now[i] == 0);
                    content[offset + i] = now[i];
                }
                return;
            }
            case 2: {
                const Extent extent = must(cache.extent(*base, offset));
                REQUIRE(extent.length > 0);
                REQUIRE(extent.length <= content.size() - offset);
                if (extent.zero) REQUIRE(all_zero(std::span(content).subspan(offset, extent.length)));
                return;
            }
            case 3: {
                std::vector<u8> now(length);
                if (!cache.try_read(*base, offset, now)) must(cache.read(*base, offset, now));
                REQUIRE(std::equal(now.begin(), now.end(), content.begin() + static_cast<std::ptrdiff_t>(offset)));
                return;
            }
            case 4: {
                const auto bytes = pattern(length, static_cast<u32>(random()));
                if (!cache.try_write(offset, bytes)) must(cache.write(*base, offset, bytes));
                std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(offset));
                return;
            }
            default:
                return write(cache, offset, length, static_cast<u32>(random()));
        }
    }
};

ErrorKind refusal(const Result<std::unique_ptr<ClientCache>>& result) {
    REQUIRE_FALSE(result);
    CHECK(is_one_line(result.error()));
    return result.error().kind;
}

}  // namespace

TEST_CASE("a shared base is read through the block cache") {
    Fixture fixture;
    std::vector<u8> bytes(kSize);
    must(fixture.base->read(0, bytes));
    CHECK(bytes == fixture.content);
    const u64 misses = fixture.blocks.misses();
    std::fill(bytes.begin(), bytes.end(), u8{1});
    CHECK(fixture.base->try_read(0, bytes));
    CHECK(bytes == fixture.content);
    CHECK(fixture.blocks.misses() == misses);
    CHECK(fixture.blocks.hits() > 0);
    CHECK_FALSE(fixture.base->read(kSize, std::span(bytes).first(1)));
    CHECK(fixture.base->unique_id().size() == 32);
    fixture.base.reset();
    CHECK(fixture.blocks.bytes() == 0);
}

TEST_CASE("the block cache keeps to its size and to what was used last") {
    BlockCache blocks(16 * 8 * BlockCache::kBlock);
    for (u64 i = 0; i < 4000; ++i) {
        blocks.add(1, i, std::make_shared<std::vector<u8>>(BlockCache::kBlock, static_cast<u8>(i)));
        CHECK(blocks.bytes() <= 16 * 8 * BlockCache::kBlock);
        if (i >= 1) CHECK((i < 10 || blocks.find(1, 3).here));
    }
    const auto found = blocks.find(1, 3999);
    REQUIRE(found.here);
    CHECK(found.block->front() == static_cast<u8>(3999));
    CHECK_FALSE(blocks.find(2, 3999).here);
    blocks.drop(1);
    CHECK(blocks.bytes() == 0);
    CHECK_FALSE(blocks.find(1, 3999).here);
}

TEST_CASE("a cache shows its base until it is written to, and leaves no file before") {
    Fixture fixture;
    const auto cache = fixture.make();
    CHECK(fixture.all_of(*cache) == fixture.content);
    must(cache->discard(*fixture.base, 0, kSize));
    CHECK(fixture.all_of(*cache) == fixture.content);
    CHECK(cache->untouched());
    CHECK_FALSE(std::filesystem::exists(fixture.options.path));
}

TEST_CASE("random work gives what a plain array gives, in memory, beyond it, and on disk") {
    for (const CacheKind kind : {CacheKind::disk, CacheKind::memory})
        for (u32 seed = 1; seed <= 4; ++seed) {
            Fixture fixture(kind);
            const auto base_before = content_of(fixture.base_path());
            auto cache = fixture.make();
            std::mt19937 random(seed);
            for (int i = 0; i < 1500; ++i) fixture.step(*cache, random);
            CHECK(fixture.all_of(*cache) == fixture.content);
            const auto use = cache->use();
            CHECK(use.memory_bytes <= (kind == CacheKind::memory ? fixture.options.memory : 0));
            CHECK(use.disk_bytes > 0);
            CHECK_FALSE(use.full);
            CHECK(content_of(fixture.base_path()) == base_before);
        }
}

TEST_CASE("a large disk's map is loaded again, holes and all") {
    Fixture fixture(CacheKind::disk, 3 * kFar + 512);
    auto cache = fixture.make();
    std::mt19937 random(3);
    for (int i = 0; i < 200; ++i) fixture.step(*cache, random, 200'000);
    fixture.write(*cache, 3 * kFar, 512, 5);
    for (int round = 0; round < 2; ++round) {
        const auto use = cache->use();
        cache.reset();
        cache = must(ClientCache::resume(fixture.options));
        REQUIRE(cache);
        CHECK(cache->use().disk_bytes == use.disk_bytes);
        CHECK(fixture.all_of(*cache) == fixture.content);
        fixture.zero(*cache, 0, kFar);
    }
}

// A server that is killed leaves the file as it is at that moment; a copy of it is what the next one finds.
TEST_CASE("a cache on disk survives a kill of the server at any write") {
    Fixture fixture;
    auto cache = fixture.make();
    std::mt19937 random(11);
    for (int i = 0; i < 150; ++i) {
        fixture.step(*cache, random);
        if (cache->untouched()) continue;
        auto options = fixture.options;
        options.path = fixture.folder / "copy";
        std::filesystem::copy_file(fixture.options.path, options.path,
                                   std::filesystem::copy_options::overwrite_existing);
        const auto resumed = must(ClientCache::resume(options));
        REQUIRE(resumed);
        REQUIRE(fixture.all_of(*resumed) == fixture.content);
    }
}

TEST_CASE("what was lost is said, and what was saved is not lost") {
    for (const CacheKind kind : {CacheKind::disk, CacheKind::memory}) {
        Fixture fixture(kind);
        auto cache = fixture.make();
        CHECK_FALSE(must(ClientCache::resume(fixture.options)));  // nothing was written, nothing is lost
        std::mt19937 random(5);
        for (int i = 0; i < 100; ++i) fixture.step(*cache, random);
        auto options = fixture.options;
        const auto resume = [&] {
            cache.reset();
            return ClientCache::resume(options);
        };
        SUBCASE("the host crashed") {
            options.host_boot = "host 2";
            CHECK(refusal(resume()) == ErrorKind::usage);
        }
        SUBCASE("the server was killed") {
            auto resumed = resume();
            CHECK(resumed.ok() == (kind == CacheKind::disk));
            if (resumed) CHECK(fixture.all_of(**resumed) == fixture.content);
        }
        SUBCASE("the vDisk was changed") {
            options.base.changed_at += 1;
            CHECK(refusal(resume()) == ErrorKind::usage);
        }
        SUBCASE("another boot") {
            options.boot = "boot 2";
            CHECK_FALSE(must(resume()));
        }
        SUBCASE("the server stopped in order, even the host") {
            must(cache->save());
            options.host_boot = "host 2";
            cache = must(resume());
            REQUIRE(cache);
            CHECK(fixture.all_of(*cache) == fixture.content);
            // The first write makes it as fragile as before.
            fixture.write(*cache, 1000, 3000, 77);
            CHECK(fixture.all_of(*cache) == fixture.content);
            options.host_boot = "host 3";
            CHECK(refusal(resume()) == ErrorKind::usage);
        }
        SUBCASE("saved, and written to afterwards") {
            must(cache->save());
            fixture.write(*cache, 1000, 3000, 77);
            options.host_boot = "host 2";
            CHECK(refusal(resume()) == ErrorKind::usage);
        }
    }
}

TEST_CASE("a full cache fails writes, says so, and loses nothing") {
    for (const CacheKind kind : {CacheKind::disk, CacheKind::memory}) {
        Fixture fixture(kind);
        fixture.options.quota = 10 * ClientCache::kCluster;
        const auto cache = fixture.make();
        fixture.write(*cache, 100, 8 * ClientCache::kCluster, 1);  // nine clusters
        const auto bytes = pattern(2 * ClientCache::kCluster, 2);
        const auto result = cache->write(*fixture.base, 20 * 4096, bytes);
        REQUIRE_FALSE(result);
        CHECK(result.error().kind == ErrorKind::no_space);
        CHECK(is_one_line(result.error()));
        CHECK(cache->use().full);
        CHECK(fixture.all_of(*cache) == fixture.content);
        fixture.write(*cache, 0, 9 * ClientCache::kCluster, 3);  // what is there can be written again
        fixture.zero(*cache, 40 * 4096, 8 * 4096);               // zeros take nothing
        must(cache->discard(*fixture.base, 0, 4 * 4096));
        std::fill_n(fixture.content.begin(), 4 * 4096, u8{0});
        fixture.write(*cache, 20 * 4096, 2 * 4096, 4);  // what was discarded is room
        CHECK(fixture.all_of(*cache) == fixture.content);
    }
}

TEST_CASE("writes into memory need no file but the first") {
    Fixture fixture(CacheKind::memory);
    const auto cache = fixture.make();
    const auto bytes = pattern(8192, 1);
    CHECK_FALSE(cache->try_write(0, bytes));  // its file must say first that there is a cache
    must(cache->write(*fixture.base, 0, bytes));
    CHECK(cache->try_write(0, bytes));
    CHECK(cache->try_write(4096 * 10, bytes));
    CHECK(cache->try_write(100, std::span(bytes).first(50)));
    CHECK_FALSE(cache->try_write(4096 * 14 + 1, bytes));      // needs the base
    CHECK_FALSE(cache->try_write(0, pattern(21 * 4096, 1)));  // more than there may be
    CHECK(cache->try_write(kSize - 512, pattern(512, 1)));    // the short last cluster
    CHECK(cache->use().memory_bytes == 5 * ClientCache::kCluster);
    CHECK(refusal(ClientCache::resume(fixture.options)) == ErrorKind::locked);
}

TEST_CASE("a damaged file is an error") {
    Fixture fixture;
    {
        const auto cache = fixture.make();
        std::mt19937 random(5);
        for (int i = 0; i < 100; ++i) fixture.step(*cache, random);
    }
    const auto whole = content_of(fixture.options.path);
    std::mt19937 random(9);
    const auto damage = [&](size_t begin, size_t end) {
        auto bytes = whole;
        bytes[begin + random() % (end - begin)] ^= static_cast<u8>(1 + random() % 255);
        write_content(fixture.options.path, bytes);
        return ClientCache::resume(fixture.options);
    };
    for (int i = 0; i < 100; ++i) CHECK(refusal(damage(0, 512)) == ErrorKind::bad_format);
    for (int i = 0; i < 200; ++i) {
        auto resumed = damage(4096, 4096 + 18);
        if (!resumed) {
            CHECK(refusal(resumed) == ErrorKind::bad_format);
            continue;
        }
        std::vector<u8> bytes(kSize);
        must((*resumed)->read(*fixture.base, 0, bytes));
    }
    for (const size_t size : {size_t{0}, size_t{100}, size_t{600}, size_t{4100}}) {
        write_content(fixture.options.path, std::span(whole).first(size));
        CHECK(refusal(ClientCache::resume(fixture.options)) == ErrorKind::bad_format);
    }
}
