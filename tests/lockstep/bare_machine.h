// A CPU with memory, read-only handlers and a few imaginary devices, on one engine or the other: what random programs
// run on. Everything it does follows from what is done to it.
#pragma once

#include <memory>
#include <span>

#include "core/cpu/cpu.h"
#include "core/cpu/executor.h"

namespace lodge::lockstep {

// Ports and memory-mapped registers whose values follow from the position and what was written before. Port 92h is
// A20's; writes to kRequestPort and kNmiPort, and to some memory-mapped addresses, raise interrupts at once.
constexpr u16 kA20Port = 0x92, kRequestPort = 0xE0, kNmiPort = 0xE1, kStopPort = 0xE2;

class Devices final : public InterruptController {
  public:
    explicit Devices(GuestClock& clock) : clock_(clock), ports_(*this, 0), registers_(*this, 1) {}
    void connect(Cpu& cpu) { cpu_ = &cpu; }
    AddressSpace& ports() { return ports_; }
    AddressSpace& registers() { return registers_; }

    void reset();
    void request(u8 vector);
    std::optional<u8> acknowledge() override;
    // Of all that has been asked of them.
    u64 history() const { return history_; }

  private:
    struct Space final : AddressSpace {
        Space(Devices& owner, u64 number) : devices(owner), kind(number) {}
        u64 read(u64 address, unsigned size) override { return devices.access(kind, address, size, 0); }
        void write(u64 address, unsigned size, u64 value) override {
            devices.access(kind | 2, address, size, value);
            devices.written(kind, address, value);
        }
        Devices& devices;
        u64 kind;
    };
    u64 access(u64 kind, u64 address, unsigned size, u64 value);
    void written(u64 kind, u64 address, u64 value);

    GuestClock& clock_;
    Cpu* cpu_ = nullptr;
    Space ports_, registers_;
    u64 history_ = 0;
    u64 requests_[4] = {};  // by vector
};

struct EngineChoice {
    bool translator = false;
    u32 hot = 0, samples = 0;
    i32 often = 0;
    u64 code_bytes = 0;
};

class BareMachine {
  public:
    // Null: no memory.
    static std::unique_ptr<BareMachine> create(const EngineChoice& choice, const CpuModel& model,
                                               std::span<const u8> handlers);

    Cpu& cpu() { return *cpu_; }
    PhysicalMemory& memory() { return *memory_; }
    Executor& engine() { return *engine_; }
    Devices& devices() { return devices_; }
    // CPU and devices as after power-on, at the position reached.
    void reset();

  private:
    BareMachine() : clock_(ClockMode::virtual_time), devices_(clock_) {}

    Log log_;
    GuestClock clock_;
    Devices devices_;
    std::unique_ptr<PhysicalMemory> memory_;
    std::unique_ptr<Cpu> cpu_;
    std::unique_ptr<Executor> engine_;
};

}  // namespace lodge::lockstep
