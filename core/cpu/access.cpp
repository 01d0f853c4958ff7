// Slow paths of memory access: segment checks in full, TLB misses, page crossing, memory-mapped devices, ports.
#include "core/cpu/cpu.h"

namespace lodge {

// SDM vol. 3, 5.3 "Limit Checking" and 5.4 "Type Checking".
bool Cpu::check_segment(Segment which, u64 offset, unsigned size, bool write) {
    const SegmentState& segment = state.segment(which);
    const Exception vector = which == Segment::ss ? Exception::SS : Exception::GP;
    const u32 attributes = segment.attributes;
    if (attributes & kSegmentUnusable) return raise(vector, 0);
    const bool code = attributes & kSegmentCode;
    if (protected_mode() && !v86()) {
        if (write && (code || !(attributes & kSegmentWritable))) return raise(vector, 0);
        if (!write && code && !(attributes & kSegmentReadable)) return raise(vector, 0);
    }
    const u64 last = offset + size - 1;
    if (!code && (attributes & kSegmentExpandDown)) {
        const u64 top = attributes & kSegmentBig ? 0xFFFFFFFF : 0xFFFF;
        return offset > segment.limit && last <= top ? true : raise(vector, 0);
    }
    return last <= segment.limit ? true : raise(vector, 0);
}

namespace {

// SDM vol. 3, table 6-7 "Alignment Requirements by Data Type": numbers of 10 bytes are aligned by 8, areas of the x87
// by the units they consist of.
unsigned alignment_of(unsigned size) {
    constexpr unsigned kMost = 16;
    if (size == 10) return 8;
    const unsigned unit = size & (0 - size);
    return unit < kMost ? unit : kMost;
}

}  // namespace

// An address that is not canonical is #GP or #SS first: there is nothing to be aligned.
bool Cpu::check_alignment(u64 linear, unsigned size) {
    if (tlb_ != &empty_tlb_ || linear % alignment_of(size) == 0) return true;
    if (long_mode() && (!canonical(linear) || !canonical(linear + size - 1))) return true;
    return raise(Exception::AC, 0);
}

bool Cpu::translate_range(u64 linear, unsigned size, AccessKind access, bool user, Translation& translation) {
    const auto in_page = static_cast<unsigned>(kPageSize - (linear & kPageMask));
    translation.size[0] = size < in_page ? size : in_page;
    translation.size[1] = size - translation.size[0];
    // The whole operand must be canonical before any of its pages is looked at.
    if (translation.size[1] && long_mode() && !canonical(linear + size - 1)) return noncanonical(linear + size - 1);
    if (!translate(linear, access, user, translation.physical[0])) return false;
    if (translation.size[1] == 0) return true;
    const u64 next = linear + in_page;
    return translate(long_mode() ? next : next & 0xFFFFFFFF, access, user, translation.physical[1]);
}

bool Cpu::translate_for_modify(u64 linear, unsigned size, Translation& translation) {
    if (!check_alignment(linear, size)) return false;
    if (!translate_range(linear, size, AccessKind::write, state.cpl == 3, translation)) return false;
    check_data_breakpoint(linear, size, true);
    return true;
}

namespace {

// One bus access of a natural size, or bytes.
void read_physical(PhysicalMemory& memory, u64 physical, u8* value, unsigned size) {
    switch (size) {
        case 1:
            store(value, memory.read_value<u8>(physical));
            return;
        case 2:
            store(value, memory.read_value<u16>(physical));
            return;
        case 4:
            store(value, memory.read_value<u32>(physical));
            return;
        case 8:
            store(value, memory.read_value<u64>(physical));
            return;
        default:
            memory.read(physical, {value, size});
    }
}

void write_physical(PhysicalMemory& memory, u64 physical, const u8* value, unsigned size) {
    switch (size) {
        case 1:
            memory.write_value(physical, load<u8>(value));
            return;
        case 2:
            memory.write_value(physical, load<u16>(value));
            return;
        case 4:
            memory.write_value(physical, load<u32>(value));
            return;
        case 8:
            memory.write_value(physical, load<u64>(value));
            return;
        default:
            memory.write(physical, {value, size});
    }
}

}  // namespace

void Cpu::read_translated(const Translation& translation, void* value) {
    u8* at = static_cast<u8*>(value);
    for (unsigned i = 0; i < 2 && translation.size[i]; ++i) {
        if (!memory_.is_backed(translation.physical[i])) begin_device_access();
        read_physical(memory_, translation.physical[i], at, translation.size[i]);
        at += translation.size[i];
    }
}

void Cpu::write_translated(const Translation& translation, const void* value) {
    const u8* at = static_cast<const u8*>(value);
    for (unsigned i = 0; i < 2 && translation.size[i]; ++i) {
        if (!memory_.is_backed(translation.physical[i])) begin_device_access();
        write_physical(memory_, translation.physical[i], at, translation.size[i]);
        at += translation.size[i];
    }
}

bool Cpu::read_slow(u64 linear, void* value, unsigned size) {
    Translation translation;
    if (!check_alignment(linear, size)) return false;
    if (!translate_range(linear, size, AccessKind::read, state.cpl == 3, translation)) return false;
    read_translated(translation, value);
    check_data_breakpoint(linear, size, false);
    return true;
}

bool Cpu::write_slow(u64 linear, const void* value, unsigned size) {
    Translation translation;
    if (!check_alignment(linear, size)) return false;
    if (!translate_range(linear, size, AccessKind::write, state.cpl == 3, translation)) return false;
    write_translated(translation, value);
    check_data_breakpoint(linear, size, true);
    return true;
}

bool Cpu::access_linear(u64 linear, void* value, unsigned size, bool write, bool user) {
    if (!long_mode()) linear &= 0xFFFFFFFF;
    if (watches_data_) [[unlikely]]
        debugger_->on_data_access(linear, size, write);
    const TlbEntry& entry = table_for(user).entry(linear);
    u8* host = reinterpret_cast<u8*>(entry.host_page + (linear & kPageMask));
    if (write && linear - entry.write_tag <= kPageSize - size) {
        std::memcpy(host, value, size);
        return true;
    }
    if (!write && linear - entry.read_tag <= kPageSize - size) {
        std::memcpy(value, host, size);
        return true;
    }
    Translation translation;
    if (!translate_range(linear, size, write ? AccessKind::write : AccessKind::read, user, translation)) return false;
    if (write)
        write_translated(translation, value);
    else
        read_translated(translation, value);
    return true;
}

bool Cpu::access_system(u64 linear, void* value, unsigned size, bool write) {
    implicit_access_ = true;
    const bool ok = access_linear(linear, value, size, write, false);
    implicit_access_ = false;
    return ok;
}

namespace {
constexpr unsigned kProbePiece = 64;
}

bool Cpu::probe(Segment which, u64 offset, unsigned size, bool write) {
    const SegmentState& segment = state.segment(which);
    const i64 span = write ? segment.writable_span : segment.readable_span;
    if (static_cast<i64>(offset + size - 1) > span && !check_segment(which, offset, size, write)) return false;
    const AccessKind access = write ? AccessKind::write : AccessKind::read;
    if (!check_alignment((segment.base + offset) & state.linear_mask, size)) return false;
    Translation translation;
    for (unsigned done = 0; done < size; done += kProbePiece) {
        const u64 linear = (segment.base + offset + done) & state.linear_mask;
        const unsigned piece = size - done < kProbePiece ? size - done : kProbePiece;
        if (!translate_range(linear, piece, access, state.cpl == 3, translation)) return false;
    }
    return true;
}

void Cpu::note_fetch(u64 linear) {
    if (state.cpl == 3) return user_fetched_.note(linear);
    supervisor_fetched_.note(linear);
    const bool known = linear - tlb_->entry(linear).fetch_tag < kPageSize;
    if (!known || !tlb_->is_global(linear)) local_supervisor_code_ = true;
}

const u8* Cpu::known_fetch_pointer(u64 linear) {
    const TlbEntry& entry = tlb_->entry(linear);
    if (linear - entry.fetch_tag >= kPageSize) return nullptr;
    note_fetch(linear);
    return reinterpret_cast<const u8*>(entry.host_page + (linear & kPageMask));
}

const u8* Cpu::fetch_pointer(u64 linear) {
    if (const u8* known = known_fetch_pointer(linear)) return known;
    u64 physical = 0;
    const bool ok = translate(linear, AccessKind::fetch, state.cpl == 3, physical);
    note_fetch(linear);
    if (!ok) return nullptr;
    const u8* page = memory_.read_pointer(physical);
    return page ? page + (physical & kPageMask) : nullptr;
}

unsigned Cpu::fetch_bytes(u64 ip, u8* into, unsigned size) {
    const SegmentState& cs = state.segment(Segment::cs);
    for (unsigned i = 0; i < size; ++i) {
        const u64 offset = ip + i;
        if (!code64() && offset > cs.limit) {
            raise_gp(0);
            return i;
        }
        const u64 linear = (cs.base + offset) & state.linear_mask;
        const TlbEntry& entry = tlb_->entry(linear);
        if (linear - entry.fetch_tag < kPageSize) {
            into[i] = load<u8>(reinterpret_cast<const u8*>(entry.host_page + (linear & kPageMask)));
            continue;
        }
        u64 physical = 0;
        if (!translate(linear, AccessKind::fetch, state.cpl == 3, physical)) return i;
        into[i] = memory_.read_value<u8>(physical);
    }
    return size;
}

bool Cpu::push(u64 value, unsigned size) {
    const u64 pointer = (state.gpr[kRsp] - size) & stack_mask();
    bool ok;
    if (size == 2)
        ok = write<u16>(Segment::ss, pointer, static_cast<u16>(value));
    else if (size == 4)
        ok = write<u32>(Segment::ss, pointer, static_cast<u32>(value));
    else
        ok = write<u64>(Segment::ss, pointer, value);
    if (ok) set_stack_pointer(pointer);
    return ok;
}

bool Cpu::read_stack(u64 pointer, u64& value, unsigned size) {
    pointer &= stack_mask();
    value = 0;
    if (size == 2) {
        u16 narrow;
        if (!read<u16>(Segment::ss, pointer, narrow)) return false;
        value = narrow;
        return true;
    }
    if (size == 4) {
        u32 narrow;
        if (!read<u32>(Segment::ss, pointer, narrow)) return false;
        value = narrow;
        return true;
    }
    return read<u64>(Segment::ss, pointer, value);
}

bool Cpu::pop(u64& value, unsigned size) {
    if (!read_stack(state.gpr[kRsp], value, size)) return false;
    set_stack_pointer(state.gpr[kRsp] + size);
    return true;
}

// SDM vol. 1, 18.5.2 "I/O Permission Bit Map".
bool Cpu::check_port(u16 port, unsigned size) {
    if (!protected_mode() || (!v86() && state.cpl <= iopl())) return true;
    const u32 type = state.tr.attributes & kSegmentType;
    if (!(state.tr.attributes & kSegmentPresent) || (type != 0x0B && type != 0x09) || state.tr.limit < 0x67)
        return raise_gp(0);
    u16 map_base = 0;
    if (!read_system<u16>(state.tr.base + 0x66, map_base)) return false;
    const u32 at = map_base + port / 8u;
    if (at + 1 > state.tr.limit) return raise_gp(0);
    u16 permissions = 0;
    if (!read_system<u16>(state.tr.base + at, permissions)) return false;
    const unsigned mask = ((1u << size) - 1) << (port % 8);
    return (permissions & mask) == 0 ? true : raise_gp(0);
}

bool Cpu::port_read(u16 port, unsigned size, u32& value) {
    if (!check_port(port, size)) return false;
    begin_device_access();
    value = static_cast<u32>(ports_.read(port, size));
    check_port_breakpoint(port, size);
    return true;
}

bool Cpu::port_write(u16 port, unsigned size, u32 value) {
    if (!check_port(port, size)) return false;
    begin_device_access();
    ports_.write(port, size, value);
    check_port_breakpoint(port, size);
    return true;
}

}  // namespace lodge
