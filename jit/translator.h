// The fast engine: translates hot blocks to host code and leaves everything else to the interpreter.
//
// Translated code keeps the guest's registers in host registers and its flags in host flags (jit/emitter.h). Blocks are
// found by backing address and mode (jit/mode.h), so they survive CR3 loads; direct branches are linked to their
// targets, indirect ones go through the jump cache. Cpu::attention is looked at here, between runs of translated code:
// whatever can raise it in the middle of one (a device, a change of mode) also makes the code leave.
#pragma once

#include <array>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <asmjit/core.h>

#include "core/base/flat_map.h"
#include "core/base/result.h"
#include "core/cpu/cpu.h"
#include "core/cpu/executor.h"
#include "core/interp/interpreter.h"
#include "jit/block.h"
#include "jit/code_memory.h"
#include "jit/jit_dump.h"
#include "jit/stubs.h"
#include "jit/windows.h"

namespace lodge::jit {

struct EmitterContext;

class Translator final : public Executor, private CodeCache {
  public:
    struct Options {
        u64 code_bytes = u64{64} << 20;  // of code memory; a multiple of kRegions pages
        u32 hot = 50;                    // executions of a block in the interpreter before it is translated
        u32 samples = 3;   // times that a block is found running before it is translated for speed; 0: at once
        i32 often = 4000;  // times that a branch leaves with a recipe for flags before it gets a version of its target
        bool by_block = false;  // run() comes back at the end of every translated block, which stay unlinked
        std::string listing;    // write what translated code looks like to this file in the end
        bool perf_map = false;  // name translated code for perf, in /tmp/perf-PID.map
        std::string jit_dump;   // the same with the code itself, in this folder (jit/jit_dump.h)
    };
    struct Counters {
        u64 translated_blocks = 0, translated_instructions = 0, code_bytes = 0;
        u64 entries = 0;                            // from here into translated code
        u64 follows = 0;                            // of branches that were not linked, or not for this epoch
        u64 jump_misses = 0;                        // looked for: targets that the jump cache did not have
        u64 links = 0;                              // made
        u64 versions = 0;                           // made of blocks, for branches that leave with a recipe
        std::array<u64, kOpcodeCount> fallbacks{};  // instructions that translated code left to the interpreter
        u64 cold_blocks = 0;                        // runs of the interpreter's blocks
        u64 steps = 0;                              // of single instructions
        u64 refused_blocks = 0;                     // by the assembler: there should be none
        u64 hot_blocks = 0;                         // translated for speed
        u64 cell_misses = 0;                        // of their accesses
        u64 cells_given_up = 0;                     // that missed too often
        u64 evictions = 0, dropped_blocks = 0;
    };

    static Result<std::unique_ptr<Translator>> create(Cpu& cpu, const Options& options);
    ~Translator() override;

    ExitReason run(u64 instructions) override;
    const Counters& counters() const { return counters_; }
    std::vector<std::pair<std::string, u64>> statistics() const override;

    // For the stubs: executes the instruction by the interpreter. Where translated code goes on: kGoOn, behind the
    // instruction; null, nowhere for now; else at that code.
    const u8* fall_back(const Fallback& fallback);
    static inline const u8* const kGoOn = reinterpret_cast<const u8*>(1);

    // For the stubs, where a direct branch leads to state.ip and is not linked, or not good for this page or epoch:
    // links it. Where translated code goes on; null, nowhere for now.
    const u8* follow(Link& link);

    // For the stubs: makes the cell cover the bytes at `linear`, if it can.
    bool refill(AccessCell& cell, u64 linear);

    struct JumpEntry {
        u64 ip;
        u64 epoch;
        u64 page_ip;
        u8* code;
    };
    static_assert(sizeof(JumpEntry) == kJumpEntryBytes);
    // For the stubs: the entry of the jump cache for `ip`, good for the running epoch; null: what lies there cannot be
    // told without a look at the guest's page tables, or is not translated.
    const JumpEntry* known_jump(u64 ip);

  private:
    static constexpr JumpEntry kNoJump{0, ~u64{0}, 0, nullptr};

    Translator(Cpu& cpu, const Options& options, std::unique_ptr<CodeMemory> memory);

    void drop_code(u64 backing_page, unsigned offset, unsigned length) override;

