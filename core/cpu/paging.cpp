// Linear to physical: SDM vol. 3, chapter 4. 32-bit paging with 4 KiB and 4 MiB pages (PSE-36), PAE, and the four
// levels of long mode, which PAE's walk shares.
#include "core/cpu/cpu.h"

namespace lodge {

namespace {

constexpr u64 kPresent = 1u << 0;
constexpr u64 kWritable = 1u << 1;
constexpr u64 kUser = 1u << 2;
constexpr u64 kAccessed = 1u << 5;
constexpr u64 kDirty = 1u << 6;
constexpr u64 kLarge = 1u << 7;
constexpr u64 kGlobal = 1u << 8;
constexpr u64 kNoExecute = u64{1} << 63;

// Page-fault error code (SDM vol. 3, 4.7).
constexpr u32 kErrorPresent = 0x01;
constexpr u32 kErrorWrite = 0x02;
constexpr u32 kErrorUser = 0x04;
constexpr u32 kErrorReserved = 0x08;
constexpr u32 kErrorFetch = 0x10;

u64 reserved_above(unsigned physical_bits) {
    return ~u64{0} << physical_bits & 0x000FFFFFFFFFFFFF;
}

}  // namespace

namespace {

// Whose implicit memory operand is the stack.
bool uses_stack(Opcode opcode) {
    switch (opcode) {
        case Opcode::PUSH:
        case Opcode::PUSH_SEG:
        case Opcode::PUSHF:
        case Opcode::POP:
        case Opcode::POP_SEG:
        case Opcode::POPF:
        case Opcode::CALL:
        case Opcode::CALLF:
        case Opcode::RET:
        case Opcode::RETF:
        case Opcode::IRET:
        case Opcode::ENTER:
        case Opcode::LEAVE:
            return true;
        default:
            return false;
    }
}

}  // namespace

bool Cpu::permitted(const WalkResult& result, AccessKind access, bool user) const {
    if (user && !result.user) return false;
    if (access == AccessKind::fetch) {
        if (!result.executable) return false;
        return user || !result.user || !(state.cr4 & kCr4Smep);
    }
    if (!user && result.user && (state.cr4 & kCr4Smap) && !user_pages_open()) return false;
    if (access == AccessKind::write && !result.writable) return !user && !(state.cr0 & kCr0Wp);
    return true;
}

// Whether the current instruction's memory operand is what lies there, and not its implicit stack.
bool Cpu::touches_memory_operand(u64 linear) const {
    constexpr u64 kLargestOperand = 1024;  // XSAVE's area is 576 bytes
    const Insn& insn = *current;
    const u64 mask = ~u64{0} >> (64 - 8 * insn.address_size);
    const u64 offset =
        state.gpr[insn.base] + (state.gpr[insn.index] << insn.scale) + static_cast<u64>(insn.displacement);
    return insn.has_memory() && linear - (state.segment(insn.segment).base + (offset & mask)) < kLargestOperand;
}

// #SS(0) for stack references, #GP(0) for others (SDM vol. 1, 3.3.7.1).
bool Cpu::noncanonical(u64 linear) {
    if (!current) return raise_gp(0);
    const bool operand = current->has_memory() && (!uses_stack(current->opcode) || touches_memory_operand(linear));
    const bool stack = operand ? current->segment == Segment::ss : uses_stack(current->opcode);
    return stack ? raise(Exception::SS, 0) : raise_gp(0);
}

bool Cpu::page_fault(u64 linear, AccessKind access, bool user, u32 error) {
    if (access == AccessKind::write) error |= kErrorWrite;
    if (user) error |= kErrorUser;
    const bool tells_fetch = (state.cr4 & kCr4Smep) || ((state.cr4 & kCr4Pae) && (state.efer & kEferNxe));
    if (access == AccessKind::fetch && tells_fetch) error |= kErrorFetch;
    state.cr2 = linear;
    return raise(Exception::PF, error);
}

namespace {

// Sets bits of an entry of `Entry` size that are not yet set.
template <class Entry>
void mark(PhysicalMemory& memory, u64 address, Entry entry, u64 wanted) {
    if ((entry & wanted) != wanted) memory.write_value<Entry>(address, static_cast<Entry>(entry | wanted));
}

}  // namespace

bool Cpu::walk_legacy(u64 linear, AccessKind access, bool user, WalkResult& result, u32& error) {
    const u64 directory_address = physical_address((state.cr3 & 0xFFFFF000) + (linear >> 22) * 4);
    const u32 directory = memory_.read_value<u32>(directory_address);
    if (!(directory & kPresent)) return false;
    result.writable = directory & kWritable;
    result.user = directory & kUser;
    if ((directory & kLarge) && (state.cr4 & kCr4Pse)) {
        error |= kErrorPresent;
        // PSE-36: bits 20:13 are physical bits 39:32; bit 21 and what the model lacks are reserved.
        const u64 high = bits(u64{directory}, 13, 8);
        if ((directory & (1u << 21)) || (high << 32) & reserved_above(model_.physical_bits)) {
            error |= kErrorReserved;
            return false;
        }
        if (!permitted(result, access, user)) return false;
        mark(memory_, directory_address, directory, kAccessed | (access == AccessKind::write ? kDirty : 0));
        result.physical = high << 32 | (directory & 0xFFC00000) | (linear & 0x3FF000);
        result.dirty = (directory & kDirty) || access == AccessKind::write;
        result.global = directory & kGlobal;
        result.page_size = 1u << 22;
        return true;
    }
    const u64 table_address = physical_address((directory & 0xFFFFF000) + ((linear >> 12) & 0x3FF) * 4);
    const u32 entry = memory_.read_value<u32>(table_address);
    if (!(entry & kPresent)) return false;
    error |= kErrorPresent;
    result.writable = result.writable && (entry & kWritable);
    result.user = result.user && (entry & kUser);
    if (!permitted(result, access, user)) return false;
    mark(memory_, directory_address, directory, kAccessed);
    mark(memory_, table_address, entry, kAccessed | (access == AccessKind::write ? kDirty : 0));
    result.physical = entry & 0xFFFFF000;
    result.dirty = (entry & kDirty) || access == AccessKind::write;
    result.global = entry & kGlobal;
    return true;
}

// PAE (levels 2, 1 below the PDPTE registers) and long mode (levels 4 to 1): entries of eight bytes.
bool Cpu::walk_wide(u64 linear, AccessKind access, bool user, WalkResult& result, u32& error) {
    u64 addresses[4], entries[4];
    int level = 4;
    u64 table = state.cr3 & 0x000FFFFFFFFFF000;
    result.writable = result.user = true;
    u64 reserved = reserved_above(model_.physical_bits);
    if (!(state.efer & kEferNxe)) reserved |= kNoExecute;
    if (!long_mode()) {
        const u64 pointer = pdptr_[bits(linear, 30, 2)];
        if (!(pointer & kPresent)) return false;
        table = pointer & 0x000FFFFFFFFFF000;
        level = 2;
        reserved |= u64{0x7FF} << 52;  // bits 62:52 of PAE entries (SDM vol. 3, table 4-9 on)
    }
    for (;; --level) {
        const unsigned shift = 12 + 9 * (level - 1);
        const u64 address = physical_address(table + bits(linear, shift, 9) * 8);
        const u64 entry = memory_.read_value<u64>(address);
        if (!(entry & kPresent)) return false;
        addresses[level - 1] = address;
        entries[level - 1] = entry;
        const bool large = (entry & kLarge) && (level == 2 || level == 3);
        u64 wrong = entry & reserved;
        if (level == 4) wrong |= entry & kLarge;
        if (level == 3 && large && !(model_.extended_edx & kCpuidPage1Gb)) wrong |= kLarge;
        if (large) wrong |= entry & ((u64{1} << shift) - 1) & ~u64{0x1FFF};  // bit 12 is PAT
        if (wrong) {
            error |= kErrorPresent | kErrorReserved;
            return false;
        }
        result.writable = result.writable && (entry & kWritable);
        result.user = result.user && (entry & kUser);
        if (entry & kNoExecute) result.executable = false;
        if (level > 1 && !large) {
            table = entry & 0x000FFFFFFFFFF000;
            continue;
        }
        error |= kErrorPresent;
        if (!permitted(result, access, user)) return false;
        const u64 page_mask = (u64{1} << shift) - 1;
        result.physical = (entry & 0x000FFFFFFFFFF000 & ~page_mask) | (linear & page_mask & ~kPageMask);
        result.dirty = (entry & kDirty) || access == AccessKind::write;
        result.global = entry & kGlobal;
        result.page_size = page_mask + 1;
        const int leaf = level - 1;
        for (int i = long_mode() ? 3 : 1; i > leaf; --i) mark(memory_, addresses[i], entries[i], kAccessed);
        mark(memory_, addresses[leaf], entries[leaf], kAccessed | (access == AccessKind::write ? kDirty : 0));
        return true;
    }
}

bool Cpu::walk(u64 linear, AccessKind access, bool user, WalkResult& result, u32& error) {
    error = 0;
    if (!(state.cr0 & kCr0Pg)) {
        result = {linear & ~kPageMask, kPageSize, true, true, true, false, true};
        return true;
    }
    return state.cr4 & kCr4Pae ? walk_wide(linear, access, user, result, error)
                               : walk_legacy(linear, access, user, result, error);
}

bool Cpu::translate(u64 linear, AccessKind access, bool user, u64& physical) {
    if (long_mode() && !canonical(linear)) return noncanonical(linear);
    SlowPage& slow = table_for(user).slow_page(linear);
    const u64 page = linear & ~kPageMask;
    if (slow.page == page && (access == AccessKind::read || (access == AccessKind::write && slow.writable))) {
        physical = slow.physical | (linear & kPageMask);
        return true;
    }
    ++tlb_misses;
    WalkResult result;
    u32 error = 0;
    if (!walk(linear, access, user, result, error)) return page_fault(linear, access, user, error);
    result.physical = physical_address(result.physical);
    physical = result.physical | (linear & kPageMask);
    fill_tlb(linear, user, result, access);
    const bool goes_slowly = access == AccessKind::read    ? !memory_.read_pointer(physical)
                             : access == AccessKind::write ? !memory_.write_pointer(physical)
                                                           : false;
    if (goes_slowly && permitted(result, AccessKind::read, user))
        slow = {page, result.physical, result.dirty && permitted(result, AccessKind::write, user)};
    return true;
}

Tlb& Cpu::table_for(bool user) {
    if (user) return user_tlb_;
    return (state.cr4 & kCr4Smap) && user_pages_open() ? open_tlb_ : supervisor_tlb_;
}

void Cpu::fill_tlb(u64 linear, bool user, const WalkResult& result, AccessKind access) {
    u8* read = memory_.read_pointer(result.physical);
    if (!read || data_breakpoint_in_page(linear)) return;
    Tlb& tlb = table_for(user);
    const u64 page = linear & ~kPageMask;
    const u64 invalid = Tlb::invalid_tag(Tlb::index(linear));
    u8* write = memory_.write_pointer(result.physical);
    // Reads and writes of a split page (shadowed ROM) do not meet in one host page: such writes stay slow.
    const bool writable = write == read && result.dirty && permitted(result, AccessKind::write, user);
    TlbEntry entry;
    entry.read_tag = permitted(result, AccessKind::read, user) ? page : invalid;
    entry.write_tag = writable ? page : invalid;
    entry.fetch_tag = permitted(result, AccessKind::fetch, user) ? page : invalid;
    entry.host_page = reinterpret_cast<u64>(read);
    tlb.fill(linear, entry, result.global && (state.cr4 & kCr4Pge), result.page_size);
}

// SDM vol. 3, 4.4.1: the four PDPTEs are registers, loaded with CR3.
bool Cpu::load_pdptrs(u64 cr3) {
    u64 loaded[4];
    const u64 reserved = reserved_above(model_.physical_bits) | u64{0xFFF} << 52 | 0x1E6;
    for (unsigned i = 0; i < 4; ++i) {
        loaded[i] = memory_.read_value<u64>(physical_address((cr3 & 0xFFFFFFE0) + i * 8));
        if ((loaded[i] & kPresent) && (loaded[i] & reserved)) return raise_gp(0);
    }
    for (unsigned i = 0; i < 4; ++i) pdptr_[i] = loaded[i];
    return true;
}

std::optional<u64> Cpu::debug_translate(u64 linear) const {
    if (!(state.cr0 & kCr0Pg)) return physical_address(linear & 0xFFFFFFFF);
    u64 table = state.cr3 & 0x000FFFFFFFFFF000;
    if (!(state.cr4 & kCr4Pae)) {
        const u32 directory = memory_.read_value<u32>(physical_address((state.cr3 & 0xFFFFF000) + (linear >> 22) * 4));
        if (!(directory & kPresent)) return {};
        if ((directory & kLarge) && (state.cr4 & kCr4Pse))
            return physical_address(bits(u64{directory}, 13, 8) << 32 | (directory & 0xFFC00000) | (linear & 0x3FFFFF));
        const u32 entry =
            memory_.read_value<u32>(physical_address((directory & 0xFFFFF000) + ((linear >> 12) & 0x3FF) * 4));
        if (!(entry & kPresent)) return {};
        return physical_address((entry & 0xFFFFF000) | (linear & kPageMask));
    }
    int level = 4;
    if (!long_mode()) {
        const u64 pointer = pdptr_[bits(linear, 30, 2)];
        if (!(pointer & kPresent)) return {};
        table = pointer & 0x000FFFFFFFFFF000;
        level = 2;
    }
    for (;; --level) {
        const unsigned shift = 12 + 9 * (level - 1);
        const u64 entry = memory_.read_value<u64>(physical_address(table + bits(linear, shift, 9) * 8));
        if (!(entry & kPresent)) return {};
        const u64 page_mask = (u64{1} << shift) - 1;
        if (level == 1 || ((entry & kLarge) && level < 4))
            return physical_address((entry & 0x000FFFFFFFFFF000 & ~page_mask) | (linear & page_mask));
        table = entry & 0x000FFFFFFFFFF000;
    }
}

}  // namespace lodge
