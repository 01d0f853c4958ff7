// The ACPI tables of the board, ready to be put somewhere: pointers between tables are kept beside the bytes, so that
// the same tables go through fw_cfg's table loader (SeaBIOS places them) or straight into guest memory (direct boot).
// Source: ACPI 2.0, chapter 5 (tables; ACPI 2.0 is what the oldest guests that need ACPI read).
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "core/base/types.h"
#include "devices/floppy_format.h"
#include "devices/pc_layout.h"

namespace lodge {

class FwCfg;
class PhysicalMemory;

struct AcpiTables {
    enum class Blob : u8 { tables, rsdp };
    // A little-endian integer in `blob` at `offset` that holds an offset into `tables`, to become an address.
    struct Pointer {
        Blob blob;
        u32 offset;
        u8 size;
    };
    // The byte at `offset` makes [start, start + length) of `blob` sum to 0. It is 0 until then.
    struct Checksum {
        Blob blob;
        u32 offset;
        u32 start;
        u32 length;
    };
    std::vector<u8> tables;  // to be aligned to 64 bytes (FACS)
    std::vector<u8> rsdp;    // to be aligned to 16 bytes
    std::vector<Pointer> pointers;
    std::vector<Checksum> checksums;  // in order, after all pointers
};

// What the tables say of the board.
struct AcpiConfig {
    unsigned cpus = 1;          // 1..255
    u32 pci_memory = 0;         // first address of the PCI memory window, up to FEBFFFFFh
    unsigned serial_ports = 1;  // 0..2: COM1, COM2
    std::array<FloppyDriveType, 2> floppies = {};
};
AcpiTables build_acpi_tables(const AcpiConfig& config);

// The DSDT's definition block without its header.
std::vector<u8> build_dsdt(const AcpiConfig& config);

// As fw_cfg files "etc/acpi/tables", "etc/acpi/rsdp" and "etc/table-loader".
void add_acpi_files(FwCfg& fw_cfg, const AcpiTables& tables);
// Patches pointers and checksums for these addresses and writes both blobs to guest memory.
void place_acpi_tables(PhysicalMemory& memory, AcpiTables tables, u32 tables_address, u32 rsdp_address);

}  // namespace lodge
