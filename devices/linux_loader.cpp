#include "devices/linux_loader.h"

#include <algorithm>

#include "devices/pc.h"

namespace lodge {

namespace {

// Where things go. Everything below 1 MiB is ours until the kernel has copied it.
constexpr u32 kGdt = 0x1000;
constexpr u32 kZeroPage = 0x10000;
constexpr u32 kCommandLine = 0x20000;
constexpr u32 kLowMemoryEnd = 0x9FC00;
constexpr u32 kRsdp = 0xE0000;  // in the range that old kernels search
constexpr u32 kAcpiTables = 0xE1000;
constexpr u32 kFirmwareArea = 0xE0000;
constexpr u32 kBiosRom = 0xFFFC0000;
constexpr u32 kVideoMemory = 0xFD000000;
constexpr u32 kVideoRegisters = 0xFEBF0000;
constexpr u16 kBusMasterPorts = 0xC000;

// The setup header, offsets in file and zero page alike.
constexpr size_t kSetupSectors = 0x1F1;
constexpr size_t kVideoMode = 0x1FA;
constexpr size_t kBootFlag = 0x1FE;
constexpr size_t kHeaderEnd = 0x201;  // a byte: the header ends that far behind 202h
constexpr size_t kMagic = 0x202;
constexpr size_t kVersion = 0x206;
constexpr size_t kLoaderType = 0x210;
constexpr size_t kLoadFlags = 0x211;
constexpr size_t kCode32Start = 0x214;
constexpr size_t kRamdiskImage = 0x218;
constexpr size_t kRamdiskSize = 0x21C;
constexpr size_t kCommandLinePointer = 0x228;
constexpr size_t kInitrdAddressMost = 0x22C;
constexpr size_t kRelocatable = 0x234;
constexpr size_t kCommandLineSize = 0x238;
constexpr size_t kPreferredAddress = 0x258;
constexpr size_t kInitSize = 0x260;
constexpr size_t kHeaderMost = 0x290;
// The zero page's own fields.
constexpr size_t kExtendedMemory = 0x002;
constexpr size_t kAcpiRsdp = 0x070;
constexpr size_t kAltMemory = 0x1E0;
constexpr size_t kE820Entries = 0x1E8;
constexpr size_t kE820Table = 0x2D0;

constexpr u8 kLoadedHigh = 0x01;
constexpr u16 kOldestVersion = 0x0204;

struct Kernel {
    std::span<const u8> file;
    std::span<const u8> code;
    u16 version = 0;
    u32 load_address = 0;
    u64 end = 0;  // of what it needs before it knows its memory
    u32 initrd_most = 0;
    u32 command_line_size = 0;

