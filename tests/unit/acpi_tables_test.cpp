#include "devices/acpi_tables.h"

#include <doctest/doctest.h>

#include "devices/aml.h"
#include "devices/fw_cfg.h"
#include "tests/unit/board_fixture.h"

namespace lodge {
namespace {

u8 sum(PhysicalMemory& memory, u64 at, u32 length) {
    u8 total = 0;
    for (u32 i = 0; i < length; ++i) total = static_cast<u8>(total + memory.read_value<u8>(at + i));
    return total;
}

std::string signature(PhysicalMemory& memory, u64 at) {
    std::string text(4, ' ');
    memory.read(at, {reinterpret_cast<u8*>(text.data()), 4});
    return text;
}

TEST_CASE("terms of the machine language") {
    using aml::Bytes;
    CHECK(aml::integer(0) == Bytes{0x00});
    CHECK(aml::integer(0x12345) == Bytes{0x0C, 0x45, 0x23, 0x01, 0x00});
    CHECK(aml::path("\\_S5") == Bytes{'\\', '_', 'S', '5', '_'});
    CHECK(aml::path("A.BC") == Bytes{0x2E, 'A', '_', '_', '_', 'B', 'C', '_', '_'});
    CHECK(aml::path("A.B.C").size() == 2 + 12);
    CHECK(aml::eisa_id("PNP0A03") == Bytes{0x0C, 0x41, 0xD0, 0x0A, 0x03});
    CHECK(aml::package({aml::integer(1)}) == Bytes{0x12, 0x03, 0x01, 0x01});
    // Lengths count themselves: 62 bytes of content need a second length byte.
    CHECK(aml::scope("ABCD", {Bytes(58, 0xA3)})[1] == 63);
    const Bytes longer = aml::scope("ABCD", {Bytes(59, 0xA3)});
    CHECK(longer[1] == 0x41);
    CHECK(longer[2] == 0x04);
    CHECK(aml::resources({aml::irq(4)}) == Bytes{0x11, 0x08, 0x0A, 0x05, 0x22, 0x10, 0x00, 0x79, 0x00});
}

TEST_CASE("tables placed in memory point at each other and add up") {
    BoardFixture board;
    board.memory->map(0, 4 * kMiB, 0, true);
    constexpr u32 kTables = 0x100000;
    constexpr u32 kRsdp = 0xF0000;
    place_acpi_tables(*board.memory, build_acpi_tables({.cpus = 2, .pci_memory = 0x80000000, .serial_ports = 2}),
                      kTables, kRsdp);
    PhysicalMemory& memory = *board.memory;
    CHECK(sum(memory, kRsdp, 20) == 0);
    CHECK(sum(memory, kRsdp, 36) == 0);
    const u32 rsdt = memory.read_value<u32>(kRsdp + 16);
    const u64 xsdt = memory.read_value<u64>(kRsdp + 24);
    REQUIRE(signature(memory, rsdt) == "RSDT");
    REQUIRE(signature(memory, xsdt) == "XSDT");
    const u32 fadt = memory.read_value<u32>(rsdt + 36);
    const u32 madt = memory.read_value<u32>(rsdt + 40);
    CHECK(memory.read_value<u64>(xsdt + 36) == fadt);
    REQUIRE(signature(memory, fadt) == "FACP");
    REQUIRE(signature(memory, madt) == "APIC");
    const u32 facs = memory.read_value<u32>(fadt + 36);
    const u32 dsdt = memory.read_value<u32>(fadt + 40);
    REQUIRE(signature(memory, facs) == "FACS");
    CHECK(facs % 64 == 0);
    REQUIRE(signature(memory, dsdt) == "DSDT");
    CHECK(memory.read_value<u64>(fadt + 140) == dsdt);
    for (const u64 table : {u64{rsdt}, xsdt, u64{fadt}, u64{madt}, u64{dsdt}})
        CHECK(sum(memory, table, memory.read_value<u32>(table + 4)) == 0);
}

TEST_CASE("the loader's script allocates, then points, then adds up") {
    BoardFixture board;
    FwCfg fw_cfg(board.platform);
    const AcpiTables tables = build_acpi_tables({.pci_memory = 0x80000000});
    add_acpi_files(fw_cfg, tables);
    REQUIRE(fw_cfg.file("etc/table-loader"));
    const std::vector<u8>& script = *fw_cfg.file("etc/table-loader");
    REQUIRE(script.size() == 128 * (2 + tables.pointers.size() + tables.checksums.size()));
    u32 last = 0;
    for (size_t at = 0; at < script.size(); at += 128) {
        const u32 command = load<u32>(&script[at]);
        CHECK(command >= last);
        last = command;
    }
    CHECK(*fw_cfg.file("etc/acpi/tables") == tables.tables);
    CHECK(*fw_cfg.file("etc/acpi/rsdp") == tables.rsdp);
}

}  // namespace
}  // namespace lodge
