// The reference engine: runs blocks of decoded instructions, cached by the backing page they were read from.
//
// A block is a straight run of instructions within one page. It is found by (backing address, code size), so it
// survives CR3 loads and serves every linear alias; what has been found for a linear address is remembered in the
// jump cache and in the links of the block before it, valid for one Cpu::fetch_epoch.
#pragma once

#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/cpu/cpu.h"
#include "core/cpu/executor.h"

namespace lodge {

class Interpreter final : public Executor, private CodeCache {
  public:
    explicit Interpreter(Cpu& cpu);
    ~Interpreter() override;

    ExitReason run(u64 instructions) override;

  private:
    struct Block;
    struct Link {
        u64 ip = 0;
        u64 epoch = 0;
        Block* block = nullptr;
    };
    struct Block {
        u64 key = 0;
        u16 count = 0;
        u16 bytes = 0;
        u8 next_link = 0;
        Link links[2];
        std::unique_ptr<Insn[]> instructions;  // count, and the sentinel
    };

    void drop_code(u64 backing_page, unsigned offset, unsigned length) override;

    // Deals with Cpu::attention; a reason when the engine must return.
    bool attend(u32 attention, ExitReason& exit);
    // The block at state.ip, from the links of `previous`, the jump cache, or made anew; null when the instruction
    // there must be stepped, or its fetch faulted.
    Block* next_block(Block* previous);
    Block* find_block();
    Block* make_block(const u8* code, u64 key);
    void execute(const Insn* first);
    // One instruction, outside any block: wherever blocks cannot be used.
    void step();
    // With the rules of TF, RF and code breakpoints.
    void step_watched(bool new_stack);
    bool decode_at_ip(Insn& insn);
    void drop_all();
    void bury(u64 key);

    static constexpr unsigned kJumpEntries = 8192;
    static constexpr unsigned kMostInBlock = 64;
    static constexpr u64 kMostDecoded = 1'000'000;  // instructions kept, 56 bytes each

    Link& jump_entry(u64 ip) { return jumps_[(ip ^ ip >> 13) % kJumpEntries]; }

    Cpu& cpu_;
    std::unordered_map<u64, std::unique_ptr<Block>> blocks_;
    std::unordered_map<u64, std::vector<u64>> page_keys_;  // backing page: keys of its blocks
    std::vector<std::unique_ptr<Block>> buried_;           // dropped while one of them may be running
    std::vector<Link> jumps_;
    u64 decoded_ = 0;
    std::array<Insn, 2> single_;
};

}  // namespace lodge