    u64 epoch() const;
    bool may_go_on(const Fallback& fallback) const;
    const u8* next_code();
    Block* find();
    Block* find_or_translate(u64 backing);
    // Null: the interpreter does as well.
    Block* translate(u64 backing, u64 key, const Form& form);
    // `second_page`: see Block.
    Block* translate(std::span<const Insn> insns, u64 backing, u64 key, u64 second_page, const Form& form);
    struct Extent {
        unsigned offset, length;
    };
    static Extent extent_in(const Block& block, u64 page);
    void add_to_page(Block& block, u64 page);
    void remove_from_pages(const Block& block);
    EmitterContext emitter_context() const;
    std::vector<u8> code_bytes(const Block& block) const;
    // Writes the code of `block`, of which the rest is known. False: refused.
    bool emit(Block& block, std::span<const Insn> insns);
    // The block is about to run while the budget is spent.
    void sample(Block& block);
    void translate_again(Block& block, const Tier& tier);
    void look_at_misses(AccessCell& cell);
    void use_window(u64 linear);
    void give_up_cells();
    size_t number_of(const AccessCell& cell) const;
    // By a fetch of Cpu's.
    using Fetch = const u8* (Cpu::*)(u64);
    bool is_good(JumpEntry& entry, Fetch fetch);
    bool is_at(const Block& block, u64 ip, Fetch fetch);
    bool lies_in_segment(const Block& block, u64 ip) const;
    u64 linear_of(u64 ip) const;
    void fill_jump(u64 ip, const Block& block);
    bool may_run_on() const;
    // The one instruction at state.ip, when it crosses a page; null: to be stepped.
    Block* find_crossing();
    u64 next_page(u64 linear) const;
    void enter(Block& block);
    void interpret(Interpreter::Block* block);
    // False: room was made for a version: the target and the jump cache's entries may be gone.
    bool link(Link& link, Block& target);
    bool link_version(Link& link, Block& target);
    Block* version_of(Block& target, const FlagRecipe& flags);
    void unlink(Link& link);
    void unlink_version(Link& link);
    void set_jump(const u8* jump, const u8* target);
    void drop(Block& block);
    void outdate(const Block& block);
    void bury(Block& block);
    u8* reserve(u64 bytes);
    void tell_perf(const Block& block);
    void write_listings();
    void evict_region(unsigned region);
    JumpEntry& jump_entry(u64 ip) { return jumps_[jump_index(ip)]; }

    static constexpr unsigned kRegions = 16;
    static constexpr unsigned kCrossings = 4096;
    static constexpr u8 kHotCrossing = 8;
    static constexpr unsigned kCellsPerRegion = 4096;
    // Misses of a cell that are looked at together; the instructions that each must be worth for it to be kept, and for
    // it to do without a window.
    static constexpr u32 kMissesAtOnce = 64;
    // Of so many misses of a cell of one page, one has the pages on either side looked at.
    static constexpr u32 kMissesPerRun = 8;
    // Farther apart, two rounds that end at a block do not make it hot.
    static constexpr u64 kMostRoundsBetween = 100;
    static constexpr u64 kWorth = 200, kRare = 5000;
    static constexpr u8 kMostStrikes = 4;
    // Pages may be mapped in windows so often, and once more per so many instructions.
    static constexpr u64 kFirstViews = 4096, kInsnsPerView = 500000;

    Cpu& cpu_;
    Options options_;
    Interpreter interpreter_;
    std::unique_ptr<CodeMemory> memory_;
    Stubs stubs_;
    std::unique_ptr<asmjit::CodeHolder> holder_;  // of the block being written
    u64 rounds_ = 0;                              // calls of run()
    u64 end_ = 0;                                 // value of state.retired at which the budget is spent
    Link* wanted_ = nullptr;                      // the branch that was left through, if it can be linked
    FlatMap<Block> blocks_;
    std::unordered_map<u64, std::vector<Block*>> pages_;  // by backing page
    std::vector<std::unique_ptr<Block>> buried_;          // dropped while one of them may be running
    std::vector<JumpEntry> jumps_;
    std::vector<u8> crossings_;  // how often instructions that cross a page were stepped, by a hash
    std::vector<Block*> regions_[kRegions];
    u8* free_ = nullptr;
    // By region of code: cells in use, from the first.
    std::array<u32, kRegions> cells_used_{};
    std::vector<Block*> cell_owners_;   // by number of the cell; null: dropped
    std::vector<AccessCell*> missing_;  // cells that miss too often, to be given up
    unsigned region_ = 0;
    Windows windows_;
    u64 views_ = 0;  // that TLB entries were given, and those of them for which pages were mapped
    u64 mapped_views_ = 0;
    Counters counters_;
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> perf_map_{nullptr, &std::fclose};
    std::unique_ptr<JitDump> jit_dump_;
};

}  // namespace lodge::jit
