// Runs cases on the interpreter's handlers: a Cpu in long mode at privilege 3, with page tables that hold what the host
// has mapped, and in 64-bit or compatibility-mode code as the case wants. Faults are not delivered: the state is that
// at the fault, as on the host.
#pragma once

#include <memory>
#include <span>

#include "core/cpu/cpu.h"
#include "tests/oracle/oracle_case.h"

namespace lodge::oracle {

class GuestCpu {
  public:
    GuestCpu();
    ~GuestCpu();
    int code_file() const { return memory_->memfd(); }
    u64 code_offset() const;
    // kData and kReadOnly.
    std::span<u8> data();
    void set_fs32(u16 selector, u64 base);
    // The case's bytes are in kCode already, put there by the host.
    void run(const OracleCase& made, OracleOutcome& outcome);

  private:
    class NothingThere final : public AddressSpace {
      public:
        u64 read(u64, unsigned) override { return ~u64{0}; }
        void write(u64, unsigned, u64) override {}
    };

    void map_page(u64 linear, u64 physical, u64 rights);
    void set_descriptor(u64 address, u64 value);
    void enter_mode(bool code64);
    void load_state(const OracleCase& made);
    void store_state(OracleState& state) const;
    bool step();

    NothingThere nothing_;
    Log log_;
    GuestClock clock_{ClockMode::virtual_time};
    std::unique_ptr<PhysicalMemory> memory_;
    std::unique_ptr<Cpu> cpu_;
    CpuState in_mode_[2];  // of 32- and of 64-bit code
    u16 fs_selector32_ = 0;
    u64 fs_base32_ = 0;
    Insn block_[2];
};

}  // namespace lodge::oracle
