// Writes the host code of one block.
//
// Registers are where registers.h says. Flags are the host's own, as long as nothing between the instruction that sets
// them and the one that looks at them needs the host's flags for itself (memory accesses do); see emitter_flags.cpp.
// A memory access is checked inline against the TLB; whatever the check does not let through, the interpreter executes,
// the whole instruction, from a piece of cold code behind the block. So no instruction changes anything before the last
// of its checks has passed.
//
// One instruction's emitters are grouped as the interpreter's: emit_int.cpp, emit_shift.cpp, emit_move.cpp,
// emit_stack.cpp, emit_branch.cpp, emit_simd.cpp, emit_x87.cpp.
#pragma once

#include <span>
#include <vector>

#include "core/cpu/cpu.h"
#include "core/decode/decoder.h"
#include "jit/access_plan.h"
#include "jit/analysis.h"
#include "jit/block.h"
#include "jit/mode.h"
#include "jit/registers.h"
#include "jit/stubs.h"

namespace lodge::jit {

// What all blocks of a translator have in common.
struct EmitterContext {
    const CpuModel* model = nullptr;
    const Stubs* stubs = nullptr;
    // Of the TLB that the block's mode uses, from kState.
    i32 tlb = 0;
    i32 stack_cell = 0;
    // What emit_system.cpp needs of the CPU (Cpu::Places), from kState.
    i32 attention = 0, interrupt_line = 0, kernel_gs_base = 0, tsc_offset = 0, tsc_aux = 0;
    i32 current_tlb = 0, supervisor_tlb = 0, open_tlb = 0;
    const TickAnchor* ticks = nullptr;  // of the guest's clock
    // For the accesses of a hot block.
    std::span<AccessCell> cells;
};

inline bool is_gpr(const Operand& operand) {
    return operand.kind == OperandKind::gpr;
}
inline bool is_memory(const Operand& operand) {
    return operand.kind == OperandKind::memory;
}

// Neither accesses nor changes anything that a guest can see.
bool does_nothing(Opcode opcode);

// What the address of the instruction's memory operand must be a multiple of (emit_simd.cpp).
unsigned alignment_of(const Insn& insn, unsigned size);

class Emitter {
  public:
    Emitter(x86::Assembler& assembler, const EmitterContext& context, Block& block, std::span<const Insn> insns,
            u32 mode);

    // Emits the whole block. The links of `block` hold offsets from the code's start until `finish`.
    void emit();
    // Makes addresses of offsets, once it is known that the code lies at block.code.
    void finish();

    // The block is hot, and there were too few cells.
    bool failed() const { return failed_; }

    // Whether the instruction is translated to host code in this mode.
    static bool is_native(const Insn& insn, const EmitterContext& context, u32 mode);
    // The same for instruction `index` of a block: STI needs its shadow in the same block.
    static bool is_native_in(std::span<const Insn> insns, size_t index, const EmitterContext& context, u32 mode);
    // Nothing may be translated behind it in the same block.
    static bool ends_translation(const Insn& insn);
    // Something may go on behind it, if it has not changed the mode or raised attention (Translator::may_go_on).
    static bool may_change_mode(const Insn& insn);

  private:
    enum class Flags : u8 {
        memory,  // CpuState::status has them
        host,    // the host's flags are the guest's
        both,
        recipe,  // neither, but recipe_ leads to them
    };

    // Code behind the block, entered when something cannot be done inline.
    struct Cold {
        asmjit::Label entry, resume;
        size_t index = 0;
        bool leave = false;
        bool recipe_needed = false;
        FlagRecipe recipe;
        bool flags_to_host = false;
        bool operand_unkept = false;  // for the recipe that the code behind the instruction has
    };
    // An access that found another page in the TLB's stack cell.
    struct StackMiss {
        asmjit::Label entry, resume, cold;
        unsigned size;  // bytes
    };
    // An access whose cell does not cover it.
    struct CellMiss {
        asmjit::Label entry, retry, cold;
        const AccessCell* cell = nullptr;
        x86::Mem linear;  // the address, if it is not in kTemp0
    };
    // An indirect branch whose target's entry in the jump cache is not good: for another target, or outdated.
    struct JumpMiss {
        asmjit::Label entry, outdated, resume, cold;
    };
    // The side of a branch that is taken out of the middle of the block.
    struct Side {
        asmjit::Label entry;
        size_t index = 0;
        i64 target = 0;
        Flags flags = Flags::memory;
        FlagRecipe recipe;
        bool checked = false;  // the target needs a check
    };
    // What lies behind the block for a direct branch.
    struct Exit {
        asmjit::Label saving, unlinked;
        asmjit::Label refused, literal;  // of one to another page: it is not good here
        size_t link = 0;
        i64 target = 0;
    };

