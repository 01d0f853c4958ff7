// Debug registers and traps: SDM vol. 3, chapter 17.
#include "core/cpu/cpu.h"

namespace lodge {

namespace {

// B0..B3 tell of the last #DB alone; the processor never clears the others (SDM vol. 3, 17.2.3, and what it does).
constexpr u64 kDr6Hits = 0xF;
constexpr u64 kDr6Single = 1u << 14;
constexpr u64 kDr6Access = 1u << 13;

bool enabled(u64 dr7, unsigned index) {
    return bits(dr7, index * 2, 2) != 0;
}
unsigned condition(u64 dr7, unsigned index) {
    return static_cast<unsigned>(bits(dr7, 16 + index * 4, 2));
}
// 0, 1, 3 stand for 1, 2, 4 bytes; 2 for 8 (SDM vol. 3, 17.2.4).
unsigned length(u64 dr7, unsigned index) {
    static constexpr unsigned kLengths[4] = {1, 2, 8, 4};
    return kLengths[bits(dr7, 18 + index * 4, 2)];
}

// Whether [first, first + size) touches what breakpoint `index` covers.
bool overlaps(const CpuState& state, unsigned index, u64 first, unsigned size) {
    const unsigned covered = length(state.dr[7], index);
    const u64 start = state.dr[index] & ~u64{covered - 1};
    return first < start + covered && start < first + size;
}

}  // namespace

bool Cpu::code_breakpoint_at(u64 linear) const {
    for (unsigned i = 0; i < 4; ++i)
        if (enabled(state.dr[7], i) && condition(state.dr[7], i) == 0 && state.dr[i] == linear) return true;
    return false;
}

bool Cpu::take_code_breakpoint(u64 linear) {
    u64 hit = 0;
    for (unsigned i = 0; i < 4; ++i)
        if (condition(state.dr[7], i) == 0 && state.dr[i] == linear) hit |= u64{1} << i;
    state.dr[6] = replace_bits<u64>(state.dr[6], kDr6Hits, hit);
    raise(Exception::DB);
    fault_->code_breakpoint = true;
    return false;
}

bool Cpu::data_breakpoint_in_page(u64 linear) const {
    if (watches_data_ && debugger_->watches_page(linear)) return true;
    if (!(state.dr[7] & 0xFF)) return false;
    for (unsigned i = 0; i < 4; ++i) {
        if (!enabled(state.dr[7], i) || condition(state.dr[7], i) == 0) continue;
        const u64 first = state.dr[i] & ~u64{length(state.dr[7], i) - 1};
        if (first / kPageSize == linear / kPageSize) return true;
    }
    return false;
}

void Cpu::check_data_breakpoint(u64 linear, unsigned size, bool write) {
    if (watches_data_) [[unlikely]]
        debugger_->on_data_access(linear, size, write);
    if (!(state.dr[7] & 0xFF)) [[likely]]
        return;
    u64 hit = 0;
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned kind = condition(state.dr[7], i);
        if (enabled(state.dr[7], i) && (kind == 3 || (kind == 1 && write)) && overlaps(state, i, linear, size))
            hit |= u64{1} << i;
    }
    if (hit) trap_after(hit);
}

// R/Wn = 10b with CR4.DE: ports.
void Cpu::check_port_breakpoint(u16 port, unsigned size) {
    if (!(state.cr4 & kCr4De) || !(state.dr[7] & 0xFF)) [[likely]]
        return;
    u64 hit = 0;
    for (unsigned i = 0; i < 4; ++i)
        if (enabled(state.dr[7], i) && condition(state.dr[7], i) == 2 && overlaps(state, i, port, size))
            hit |= u64{1} << i;
    if (hit) trap_after(hit);
}

void Cpu::trap_after(u64 dr6_bits) {
    pending_dr6 |= dr6_bits;
    request_attention(kAttentionTrap);
    stop = true;
}

