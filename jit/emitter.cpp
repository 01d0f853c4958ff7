#include "jit/emitter.h"

#include "core/interp/bind.h"
#include "core/interp/interpreter.h"
#include "jit/fpu_transfer.h"

namespace lodge::jit {

using asmjit::imm;
using asmjit::Label;

namespace {

bool is_branch(const Insn& insn) {
    return facts(insn.opcode).ends_block;
}
// A data segment's register that it loads, and does nothing else to the mode; SS has a shadow.
u8 loaded_segment(const Insn& insn) {
    if (insn.opcode != Opcode::MOV_SEG && insn.opcode != Opcode::POP_SEG) return kNoSegment;
    const Operand& to = insn.operands[0];
    return to.kind == OperandKind::segment && to.reg != static_cast<u8>(Segment::ss) ? to.reg : kNoSegment;
}
bool touches_stack(Opcode opcode) {
    switch (opcode) {
        case Opcode::PUSH:
        case Opcode::POP:
        case Opcode::LEAVE:
        case Opcode::PUSH_SEG:
            return true;
        default:
            return false;
    }
}
bool has_implicit_check(Opcode opcode) {
    switch (opcode) {
        case Opcode::DIV:
        case Opcode::IDIV:
        case Opcode::BSF:
        case Opcode::BSR:
        case Opcode::MOVS:
        case Opcode::STOS:
        case Opcode::LODS:
        case Opcode::CMPS:
        case Opcode::SCAS:
        // What they leave to the interpreter reads flags, or shows them.
        case Opcode::PUSHF:
        case Opcode::POPF:
        case Opcode::CLI:
        case Opcode::STI:
        case Opcode::RDTSC:
        case Opcode::RDTSCP:
            return true;
        default:
            return false;
    }
}
// Whether a native instruction may have to be left to the interpreter, or the block left at it. `safe`: not for its
// accesses.
bool may_leave(const Insn& insn, bool safe) {
    const bool accesses = (insn.has_memory() && insn.opcode != Opcode::LEA) || touches_stack(insn.opcode);
    return (accesses && !safe) || is_branch(insn) || has_implicit_check(insn.opcode) ||
           (facts(insn.opcode).can_fault && !fpu_parts(insn));
}

}  // namespace

Emitter::Emitter(x86::Assembler& assembler, const EmitterContext& context, Block& block, std::span<const Insn> insns,
                 u32 mode)
    : a_(assembler), context_(context), block_(block), insns_(insns), mode_(mode), recipe_(block.flags) {
    if (recipe_.kind != FlagRecipe::Kind::none) flags_ = Flags::recipe;
    std::vector<bool> faults(insns.size());
    native_.resize(insns.size());
    for (size_t i = 0; i < insns.size(); ++i) {
        native_[i] = is_native_in(insns, i, context, mode);
        faults[i] = !native_[i] || may_leave(insns[i], false);
    }
    flags_of_ = analyse_flags(insns, native_, faults);
    if (block.tier.hot) {
        plan_ = plan_accesses(insns, native_, flags_of_, mode, block.tier.single, block.tier.plain);
        group_cells_.resize(plan_.groups.size());
        for (size_t i = 0; i < insns.size(); ++i)
            faults[i] = !native_[i] || may_leave(insns[i], plan_.is_safe(i, insns[i].has_memory()));
        flags_of_ = analyse_flags(insns, native_, faults);
    }
    fallbacks_.resize(insns.size());
    block_.starts.reserve(insns.size());
    cold_.reserve(insns.size());
    plan_fpu();
}

void Emitter::emit() {
    emit_prologue();
    require_fpu(0);
    for (size_t i = 0; i < insns_.size(); ++i) {
        block_.starts.push_back(static_cast<u32>(a_.offset()));
        emit_insn(i);
    }
    if (!ended_) {
        const FlagRecipe flags = flags_for_exit();
        emit_x87_record(insns_.size());
        emit_exit(static_cast<i64>(block_.page_offset()) + block_.bytes, flags);
    }
    block_.hot_size = static_cast<u32>(a_.offset());
    emit_cold();
}

// Charges the whole block. When the budget does not reach, the block is left before it has begun.
void Emitter::emit_prologue() {
    spent_ = a_.newLabel();
    a_.sub(LODGE_STATE(engine.remaining, 8), imm(block_.count));
    a_.js(spent_);
    if (plain_branches()) return;
    // Outside flat code segments the limit may lie within the block: then it is stepped.
    a_.mov(kTemp0.r32(), LODGE_STATE(engine.page_ip, 4));
    a_.add(kTemp0.r32(), imm(static_cast<i32>(block_.page_offset() + block_.bytes - 1)));
    a_.cmp(kTemp0.r32(), LODGE_STATE(segments[1].limit, 4));
    a_.ja(spent_);
}

void Emitter::emit_insn(size_t index) {
    index_ = index;
    const size_t cold_before = cold_.size();
    const FlagRecipe before = recipe_;
    if (!native_[index] || !translate(insns_[index])) {
        flags_to_memory();
        const bool last = index + 1 == insns_.size();
        const bool leave = last && ends_translation(insns_[index]);
        emit_call_fallback(index, leave);
        flags_ = Flags::memory;
        recipe_ = {};
        require_fpu(index + 1);
        if (leave) ended_ = true;
        return;
    }
    // A recipe from before this instruction may have lost its registers.
    if (recipe_.kind != FlagRecipe::Kind::none && recipe_.kind == before.kind &&
        recipe_.registers == before.registers && recipe_.result == before.result && !(insn_flags().kills) &&
        (insn_flags().writes & recipe_.registers))
        recipe_ = {};
    if (cold_.size() == cold_before) return;
    Cold& cold = cold_.back();
    cold.flags_to_host = flags_ == Flags::host || flags_ == Flags::both;
    cold.operand_unkept = insn_flags().kills && has_kept_operand(recipe_);
    a_.bind(cold.resume);
}

bool Emitter::translate(const Insn& insn) {
    if (flags_ == Flags::recipe && wanted_flags() && !carry_in_memory(insn)) recompute_flags();
    protect_recipe();
    keep_x87_operand(index_);
    if (index_ + 1 == insns_.size() && is_branch(insn)) emit_x87_record(index_);
    return emit_move(insn) || emit_integer(insn) || emit_shift(insn) || emit_stack(insn) || emit_string(insn) ||
           emit_system(insn) || emit_simd(insn) || emit_x87(insn) || emit_branch(insn);
}

Fallback& Emitter::fallback_for(size_t index) {
    if (fallbacks_[index]) return *fallbacks_[index];
    Fallback& fallback = block_.fallbacks.emplace_back();
    fallbacks_[index] = &fallback;
    fallback.insn[0] = insns_[index];
    place_sentinel(fallback.insn[1], insns_[index]);
    fallback.may_change_mode = may_change_mode(insns_[index]);
    fallback.loads = loaded_segment(insns_[index]);
    fallback.needs_fpu = touches_fpu(insns_[index]);
    fallback.count = block_.count;
    fallback.start = static_cast<u16>(block_.page_offset());
    return fallback;
}

void Emitter::emit_call_fallback(size_t index, bool leave) {
    Fallback& fallback = fallback_for(index);
    fallback.leave = leave;
    emit_x87_record(index);
    a_.mov(kTemp0, imm(reinterpret_cast<u64>(&fallback)));
    a_.call(imm(reinterpret_cast<u64>(context_.stubs->fall_back)));
}

Label Emitter::cold_label(bool leave) {
    if (!cold_.empty() && cold_.back().index == index_) return cold_.back().entry;
    Cold cold;
    cold.entry = a_.newLabel();
    cold.resume = a_.newLabel();
    cold.index = index_;
    // What was checked for instructions behind this one may not hold after the interpreter.
    cold.leave = leave || (block_.tier.hot && plan_.is_used_behind(index_));
    cold.recipe_needed = flags_ == Flags::recipe;
    cold.recipe = recipe_;
    cold_.push_back(cold);
    return cold.entry;
}

void Emitter::emit_cold() {
    flags_ = Flags::memory;
    for (const Side& side : sides_) emit_side(side);
    emit_stack_misses();
    emit_cell_misses();
    emit_jump_misses();
    for (const Cold& cold : cold_) {
        a_.bind(cold.entry);
        if (cold.recipe_needed) {
            emit_recipe(cold.recipe);
            emit_save();
        }
        emit_call_fallback(cold.index, cold.leave);
        if (cold.leave) continue;
        if (cold.operand_unkept) {
            emit_exit_behind(cold.index);
            continue;
        }
        reload_fpu(cold.index + 1);
        if (cold.flags_to_host) emit_load();
        a_.jmp(cold.resume);
    }
    for (const Exit& exit : exits_) emit_exit_stubs(exit);
    emit_fpu_loads();
    emit_spent();
}

// The interpreter has executed the instruction and put the flags into memory; the code behind it would take them from
// an operand that only the code before it keeps. So what follows is another block's.
void Emitter::emit_exit_behind(size_t index) {
    a_.add(LODGE_STATE(engine.remaining, 8), imm(block_.count - static_cast<i32>(index) - 1));
    const Insn& insn = insns_[index];
    emit_exit(offset_after(insn), {});
}

// What was charged for the instructions behind the branch is given back.
void Emitter::emit_side(const Side& side) {
    a_.bind(side.entry);
    const bool saved = side.flags != Flags::host;
    if (!saved && side.recipe.kind == FlagRecipe::Kind::none) emit_save();
    emit_x87_record(side.index);
    if (side.checked) {
        index_ = side.index;
        check_target(insns_[side.index], side.target);
    }
    a_.add(LODGE_STATE(engine.remaining, 8), imm(block_.count - static_cast<i32>(side.index) - 1));
    emit_exit(side.target, saved ? FlagRecipe{} : side.recipe);
}

void Emitter::emit_spent() {
    a_.bind(spent_);
    if (block_.flags.kind != FlagRecipe::Kind::none) {
        emit_recipe(block_.flags);
        emit_save();
    }
    a_.add(LODGE_STATE(engine.remaining, 8), imm(block_.count));
    block_.outdated = reinterpret_cast<u8*>(a_.offset());
    load_ip(kTemp0, static_cast<i64>(block_.page_offset()));
    a_.mov(LODGE_STATE(ip, 8), kTemp0);
    a_.jmp(imm(reinterpret_cast<u64>(context_.stubs->leave)));
}

void Emitter::finish() {
    block_.outdated = block_.code + reinterpret_cast<u64>(block_.outdated);
    for (const auto& link : block_.links) {
        for (u8** at : {&link->jump, &link->onward, &link->saving, &link->unlinked})
            *at = block_.code + reinterpret_cast<u64>(*at);
        if (link->literal) link->literal = block_.code + reinterpret_cast<u64>(link->literal);
    }
}

// --- Registers

x86::Gp Emitter::sized(const x86::Gp& reg, unsigned size) {
    switch (size) {
        case 1:
            return reg.r8();
        case 2:
            return reg.r16();
        case 4:
            return reg.r32();
        default:
            return reg.r64();
    }
}
x86::Gp Emitter::pinned(u8 reg, unsigned size) {
    if (high_byte(reg, size)) return x86::gpb_hi(reg & 3);
    return sized(x86::gpq(kHostOfGuest[reg]), size);
}
asmjit::Operand Emitter::place_of(u8 reg, unsigned size) {
    if (high_byte(reg, size) || is_pinned(reg)) return pinned(reg, size);
    return gpr_in_state(reg, size);
}
x86::Gp Emitter::in_register(u8 reg, unsigned size, const x86::Gp& temporary) {
    if (high_byte(reg, size) || is_pinned(reg)) return pinned(reg, size);
    // As wide as it was stored: the host then forwards the store without delay, or renames it away.
    a_.mov(temporary.r64(), gpr_in_state(reg, 8));
    return sized(temporary, size);
}
void Emitter::store_spilled(u8 reg, unsigned size, const x86::Gp& value) {
    const unsigned width = size == 4 ? 8 : size;  // a 32-bit result clears the upper half
    a_.mov(gpr_in_state(reg, width), sized(value, width));
}
void Emitter::write_register(u8 reg, unsigned size, const x86::Gp& value) {
    if (high_byte(reg, size) || is_pinned(reg))
        a_.mov(pinned(reg, size), sized(value, size));
    else
        store_spilled(reg, size, value);
}
asmjit::Imm Emitter::immediate_of(const Insn& insn, unsigned size) {
    switch (size) {
        case 1:
            return imm(static_cast<i64>(static_cast<i8>(insn.immediate)));
        case 2:
            return imm(static_cast<i64>(static_cast<i16>(insn.immediate)));
        case 4:
            return imm(static_cast<i64>(static_cast<i32>(insn.immediate)));
        default:
            return imm(static_cast<i64>(insn.immediate));
    }
}

bool Emitter::ends_translation(const Insn& insn) {
    if (insn.opcode == Opcode::STAC || insn.opcode == Opcode::CLAC) return true;
    return insn.opcode >= Opcode::JO && insn.opcode <= Opcode::SYSEXIT && ends_block(insn);
}

bool Emitter::may_change_mode(const Insn& insn) {
    if (ends_block(insn)) return true;
    switch (insn.opcode) {
        case Opcode::MOV_SEG:
            return insn.operands[0].kind == OperandKind::segment;
        case Opcode::POP_SEG:
        case Opcode::LDS:
        case Opcode::LES:
        case Opcode::LFS:
        case Opcode::LGS:
        case Opcode::LSS:
        // What the FPU and SSE bits of the mode stand for.
        case Opcode::LDMXCSR:
        case Opcode::FLDCW:
        case Opcode::FLDENV:
        case Opcode::FRSTOR:
        case Opcode::FNINIT:
        case Opcode::FXRSTOR:
        case Opcode::XRSTOR:
            return true;
        default:
            return false;
    }
}

}  // namespace lodge::jit