    // Host code behind the block that loads parts of the FPU's state (fpu_transfer.h).
    struct FpuLoad {
        asmjit::Label entry, resume;
        u8 parts = 0;
    };
    // What the FPU's last instruction was, when FpuState does not say so yet.
    struct X87Record {
        i32 offset = -1;   // from the page's start; -1: FpuState is right
        u8 data = 0;       // as EngineState::x87_data
        i32 operand = -1;  // the instruction whose operand's offset FpuState::data does not have yet
    };

    // --- The block (emitter.cpp)
    void emit_prologue();
    void emit_insn(size_t index);
    bool translate(const Insn& insn);
    void emit_cold();
    void emit_side(const Side& side);
    void emit_exit_behind(size_t index);
    void emit_spent();
    void emit_call_fallback(size_t index, bool leave);
    const Insn& insn() const { return insns_[index_]; }
    const InsnFlags& insn_flags() const { return flags_of_[index_]; }
    Fallback& fallback_for(size_t index);
    // Where the current instruction goes when it cannot be done inline: the interpreter executes it and the code goes
    // on behind it, or (`leave`) translated code is left.
    asmjit::Label cold_label(bool leave = false);

    // --- Flags (emitter_flags.cpp)
    void save_flags();          // host -> both
    void load_flags(u32 mask);  // those of `mask` to the host; all of them: both
    void recompute_flags();     // recipe -> host
    void emit_recipe(const FlagRecipe& recipe);
    void emit_save();
    void emit_load();
    // Before anything that uses the host's flags for itself, in an instruction that can fault here.
    void release_flags();
    // Before an instruction that is executed natively and looks at or passes on these flags.
    void want_flags(u32 mask);
    void want_flags() { want_flags(wanted_flags()); }
    u32 wanted_flags() const;
    // All flags to CpuState: before the interpreter, and at the end of the block.
    void flags_to_memory();
    // At the end of the block: what a direct branch leaves with. None: the flags are in memory.
    FlagRecipe flags_for_exit();
    // Where a recipe's operand is.
    static asmjit::Operand recipe_operand(u8 reg, unsigned size);
    // Keeps an operand for a recipe if anybody may want the flags after this instruction.
    bool wants_recipe() const { return insn_flags().exact; }
    void keep_operand(const x86::Gp& value);
    bool carry_in_memory(const Insn& insn) const;
    // The instruction has set the host's flags.
    void flags_are_set(const FlagRecipe& recipe = {});
    void protect_recipe();

    // --- Registers
    static bool high_byte(u8 reg, unsigned size) { return size == 1 && reg >= 16; }
    // The host's register of a pinned guest register.
    static x86::Gp pinned(u8 reg, unsigned size);
    // Register or memory, for instructions that take either.
    static asmjit::Operand place_of(u8 reg, unsigned size);
    // The register's value in a register: itself, or `temporary`, loaded.
    x86::Gp in_register(u8 reg, unsigned size, const x86::Gp& temporary);
    // Stores the value of `size` bytes in `value`, a 64-bit register whose upper half is right, to a register that is
    // not pinned.
    void store_spilled(u8 reg, unsigned size, const x86::Gp& value);
    void write_register(u8 reg, unsigned size, const x86::Gp& value);
    static x86::Gp sized(const x86::Gp& reg, unsigned size);
    static asmjit::Imm immediate_of(const Insn& insn, unsigned size);

