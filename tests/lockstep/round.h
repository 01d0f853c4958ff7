// Some random programs, one after the other on the same two machines, in step: what one leaves in memory and in the
// engines' caches the next begins with.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tests/lockstep/bare_machine.h"
#include "tests/lockstep/program.h"
#include "tests/lockstep/watchdog.h"

namespace lodge::lockstep {

struct Counters {
    u64 programs = 0, instructions = 0, comparisons = 0, shutdowns = 0, stuck = 0;
    std::array<u64, 256> interrupts{};  // by vector
    std::array<u64, 7> modes{};         // instructions, by the mode that the program started in
};

// A place in a round: `length` instructions into a step of a program.
struct Place {
    u64 program = 0, step = 0, length = 0;
};

class Round {
  public:
    // Everything follows from the two numbers. Null: no memory.
    static std::unique_ptr<Round> create(u64 seed, u64 number, std::span<const u8> handlers);

    // The first place at which the machines differ. `thorough`: memory is compared at every step.
    std::optional<Place> run(bool thorough);
    // Runs up to there without comparing, then compares. True: no difference.
    bool same_at(const Place& place);
    // Prints the last instructions up to there, which the interpreter runs one by one.
    void trace(const Place& place);
    // As same_at, and prints what differs.
    void show(const Place& place);

    const Counters& counters() const { return counters_; }
    std::string describe() const;
    static constexpr u64 kPrograms = 4;

  private:
    struct Steps;  // a program's schedule
    enum class End : u8 { goes_on, over, differs };

    Round(u64 seed, u64 number);
    bool start(u64 number);
    bool start(BareMachine& machine);
    End step(Steps& steps);
    ExitReason advance(BareMachine& machine, u64 to);
    bool wake();
    void happen(Steps& steps);
    void write_both(u64 physical, std::span<const u8> bytes);
    bool same_memory(u64 size) const;
    bool run_to(const Place& place, u64& end);
    void print_memory() const;

    u64 seed_, number_;
    const CpuModel* model_;
    EngineChoice choice_;
    std::unique_ptr<BareMachine> a_, b_;  // interpreter, translator
    std::unique_ptr<Watchdog> watchdog_;
    Program program_;
    Counters counters_;
    u64 since_memory_ = 0;  // instructions since memory was compared
    bool is_stuck_ = false;
};

}  // namespace lodge::lockstep
