// The local APIC of a CPU (xAPIC) and the bus that joins local and I/O APICs.
// Source: Intel SDM volume 3A chapter 10 (APIC).
//
// LocalApic is what the CPU asks for vectors. Its LINT0 input takes the 8259 pair's INT (ExtINT, "virtual wire"), LINT1
// takes NMI. While IA32_APIC_BASE disables the APIC, LINT0 is the CPU's INTR pin and LINT1 its NMI (SDM 10.4.3).
#pragma once

#include <array>
#include <vector>

#include "core/device.h"
#include "core/scheduler.h"
#include "devices/claims.h"

namespace lodge {

class LocalApic;

// Values of the delivery mode field of the ICR, of LVTs and of redirection entries (SDM 3A table 10-x, 10.6.1).
enum class ApicDelivery : u8 { fixed = 0, lowest_priority = 1, smi = 2, nmi = 4, init = 5, startup = 6, external = 7 };

struct ApicMessage {
    u8 destination = 0;
    bool logical = false;
    ApicDelivery delivery = ApicDelivery::fixed;
    u8 vector = 0;
    bool level_triggered = false;
    bool assert_level = true;
};

// Who learns that a level-triggered interrupt was finished.
class EoiListener {
  public:
    virtual ~EoiListener() = default;
    virtual void end_of_interrupt(u8 vector) = 0;
};

// Joins the APICs of one machine; holds no state.
class ApicBus {
  public:
    void add(LocalApic& apic) { apics_.push_back(&apic); }
    void add(EoiListener& listener) { listeners_.push_back(&listener); }

    // False when no local APIC took the message.
    bool deliver(const ApicMessage& message);
    // To all, or to all but one.
    void broadcast(const ApicMessage& message, const LocalApic* except);
    void end_of_interrupt(u8 vector);

  private:
    std::vector<LocalApic*> apics_;
    std::vector<EoiListener*> listeners_;
};

class LocalApic final : public Device, public IrqInput, public InterruptController, public ApicRegisters {
  public:
    // The timer's input clock before its divider. CPUID leaf 15h/16h and firmware tables need not say it; guests
    // calibrate against the PIT.
    static constexpr u64 kTimerHertz = 100'000'000;
    static constexpr u64 kDefaultBase = 0xFEE00000;
    static constexpr unsigned kLint0 = 0;
    static constexpr unsigned kLint1 = 1;

    // Joins `bus`. `id` 0 is the boot CPU. `external` answers for ExtINT: the 8259 pair.
    LocalApic(Scheduler& scheduler, CpuPins& cpu, ApicBus& bus, InterruptController& external, Log& log, u8 id);

    // Claims its page wherever IA32_APIC_BASE says, and moves with it.
    Result<void> attach(Bus& mmio);
    // What firmware leaves behind: software-enabled, LINT0 ExtINT, LINT1 NMI. For boards that boot without firmware.
    void enable_virtual_wire();

    std::string_view name() const override { return name_; }
    void reset() override;
    void state(StateIo& io) override;

    // Pins kLint0 and kLint1.
    void set_irq(unsigned pin, bool level) override;
    std::optional<u8> acknowledge() override;

    u64 base_msr() const override { return base_msr_; }
    bool set_base_msr(u64 value) override;
    u8 task_priority() const override { return task_priority_; }
    void set_task_priority(u8 value) override;

    // From the bus.
    u8 id() const { return id_; }
    bool accepts(u8 destination, bool logical) const;
    u8 processor_priority() const;
    // False when it does not take it: disabled by software, or an illegal vector.
    bool receive(const ApicMessage& message);
    bool globally_enabled() const { return bit(base_msr_, 11); }
    bool enabled() const { return globally_enabled() && bit(spurious_, 8); }

    u32 read(u64 offset);
    void write(u64 offset, u32 value);

  private:
    enum Lvt : unsigned { kLvtTimer, kLvtThermal, kLvtPerformance, kLvtLint0, kLvtLint1, kLvtError, kLvts };
    // IRR, ISR or TMR: 256 bits, one for each vector.
    using VectorSet = std::array<u32, 8>;

    void reset_registers();
    Result<void> claim_page();
    void move_page();
    u32 read_register(unsigned index);
    void write_register(unsigned index, u32 value);
    void write_spurious(u32 value);
    void write_lvt(unsigned index, u32 value);
    void write_initial_count(u32 value);
    void write_divide(u32 value);
    void send_command();
    void write_eoi();
    bool raise_vector(u8 vector, bool level_triggered);
    void raise_lint(unsigned pin);
    void error(u8 error_bits);
    bool masked(unsigned index) const { return bit(lvt_[index], 16); }
    bool timer_periodic() const { return bit(lvt_[kLvtTimer], 17); }
    u64 timer_tick() const;
    u64 timer_period() const { return initial_count_ * timer_tick(); }
    u32 current_count() const;
    void continue_timer(u32 count);
    void settle_timer();
    void timer_expired();
    bool external_pending() const;
    std::optional<u8> deliverable() const;
    void update();

    Scheduler& scheduler_;
    CpuPins& cpu_;
    ApicBus& bus_;
    InterruptController& external_;
    Log& log_;
    Claims claims_;
    Bus* mmio_ = nullptr;
    std::string name_;
    const u8 initial_id_;

    u64 base_msr_ = 0;
    u8 id_ = 0;
    u8 task_priority_ = 0;
    u32 logical_destination_ = 0;
    u32 destination_format_ = 0;
    u32 spurious_ = 0;
    u32 error_status_ = 0;   // what reads show
    u32 error_pending_ = 0;  // collected since the last write of ESR
    u32 command_low_ = 0;
    u32 command_high_ = 0;
    std::array<u32, kLvts> lvt_{};
    VectorSet request_{};
    VectorSet in_service_{};
    VectorSet trigger_{};
    u32 initial_count_ = 0;
    u32 divide_ = 0;
    bool timer_running_ = false;
    u64 timer_start_ = 0;            // guest time at which the count was last equal to the initial count
    std::array<bool, 2> lint_{};     // levels of the pins
    bool external_request_ = false;  // an ExtINT message that waits to be acknowledged
    Event timer_;
};

}  // namespace lodge
