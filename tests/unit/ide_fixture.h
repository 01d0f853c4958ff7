// A board with nothing but an IDE function, disks in memory and interrupt lines that only remember: what the tests and
// the fuzz target of the IDE controller share.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "devices/ide.h"

namespace lodge::ide_test {

// A disk of any size, of which only what was written is kept.
class MemoryDisk final : public BlockDevice {
  public:
    explicit MemoryDisk(u64 sectors) : sectors_(sectors) {}

    u64 size() const override { return sectors_ * kSectorSize; }
    bool read_only() const override { return write_protected; }
    std::string describe() const override { return "memory disk"; }

    bool set_patience(Patience patience) override {
        if (patience == Patience::none && !knows_patience) return false;
        patience_ = patience;
        return true;
    }
    Result<void> read(u64 offset, std::span<u8> into) override {
        if (patience_ == Patience::none && cold) return Error{ErrorKind::would_wait, {}};
        LODGE_TRY(begin(offset, into.size(), fail_reads));
        reader = std::this_thread::get_id();
        for (size_t at = 0; at < into.size(); at += kSectorSize) {
            const auto found = content.find((offset + at) / kSectorSize);
            if (found == content.end()) {
                std::fill_n(into.begin() + static_cast<long>(at), kSectorSize, u8{0});
            } else {
                std::copy(found->second.begin(), found->second.end(), into.begin() + static_cast<long>(at));
            }
        }
        return {};
    }
    Result<void> write(u64 offset, std::span<const u8> from) override {
        LODGE_TRY(begin(offset, from.size(), fail_writes));
        for (size_t at = 0; at < from.size(); at += kSectorSize)
            std::copy_n(from.begin() + static_cast<long>(at), kSectorSize,
                        content[(offset + at) / kSectorSize].begin());
        return {};
    }
    Result<void> flush() override {
        ++flushes;
        return begin(0, 0, fail_flushes);
    }
    Result<void> discard(u64 offset, u64 length) override {
        LODGE_TRY(begin(offset, length, false));
        discards.push_back({offset / kSectorSize, length / kSectorSize});
        content.erase(content.lower_bound(offset / kSectorSize), content.lower_bound((offset + length) / kSectorSize));
        return {};
    }
    Result<void> zero(u64 offset, u64 length) override { return discard(offset, length); }

    // Each sector filled with its number, low byte first, over and over.
    void number_sectors(u64 first, u64 count) {
        for (u64 sector = first; sector < first + count; ++sector)
            for (size_t at = 0; at < kSectorSize; at += 8) store(&content[sector][at], sector);
    }

    bool write_protected = false;
    bool knows_patience = false;
    bool cold = false;  // every read would have to wait
    std::atomic<std::thread::id> reader;
    std::atomic<bool> fail_reads = false;
    std::atomic<bool> fail_writes = false;
    std::atomic<bool> fail_flushes = false;
    std::atomic<ErrorKind> failure = ErrorKind::io;
    std::atomic<unsigned> delay_milliseconds = 0;
    std::atomic<unsigned> flushes = 0;
    std::vector<std::pair<u64, u64>> discards;
    std::map<u64, std::array<u8, kSectorSize>> content;

  private:
    Result<void> begin(u64 offset, u64 length, bool fail) {
        if (delay_milliseconds) std::this_thread::sleep_for(std::chrono::milliseconds(delay_milliseconds));
        if (offset % kSectorSize || length % kSectorSize || offset > size() || length > size() - offset)
            return Error{ErrorKind::usage, "past the end"};
        if (fail) return Error{failure, "made to fail"};
        return {};
    }

    u64 sectors_;
    Patience patience_ = Patience::wait;
};

class NoControl final : public MachineControl {
  public:
    void request_reset() override {}
    void request_power_off() override {}
    void request_exit(int) override {}
    void request_failure(std::string) override {}
};

class NoCpu final : public CpuPins {
  public:
    void set_interrupt(bool) override {}
    void nmi() override {}
    void init() override {}
    void startup(u8) override {}
    void set_a20(bool) override {}
};

class Lines final : public IrqInput {
  public:
    void set_irq(unsigned pin, bool level) override {
        if (level && !levels[pin]) ++rises[pin];
        levels[pin] = level;
    }
    std::array<bool, 16> levels{};
    std::array<unsigned, 16> rises{};
};

constexpr u64 kMemory = 4 * kMiB;
constexpr u16 kBusMasterPort = 0xC000;

struct Board {
    explicit Board(std::array<BlockDevice*, 4> disks, ClockMode mode = ClockMode::virtual_time,
                   std::array<MediumSlot*, 4> cdroms = {})
        : clock(mode), ide(platform, IrqLine{lines, 14}, IrqLine{lines, 15}, disks, cdroms) {
        memory->map(0, kMemory, 0, true);
        ide.config_write(kPciBar0 + 16, 4, kBusMasterPort);
        ide.config_write(kPciCommand, 2, kPciCommandIo | kPciCommandMaster);
        ide.config_write(0x40, 4, 0x8000'8000);
    }

    u8 in(u16 port) { return static_cast<u8>(ports.read(port, 1)); }
    u16 in16(u16 port) { return static_cast<u16>(ports.read(port, 2)); }
    u32 in32(u16 port) { return static_cast<u32>(ports.read(port, 4)); }
    void out(u16 port, u8 value) { ports.write(port, 1, value); }
    void out16(u16 port, u16 value) { ports.write(port, 2, value); }
    void out32(u16 port, u32 value) { ports.write(port, 4, value); }

    // Virtual clock: lets guest time pass, events included.
    void pass(u64 nanoseconds) {
        const u64 until = clock.now() + nanoseconds;
        while (scheduler.next() <= until) {
            clock.set_position(clock.position() +
                               (scheduler.next() > clock.now() ? scheduler.next() - clock.now() : 0));
            scheduler.run_due();
        }
        clock.set_position(clock.position() + (until - clock.now()));
    }

    std::vector<u8> save() {
        StateIo io;
        clock.state(io);
        scheduler.state(io);
        ide.state(io);
        return io.take();
    }
    bool load(std::span<const u8> saved) {
        StateIo io(saved);
        clock.state(io);
        scheduler.state(io);
        ide.state(io);
        return !io.failed();
    }

    Log log;
    Bus ports{log, "port"};
    Bus mmio{log, "memory"};
    std::unique_ptr<PhysicalMemory> memory = std::move(*PhysicalMemory::create(kMemory, mmio));
    GuestClock clock;
    Scheduler scheduler{clock};
    InputQueue inputs;
    NoControl control;
    NoCpu cpu;
    Platform platform{log, *memory, ports, mmio, scheduler, inputs, control, cpu};
    Lines lines;
    Ide ide;
};

}  // namespace lodge::ide_test