void Cpu::single_step_trap() {
    trap_after(kDr6Single);
}

void Cpu::merge_pending_trap() {
    if (!pending_dr6) return;
    clear_attention(kAttentionTrap);
    state.dr[6] = (state.dr[6] & ~kDr6Hits) | pending_dr6;
    pending_dr6 = 0;
}

void Cpu::take_trap() {
    clear_attention(kAttentionHalted);  // a stepped HLT goes on
    state.halted = false;
    merge_pending_trap();
    raise(Exception::DB);
    deliver_fault_as(/*trap=*/true);
}

void Cpu::update_single_attention() {
    bool code_breakpoints = false;
    for (unsigned i = 0; i < 4; ++i) code_breakpoints |= enabled(state.dr[7], i) && condition(state.dr[7], i) == 0;
    if (code_breakpoints || flag(kFlagTrap | kFlagResume))
        request_attention(kAttentionSingle);
    else
        clear_attention(kAttentionSingle);
}

// DR4 and DR5 are DR6 and DR7 while CR4.DE is clear (SDM vol. 3, 17.2.2).
bool Cpu::debug_register_index(unsigned& index) {
    if (index == 4 || index == 5) {
        if (state.cr4 & kCr4De) return raise_ud();
        index += 2;
    }
    if (state.dr[7] & kDr7GeneralDetect) {
        state.dr[6] |= kDr6Access;
        return raise(Exception::DB);
    }
    return true;
}

bool Cpu::read_dr(unsigned index, u64& value) {
    if (index > 7) return raise_ud();
    if (!debug_register_index(index)) return false;
    value = state.dr[index];
    return true;
}

bool Cpu::write_dr(unsigned index, u64 value) {
    if (index > 7) return raise_ud();
    if (!debug_register_index(index)) return false;
    if (index >= 6 && code64() && value >> 32) return raise_gp(0);
    if (index == 6) value = (value & 0xE00F) | 0xFFFF0FF0;
    if (index == 7) value = (value & 0xFFFF23FF) | 0x400;
    state.dr[index] = value;
    flush_tlb(true);
    update_single_attention();
    return true;
}

// --- A debugger

void Cpu::set_debugger(CpuDebugger* debugger) {
    debugger_ = debugger;
    clear_attention(kAttentionDebugger);
    if (debugger) return;
    code_marks_.reset();
    hold_interrupts(false);
    watch_data(false);
}

// A mark that goes leaves blocks behind that are shorter than they could be, which does no harm.
void Cpu::mark_code(const CodeMarks& marks) {
    const CodeMarks added = code_marks_ ? marks & ~*code_marks_ : marks;
    if (marks.none())
        code_marks_.reset();
    else
        code_marks_ = std::make_unique<CodeMarks>(marks);
    if (added.none()) return;
    std::vector<unsigned> offsets;
    for (unsigned offset = 0; offset < kPageSize; ++offset)
        if (added.test(offset)) offsets.push_back(offset);
    for (u64 page = 0; page < memory_.backing_pages(); ++page)
        for (const unsigned offset : offsets)
            if (memory_.holds_code(page)) on_code_written(page, offset, 1);
}

void Cpu::watch_data(bool any) {
    watches_data_ = any;
    flush_tlb(true);
}

bool Cpu::ask_debugger_before() {
    const u64 linear = linear_ip();
    if (!code_is_marked(linear) || !debugger_->stops_before(linear)) return false;
    request_attention(kAttentionDebugger);
    return true;
}

void Cpu::hold_interrupts(bool held) {
    holds_interrupts_ = held;
    update_interrupt_attention();
}

void Cpu::tell_interrupt(u8 vector, EventKind kind, u64 return_ip, std::optional<u32> error, u64 return_linear) {
    const InterruptEvent event{vector, kind, error, return_ip, return_linear};
    for (CpuObserver* observer : observers_) observer->on_interrupt(event);
}

}  // namespace lodge