    // --- Memory (emitter_memory.cpp)
    // The effective address of the memory operand, cut to the address size, in kTemp0. Uses kTemp1.
    void emit_address(const Insn& insn);
    void form_address(const Insn& insn, const x86::Gp& to);
    // The host's address of an operand of `size` bytes, checked: kTemp0. Uses kTemp1 and the flags.
    x86::Mem memory_operand(const Insn& insn, unsigned size, bool write, unsigned alignment = 1);
    // The offset in kTemp0 becomes a checked host address.
    x86::Mem checked(Segment segment, unsigned size, bool write, unsigned alignment = 1);
    // The linear address in kTemp0 becomes a checked host address; up to 8 bytes. Uses kTemp1 and the flags.
    x86::Mem checked_on_stack(unsigned size);
    x86::Mem stack_cell_field(size_t field) const;
    void emit_stack_misses();
    // In hot blocks: as above, by a cell of the access's own, or of its group.
    x86::Mem planned(const PlannedAccess& access, const x86::Gp& base, i32 displacement, unsigned size, bool write);
    void check_group(const PlannedAccess& access, const x86::Gp& base);
    x86::Mem checked_by_cell(const Insn& insn, unsigned size, bool write, unsigned alignment);
    x86::Mem checked_index_by_cell(const Insn& insn, AccessCell& cell, unsigned alignment, unsigned size);
    bool has_own_cell(const Insn& insn) const;
    void emit_cell_check(const AccessCell& cell, const asmjit::Label& retry, const x86::Mem& linear);
    void test_alignment(unsigned size, unsigned alignment);
    AccessCell* new_cell(u64 insns, unsigned reach, bool write);
    void emit_cell_misses();
    // `size` bytes at rSP + displacement: the host's address in kTemp0. Uses kTemp1.
    x86::Mem stack_slot(i32 displacement, unsigned size, bool write);
    x86::Mem stack_slot_at(const x86::Gp& pointer, i32 displacement, unsigned size, bool write);
    bool flat(Segment segment) const { return mode_ & flat_bit(segment); }
    bool flat_stack() const { return flat(Segment::ss) && (mode_ & kModeWideStack); }
    void move_stack_pointer(i32 by);

    // --- Integer (emit_int.cpp, emit_shift.cpp)
    bool emit_integer(const Insn& insn);
    void emit_binary(const Insn& insn, u32 id, bool writes, bool carries);
    void emit_binary_to_memory(const Insn& insn, u32 id, const x86::Mem& memory, bool writes);
    void emit_unary(const Insn& insn, u32 id, bool sets_flags);
    void emit_multiply(const Insn& insn);
    void emit_multiply_wide(const Insn& insn);
    void set_multiply_flags();
    void emit_multiply_status(const x86::Mem& overflow);
    void emit_divide(const Insn& insn);
    void emit_exchange(const Insn& insn);
    void emit_exchange_add(const Insn& insn);
    void emit_compare_exchange(const Insn& insn);
    void emit_bit_test(const Insn& insn, u32 id);
    void emit_bit_test_in_string(const Insn& insn, u32 id);
    void emit_scan(const Insn& insn, u32 id);
    void emit_count_bits(const Insn& insn, u32 id);
    void emit_carry(const Insn& insn);
    bool emit_shift(const Insn& insn);
    void emit_simple_shift(const Insn& insn, u32 id);
    FlagRecipe recipe_for_shift(const Insn& insn) const;
    void emit_double_shift(const Insn& insn, u32 id);
    FlagRecipe recipe_for(const Insn& insn, bool source_kept = false) const;

    // --- Moves (emit_move.cpp)
    bool emit_move(const Insn& insn);
    void emit_mov(const Insn& insn);
    void emit_extend(const Insn& insn, u32 id);
    void emit_lea(const Insn& insn);
    void emit_bswap(const Insn& insn);
    void emit_movbe(const Insn& insn);
    void emit_cmov(const Insn& insn, unsigned condition);
    void emit_set(const Insn& insn, unsigned condition);
    void emit_convert(const Insn& insn);

    // --- x87, MMX, SSE: what they have in common (emitter_fpu.cpp)
    void plan_fpu();
    // The parts that instructions from `index` on use are loaded from here on. The flags are in memory.
    void require_fpu(size_t index);
    // The same, where some surely are not: after a call of the interpreter in cold code.
    void reload_fpu(size_t index);
    void emit_fpu_loads();
    void emit_fpu_load(u8 parts);
    // Before the interpreter, and before the block is left: FpuState's pointers get what instructions before `index`
    // have left of them. Uses kTemp0 and kTemp1.
    void emit_x87_record(size_t index);
    // Before a native instruction that overwrites a register from which that offset can be formed: forms it.
    void keep_x87_operand(size_t index);
    bool overwrites_x87_operand(size_t index) const;
    void emit_x87_operand(const X87Record& record);

    // --- MMX and SSE (emit_simd.cpp)
    bool emit_simd(const Insn& insn);
    void emit_vector(const Insn& insn, u32 id);
    void emit_vector_to_gpr(const Insn& insn, u32 id);
    void emit_ldmxcsr(const Insn& insn);
    asmjit::Operand vector_operand(const Insn& insn, unsigned n);