    template <class T>
    T field(size_t offset) const {
        return load<T>(file.data() + offset);
    }
};

Error not_a_kernel(const char* why) {
    return Error{ErrorKind::bad_format, std::string("kernel: not a Linux bzImage: ") + why};
}

Result<Kernel> parse_kernel(std::span<const u8> file) {
    if (file.size() < kHeaderMost) return not_a_kernel("too short");
    Kernel kernel{.file = file};
    if (kernel.field<u16>(kBootFlag) != 0xAA55 || std::memcmp(file.data() + kMagic, "HdrS", 4) != 0)
        return not_a_kernel("no setup header");
    kernel.version = kernel.field<u16>(kVersion);
    if (kernel.version < kOldestVersion) return not_a_kernel("boot protocol older than 2.04");
    if (!(file[kLoadFlags] & kLoadedHigh)) return not_a_kernel("it loads below 1 MiB");
    const u64 setup_sectors = file[kSetupSectors] ? file[kSetupSectors] : 4;
    const u64 code = (setup_sectors + 1) * 512;
    if (code >= file.size()) return not_a_kernel("truncated");
    kernel.code = file.subspan(code);
    kernel.load_address = kernel.field<u32>(kCode32Start);
    if (kernel.load_address < kMiB) return not_a_kernel("it has no 32-bit entry; boot it from a disk");
    kernel.initrd_most = kernel.field<u32>(kInitrdAddressMost);
    kernel.command_line_size = kernel.version >= 0x0206 ? kernel.field<u32>(kCommandLineSize) : 255;
    kernel.end = u64{kernel.load_address} + kernel.code.size();
    if (kernel.version >= 0x020A) {
        // It unpacks itself at its preferred address, or at the load address when that is higher.
        const u64 preferred = kernel.field<u64>(kPreferredAddress);
        const u64 start = file[kRelocatable] ? std::max<u64>(preferred, kernel.load_address) : preferred;
        const u64 size = kernel.field<u32>(kInitSize);
        if (start > 4 * kGiB) return not_a_kernel("bad preferred address");
        kernel.end = std::max(kernel.end, start + size);
    }
    return kernel;
}

// The highest place for the initrd; as high as possible, as boot.rst advises.
Result<u32> place_initrd(const Kernel& kernel, u64 size, u64 low_memory) {
    const u64 limit = std::min(low_memory, u64{kernel.initrd_most} + 1);
    const u64 start = size <= limit ? align_down(limit - size, kPageSize) : 0;
    if (start < kernel.end) {
        const u64 needed = (align_up(kernel.end, kPageSize) + align_up(size, kPageSize) + kMiB - 1) / kMiB;
        return Error{ErrorKind::usage, "kernel and initrd need at least " + std::to_string(needed) + " MiB of memory"};
    }
    return static_cast<u32>(start);
}

void append_e820(std::vector<u8>& zero_page, u64 start, u64 end, u32 type) {
    if (end <= start) return;
    u8* entry = &zero_page[kE820Table + zero_page[kE820Entries]++ * size_t{20}];
    store(entry, start);
    store(entry + 8, end - start);
    store(entry + 16, type);
}

void describe_memory(std::vector<u8>& zero_page, const PcLayout& layout) {
    constexpr u32 kRam = 1;
    constexpr u32 kReserved = 2;
    append_e820(zero_page, 0, kLowMemoryEnd, kRam);
    append_e820(zero_page, kLowMemoryEnd, 0xA0000, kReserved);
    append_e820(zero_page, kFirmwareArea, kMiB, kReserved);
    append_e820(zero_page, kMiB, layout.low(), kRam);
    append_e820(zero_page, kBiosRom, 4 * kGiB, kReserved);
    append_e820(zero_page, 4 * kGiB, 4 * kGiB + layout.high(), kRam);
    const u64 above_1m = (layout.low() - kMiB) / kKiB;
    store(&zero_page[kExtendedMemory], static_cast<u16>(std::min<u64>(above_1m, 0xFFFF)));
    store(&zero_page[kAltMemory], static_cast<u32>(above_1m));
}

constexpr u16 kWidth = 1024;
constexpr u16 kHeight = 768;

// struct screen_info at the start of the zero page, for a linear frame buffer of 32-bit pixels.
void describe_screen(std::vector<u8>& zero_page) {
    constexpr u8 kLinearFrameBuffer = 0x23;
    zero_page[0x0F] = kLinearFrameBuffer;
    store(&zero_page[0x12], kWidth);
    store(&zero_page[0x14], kHeight);
    store(&zero_page[0x16], u16{32});
    store(&zero_page[0x18], kVideoMemory);
    store(&zero_page[0x1C], static_cast<u32>(PcLayout::kVideoSize / (64 * kKiB)));
    store(&zero_page[0x24], static_cast<u16>(kWidth * 4));
    // Size and position of red, green, blue and the unused rest.
    constexpr u8 kColours[8] = {8, 16, 8, 8, 8, 0, 8, 24};
    std::copy(std::begin(kColours), std::end(kColours), &zero_page[0x26]);
}

void set_screen_mode(Vga& vga) {
    // Bochs dispi: 1 width, 2 height, 3 depth, 4 enable (1) with linear memory (40h).
    vga.write_dispi(4, 0);
    vga.write_dispi(1, kWidth);
    vga.write_dispi(2, kHeight);
    vga.write_dispi(3, 32);
    vga.write_dispi(4, 0x41);
}

std::vector<u8> build_zero_page(const Kernel& kernel, const PcLayout& layout, u32 initrd, u32 initrd_size) {
    constexpr u8 kUndefinedLoader = 0xFF;
    constexpr u16 kNormalVideo = 0xFFFF;
    std::vector<u8> page(kPageSize);
    const size_t end = std::min<size_t>(kMagic + kernel.file[kHeaderEnd], kHeaderMost);
    std::copy(kernel.file.begin() + kSetupSectors, kernel.file.begin() + static_cast<long>(end),
              page.begin() + kSetupSectors);
    page[kLoaderType] = kUndefinedLoader;
    store(&page[kVideoMode], kNormalVideo);
    store(&page[kCommandLinePointer], kCommandLine);
    store(&page[kRamdiskImage], initrd_size ? initrd : 0);
    store(&page[kRamdiskSize], initrd_size);
    if (kernel.version >= 0x020E) store(&page[kAcpiRsdp], u64{kRsdp});
    describe_memory(page, layout);
    return page;
}

// Configuration space as firmware leaves it.
class Firmware {
  public:
    explicit Firmware(Pc& pc) : pc_(pc) {}

