// Memory accesses: the effective address, the segment, the TLB.
#include "jit/emitter.h"

namespace lodge::jit {

using asmjit::imm;

namespace {

static_assert(sizeof(TlbEntry) == 32);

x86::Mem indexed(const x86::Gp& index, i64 displacement) {
    return x86::Mem(kState, index, 0, static_cast<i32>(displacement), 8);
}

}  // namespace

void Emitter::emit_address(const Insn& insn) {
    const unsigned width = insn.address_size == 8 ? 8 : 4;
    const x86::Gp to = sized(kTemp0, width);
    if (insn.base == kBlockIp) {
        // The displacement counts from the block's start.
        const i64 from_page = insn.displacement + static_cast<i64>(block_.page_offset());
        a_.mov(kTemp0, LODGE_STATE(engine.page_ip, 8));
        a_.lea(to, x86::ptr(kTemp0, static_cast<i32>(from_page)));
        return;
    }
    if (insn.base == kNoRegister && insn.index == kNoRegister) {
        const i64 address = insn.address_size == 2   ? static_cast<u16>(insn.displacement)
                            : insn.address_size == 4 ? static_cast<u32>(insn.displacement)
                                                     : insn.displacement;
        a_.mov(kTemp0, imm(address));
        return;
    }
    form_address(insn, to);
    if (insn.address_size == 2) a_.movzx(kTemp0.r32(), kTemp0.r16());
}

// From a base, an index or both.
void Emitter::form_address(const Insn& insn, const x86::Gp& to) {
    const unsigned width = to.size();
    const bool has_base = insn.base != kNoRegister, has_index = insn.index != kNoRegister;
    const i32 displacement = static_cast<i32>(insn.displacement);
    const x86::Gp index = has_index ? in_register(insn.index, width, kTemp1) : x86::Gp();
    if (!has_base) {
        a_.lea(to, x86::Mem(static_cast<u64>(static_cast<i64>(displacement)), index.r64(), insn.scale, 0));
    } else {
        const x86::Gp base = in_register(insn.base, width, kTemp0);
        if (has_index)
            a_.lea(to, x86::ptr(base.r64(), index.r64(), insn.scale, displacement));
        else if (displacement != 0)
            a_.lea(to, x86::ptr(base.r64(), displacement));
        else if (base.id() != to.id() || width == 4)
            a_.mov(to, base);
    }
}

x86::Mem Emitter::memory_operand(const Insn& insn, unsigned size, bool write, unsigned alignment) {
    if (block_.tier.hot && plan_.memory[index_].group >= 0)
        return planned(plan_.memory[index_], pinned(insn.base, 8), static_cast<i32>(insn.displacement), size, write);
    release_flags();
    if (block_.tier.hot && has_own_cell(insn)) return checked_by_cell(insn, size, write, alignment);
    emit_address(insn);
    const bool through_rsp = insn.base == kRsp && insn.index == kNoRegister && insn.segment == Segment::ss;
    if (through_rsp && flat_stack() && size <= 8 && alignment == 1) return checked_on_stack(size);
    return checked(insn.segment, size, write, alignment);
}

// One unsigned compare covers the page, the right and page crossing (core/cpu/tlb.h). `alignment` is 1 or the size.
x86::Mem Emitter::checked(Segment segment, unsigned size, bool write, unsigned alignment) {
    const asmjit::Label cold = cold_label();
    const size_t state = offsetof(CpuState, segments) + static_cast<size_t>(segment) * sizeof(SegmentState);
    // Outside 64-bit code CS, flat or not, cannot be written, and perhaps not be read.
    if (!flat(segment) || (segment == Segment::cs && !code64())) {
        if (!code64()) {
            const size_t span = write ? offsetof(SegmentState, writable_span) : offsetof(SegmentState, readable_span);
            a_.lea(kTemp1, x86::ptr(kTemp0, static_cast<i32>(size) - 1));
            a_.cmp(kTemp1, state_at(state + span, 8));
            a_.jg(cold);
        }
        const unsigned width = code64() ? 8 : 4;
        a_.add(sized(kTemp0, width), state_at(state + offsetof(SegmentState, base), width));
    }
    const i32 tag = write ? offsetof(TlbEntry, write_tag) : offsetof(TlbEntry, read_tag);
    a_.mov(kTemp1, kTemp0);
    a_.shr(kTemp1, imm(kTlbIndexShift));
    a_.and_(kTemp1.r32(), imm(kTlbIndexMask));
    a_.sub(kTemp0, indexed(kTemp1, context_.tlb + tag));
    if (alignment == size && size > 1) {
        // The offset in the page is a multiple of the size.
        a_.test(kTemp0, imm(-4096 | static_cast<i32>(size - 1)));
        a_.jnz(cold);
    } else {
        a_.cmp(kTemp0, imm(4096 - static_cast<i32>(size)));
        a_.ja(cold);
    }
    a_.add(kTemp0, indexed(kTemp1, context_.tlb + static_cast<i32>(offsetof(TlbEntry, host_page))));
    return x86::Mem(kTemp0, 0, size);
}

// The page last used as a stack is at hand without a look into the TLB.
x86::Mem Emitter::checked_on_stack(unsigned size) {
    const auto cell = [this](size_t field) { return stack_cell_field(field); };
    StackMiss miss{a_.newLabel(), a_.newLabel(), cold_label(), size};
    a_.sub(kTemp0, cell(offsetof(StackCell, tag)));
    a_.cmp(kTemp0, cell(offsetof(StackCell, span)));
    a_.jae(miss.entry);
    a_.add(kTemp0, cell(offsetof(StackCell, host_page)));
    a_.bind(miss.resume);
    stack_misses_.push_back(miss);
    return x86::Mem(kTemp0, 0, size);
}

x86::Mem Emitter::stack_cell_field(size_t field) const {
    return x86::Mem(kState, context_.stack_cell + static_cast<i32>(field), 8);
}

void Emitter::emit_stack_misses() {
    for (const StackMiss& miss : stack_misses_) {
        a_.bind(miss.entry);
        a_.add(kTemp0, stack_cell_field(offsetof(StackCell, tag)));
        a_.lea(kTemp1, stack_cell_field(0));
        const Stubs& stubs = *context_.stubs;
        a_.call(imm(reinterpret_cast<u64>(miss.size <= 4 ? stubs.find_stack_4 : stubs.find_stack_8)));
        a_.jnc(miss.resume);
        a_.jmp(miss.cold);
    }
}

x86::Mem Emitter::stack_slot(i32 displacement, unsigned size, bool write) {
    return stack_slot_at(pinned(kRsp, 8), displacement, size, write);
}

x86::Mem Emitter::stack_slot_at(const x86::Gp& pointer, i32 displacement, unsigned size, bool write) {
    if (block_.tier.hot && plan_.stack[index_].group >= 0)
        return planned(plan_.stack[index_], pointer, displacement, size, write);
    release_flags();
    const unsigned width = code64() ? 8 : 4;
    a_.lea(sized(kTemp0, width), x86::ptr(pointer, displacement));
    if (!(mode_ & kModeWideStack)) a_.movzx(kTemp0.r32(), kTemp0.r16());
    return flat_stack() ? checked_on_stack(size) : checked(Segment::ss, size, write);
}

// --- Hot blocks
//
// An access, or a group of them through one register, has a cell (core/cpu/tlb.h): what the processor predicts is not
// the address but that the cell covers it, so an access waits for nothing but its address, and most pay one load for
// the way to the host's memory. The stub refills a cell from the TLB; where that does not do, the interpreter executes
// the instruction.

namespace {

x86::Mem cell_field(const AccessCell& cell, size_t offset) {
    return x86::ptr_rel(reinterpret_cast<u64>(&cell) + offset, 8);
}

}  // namespace

AccessCell* Emitter::new_cell(u64 insns, unsigned reach, bool write) {
    if (block_.cells.size() == context_.cells.size()) {
        failed_ = true;
        return context_.cells.data();
    }
    AccessCell& cell = context_.cells[block_.cells.size()];
    cell = {};
    cell.reach = static_cast<u16>(reach);
    cell.write = write;
    block_.cells.push_back({&cell, insns, 0});
    return &cell;
}

// The linear address `linear` goes through kTemp1 if it is not in kTemp0. Uses kTemp1: what is left there is the offset
// in the cell's pages.
void Emitter::emit_cell_check(const AccessCell& cell, const asmjit::Label& retry, const x86::Mem& linear) {
    const CellMiss miss{a_.newLabel(), retry, cold_label(), &cell, linear};
    if (linear.hasBase() && !linear.hasIndex() && linear.offset() == 0)
        a_.mov(kTemp1, linear.baseReg().as<x86::Gp>());
    else
        a_.lea(kTemp1, linear);
    a_.sub(kTemp1, cell_field(cell, offsetof(AccessCell, tag)));
    a_.cmp(kTemp1, cell_field(cell, offsetof(AccessCell, span)));
    a_.jae(miss.entry);
    cell_misses_.push_back(miss);
}

void Emitter::check_group(const PlannedAccess& access, const x86::Gp& base) {
    const auto number = static_cast<size_t>(access.group);
    const AccessGroup& group = plan_.groups[number];
    AccessCell* cell = new_cell(group.insns, static_cast<unsigned>(group.high - group.low), group.write);
    group_cells_[number] = cell;
    const asmjit::Label retry = a_.newLabel();
    a_.bind(retry);
    emit_cell_check(*cell, retry, x86::ptr(base, access.to_low, 8));
}

x86::Mem Emitter::planned(const PlannedAccess& access, const x86::Gp& base, i32 displacement, unsigned size,
                          bool write) {
    const AccessGroup& group = plan_.groups[static_cast<size_t>(access.group)];
    if (size > access.size || (write && !group.write)) failed_ = true;  // the plan was made for another access
    if (access.first || access.test_alignment) release_flags();
    if (access.first) check_group(access, base);
    const AccessCell* cell = group_cells_[static_cast<size_t>(access.group)];
    if (!cell) {
        failed_ = true;
        cell = context_.cells.data();
    }
    if (access.test_alignment) {
        const asmjit::Label cold = cold_label();
        a_.lea(kTemp1, x86::ptr(base, displacement));
        a_.test(kTemp1.r8(), imm(15));
        a_.jnz(cold);
    }
    a_.mov(kTemp0, cell_field(*cell, offsetof(AccessCell, delta)));
    return x86::ptr(base, kTemp0, 0, displacement, size);
}

bool Emitter::has_own_cell(const Insn& insn) const {
    if (block_.tier.plain >> index_ & 1) return false;
    const bool readable = flat(insn.segment) && (insn.segment != Segment::cs || code64());
    return readable || code64();
}

x86::Mem Emitter::checked_by_cell(const Insn& insn, unsigned size, bool write, unsigned alignment) {
    AccessCell& cell = *new_cell(u64{1} << index_, size, write);
    const bool pinned_base = insn.base == kNoRegister || (insn.base < 16 && is_pinned(insn.base));
    if (code64() && insn.address_size == 8 && flat(insn.segment) && insn.index != kNoRegister &&
        is_pinned(insn.index) && pinned_base)
        return checked_index_by_cell(insn, cell, alignment, size);
    emit_address(insn);
    if (!flat(insn.segment)) {
        const size_t base = offsetof(CpuState, segments) + static_cast<size_t>(insn.segment) * sizeof(SegmentState) +
                            offsetof(SegmentState, base);
        a_.add(kTemp0, state_at(base, 8));
    }
    const asmjit::Label retry = a_.newLabel();
    a_.bind(retry);
    emit_cell_check(cell, retry, x86::ptr(kTemp0));
    test_alignment(size, alignment);
    a_.add(kTemp0, cell_field(cell, offsetof(AccessCell, delta)));
    return x86::Mem(kTemp0, 0, size);
}

// The index is added by the access itself, so that what is looked up in a table waits for its index only.
x86::Mem Emitter::checked_index_by_cell(const Insn& insn, AccessCell& cell, unsigned alignment, unsigned size) {
    const i32 displacement = static_cast<i32>(insn.displacement);
    const x86::Gp index = pinned(insn.index, 8);
    const bool has_base = insn.base != kNoRegister;
    const x86::Mem linear = has_base ? x86::ptr(pinned(insn.base, 8), index, insn.scale, displacement)
                                     : x86::Mem(static_cast<u64>(static_cast<i64>(displacement)), index, insn.scale, 0);
    const asmjit::Label retry = a_.newLabel();
    a_.bind(retry);
    emit_cell_check(cell, retry, linear);
    test_alignment(size, alignment);
    a_.mov(kTemp0, cell_field(cell, offsetof(AccessCell, delta)));
    if (has_base) a_.add(kTemp0, pinned(insn.base, 8));
    return x86::ptr(kTemp0, index, insn.scale, displacement, size);
}

// kTemp1 is the offset from a page's start.
void Emitter::test_alignment(unsigned size, unsigned alignment) {
    if (alignment != size || size == 1) return;
    a_.test(kTemp1.r8(), imm(size - 1));
    a_.jnz(cold_label());
}

void Emitter::emit_cell_misses() {
    for (const CellMiss& miss : cell_misses_) {
        a_.bind(miss.entry);
        if (!(miss.linear.hasBase() && miss.linear.baseId() == kTemp0.id())) a_.lea(kTemp0, miss.linear);
        a_.lea(kTemp1, cell_field(*miss.cell, 0));
        a_.call(imm(reinterpret_cast<u64>(context_.stubs->refill_cell)));
        a_.jnc(miss.retry);
        a_.jmp(miss.cold);
    }
}

void Emitter::move_stack_pointer(i32 by) {
    const x86::Gp rsp = pinned(kRsp, 8);
    if (mode_ & kModeWideStack) {
        const unsigned width = code64() ? 8 : 4;
        a_.lea(sized(rsp, width), x86::ptr(rsp, by));
        return;
    }
    a_.lea(kTemp0.r32(), x86::ptr(rsp, by));
    a_.mov(rsp.r16(), kTemp0.r16());
}

}  // namespace lodge::jit
