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
    release_flags();
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
    release_flags();
    const unsigned width = code64() ? 8 : 4;
    a_.lea(sized(kTemp0, width), x86::ptr(pointer, displacement));
    if (!(mode_ & kModeWideStack)) a_.movzx(kTemp0.r32(), kTemp0.r16());
    return flat_stack() ? checked_on_stack(size) : checked(Segment::ss, size, write);
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