    void run() {
        show_firmware_area();
        route_interrupts();
        assign(1, 1, kPciBar0 + 16, kBusMasterPorts);
        write(1, 1, 0x40, 4, 0x80008000);  // IDETIM: both channels decode
        write(1, 1, kPciCommand, 2, kPciCommandIo | kPciCommandMaster);
        assign(1, 3, Acpi::kPmBase, Acpi::kFirmwareBase | 1);
        write(1, 3, Acpi::kPmMiscellaneous, 1, 1);
        assign(1, 3, Acpi::kSmbusBase, Acpi::kFirmwareSmbusBase | 1);
        write(1, 3, Acpi::kSmbusConfiguration, 1, 0x09);
        assign(2, 0, kPciBar0, kVideoMemory);
        assign(2, 0, kPciBar0 + 8, kVideoRegisters);
        write(2, 0, kPciCommand, 2, kPciCommandIo | kPciCommandMemory);
        pc_.ports().write(0x92, 1, 0x02);  // A20
        // The second DMA controller passes the first one on: channel 4 cascades.
        pc_.ports().write(0xD6, 1, 0xC0);
        pc_.ports().write(0xD4, 1, 0x00);
        pc_.local_apic().enable_virtual_wire();
    }

  private:
    void write(unsigned device, unsigned function, unsigned offset, unsigned size, u32 value) {
        const u32 address = 0x80000000 | device << 11 | function << 8 | (offset & 0xFC);
        pc_.pci().config_write(address, offset & 3, size, value);
    }
    void assign(unsigned device, unsigned function, unsigned offset, u32 value) {
        write(device, function, offset, 4, value);
    }
    // E0000h..FFFFFh becomes RAM.
    void show_firmware_area() {
        write(0, 0, I440fx::kPam0, 1, 0x30);
        write(0, 0, I440fx::kPam0 + 5, 1, 0x33);
        write(0, 0, I440fx::kPam0 + 6, 1, 0x33);
    }
    // As SeaBIOS: PIRQA and B on 10, C and D on 11, both level triggered.
    void route_interrupts() {
        assign(1, 0, Piix3::kPirqRoute, 0x0B0B0A0A);
        pc_.ports().write(0x4D1, 1, 0x0C);
    }

    Pc& pc_;
};

void write_gdt(PhysicalMemory& memory) {
    constexpr u64 kFlatCode = 0x00CF9B000000FFFF;
    constexpr u64 kFlatData = 0x00CF93000000FFFF;
    memory.write_value<u64>(kGdt + 0x00, 0);
    memory.write_value<u64>(kGdt + 0x08, 0);
    memory.write_value(kGdt + 0x10, kFlatCode);
    memory.write_value(kGdt + 0x18, kFlatData);
}

void write_text(PhysicalMemory& memory, u32 address, const std::string& text) {
    memory.write(address, {reinterpret_cast<const u8*>(text.c_str()), text.size() + 1});
}

}  // namespace

Result<DirectBootState> load_linux(Pc& pc, const LinuxBoot& boot) {
    const Result<Kernel> kernel = parse_kernel(boot.kernel);
    if (!kernel) return kernel.error();
    const u32 line_most = std::min<u32>(kernel->command_line_size, kLowMemoryEnd - kCommandLine - 1);
    if (boot.command_line.size() > line_most)
        return Error{ErrorKind::usage,
                     "the kernel takes a command line of at most " + std::to_string(line_most) + " bytes"};
    const Result<u32> initrd = place_initrd(*kernel, boot.initrd.size(), pc.layout().low());
    if (!initrd) return initrd.error();

    PhysicalMemory& memory = pc.memory();
    Firmware(pc).run();
    memory.write(kernel->load_address, kernel->code);
    memory.write(*initrd, boot.initrd);
    write_text(memory, kCommandLine, boot.command_line);
    place_acpi_tables(memory, pc.acpi_tables(), kAcpiTables, kRsdp);
    std::vector<u8> zero_page = build_zero_page(*kernel, pc.layout(), *initrd, static_cast<u32>(boot.initrd.size()));
    if (boot.screen) {
        describe_screen(zero_page);
        set_screen_mode(pc.vga());
    }
    memory.write(kZeroPage, zero_page);
    write_gdt(memory);
    return DirectBootState{.eip = kernel->load_address, .esi = kZeroPage, .gdt_base = kGdt, .gdt_limit = 0x1F};
}

}  // namespace lodge
