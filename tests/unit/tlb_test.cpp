// What translated code's cells may cover, and what empties them.
#include "core/cpu/tlb.h"

#include <doctest/doctest.h>

#include <memory>

namespace lodge {

namespace {

constexpr u64 kLinear = 0x400000, kHost = 0x7F0000000000;

struct Pages {
    std::unique_ptr<Tlb> tlb = std::make_unique<Tlb>();

    void fill(u64 linear, u64 host, bool writable = true, bool global = false) {
        const u64 invalid = Tlb::invalid_tag(Tlb::index(linear));
        tlb->fill(linear, {linear, writable ? linear : invalid, invalid, host}, global, kPageSize);
    }
};

bool covers(const AccessCell& cell, u64 linear) {
    return linear - cell.tag < cell.span;
}

AccessCell cell_of(unsigned reach, bool write) {
    AccessCell cell;
    cell.reach = static_cast<u16>(reach);
    cell.write = write;
    return cell;
}

}  // namespace

TEST_CASE("a cell covers the neighbours that lie beside it in the host's memory") {
    Pages pages;
    for (u64 i = 0; i < 4; ++i) pages.fill(kLinear + i * kPageSize, kHost + i * kPageSize);
    pages.fill(kLinear + 4 * kPageSize, kHost);
    AccessCell cell = cell_of(8, false);
    REQUIRE(pages.tlb->fill_cell(cell, kLinear + 2 * kPageSize + 16));
    CHECK(cell.delta == kHost - kLinear);
    CHECK(covers(cell, kLinear));
    CHECK(!covers(cell, kLinear - 1));
    CHECK(covers(cell, kLinear + 4 * kPageSize - 8));
    CHECK(!covers(cell, kLinear + 4 * kPageSize - 7));
}

TEST_CASE("a cell needs entries for its kind of access, and for all of its bytes") {
    Pages pages;
    pages.fill(kLinear, kHost);
    pages.fill(kLinear + kPageSize, kHost + kPageSize, false);
    AccessCell reading = cell_of(16, false), writing = cell_of(16, true);
    CHECK(!pages.tlb->fill_cell(reading, kLinear - kPageSize));
    REQUIRE(pages.tlb->fill_cell(reading, kLinear + kPageSize - 8));
    CHECK(covers(reading, kLinear + kPageSize - 8));
    CHECK(!pages.tlb->fill_cell(writing, kLinear + kPageSize - 8));
    REQUIRE(pages.tlb->fill_cell(writing, kLinear));
    CHECK(!covers(writing, kLinear + kPageSize - 8));
    CHECK(!pages.tlb->fill_cell(writing, kLinear + kPageSize));
}

TEST_CASE("what changes the entries empties the cells") {
    Pages pages;
    for (u64 i = 0; i < 3; ++i) pages.fill(kLinear + i * kPageSize, kHost + i * kPageSize);
    AccessCell reading = cell_of(4, false), writing = cell_of(4, true), other = cell_of(4, false);
    pages.fill(2 * kLinear, 2 * kHost);
    REQUIRE(pages.tlb->fill_cell(reading, kLinear));
    REQUIRE(pages.tlb->fill_cell(writing, kLinear));
    REQUIRE(pages.tlb->fill_cell(other, 2 * kLinear));
    u8* const host = reinterpret_cast<u8*>(kHost + kPageSize);

    SUBCASE("a page that may no longer be written") {
        pages.tlb->forbid_writes(host);
        CHECK(reading.span != 0);
        CHECK(writing.span == 0);
        CHECK(other.span != 0);
    }
    SUBCASE("a page that is invalidated") {
        pages.tlb->clear_page(kLinear + 2 * kPageSize + 5);
        CHECK(reading.span == 0);
        CHECK(writing.span == 0);
        CHECK(other.span != 0);
    }
    SUBCASE("a page that loses the right to be written") {
        pages.fill(kLinear + kPageSize, kHost + kPageSize, false);
        CHECK(reading.span != 0);
        CHECK(writing.span == 0);
    }
    SUBCASE("a page that now lies elsewhere") {
        pages.fill(kLinear, kHost + 9 * kPageSize);
        CHECK(reading.span == 0);
        CHECK(writing.span == 0);
        CHECK(other.span != 0);
    }
    SUBCASE("an entry that another page takes") {
        pages.fill(kLinear + Tlb::kEntries * kPageSize, kHost);
        CHECK(reading.span == 0);
        CHECK(writing.span == 0);
    }
    SUBCASE("the same entry once more") {
        pages.fill(kLinear, kHost);
        CHECK(reading.span != 0);
        CHECK(writing.span != 0);
    }
    SUBCASE("a load of CR3") {
        pages.tlb->clear_non_global();
        CHECK(reading.span == 0);
        CHECK(other.span == 0);
    }
}

TEST_CASE("an alias makes neighbours of pages that lie apart, until its entry goes") {
    Pages pages;
    pages.fill(kLinear, kHost);
    pages.fill(kLinear + kPageSize, kHost + 7 * kPageSize);
    constexpr u64 kWindow = 2 * kHost;
    pages.tlb->set_alias(kLinear, kWindow);
    pages.tlb->set_alias(kLinear + kPageSize, kWindow + kPageSize);
    AccessCell cell = cell_of(8, true);
    REQUIRE(pages.tlb->fill_cell(cell, kLinear));
    CHECK(cell.delta == kWindow - kLinear);
    CHECK(covers(cell, kLinear + kPageSize));
    pages.tlb->forbid_writes(reinterpret_cast<u8*>(kHost + 7 * kPageSize));
    CHECK(cell.span == 0);
    pages.tlb->clear_page(kLinear);
    pages.fill(kLinear, kHost);
    CHECK(pages.tlb->alias(kLinear) == 0);
    REQUIRE(pages.tlb->fill_cell(cell, kLinear));
    CHECK(cell.delta == kHost - kLinear);
    pages.tlb->forget_cells();
    CHECK(cell.span == 0);
    CHECK(pages.tlb->alias(kLinear + kPageSize) == 0);
}

}  // namespace lodge
