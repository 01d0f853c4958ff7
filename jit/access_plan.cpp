#include "jit/access_plan.h"

#include <algorithm>

#include "jit/emitter.h"

namespace lodge::jit {

namespace {

// A group spans no more bytes than this: farther apart, one page may be there and the other not.
constexpr i64 kMostReach = 1024;
// Constants added to a register, and displacements, that are followed.
constexpr i64 kMostDistance = 1 << 16;

struct KnownRegister {
    u32 version = 0;
    i64 offset = 0;
};

// What is accessed is not, or not only, what the memory operand's address says.
bool goes_elsewhere(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::BT:
        case Opcode::BTS:
        case Opcode::BTR:
        case Opcode::BTC:
            return is_gpr(insn.operands[1]);
        case Opcode::MOVS:
        case Opcode::STOS:
        case Opcode::LODS:
        case Opcode::CMPS:
        case Opcode::SCAS:
            return true;
        default:
            return false;
    }
}

class Planner {
  public:
    Planner(std::span<const Insn> insns, u32 mode, u64 single, u64 plain)
        : insns_(insns), mode_(mode), single_(single), plain_(plain) {
        plan_.memory.resize(insns.size());
        plan_.stack.resize(insns.size());
    }

    AccessPlan plan(const std::vector<bool>& native, const std::vector<InsnFlags>& effects) {
        for (size_t i = 0; i < insns_.size(); ++i) {
            if (native[i] && !(plain_ >> i & 1)) note_accesses(i);
            follow(insns_[i], native[i] ? effects[i].writes : 0xFFFF);
        }
        return std::move(plan_);
    }

  private:
    struct Open {
        u8 base;
        u32 version;
        size_t group;
        i64 aligned_at;  // an offset that is known to be a multiple of 16; kNowhere: none
        u32 count;
    };
    static constexpr i64 kNowhere = i64{1} << 40;

    unsigned word() const { return (mode_ & kModeCodeSize) == 8 ? 8 : 4; }
    bool flat(Segment segment) const { return (mode_ & flat_bit(segment)) && (segment != Segment::cs || word() == 8); }

    void note_accesses(size_t i) {
        const Insn& insn = insns_[i];
        note_operand(i);
        if (!flat(Segment::ss) || !(mode_ & kModeWideStack)) return;
        const i64 size = insn.operand_size;
        switch (insn.opcode) {
            case Opcode::PUSH:
            case Opcode::CALL:
                return add(i, plan_.stack[i], kRsp, -size, static_cast<unsigned>(size), true, 1);
            case Opcode::POP:
            case Opcode::RET:
                return add(i, plan_.stack[i], kRsp, 0, static_cast<unsigned>(size), false, 1);
            case Opcode::LEAVE:
                return add(i, plan_.stack[i], kRbp, 0, static_cast<unsigned>(size), false, 1);
            default:
                return;
        }
    }

    void note_operand(size_t i) {
        const Insn& insn = insns_[i];
        if (insn.opcode == Opcode::LEA || does_nothing(insn.opcode) || goes_elsewhere(insn)) return;
        if (insn.address_size != word()) return;
        if (insn.base >= 16 || !is_pinned(insn.base) || insn.index != kNoRegister || !flat(insn.segment)) return;
        for (unsigned n = 0; n < 4; ++n) {
            if (!is_memory(insn.operands[n])) continue;
            const bool write = operand_access(insn, n) != Access::read;
            const unsigned size = insn.operands[n].size;
            add(i, plan_.memory[i], insn.base, static_cast<i32>(insn.displacement), size, write,
                alignment_of(insn, size));
        }
    }

    void add(size_t i, PlannedAccess& access, u8 base, i64 displacement, unsigned size, bool write,
             unsigned alignment) {
        if (size == 0 || size > 16 || displacement > kMostDistance || displacement < -kMostDistance) return;
        const i64 at = registers_[base].offset + displacement;
        i64 low = at, high = at + size;
        // Where addresses wrap around after 32 bits, the register itself must not have done so.
        if (word() == 4) {
            low = std::min(low, registers_[base].offset);
            high = std::max(high, registers_[base].offset + 1);
        }
        if (high - low > kMostReach) return;
        Open& open = find(i, base, low, high);
        AccessGroup& group = plan_.groups[open.group];
        access.group = static_cast<i32>(open.group);
        access.first = open.count++ == 0;
        access.size = static_cast<u8>(size);
        access.to_low = static_cast<i32>(-registers_[base].offset);  // the rest when `low` is final
        group.low = std::min(group.low, low);
        group.high = std::max(group.high, high);
        group.write |= write;
        group.last = i;
        group.insns |= u64{1} << i;
        if (alignment > 1) {
            access.test_alignment = open.aligned_at == kNowhere || (at - open.aligned_at) % 16 != 0;
            open.aligned_at = at;
        }
    }

