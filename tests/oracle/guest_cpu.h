// Runs cases on an engine of lodge: a Cpu in long mode at privilege 3, with page tables that hold what the host has
// mapped, and in 64-bit or compatibility-mode code as the case wants. Faults are delivered through an IDT to handlers
// that halt; the state at the fault is then read from the frame, as the host's is from a signal's context.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "core/cpu/cpu.h"
#include "core/cpu/executor.h"
#include "tests/oracle/oracle_case.h"

namespace lodge::oracle {

class GuestCpu {
  public:
    // Null when there is no such engine.
    static std::unique_ptr<GuestCpu> create(std::string_view engine);
    ~GuestCpu();
    int code_file() const { return memory_->memfd(); }
    u64 code_offset() const;
    // kData and kReadOnly.
    std::span<u8> data();
    void set_fs32(u16 selector, u64 base);
    void run(const OracleCase& made, OracleOutcome& outcome);

  private:
    class NothingThere final : public AddressSpace {
      public:
        u64 read(u64, unsigned) override { return ~u64{0}; }
        void write(u64, unsigned, u64) override {}
    };

    GuestCpu();
    void map_page(u64 linear, u64 physical, u64 rights);
    void make_tables();
    void enter_mode(bool code64);
    void load_state(const OracleCase& made);
    void store_state(OracleState& state) const;
    ExitReason run_engine(const OracleCase& made);
    void take_fault(const OracleCase& made, OracleOutcome& outcome) const;

    NothingThere nothing_;
    Log log_;
    GuestClock clock_{ClockMode::virtual_time};
    std::unique_ptr<PhysicalMemory> memory_;
    std::unique_ptr<Cpu> cpu_;
    std::unique_ptr<Executor> engine_;
    CpuState in_mode_[2];  // of 32- and of 64-bit code
    u16 fs_selector32_ = 0;
    u64 fs_base32_ = 0;
};

}  // namespace lodge::oracle
