#include "devices/lsi53c895a.h"

#include <cassert>

#include "disks/scsi/direct_disk.h"

namespace lodge {

using namespace lsi;

namespace {

constexpr PciIdentity kIdentity{.vendor = 0x1000,
                                .device = 0x0012,
                                .class_code = 0x010000,  // SCSI bus controller
                                .subsystem_vendor = 0x1000,
                                .subsystem = 0x1000,
                                .interrupt_pin = 1};
constexpr u16 kMediumDecoding = 0x0200;
constexpr unsigned kRegistersIo = 0, kRegistersMemory = 1, kRamBar = 2;
constexpr u32 kMemoryBarSize = 1024;  // the registers repeat

// The general-purpose timer counts 125 microseconds, doubled for each step of STIME1's low bits (manual, register 49h).
u64 general_time(u8 steps) {
    return u64{125'000} << (steps - 1);
}

}  // namespace

Lsi53c895a::Lsi53c895a(const Platform& platform)
    : PciDevice(platform, "lsi53c895a", kIdentity),
      bus_(*this),
      continue_(platform.scheduler, "lsi53c895a.continue", [this](u64) { run(); }),
      selection_(platform.scheduler, "lsi53c895a.selection", [this](u64) { selection_over(); }),
      general_timer_(platform.scheduler, "lsi53c895a.timer", [this](u64) { scsi_interrupt(0, kGeneralTimer); }) {
    set_config(kPciStatus, kMediumDecoding, 2);
    set_config(0x3E, 0x4011, 2);  // Min_Gnt, Max_Lat
    set_writable(0x0C, 0xFF, 1);  // cache line size
    set_writable(0x0D, 0xF8, 1);  // latency timer
    const auto read = [this](u64 offset, unsigned size) { return read_registers(offset, size); };
    const auto write = [this](u64 offset, unsigned size, u64 value) { write_registers(offset, size, value); };
    add_io_bar(kRegistersIo, 256, read, write, kRegisters);
    add_memory_bar(kRegistersMemory, kMemoryBarSize, read, write, kRegisters);
    add_memory_bar(
        kRamBar, kRamSize, [this](u64 offset, unsigned size) { return read_ram(offset, size); },
        [this](u64 offset, unsigned size, u64 value) { write_ram(offset, size, value); });
    reset();
}

void Lsi53c895a::add_disk(unsigned id, BlockDevice& disk) {
    assert(id < kIds && id != kOwnId && !bus_.at(id));
    scsi::UnitIdentity identity{.product = "Virtual Disk", .serial = "LODGE-SCSI-" + std::to_string(id)};
    const scsi::Medium medium{.bytes = disk.size(), .read_only = disk.read_only()};
    auto unit = std::make_unique<scsi::DirectDisk>(std::move(identity), medium, scsi::UnitOptions{.parallel = true});
    disks_[id] = std::make_unique<ScsiTarget>(platform(), bus_, "scsi" + std::to_string(id), std::move(unit), &disk);
    bus_.add(id, *disks_[id]);
}

void Lsi53c895a::add_cdrom(unsigned id, MediumSlot& slot) {
    assert(id < kIds && id != kOwnId && !bus_.at(id));
    cdroms_[id] = std::make_unique<ScsiCdRom>(platform(), bus_, "scsi" + std::to_string(id),
                                              "LODGE-SCSI-" + std::to_string(id), slot);
    bus_.add(id, cdroms_[id]->target());
}

void Lsi53c895a::reset() {
    quiet_ = true;
    PciDevice::reset();
    bus_.reset();
    for (unsigned id = 0; id < kIds; ++id)
        if (ScsiTarget* target = bus_.at(id)) target->reset();
    quiet_ = false;
    ram_.fill(0);
    chip_reset();
}

// The values of the manual's register descriptions.
void Lsi53c895a::chip_reset() {
    quiet_ = true;
    bus_.abandon();
    quiet_ = false;
    registers_.fill(0);
    at(kScntl0) = 0xC0;
    at(kScid) = kOwnId;  // the manual says 0, but SeaBIOS never sets it and boots from 0
    at(kDstat) = kFifoEmpty;
    at(kCtest1) = 0xF0;
    at(kDcntl) = 0;
    at(kMacntl) = 0xD0;
    at(kGpcntl) = 0x0F;
    at(kStest0) = 0x02;
    carry_ = reset_line_ = moving_ = selecting_ = false;
    instruction_ = 0;
    stop();
    continue_.cancel();
    selection_.cancel();
    general_timer_.cancel();
    update_interrupt();
}

void Lsi53c895a::config_write(unsigned offset, unsigned size, u32 value) {
    PciDevice::config_write(offset, size, value);
    if (scripts_ == Scripts::running && !in_script_) continue_.schedule_in(kPause);
}

// Registers, byte by byte: those of more than one byte take effect with their last.

u64 Lsi53c895a::read_registers(u64 offset, unsigned size) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{read_register(static_cast<u8>(offset + i))} << (8 * i);
    return value;
}

void Lsi53c895a::write_registers(u64 offset, unsigned size, u64 value) {
    for (unsigned i = 0; i < size; ++i) write_register(static_cast<u8>(offset + i), static_cast<u8>(value >> (8 * i)));
}

u8 Lsi53c895a::bus_lines() const {
    u8 lines = at(kSocl) & (kAcknowledge | kAttention);
    if (!target()) return lines;
    lines = static_cast<u8>(lines | kBusy | static_cast<u8>(target()->phase()));
    if (target()->requesting()) lines |= kRequest;
    return lines;
}

// With PCICIE set, two scratch registers show where the BARs are (manual, CTEST2).
u8 Lsi53c895a::read_scratch(u8 offset) const {
    if (!(at(kCtest2) & kPciConfiguration)) return at(offset);
    const bool first = offset < kScratchA + 4;
    const u32 base = bar_address(first ? kRegistersMemory : kRamBar);
    return static_cast<u8>(base >> (8 * (offset - (first ? kScratchA : kScratchB))));
}

u8 Lsi53c895a::read_register(u8 offset) {
    switch (offset) {
        case kGpreg:
            // Inputs float high: nothing is connected, no serial EEPROM either.
            return static_cast<u8>((at(kGpreg) & ~at(kGpcntl)) | (at(kGpcntl) & 0x1F));
        case kSbcl:
            return bus_lines();
        case kDstat: {
            const u8 value = at(kDstat) | kFifoEmpty;
            at(kDstat) = 0;
            update_interrupt();
            return value;
        }
        case kSstat0:
            return reset_line_ ? kResetLine : u8{0};
        case kSstat1:
            return static_cast<u8>(bus_lines() & 0x07);
        case kIstat1:
            return static_cast<u8>((at(kIstat1) & ~kScriptsRunning) |
                                   (scripts_ == Scripts::stopped ? 0 : kScriptsRunning));
        case kCtest2: {
            const bool signalled = at(kIstat0) & kSignal;
            at(kIstat0) &= static_cast<u8>(~kSignal);
            return static_cast<u8>((at(kCtest2) & kPciConfiguration) | (signalled ? kCtestSignal : 0) | 0x30 | 0x01);
        }
        case kSist0:
        case kSist1: {
            const u8 value = at(offset);
            at(offset) = 0;
            update_interrupt();
            return value;
        }
        case kStest4:
            return static_cast<u8>(kLowVoltageDifferential | ((at(kStest1) & kQuadruplerEnable) ? kFrequencyLock : 0));
        default:
            if ((offset >= kScratchA && offset < kScratchA + 4) || (offset >= kScratchB && offset < kScratchB + 4))
                return read_scratch(offset);
            return at(offset);
    }
}

void Lsi53c895a::write_register(u8 offset, u8 value) {
    switch (offset) {
        case kSsid:
        case kSbcl:
        case kDstat:
        case kSstat0:
        case kSstat1:
        case kSstat2:
        case kCtest0:
        case kCtest1:
        case kDfifo:
        case kSist0:
        case kSist1:
        case kSidl:
        case kSidl + 1:
        case kStest0:
        case kStest4:
        case kSbdl:
        case kSbdl + 1:
            return;  // read only
        case kScntl1:
            return write_scntl1(value);
        case kIstat0:
            return write_istat0(value);
        case kCtest2:
            at(kCtest2) = value & kPciConfiguration;
            return;
        case kCtest3:
            at(kCtest3) = static_cast<u8>(value & ~(kFlushFifo | kClearFifo) & 0x0F);
            return;
        case kMacntl:
            at(kMacntl) = replace_bits(at(kMacntl), u8{0x0F}, value);
            return;
        case kDsp + 3:
            at(offset) = value;
            if (!(at(kDmode) & kManualStart)) start(word(kDsp));
            return;
        case kDcntl:
            at(kDcntl) = static_cast<u8>(value & ~kStart);
            update_interrupt();
            if (value & kStart) start(word(kDsp));
            return;
        case kDien:
        case kSien0:
        case kSien1:
            at(offset) = value;
            return update_interrupt();
        case kStime1:
            return write_general_timer(value);
        default:
            at(offset) = value;
    }
}

void Lsi53c895a::write_general_timer(u8 value) {
    const u8 steps = value & 0x0F;
    at(kStime1) = value;
    general_timer_.cancel();
    if (steps) general_timer_.schedule_in(general_time(steps));
}

// Manual, ISTAT0: SIGP wakes a program that waits for a reselection, SRST resets the chip, ABRT ends the program.
void Lsi53c895a::write_istat0(u8 value) {
    if (value & kSoftReset) return chip_reset();
    u8& istat = at(kIstat0);
    istat = replace_bits(istat, static_cast<u8>(kSignal | kSemaphore), value);
    if (value & kInterruptOnTheFly) istat &= static_cast<u8>(~kInterruptOnTheFly);
    update_interrupt();
    if (value & kAbort) {
        moving_ = false;
        dma_interrupt(kAborted);
    }
    if ((value & kSignal) && scripts_ == Scripts::waiting) run();
}

void Lsi53c895a::write_scntl1(u8 value) {
    at(kScntl1) = static_cast<u8>((value & ~kConnected) | (at(kScntl1) & kConnected));
    const bool level = value & kAssertReset;
    if (level == reset_line_) return;
    reset_line_ = level;
    if (!level) return;
    quiet_ = true;
    bus_.reset();
    quiet_ = false;
    at(kScntl1) &= static_cast<u8>(~kConnected);
    at(kSocl) = 0;
    selecting_ = moving_ = false;
    selection_.cancel();
    scsi_interrupt(kScsiReset, 0);
}

u64 Lsi53c895a::read_ram(u64 offset, unsigned size) const {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{ram_[(offset + i) % kRamSize]} << (8 * i);
    return value;
}

void Lsi53c895a::write_ram(u64 offset, unsigned size, u64 value) {
    for (unsigned i = 0; i < size; ++i) ram_[(offset + i) % kRamSize] = static_cast<u8>(value >> (8 * i));
}

// Interrupts. A program ends with any that is fatal, masked or not (manual 2.2.17: fatal are all but CMP, SEL, RSL, GEN
// and HTH, and those too while they are enabled).

void Lsi53c895a::scsi_interrupt(u8 first, u8 second) {
    constexpr u8 kHarmless0 = kFunctionComplete | kSelected | kReselected, kHarmless1 = kGeneralTimer | kHandshakeTimer;
    at(kSist0) |= first;
    at(kSist1) |= second;
    const u8 fatal0 = static_cast<u8>(at(kSien0) | ~kHarmless0), fatal1 = static_cast<u8>(at(kSien1) | ~kHarmless1);
    if ((first & fatal0) || (second & fatal1)) stop();
    update_interrupt();
}

void Lsi53c895a::dma_interrupt(u8 cause) {
    at(kDstat) |= cause;
    stop();
    update_interrupt();
}

void Lsi53c895a::update_interrupt() {
    u8& istat = at(kIstat0);
    const bool dma = at(kDstat) & ~kFifoEmpty, scsi = at(kSist0) || at(kSist1);
    istat = static_cast<u8>((istat & ~(kDmaInterrupt | kScsiInterrupt | kIstatConnected)) | (dma ? kDmaInterrupt : 0) |
                            (scsi ? kScsiInterrupt : 0) | ((at(kScntl1) & kConnected) ? kIstatConnected : 0));
    const bool wanted = (at(kDstat) & at(kDien) & ~kFifoEmpty) || (at(kSist0) & at(kSien0)) ||
                        (at(kSist1) & at(kSien1)) || (istat & kInterruptOnTheFly);
    set_intx(wanted && !(at(kDcntl) & kIrqDisable));
}

// DMA.

std::optional<u32> Lsi53c895a::own_ram(u64 address, size_t size) const {
    const u64 base = bar_address(kRamBar);
    if (!bar_mapped(kRamBar) || address < base || address - base + size > kRamSize) return std::nullopt;
    return static_cast<u32>(address - base);
}

std::optional<u8> Lsi53c895a::own_register(u64 address, size_t size) const {
    const u64 base = bar_address(kRegistersMemory);
    if (!bar_mapped(kRegistersMemory) || address < base || address - base + size > kMemoryBarSize) return std::nullopt;
    return static_cast<u8>(address - base);
}

void Lsi53c895a::dma_read(u64 address, std::span<u8> into) {
    if (const auto offset = own_ram(address, into.size())) {
        std::copy_n(ram_.begin() + *offset, into.size(), into.begin());
    } else if (const auto first = own_register(address, into.size())) {
        for (size_t i = 0; i < into.size(); ++i) into[i] = read_register(static_cast<u8>(*first + i));
    } else {
        platform().memory.read(address, into);
    }
}

// The bytes may belong to the bus, and a write to the chip's own registers may end what it was doing: `from` is a copy
// then (see move_piece).
void Lsi53c895a::dma_write(u64 address, std::span<const u8> from) {
    if (const auto offset = own_ram(address, from.size())) {
        std::copy(from.begin(), from.end(), ram_.begin() + *offset);
    } else if (const auto first = own_register(address, from.size())) {
        for (size_t i = 0; i < from.size(); ++i) write_register(static_cast<u8>(*first + i), from[i]);
    } else {
        platform().memory.write(address, from);
    }
}

u32 Lsi53c895a::fetch(u64 address) {
    u32 value = 0;
    dma_read(address, std::span<u8>(reinterpret_cast<u8*>(&value), sizeof value));
    return value;
}

// The bus.

void Lsi53c895a::bus_changed() {
    if (quiet_) return;
    if (!target() && (at(kScntl1) & kConnected)) bus_freed();
    if (!in_script_ && scripts_ == Scripts::waiting) run();
}

void Lsi53c895a::connected() {
    at(kScntl1) |= kConnected;
    at(kScntl2) |= kDisconnectUnexpected;
    update_interrupt();
}

void Lsi53c895a::bus_freed() {
    at(kScntl1) &= static_cast<u8>(~kConnected);
    at(kSocl) = 0;
    update_interrupt();
    if (!(at(kScntl2) & kDisconnectUnexpected)) return;
    moving_ = false;
    scsi_interrupt(kUnexpectedDisconnect, 0);
}

void Lsi53c895a::selection_over() {
    if (!selecting_) return;
    selecting_ = false;
    at(kSocl) = 0;
    scsi_interrupt(0, kSelectionTimeout);
}

bool Lsi53c895a::take_reselection() {
    const auto id = bus_.reselecting();
    if (!id || selecting_) return false;
    quiet_ = true;
    bus_.accept_reselection();
    quiet_ = false;
    if (!target()) return false;
    at(kSsid) = static_cast<u8>(kSsidValid | *id);
    at(kSocl) = 0;
    connected();
    if (at(kSien0) & kReselected) scsi_interrupt(kReselected, 0);
    return true;
}

void Lsi53c895a::state(StateIo& io) {
    io.section(name(), 1, [&] {
        config_state(io);
        io.bytes("registers", registers_);
        io.bytes("ram", ram_);
        io.field("carry", carry_);
        io.field("reset_line", reset_line_);
        io.field("scripts", scripts_);
        io.field("moving", moving_);
        io.field("instruction", instruction_);
        io.field("selecting", selecting_);
        continue_.state(io);
        selection_.state(io);
        general_timer_.state(io);
        bus_.state(io);
        for (const auto& disk : disks_)
            if (disk) disk->state(io);
        for (const auto& cdrom : cdroms_)
            if (cdrom) cdrom->state(io);
    });
    if (!io.loading()) return;
    if (scripts_ > Scripts::waiting) {
        io.fail("lsi53c895a: what its program does cannot be");
        stop();
    }
    in_script_ = quiet_ = false;
}

}  // namespace lodge
