#include "devices/acpi_tables.h"

#include <algorithm>

#include "core/memory/physical_memory.h"
#include "devices/acpi.h"
#include "devices/fw_cfg.h"

namespace lodge {

namespace {

using Blob = AcpiTables::Blob;

constexpr u32 kHeaderSize = 36;  // DESCRIPTION_HEADER, ACPI 2.0 5.2.5
constexpr u32 kHeaderChecksum = 9;
constexpr u32 kFacsSize = 64;
constexpr u32 kFadtSize = 244;
constexpr u32 kRsdpSize = 36;
constexpr u32 kRsdpFirstPart = 20;  // what ACPI 1.0 knew and checks alone

constexpr u32 kIoApicAddress = 0xFEC00000;
constexpr u32 kLocalApicAddress = 0xFEE00000;

template <class T>
void append(std::vector<u8>& to, T value) {
    const size_t at = to.size();
    to.resize(at + sizeof value);
    store(&to[at], value);
}

void append_text(std::vector<u8>& to, std::string_view text) {
    to.insert(to.end(), text.begin(), text.end());
}

// Adds a table with header to `tables` and returns its offset; its checksum is noted.
u32 add_table(AcpiTables& tables, std::string_view signature, u8 revision, const std::vector<u8>& body) {
    std::vector<u8>& out = tables.tables;
    out.resize(align_up(out.size(), 8));
    const u32 at = static_cast<u32>(out.size());
    const u32 length = kHeaderSize + static_cast<u32>(body.size());
    append_text(out, signature);
    append(out, length);
    append(out, revision);
    append(out, u8{0});  // checksum
    append_text(out, "LODGE ");
    append_text(out, "LODGEPC ");
    append(out, u32{1});
    append_text(out, "LDGE");
    append(out, u32{1});
    out.insert(out.end(), body.begin(), body.end());
    tables.checksums.push_back({Blob::tables, at + kHeaderChecksum, at, length});
    return at;
}

// The FACS has no header like the others'; ACPI 2.0 5.2.9.
u32 add_facs(AcpiTables& tables) {
    const u32 at = static_cast<u32>(tables.tables.size());
    append_text(tables.tables, "FACS");
    append(tables.tables, kFacsSize);
    tables.tables.resize(at + kFacsSize);
    tables.tables[at + 32] = 1;  // version
    return at;
}

// A generic address in system I/O space, ACPI 2.0 5.2.3.1.
void put_io_address(std::vector<u8>& fadt, u32 offset, u16 port, u8 width) {
    constexpr u8 kSystemIo = 1;
    fadt[offset] = kSystemIo;
    fadt[offset + 1] = width;
    store(&fadt[offset + 4], u64{port});
}

// Offsets are those of ACPI 2.0 table 5-8, header included.
u32 add_fadt(AcpiTables& tables, u32 facs, u32 dsdt) {
    constexpr u16 kBase = Acpi::kFirmwareBase;
    constexpr u16 kLegacyDevicesAnd8042 = 0x0003;
    constexpr u32 kWriteBackInvalidate = 1 << 0;
    constexpr u32 kProcessorC1 = 1 << 2;
    constexpr u32 kNoSleepButton = 1 << 5;
    constexpr u32 kNoFixedRtc = 1 << 6;
    constexpr u32 kResetRegister = 1 << 10;
    std::vector<u8> fadt(kFadtSize);
    store(&fadt[36], facs);
    store(&fadt[40], dsdt);
    fadt[45] = 1;              // preferred profile: desktop
    store(&fadt[46], u16{9});  // SCI
    store(&fadt[48], u32{Acpi::kSmiCommandPort});
    fadt[52] = Acpi::kEnableCommand;
    fadt[53] = Acpi::kDisableCommand;
    store(&fadt[56], u32{kBase + Acpi::kPm1Status});
    store(&fadt[64], u32{kBase + Acpi::kPm1Control});
    store(&fadt[76], u32{kBase + Acpi::kTimer});
    store(&fadt[80], u32{kBase + Acpi::kGpeStatus});
    fadt[88] = 4;                  // PM1 event block
    fadt[89] = 2;                  // PM1 control block
    fadt[91] = 4;                  // timer
    fadt[92] = 4;                  // GPE0 block
    store(&fadt[96], u16{0xFFF});  // no C2
    store(&fadt[98], u16{0xFFF});  // no C3
    fadt[108] = 0x32;              // century in CMOS
    store(&fadt[109], kLegacyDevicesAnd8042);
    store(&fadt[112], kWriteBackInvalidate | kProcessorC1 | kNoSleepButton | kNoFixedRtc | kResetRegister);
    put_io_address(fadt, 116, 0xCF9, 8);
    fadt[128] = 0x06;  // hard reset
    store(&fadt[140], u64{dsdt});
    put_io_address(fadt, 148, kBase + Acpi::kPm1Status, 32);
    put_io_address(fadt, 172, kBase + Acpi::kPm1Control, 16);
    put_io_address(fadt, 208, kBase + Acpi::kTimer, 32);
    put_io_address(fadt, 220, kBase + Acpi::kGpeStatus, 32);
    const u32 at = add_table(tables, "FACP", 3, std::vector<u8>(fadt.begin() + kHeaderSize, fadt.end()));
    tables.pointers.push_back({Blob::tables, at + 36, 4});
    tables.pointers.push_back({Blob::tables, at + 40, 4});
    tables.pointers.push_back({Blob::tables, at + 140, 8});
    return at;
}

void append_interrupt_override(std::vector<u8>& madt, u8 irq, u32 gsi, u16 flags) {
    append(madt, u8{2});
    append(madt, u8{10});
    append(madt, u8{0});  // ISA
    append(madt, irq);
    append(madt, gsi);
    append(madt, flags);
}

// ACPI 2.0 5.2.10.4.
u32 add_madt(AcpiTables& tables, const AcpiConfig& config) {
    constexpr u32 kHas8259 = 1;
    constexpr u16 kLevelActiveHigh = 0x000D;
    std::vector<u8> madt;
    append(madt, kLocalApicAddress);
    append(madt, kHas8259);
    for (unsigned cpu = 0; cpu < config.cpus; ++cpu) {
        const u8 id = static_cast<u8>(cpu);
        madt.insert(madt.end(), {0, 8, id, id});
        append(madt, u32{1});  // enabled
    }
    madt.insert(madt.end(), {1, 12, 0, 0});  // I/O APIC 0
    append(madt, kIoApicAddress);
    append(madt, u32{0});
    append_interrupt_override(madt, 0, 2, 0);
    for (u8 irq : {5, 9, 10, 11}) append_interrupt_override(madt, irq, irq, kLevelActiveHigh);
    madt.insert(madt.end(), {4, 6, 0xFF, 0, 0, 1});  // NMI on LINT1 of every local APIC
    return add_table(tables, "APIC", 1, madt);
}

// RSDT (pointers of 4 bytes) or XSDT (of 8).
u32 add_root_table(AcpiTables& tables, std::string_view signature, u8 pointer_size, const std::vector<u32>& children) {
    std::vector<u8> body(children.size() * pointer_size);
    for (size_t i = 0; i < children.size(); ++i) store(&body[i * pointer_size], children[i]);
    const u32 at = add_table(tables, signature, 1, body);
    for (size_t i = 0; i < children.size(); ++i) {
        const u32 offset = at + kHeaderSize + static_cast<u32>(i) * pointer_size;
        tables.pointers.push_back({Blob::tables, offset, pointer_size});
    }
    return at;
}

// ACPI 2.0 5.2.4.3.
void build_rsdp(AcpiTables& tables, u32 rsdt, u32 xsdt) {
    std::vector<u8>& rsdp = tables.rsdp;
    append_text(rsdp, "RSD PTR ");
    append(rsdp, u8{0});  // checksum of the first part
    append_text(rsdp, "LODGE ");
    append(rsdp, u8{2});
    append(rsdp, rsdt);
    append(rsdp, kRsdpSize);
    append(rsdp, u64{xsdt});
    append(rsdp, u32{0});  // extended checksum, reserved
    tables.pointers.push_back({Blob::rsdp, 16, 4});
    tables.pointers.push_back({Blob::rsdp, 24, 8});
    tables.checksums.push_back({Blob::rsdp, 8, 0, kRsdpFirstPart});
    tables.checksums.push_back({Blob::rsdp, 32, 0, kRsdpSize});
}

// The table loader's script: records of 128 bytes. Source: QEMU's linker/loader as SeaBIOS reads it
// (docs/specs/acpi_bits.rst names it; the record is romfile_loader_entry_s).
constexpr size_t kFileName = 56;
constexpr size_t kRecord = 128;
constexpr char kTablesFile[] = "etc/acpi/tables";
constexpr char kRsdpFile[] = "etc/acpi/rsdp";

class LoaderScript {
  public:
    void allocate(std::string_view file, u32 alignment, bool below_1_mib) {
        u8* record = add(1);
        put_name(record + 4, file);
        store(record + 60, alignment);
        record[64] = below_1_mib ? 2 : 1;
    }
    void add_pointer(std::string_view in, std::string_view to, u32 offset, u8 size) {
        u8* record = add(2);
        put_name(record + 4, in);
        put_name(record + 60, to);
        store(record + 116, offset);
        record[120] = size;
    }
    void add_checksum(std::string_view file, u32 offset, u32 start, u32 length) {
        u8* record = add(3);
        put_name(record + 4, file);
        store(record + 60, offset);
        store(record + 64, start);
        store(record + 68, length);
    }
    std::vector<u8> take() { return std::move(bytes_); }

