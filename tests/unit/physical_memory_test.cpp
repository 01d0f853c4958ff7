#include "core/memory/physical_memory.h"

#include <doctest/doctest.h>

#include <cstring>
#include <numeric>
#include <string>

using namespace lodge;

namespace {

// What lies behind the backed pages: remembers accesses, reads give the low byte of the address in each byte.
struct Behind final : AddressSpace {
    u64 read(u64 address, unsigned size) override {
        calls.push_back("r" + std::to_string(address) + "/" + std::to_string(size));
        u64 value = 0;
        for (unsigned i = 0; i < size; ++i) value |= ((address + i) & 0xFF) << (8 * i);
        return value;
    }
    void write(u64 address, unsigned size, u64) override {
        calls.push_back("w" + std::to_string(address) + "/" + std::to_string(size));
    }
    std::vector<std::string> calls;
};

struct Listener final : MemoryListener {
    void on_code_written(u64 page, unsigned offset, unsigned length) override {
        heard.push_back("code " + std::to_string(page) + ":" + std::to_string(offset) + "+" + std::to_string(length));
    }
    void on_write_watched(u64 page) override { heard.push_back("watch " + std::to_string(page)); }
    void on_map_changed() override { heard.push_back("map"); }
    std::vector<std::string> heard;
};

using Heard = std::vector<std::string>;

struct Fixture {
    Behind behind;
    std::unique_ptr<PhysicalMemory> memory = std::move(*PhysicalMemory::create(16 * kPageSize, behind));
    Listener listener;
    Fixture() { memory->add_listener(listener); }
    ~Fixture() { memory->remove_listener(listener); }

    void write(u64 physical, std::vector<u8> bytes) { memory->write(physical, bytes); }
    std::vector<u8> read(u64 physical, size_t size) {
        std::vector<u8> bytes(size);
        memory->read(physical, bytes);
        return bytes;
    }
};

}  // namespace

TEST_CASE("physical_memory: values of all sizes, across pages too") {
    Fixture f;
    f.memory->map(0x10000, 4 * kPageSize, 2 * kPageSize, true);
    f.memory->write_value<u32>(0x10010, 0x12345678);
    CHECK(f.memory->read_value<u8>(0x10011) == 0x56);
    CHECK(f.memory->read_value<u64>(0x1000C) == 0x1234567800000000);
    CHECK(load<u32>(f.memory->backing().data() + 2 * kPageSize + 0x10) == 0x12345678);
    f.memory->write_value<u64>(0x10FFD, 0x1122334455667788);
    CHECK(f.memory->read_value<u64>(0x10FFD) == 0x1122334455667788);
    CHECK(f.memory->read_value<u8>(0x11000) == 0x55);
    CHECK(f.behind.calls.empty());
}

TEST_CASE("physical_memory: what is not backed goes to the bus behind, in aligned parts") {
    Fixture f;
    f.memory->map(0, kPageSize, 0, true);
    CHECK(f.memory->read_value<u32>(0x5000) == 0x03020100);
    CHECK(f.behind.calls == std::vector<std::string>{"r20480/4"});
    f.behind.calls.clear();
    f.memory->write_value<u16>(0x5002, 1);
    CHECK(f.behind.calls == std::vector<std::string>{"w20482/2"});
    f.behind.calls.clear();
    // DMA from the end of a backed page: 3 bytes there, then a dword and a word of the bus.
    f.memory->write_value<u8>(0xFFF, 0xAB);
    CHECK(f.read(0xFFD, 9) == std::vector<u8>{0, 0, 0xAB, 0, 1, 2, 3, 4, 5});
    CHECK(f.behind.calls == std::vector<std::string>{"r4096/4", "r4100/2"});
    f.behind.calls.clear();
    f.write(0x1001, {1, 2, 3, 4});
    CHECK(f.behind.calls == std::vector<std::string>{"w4097/1", "w4098/2", "w4100/1"});
    CHECK_FALSE(f.memory->is_backed(0x1000));
    CHECK(f.memory->read_pointer(~u64{0}) == nullptr);
    CHECK(f.memory->write_pointer(~u64{0}) == nullptr);
}

TEST_CASE("physical_memory: DMA of many pages") {
    Fixture f;
    // Two halves of the range lie in the backing the other way round.
    f.memory->map(0x100000, 3 * kPageSize, 3 * kPageSize, true);
    f.memory->map(0x103000, 3 * kPageSize, 0, true);
    std::vector<u8> bytes(5 * kPageSize);
    std::iota(bytes.begin(), bytes.end(), u8{1});
    f.write(0x100800, bytes);
    CHECK(f.read(0x100800, bytes.size()) == bytes);
    CHECK(f.memory->backing()[3 * kPageSize + 0x800] == 1);
    CHECK(f.memory->backing()[0] == bytes[0x103000 - 0x100800]);
}

