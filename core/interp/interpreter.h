// The reference engine: runs blocks of decoded instructions, cached by the backing page they were read from.
//
// A block is a straight run of instructions within one page. It is found by (backing address, code size), so it
// survives CR3 loads and serves every linear alias; what has been found for a linear address is remembered in the
// jump cache and in the links of the block before it, valid for one Cpu::fetch_epoch and until blocks are dropped.
#pragma once

#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/base/flat_map.h"
#include "core/cpu/cpu.h"
#include "core/cpu/executor.h"

namespace lodge {

// Makes a decoded instruction number `index` of its block, `offset` bytes from the block's start, ready to run.
void place_insn(Insn& insn, unsigned index, unsigned offset, const CpuModel& model);
// What must lie behind the last instruction of a block: it leaves the block with the IP after `last`.
void place_sentinel(Insn& sentinel, const Insn& last);

class Interpreter final : public Executor, public CodeCache {
  public:
    explicit Interpreter(Cpu& cpu);
    ~Interpreter() override;

    ExitReason run(u64 instructions) override;

    // --- For a translator that leaves cold code and hard cases to this engine.
    struct Block;
    struct Link {
        u64 ip = 0;
        u64 epoch = 0;
        u64 drops = 0;
        Block* block = nullptr;
    };
    struct Block {
        u64 key = 0;
        u16 count = 0;
        u16 bytes = 0;
        u8 next_link = 0;
        u32 executions = 0;       // counted by the translator
        bool stays_cold = false;  // the translator cannot do better
        Link links[2];
        std::unique_ptr<Insn[]> instructions;  // count, and the sentinel
    };

    // Deals with Cpu::attention; a reason when the engine must return.
    bool attend(u32 attention, ExitReason& exit);
    // The block at state.ip, from the links of `previous`, the jump cache, or made anew; null when the instruction
    // there must be stepped, or its fetch faulted (which stepping finds again).
    Block* next_block(Block* previous);
    // Executes a whole block, the delivery of a fault included. False: blocks have been dropped, and every Block
    // pointer is void.
    bool run_block(const Block& block);
    // After a run of handlers has left at Cpu::current: counts what has retired and delivers a fault.
    void complete();
    // One instruction, outside any block: wherever blocks cannot be used.
    void step();

    // Forgets the code marks of the page but for those of the blocks that are kept. Where no block is dropped, the
    // marks and the fetch epoch stay as they are.
    void drop_code(u64 backing_page, unsigned offset, unsigned length) override;

  private:
    Block* find_block();
    Block* make_block(const u8* code, u64 key);
    void execute(const Insn* first);
    // With the rules of TF, RF and code breakpoints.
    void step_watched(bool new_stack);
    bool decode_at_ip(Insn& insn);
    void drop_all();
    void bury(u64 key);

    static constexpr unsigned kJumpEntries = 8192;
    static constexpr unsigned kMostInBlock = 64;
    static constexpr u64 kMostDecoded = 1'000'000;  // instructions kept, 56 bytes each

    bool leads_to(const Link& link, u64 ip) const {
        return link.ip == ip && link.epoch == cpu_.fetch_epoch && link.drops == drops_;
    }
    Link& jump_entry(u64 ip) { return jumps_[(ip ^ ip >> 13) % kJumpEntries]; }

    Cpu& cpu_;
    FlatMap<Block> blocks_;
    struct Extent {
        u64 key;  // of the block
        u16 offset, bytes;
    };
    std::unordered_map<u64, std::vector<Extent>> page_code_;  // backing page: where its blocks are
    std::vector<std::unique_ptr<Block>> buried_;              // dropped while one of them may be running
    std::vector<Link> jumps_;
    u64 decoded_ = 0;
    u64 drops_ = 1;  // counts whenever blocks are dropped
    std::array<Insn, 2> single_;
};

}  // namespace lodge