  private:
    u8* add(u32 command) {
        bytes_.resize(bytes_.size() + kRecord);
        u8* record = &bytes_[bytes_.size() - kRecord];
        store(record, command);
        return record;
    }
    static void put_name(u8* to, std::string_view name) {
        std::memcpy(to, name.data(), std::min(name.size(), kFileName - 1));
    }

    std::vector<u8> bytes_;
};

const char* file_of(Blob blob) {
    return blob == Blob::tables ? kTablesFile : kRsdpFile;
}

void add_to_integer(u8* at, u8 size, u32 base) {
    if (size == 8)
        store(at, load<u64>(at) + base);
    else
        store(at, load<u32>(at) + base);
}

}  // namespace

AcpiTables build_acpi_tables(const AcpiConfig& config) {
    AcpiTables tables;
    const u32 facs = add_facs(tables);
    const u32 dsdt = add_table(tables, "DSDT", 1, build_dsdt(config));
    const u32 fadt = add_fadt(tables, facs, dsdt);
    const u32 madt = add_madt(tables, config);
    const u32 rsdt = add_root_table(tables, "RSDT", 4, {fadt, madt});
    const u32 xsdt = add_root_table(tables, "XSDT", 8, {fadt, madt});
    build_rsdp(tables, rsdt, xsdt);
    return tables;
}

void add_acpi_files(FwCfg& fw_cfg, const AcpiTables& tables) {
    LoaderScript script;
    script.allocate(kRsdpFile, 16, true);
    script.allocate(kTablesFile, 64, false);
    for (const AcpiTables::Pointer& pointer : tables.pointers)
        script.add_pointer(file_of(pointer.blob), kTablesFile, pointer.offset, pointer.size);
    for (const AcpiTables::Checksum& sum : tables.checksums)
        script.add_checksum(file_of(sum.blob), sum.offset, sum.start, sum.length);
    fw_cfg.add_file(kTablesFile, tables.tables);
    fw_cfg.add_file(kRsdpFile, tables.rsdp);
    fw_cfg.add_file("etc/table-loader", script.take());
}

void place_acpi_tables(PhysicalMemory& memory, AcpiTables tables, u32 tables_address, u32 rsdp_address) {
    const auto bytes_of = [&](Blob blob) -> std::vector<u8>& {
        return blob == Blob::tables ? tables.tables : tables.rsdp;
    };
    for (const AcpiTables::Pointer& pointer : tables.pointers)
        add_to_integer(&bytes_of(pointer.blob)[pointer.offset], pointer.size, tables_address);
    for (const AcpiTables::Checksum& checksum : tables.checksums) {
        std::vector<u8>& bytes = bytes_of(checksum.blob);
        u8 sum = 0;
        for (u32 i = 0; i < checksum.length; ++i) sum = static_cast<u8>(sum + bytes[checksum.start + i]);
        bytes[checksum.offset] = static_cast<u8>(bytes[checksum.offset] - sum);
    }
    memory.write(tables_address, tables.tables);
    memory.write(rsdp_address, tables.rsdp);
}

}  // namespace lodge