    // --- x87 (emit_x87.cpp)
    bool emit_x87(const Insn& insn);
    void emit_x87_memory(const Insn& insn, u32 id);
    void emit_x87_registers(const Insn& insn, u32 id);
    void emit_fnstsw(const Insn& insn);
    void emit_fldcw(const Insn& insn);

    // --- Stack (emit_stack.cpp)
    bool emit_stack(const Insn& insn);
    void emit_push(const Insn& insn);
    void emit_pop(const Insn& insn);
    void emit_leave(const Insn& insn);

    // --- Strings (emit_string.cpp)
    bool emit_string(const Insn& insn);
    void emit_movs(const Insn& insn);
    void emit_stos(const Insn& insn);
    void emit_lods(const Insn& insn);
    void emit_cmps(const Insn& insn);
    void emit_scas(const Insn& insn);
    void leave_unless_upwards();
    x86::Mem element(const Insn& insn, u8 index, bool write);
    void advance(const Insn& insn, u8 index);
    void load_source(const Insn& insn);

    // --- System (emit_system.cpp)
    bool emit_system(const Insn& insn);
    void emit_pushf(const Insn& insn);
    void emit_popf(const Insn& insn);
    void emit_cli();
    void emit_sti();
    void emit_access_flag(bool set);
    void emit_push_segment(const Insn& insn);
    void emit_mov_from_segment(const Insn& insn);
    void emit_swapgs();
    void emit_rdtsc(bool with_processor);
    void leave_unless_supervisor();
    void leave_if_interrupt_waits();
    static x86::Mem place(i32 from_state, unsigned size);

    // --- Branches (emit_branch.cpp)
    bool emit_branch(const Insn& insn);
    void emit_jump(const Insn& insn);
    void emit_conditional(const Insn& insn, unsigned condition);
    void emit_loop(const Insn& insn);
    void emit_call(const Insn& insn);
    void emit_return(const Insn& insn);
    // Leaves for the instruction at this offset from the page's start, linked when possible; within the page by this
    // jump.
    void emit_exit(i64 target, const FlagRecipe& flags, u32 jump = x86::Inst::kIdJmp);
    void emit_page_check(const Exit& exit);
    void emit_exit_stubs(const Exit& exit);
    void emit_exit_saving(const Exit& exit, Link& link);
    void emit_ask(Link& link, i64 target);
    void emit_literal(const Exit& exit, Link& link);
    // An instruction that may cross into the next page is as good as one there.
    static bool in_page(i64 target) { return target >= 0 && target <= static_cast<i64>(kPageSize - kLongestInsn); }
    // The target in kTemp1: its entry of the jump cache in kTemp0, else to the cold code.
    void load_indirect_target(const Insn& insn);
    void find_jump();
    void emit_jump_misses();
    void take_jump();
    void load_ip(const x86::Gp& to, i64 offset);
    bool checks_targets(const Insn& insn) const { return !plain_branches() || insn.operand_size < 4; }
    // Checks a direct branch's target as the mode needs it. Everything else is in memory already.
    void check_target(const Insn& insn, i64 target);
    i64 target_of(const Insn& insn) const;
    i64 offset_after(const Insn& insn) const { return block_.page_offset() + insn.block_offset + insn.length; }
    Link& new_link();

    bool code64() const { return (mode_ & kModeCodeSize) == 8; }
    bool plain_branches() const { return flat(Segment::cs); }

    x86::Assembler& a_;
    const EmitterContext& context_;
    Block& block_;
    std::span<const Insn> insns_;
    u32 mode_;
    std::vector<bool> native_;
    std::vector<InsnFlags> flags_of_;
    size_t index_ = 0;
    Flags flags_ = Flags::memory;
    FlagRecipe recipe_;
    std::vector<Cold> cold_;
    std::vector<Fallback*> fallbacks_;  // by instruction; null: none yet
    std::vector<Side> sides_;
    std::vector<Exit> exits_;
    std::vector<StackMiss> stack_misses_;
    // Of a hot block.
    AccessPlan plan_;
    std::vector<AccessCell*> group_cells_;  // null: not checked yet
    std::vector<CellMiss> cell_misses_;
    std::vector<JumpMiss> jump_misses_;
    bool failed_ = false;
    // One entry per instruction, and one for the end.
    std::vector<u8> fpu_from_;            // parts used natively from there to the next call of the interpreter
    std::vector<X87Record> x87_records_;  // before it
    std::vector<FpuLoad> fpu_loads_;
    asmjit::Label spent_;  // the budget is
    bool ended_ = false;   // a branch has ended the block
};

}  // namespace lodge::jit