TEST_CASE("physical_memory: read-only pages keep their bytes, split ones write elsewhere, unmapped ones are gone") {
    Fixture f;
    f.memory->backing()[0] = 0x55;
    f.memory->map(0xF0000, kPageSize, 0, false);
    f.memory->write_value<u8>(0xF0000, 0xAA);
    f.write(0xF0000, {0xAA});
    CHECK(f.memory->read_value<u8>(0xF0000) == 0x55);
    CHECK(f.memory->write_pointer(0xF0000) == nullptr);

    f.memory->map_split(0xF0000, kPageSize, 0, kPageSize);
    f.memory->write_value<u8>(0xF0000, 0xBB);
    CHECK(f.memory->read_value<u8>(0xF0000) == 0x55);
    CHECK(f.memory->backing()[kPageSize] == 0xBB);
    f.memory->map(0xF0000, kPageSize, kPageSize, false);
    CHECK(f.memory->read_value<u8>(0xF0000) == 0xBB);

    f.memory->unmap(0xF0000, kPageSize);
    CHECK_FALSE(f.memory->is_backed(0xF0000));
    f.memory->unmap(0x40000000, 0x10000000);  // never was
    CHECK(f.behind.calls.empty());
}

TEST_CASE("physical_memory: listeners hear of each change of the map, of several at once as one") {
    Fixture f;
    f.memory->map(0, kPageSize, 0, true);
    f.memory->unmap(0, kPageSize);
    CHECK(f.listener.heard == Heard{"map", "map"});
    f.listener.heard.clear();
    {
        const PhysicalMemory::MapChange outer(*f.memory);
        f.memory->map(0, kPageSize, 0, true);
        {
            const PhysicalMemory::MapChange inner(*f.memory);
            f.memory->map_split(0x1000, kPageSize, 0, kPageSize);
        }
        CHECK(f.listener.heard.empty());
    }
    CHECK(f.listener.heard == Heard{"map"});
    { const PhysicalMemory::MapChange nothing(*f.memory); }
    CHECK(f.listener.heard.size() == 1);
}

TEST_CASE("physical_memory: a write to a granule of code is told, one beside it is not") {
    Fixture f;
    f.memory->map(0, 2 * kPageSize, 4 * kPageSize, true);
    f.listener.heard.clear();
    CHECK(f.memory->write_pointer(0) != nullptr);
    f.memory->mark_code(4, 100, 30);  // granules 64..127 and 128..191
    CHECK(f.listener.heard == Heard{"watch 4"});
    CHECK(f.memory->holds_code(4));
    CHECK(f.memory->write_pointer(0) == nullptr);
    CHECK(f.memory->write_pointer(kPageSize) != nullptr);
    f.listener.heard.clear();
    f.memory->mark_code(4, 4095, 1);
    CHECK(f.listener.heard.empty());  // already watched

    f.memory->write_value<u32>(60, 1);   // up to 63
    f.memory->write_value<u32>(192, 1);  // from 192
    CHECK(f.listener.heard.empty());
    f.memory->write_value<u32>(62, 1);
    f.memory->write_value<u8>(191, 1);
    f.write(4095, {1, 2});
    CHECK(f.listener.heard == Heard{"code 4:62+4", "code 4:191+1", "code 4:4095+1"});
    f.listener.heard.clear();
    f.memory->touched(4 * kPageSize + 100, kPageSize);
    CHECK(f.listener.heard == Heard{"code 4:100+3996"});

    f.memory->forget_code(4);
    CHECK_FALSE(f.memory->holds_code(4));
    CHECK(f.memory->write_pointer(0) != nullptr);
}

TEST_CASE("physical_memory: dirty flags are set by any write and cleared one by one") {
    Fixture f;
    f.memory->map(0, kPageSize, 0, true);
    f.memory->clear_dirty(0, kDirtyScreen);
    CHECK(f.listener.heard == Heard{"map", "watch 0"});
    CHECK_FALSE(f.memory->test_dirty(0, kDirtyScreen));
    CHECK(f.memory->test_dirty(0, kDirtySnapshot));
    CHECK(f.memory->write_pointer(0) == nullptr);
    f.memory->clear_dirty(0, kDirtyScreen);
    CHECK(f.listener.heard.size() == 2);  // was clear
    f.memory->write_value<u8>(5, 1);
    CHECK(f.memory->test_dirty(0, kDirtyScreen));
    CHECK(f.memory->write_pointer(0) != nullptr);
    f.memory->clear_dirty(0, kDirtyMigration);
    f.memory->touched(4095, 1);
    CHECK(f.memory->test_dirty(0, kDirtyMigration));
}

TEST_CASE("physical_memory: two mappings of one backing page share bytes and flags") {
    Fixture f;
    f.memory->map(0, kPageSize, 0, true);
    f.memory->map(0xFFFF0000, kPageSize, 0, true);
    f.memory->mark_code(f.memory->backing_page_of(0), 0, 16);
    f.listener.heard.clear();
    f.memory->write_value<u16>(0xFFFF0000, 0xFEEB);
    CHECK(f.listener.heard == Heard{"code 0:0+2"});
    CHECK(f.memory->read_value<u16>(0) == 0xFEEB);
}

TEST_CASE("physical_memory: more than the host can give is an error, not a crash") {
    Behind behind;
    const auto made = PhysicalMemory::create(u64{1} << 60, behind);
    REQUIRE_FALSE(made.ok());
    CHECK(made.error().kind == ErrorKind::io);
}