    Open& find(size_t i, u8 base, i64 low, i64 high) {
        const u32 version = registers_[base].version;
        if (!(single_ >> i & 1))
            for (Open& open : open_) {
                if (open.base != base || open.version != version) continue;
                const AccessGroup& group = plan_.groups[open.group];
                if (group.insns & single_) continue;
                if (std::max(group.high, high) - std::min(group.low, low) <= kMostReach) return open;
            }
        AccessGroup group;
        group.base = base;
        group.low = low;
        group.high = high;
        group.first = i;
        plan_.groups.push_back(group);
        open_.push_back({base, version, plan_.groups.size() - 1, kNowhere, 0});
        return open_.back();
    }

    // What the instruction makes of the registers.
    void follow(const Insn& insn, u16 writes) {
        for (u8 reg = 0; reg < 16; ++reg) {
            if (!(writes >> reg & 1)) continue;
            i64 by = 0;
            if (writes != 0xFFFF && moves_by_constant(insn, reg, by)) {
                registers_[reg].offset += by;
                continue;
            }
            ++registers_[reg].version;
            registers_[reg].offset = 0;
        }
    }

    bool moves_by_constant(const Insn& insn, u8 reg, i64& by) const {
        const i64 size = insn.operand_size;
        if (reg == kRsp && (mode_ & kModeWideStack)) {
            if (insn.opcode == Opcode::PUSH) return by = -size, true;
            if (insn.opcode == Opcode::POP && (insn.operands[0].reg & 15) != kRsp) return by = size, true;
        }
        const Operand& to = insn.operands[0];
        if (!is_gpr(to) || to.reg != reg || to.size != word()) return false;
        const i64 immediate = static_cast<i32>(insn.immediate);
        switch (insn.opcode) {
            case Opcode::INC:
                return by = 1, true;
            case Opcode::DEC:
                return by = -1, true;
            case Opcode::ADD:
            case Opcode::SUB:
                by = insn.opcode == Opcode::ADD ? immediate : -immediate;
                return insn.operands[1].kind == OperandKind::immediate && immediate <= kMostDistance &&
                       immediate >= -kMostDistance;
            case Opcode::LEA:
                by = static_cast<i32>(insn.displacement);
                return insn.base == reg && insn.index == kNoRegister && insn.address_size == word() &&
                       by <= kMostDistance && by >= -kMostDistance;
            default:
                return false;
        }
    }

    std::span<const Insn> insns_;
    u32 mode_;
    u64 single_, plain_;
    AccessPlan plan_;
    std::vector<Open> open_;
    KnownRegister registers_[16];
};

}  // namespace

bool AccessPlan::is_safe(size_t insn, bool has_operand) const {
    if (has_operand && memory[insn].group < 0) return false;
    bool any = false;
    for (const PlannedAccess* access : {&memory[insn], &stack[insn]}) {
        if (access->size == 0) continue;
        if (access->first || access->test_alignment) return false;
        any = true;
    }
    return any;
}

bool AccessPlan::is_used_behind(size_t insn) const {
    return std::any_of(groups.begin(), groups.end(),
                       [&](const AccessGroup& group) { return group.first <= insn && insn < group.last; });
}

AccessPlan plan_accesses(std::span<const Insn> insns, const std::vector<bool>& native,
                         const std::vector<InsnFlags>& effects, u32 mode, u64 single, u64 plain) {
    AccessPlan plan = Planner(insns, mode, single, plain).plan(native, effects);
    for (std::vector<PlannedAccess>* accesses : {&plan.memory, &plan.stack})
        for (PlannedAccess& access : *accesses)
            if (access.group >= 0)
                access.to_low += static_cast<i32>(plan.groups[static_cast<size_t>(access.group)].low);
    return plan;
}

}  // namespace lodge::jit
