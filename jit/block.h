// One translated run of instructions, and the direct branches that lead out of it.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "core/cpu/tlb.h"
#include "core/decode/insn.h"
#include "jit/flag_recipe.h"

namespace lodge::jit {

struct Block;

constexpr u8 kNoSegment = 0xFF;

// An instruction as the interpreter executes it alone: what translated code falls back to.
struct Fallback {
    Insn insn[2];                  // the instruction and a sentinel
    u16 count = 0;                 // instructions of the block, charged when it was entered
    u16 start = 0;                 // where the block begins in its page
    bool leave = false;            // translated code does not go on after it
    bool may_change_mode = false;  // it goes on only if the mode and everything else that blocks rest on are the same
    u8 loads = kNoSegment;         // a segment register: of the mode, it may change whether that one is flat
    u8 needs_fpu = 0;              // it may look at or change FpuState, which must then be in memory whole
};

// A direct branch out of a block. `onward` leads to `unlinked`, which asks the translator to link it, or to the target.
//
// A branch that leaves with a recipe for the flags first comes by `saving`, which puts them into memory as every block
// expects them, counts, and when that has happened often asks the translator for a version of the target that begins
// with this recipe. Then `jump` leads there.
struct Link {
    Block* from = nullptr;
    Block* to = nullptr;
    Block* version = nullptr;  // of `to`
    u32 mode = 0;              // of its target: the block's own, unless the code has changed it
    FlagRecipe flags;
    // A jump's 32-bit displacement, last bytes of the instruction. They are the same where there is no recipe.
    u8* jump = nullptr;
    u8* onward = nullptr;
    u8* saving = nullptr;
    u8* unlinked = nullptr;
    i32 countdown = 0;  // negative: a version is worth while
    // For a branch to another page: where the code keeps what the link was made for (see PageLiteral); else null.
    u8* literal = nullptr;
};

// A branch to another page may only be taken as linked from the same page, in the same epoch.
struct PageLiteral {
    u64 page_ip;
    u64 epoch;
    u64 target_page_ip;
};
constexpr u64 kNoPage = 1;  // no page's IP

// A cell of a hot block's.
struct CellUse {
    AccessCell* cell = nullptr;
    u64 insns = 0;  // that it is for, one bit each
    u64 since = 0;  // value of retired when its misses were last looked at
    u64 views = 0;  // of the translator's, then
    u8 strikes = 0;
};

// How a block's accesses are translated.
struct Tier {
    // Found to be running often: its accesses are checked by cells (emitter_memory.cpp).
    bool hot = false;
    // Instructions, one bit each, whose accesses are checked alone, and those that do better without cells.
    u64 single = 0, plain = 0;
};

struct Block;

// How a block is translated.
struct Form {
    Tier tier;
    FlagRecipe flags;          // with which it begins, for a version of `general`
    Block* general = nullptr;  // null: not a version
};

struct Block {
    u64 key = 0;
    FlagRecipe flags;          // of what the block finds instead of flags in memory
    Block* general = nullptr;  // null, or that it is a version of
    std::vector<std::unique_ptr<Block>> versions;
    u64 backing = 0;  // of the first byte
    // Of the page that the end of a single instruction lies in, when it crosses a page; else kInOnePage.
    u64 second_page = kInOnePage;
    u16 bytes = 0;
    u16 count = 0;   // instructions
    u32 size = 0;    // of the code
    u32 region = 0;  // of code memory
    u8* code = nullptr;
    u8* outdated = nullptr;   // leaves for the block's own IP, instead of the block once that is dropped
    u32 hot_size = 0;         // of the code without what lies behind for the rarer cases
    std::vector<u32> starts;  // where each instruction's code begins
    std::deque<Fallback> fallbacks;
    std::vector<std::unique_ptr<Link>> links;
    std::vector<Link*> incoming;

    Tier tier;
    u32 samples = 0;  // times it was found to be running
    u64 sampled = 0;  // the round of the last time
    std::vector<CellUse> cells;

    static constexpr u64 kInOnePage = ~u64{0};
    bool crosses() const { return second_page != kInOnePage; }
    u64 page_offset() const { return backing & 0xFFF; }
};

}  // namespace lodge::jit
