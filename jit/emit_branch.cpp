// Near branches, and how a block is left.
//
// Direct branches within a page are linked by patching their jump. A direct branch to another page goes by way of a
// check: it is good only from the same page and in the epoch that it was linked in, since another epoch may map another
// page there. Indirect branches look their target up in the jump cache; what is not there the interpreter executes,
// with all its checks, unless the translator knows a block there and fills the entry at once.
#include "core/interp/condition.h"
#include "jit/emitter.h"

namespace lodge::jit {

using asmjit::imm;
using asmjit::Label;
namespace Inst = x86::Inst;

namespace {

constexpr u32 kJumpIds[16] = {Inst::kIdJo,  Inst::kIdJno, Inst::kIdJb,  Inst::kIdJnb, Inst::kIdJz, Inst::kIdJnz,
                              Inst::kIdJbe, Inst::kIdJa,  Inst::kIdJs,  Inst::kIdJns, Inst::kIdJp, Inst::kIdJnp,
                              Inst::kIdJl,  Inst::kIdJnl, Inst::kIdJle, Inst::kIdJg};
constexpr u32 kJump[2] = {Inst::kIdJz, Inst::kIdJnz};

// The bits of StatusFlags::low that decide a condition alone, when any of them decides it; 0: others do.
constexpr u8 deciding_bits(unsigned condition) {
    switch (condition & ~1u) {
        case 2:
            return kFlagCarry;
        case 4:
            return kFlagZero;
        case 6:
            return kFlagCarry | kFlagZero;
        case 8:
            return kFlagSign;
        case 10:
            return kFlagParity;
        default:
            return 0;
    }
}

}  // namespace

bool Emitter::emit_branch(const Insn& insn) {
    if (const unsigned condition = condition_index(insn.opcode, Opcode::JO); condition < 16)
        return emit_conditional(insn, condition), true;
    switch (insn.opcode) {
        case Opcode::JMP:
            emit_jump(insn);
            break;
        case Opcode::CALL:
            emit_call(insn);
            break;
        case Opcode::RET:
            emit_return(insn);
            break;
        case Opcode::LOOP:
        case Opcode::JCXZ:
            emit_loop(insn);
            break;
        default:
            return false;
    }
    ended_ = true;
    return true;
}

// --- Leaving

Link& Emitter::new_link() {
    block_.links.push_back(std::make_unique<Link>());
    block_.links.back()->from = &block_;
    block_.links.back()->mode = mode_;
    return *block_.links.back();
}

// IP of an offset from the running page. Outside 64-bit code it is cut to 32 bits.
void Emitter::load_ip(const x86::Gp& to, i64 offset) {
    const unsigned width = code64() ? 8 : 4;
    a_.mov(sized(to, width), LODGE_STATE(engine.page_ip, 8).cloneResized(width));
    if (code64() && offset != static_cast<i32>(offset)) {
        a_.mov(to, imm(offset));
        a_.add(to, LODGE_STATE(engine.page_ip, 8));
    } else if (offset) {
        a_.lea(sized(to, width), x86::ptr(to, static_cast<i32>(offset)));
    }
}

void Emitter::emit_exit(i64 target, const FlagRecipe& flags, u32 jump) {
    Link& link = new_link();
    link.flags = flags;
    const Exit exit{a_.newLabel(), a_.newLabel(), a_.newLabel(), a_.newLabel(), block_.links.size() - 1, target};
    if (!in_page(target)) emit_page_check(exit);
    a_.long_().emit(jump, flags.kind == FlagRecipe::Kind::none ? exit.unlinked : exit.saving);
    link.jump = reinterpret_cast<u8*>(a_.offset() - 4);
    exits_.push_back(exit);
}

void Emitter::emit_page_check(const Exit& exit) {
    const auto field = [&](size_t offset) { return x86::ptr(exit.literal, static_cast<i32>(offset), 8); };
    a_.mov(kTemp0, LODGE_STATE(engine.page_ip, 8));
    a_.cmp(kTemp0, field(offsetof(PageLiteral, page_ip)));
    a_.jne(exit.refused);
    a_.mov(kTemp0, LODGE_STATE(engine.epoch, 8));
    a_.cmp(kTemp0, field(offsetof(PageLiteral, epoch)));
    a_.jne(exit.refused);
    a_.mov(kTemp0, field(offsetof(PageLiteral, target_page_ip)));
    a_.mov(LODGE_STATE(engine.page_ip, 8), kTemp0);
}

void Emitter::emit_exit_stubs(const Exit& exit) {
    Link& link = *block_.links[exit.link];
    link.onward = link.saving = link.jump;
    if (link.flags.kind != FlagRecipe::Kind::none) emit_exit_saving(exit, link);
    if (!in_page(exit.target)) a_.bind(exit.refused);
    if (!in_page(exit.target) && link.flags.kind != FlagRecipe::Kind::none) {
        emit_recipe(link.flags);
        emit_save();
    }
    a_.bind(exit.unlinked);
    link.unlinked = reinterpret_cast<u8*>(a_.offset());
    emit_ask(link, exit.target);
    if (!in_page(exit.target)) emit_literal(exit, link);
}

void Emitter::emit_exit_saving(const Exit& exit, Link& link) {
    const Label often = a_.newLabel();
    a_.bind(exit.saving);
    link.saving = reinterpret_cast<u8*>(a_.offset());
    emit_recipe(link.flags);
    emit_save();
    a_.mov(kTemp0, imm(reinterpret_cast<u64>(&link)));
    a_.sub(x86::ptr(kTemp0, static_cast<i32>(offsetof(Link, countdown)), 4), imm(1));
    a_.js(often);
    a_.long_().jmp(exit.unlinked);
    link.onward = reinterpret_cast<u8*>(a_.offset() - 4);
    a_.bind(often);
    // A branch to another page has passed its check here.
    emit_ask(link, exit.target & 0xFFF);
}

// Has the translator look at the link, and goes on to `target` or leaves.
void Emitter::emit_ask(Link& link, i64 target) {
    load_ip(kTemp0, target);
    a_.mov(LODGE_STATE(ip, 8), kTemp0);
    a_.mov(kTemp0, imm(reinterpret_cast<u64>(&link)));
    a_.jmp(imm(reinterpret_cast<u64>(context_.stubs->follow)));
}

void Emitter::emit_literal(const Exit& exit, Link& link) {
    a_.align(asmjit::AlignMode::kCode, 8);
    a_.bind(exit.literal);
    link.literal = reinterpret_cast<u8*>(a_.offset());
    const PageLiteral empty{kNoPage, 0, 0};
    a_.embed(&empty, sizeof empty);
}

// --- Direct targets

i64 Emitter::target_of(const Insn& insn) const {
    return offset_after(insn) + static_cast<i64>(insn.immediate);
}

// Where code segments are not flat or operands are 16 bits wide, the target may lie outside the segment or wrap around.
// Then the interpreter executes the branch.
void Emitter::check_target(const Insn& insn, i64 target) {
    if (!checks_targets(insn)) return;
    const Label cold = cold_label(true);
    load_ip(kTemp0, target);
    if (insn.operand_size == 2) {
        a_.cmp(kTemp0.r32(), imm(0xFFFF));
        a_.ja(cold);
    }
    a_.cmp(kTemp0.r32(), LODGE_STATE(segments[1].limit, 4));
    a_.ja(cold);
}

void Emitter::emit_jump(const Insn& insn) {
    if (insn.operands[0].kind == OperandKind::relative) {
        if (checks_targets(insn)) flags_to_memory();
        check_target(insn, target_of(insn));
        return emit_exit(target_of(insn), flags_for_exit());
    }
    flags_to_memory();
    flags_ = Flags::memory;
    cold_label(true);
    load_indirect_target(insn);
    find_jump();
    take_jump();
}

// The target of an indirect branch, into kTemp1. The flags are in memory.
void Emitter::load_indirect_target(const Insn& insn) {
    const Operand& from = insn.operands[0];
    const unsigned size = insn.operand_size;
    if (from.kind == OperandKind::memory) {
        const x86::Mem memory = memory_operand(insn, size, false);
        if (size == 2)
            a_.movzx(kTemp1.r32(), memory);
        else
            a_.mov(sized(kTemp1, size), memory);
    } else if (size == 2) {
        a_.emit(Inst::kIdMovzx, kTemp1.r32(), place_of(from.reg, 2));
    } else {
        a_.emit(Inst::kIdMov, sized(kTemp1, size), place_of(from.reg, size));
    }
}

void Emitter::find_jump() {
    const JumpMiss miss{a_.newLabel(), a_.newLabel(), a_.newLabel(), cold_label(true)};
    const auto field = [](i32 offset) { return x86::ptr(kTemp0, offset, 8); };
    a_.mov(kTemp0, kTemp1);
    a_.shr(kTemp0, imm(kJumpHashShift));
    a_.xor_(kTemp0.r32(), kTemp1.r32());
    a_.and_(kTemp0.r32(), imm(kJumpEntries - 1));
    a_.shl(kTemp0.r32(), imm(5));
    static_assert(kJumpEntryBytes == 32);
    a_.add(kTemp0, LODGE_STATE(engine.jump_cache, 8));
    a_.cmp(field(0), kTemp1);
    a_.jne(miss.entry);
    a_.mov(kTemp1, LODGE_STATE(engine.epoch, 8));
    a_.cmp(field(8), kTemp1);
    a_.jne(miss.outdated);
    a_.bind(miss.resume);
    jump_misses_.push_back(miss);
}

void Emitter::emit_jump_misses() {
    for (const JumpMiss& miss : jump_misses_) {
        a_.bind(miss.outdated);
        a_.mov(kTemp1, x86::ptr(kTemp0, 0, 8));
        a_.bind(miss.entry);
        a_.call(imm(reinterpret_cast<u64>(context_.stubs->find_jump)));
        a_.jnc(miss.resume);
        a_.jmp(miss.cold);
    }
}

// Goes where the entry in kTemp0 leads.
void Emitter::take_jump() {
    a_.mov(kTemp1, x86::ptr(kTemp0, 16, 8));
    a_.mov(LODGE_STATE(engine.page_ip, 8), kTemp1);
    a_.jmp(x86::ptr(kTemp0, 24, 8));
}

// A branch backwards ends the block, most often a loop's; one forwards is left by the side, and the block goes on.
void Emitter::emit_conditional(const Insn& insn, unsigned condition) {
    const i64 target = target_of(insn);
    const bool last = index_ + 1 == insns_.size();
    const bool checked = checks_targets(insn);
    if (checked) flags_to_memory();
    const FlagRecipe flags = last ? flags_for_exit() : recipe_;
    u32 jump = kJumpIds[condition];
    if (const u8 bits = deciding_bits(condition); bits && flags_ == Flags::memory) {
        a_.test(state_at(offsetof(CpuState, status) + offsetof(StatusFlags, low), 1), imm(bits));
        jump = kJump[(condition & 1) ^ 1];
    } else {
        want_flags(kArithmeticFlags);
    }
    if (last && in_page(target) && !checked) {
        emit_exit(target, flags, jump);
        emit_exit(offset_after(insn), flags);
        ended_ = true;
        return;
    }
    const Label taken = a_.newLabel();
    a_.emit(jump, taken);
    if (!last) {
        sides_.push_back({taken, index_, target, flags_, flags, checked});
        return;
    }
    emit_exit(offset_after(insn), flags);
    a_.bind(taken);
    check_target(insn, target);
    emit_exit(target, flags);
    ended_ = true;
}

// LOOP and JCXZ touch no flags; neither do JECXZ and JRCXZ.
void Emitter::emit_loop(const Insn& insn) {
    flags_to_memory();
    check_target(insn, target_of(insn));
    const Label near = a_.newLabel();
    const x86::Gp counter = sized(x86::rcx, insn.address_size);
    if (insn.opcode == Opcode::LOOP) a_.lea(counter, x86::ptr(x86::rcx, -1));
    a_.emit(Inst::kIdJecxz, counter, near);
    // An exit is longer than such a jump reaches.
    const Label far = a_.newLabel();
    a_.long_().jmp(far);
    a_.bind(near);
    emit_exit(insn.opcode == Opcode::LOOP ? offset_after(insn) : target_of(insn), {});
    a_.bind(far);
    emit_exit(insn.opcode == Opcode::LOOP ? target_of(insn) : offset_after(insn), {});
}

// --- Calls and returns. Nothing is written before every check has passed.

void Emitter::emit_call(const Insn& insn) {
    const unsigned size = insn.operand_size;
    const i32 by = -static_cast<i32>(size);
    const bool direct = insn.operands[0].kind == OperandKind::relative;
    const i64 target = target_of(insn);
    if (!direct || checks_targets(insn)) flags_to_memory();
    release_flags();
    cold_label(true);
    if (direct) {
        check_target(insn, target);
    } else {
        load_indirect_target(insn);
        find_jump();
        a_.mov(LODGE_STATE(engine.scratch, 8), kTemp0);
    }
    const x86::Mem slot = stack_slot(by, size, true);
    load_ip(kTemp1, offset_after(insn));
    a_.mov(slot, sized(kTemp1, size));
    move_stack_pointer(by);
    if (direct) return emit_exit(target, flags_for_exit());
    a_.mov(kTemp0, LODGE_STATE(engine.scratch, 8));
    take_jump();
}

void Emitter::emit_return(const Insn& insn) {
    const unsigned size = insn.operand_size;
    const i32 extra = insn.operands[0].kind == OperandKind::immediate ? static_cast<i32>(insn.immediate & 0xFFFF) : 0;
    flags_to_memory();
    flags_ = Flags::memory;
    cold_label(true);
    const x86::Mem slot = stack_slot(0, size, false);
    if (size == 2)
        a_.movzx(kTemp1.r32(), slot);
    else
        a_.mov(sized(kTemp1, size), slot);
    find_jump();
    if (mode_ & kModeWideStack) {
        move_stack_pointer(static_cast<i32>(size) + extra);
        return take_jump();
    }
    a_.mov(LODGE_STATE(engine.scratch, 8), kTemp0);
    move_stack_pointer(static_cast<i32>(size) + extra);
    a_.mov(kTemp0, LODGE_STATE(engine.scratch, 8));
    take_jump();
}

}  // namespace lodge::jit
