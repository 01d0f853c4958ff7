// String instructions and their repetition.
//
// Each operation has `once`, one element with every check, which moves the index registers; a repetition is `once` in
// a loop, with rCX counted down after each element, so that a fault leaves the registers exact at its element. Where a
// run of elements lies in one plain page per operand and within the segments' spans, `run` does it at once; it does
// exactly what `once` would have done as often.
//
// A repetition is one retired instruction. Between its elements come TF, data breakpoints, NMI, INIT, interrupts
// (SDM vol. 2, "REP") and kAttentionKick, which another thread may set at any time and the repetition itself sets now
// and then: the machine's devices must not wait for many MiB. Then IP stays at the instruction, which is not retired
// yet, and rCX says how much is left. What an element's own access to a device brings about comes after that element.
#include <algorithm>

#include "core/interp/alu.h"
#include "core/interp/bind.h"

namespace lodge {

namespace {

template <class T, class Address>
inline void advance(Cpu& cpu, u8 reg, u64 elements) {
    if (elements == 0) return;  // not even the upper half of the register changes
    const u64 bytes = elements * sizeof(T);
    const u64 step = cpu.flag(kFlagDirection) ? 0 - bytes : bytes;
    set_gpr<Address>(cpu, reg, static_cast<Address>(cpu.state.gpr[reg] + step));
}
template <class Address>
inline u64 index_register(const Cpu& cpu, u8 reg) {
    return static_cast<Address>(cpu.state.gpr[reg]);
}

// --- Runs

// How far upwards from `offset` an access is plain: within the span, the address size and the page. In bytes.
template <class Address>
u64 plain_bytes(i64 span, u64 offset, u64 linear) {
    if (static_cast<i64>(offset) > span) return 0;
    const u64 in_span = static_cast<u64>(span) - offset;  // one less than the bytes: never overflows
    const u64 in_address = static_cast<u64>(static_cast<Address>(~u64{0})) - offset;
    const u64 in_page = kPageMask - (linear & kPageMask);
    return std::min({in_span, in_address, in_page}) + 1;
}

struct Run {
    u8* host = nullptr;
    u64 elements = 0;  // 0: do one element the slow way
};
template <class T, class Address>
Run readable_run(Cpu& cpu, Segment which, u8 reg, u64 wanted) {
    const SegmentState& segment = cpu.state.segment(which);
    const u64 offset = index_register<Address>(cpu, reg);
    const u64 linear = (segment.base + offset) & cpu.state.linear_mask;
    const u64 elements = std::min(wanted, plain_bytes<Address>(segment.readable_span, offset, linear) / sizeof(T));
    u8* host = elements ? cpu.direct_read(linear, elements * sizeof(T)) : nullptr;
    return {host, host ? elements : 0};
}
template <class T, class Address>
Run writable_run(Cpu& cpu, Segment which, u8 reg, u64 wanted) {
    const SegmentState& segment = cpu.state.segment(which);
    const u64 offset = index_register<Address>(cpu, reg);
    const u64 linear = (segment.base + offset) & cpu.state.linear_mask;
    const u64 elements = std::min(wanted, plain_bytes<Address>(segment.writable_span, offset, linear) / sizeof(T));
    u8* host = elements ? cpu.direct_write(linear, elements * sizeof(T)) : nullptr;
    return {host, host ? elements : 0};
}

// Element by element upwards: a destination a little above the source repeats a pattern.
template <class T>
void copy_upwards(u8* to, const u8* from, u64 elements) {
    const u64 bytes = elements * sizeof(T);
    if (static_cast<u64>(to - from) >= bytes) {  // as unsigned: also when `to` is below `from`
        std::memmove(to, from, bytes);
        return;
    }
    for (u64 at = 0; at < bytes; at += sizeof(T)) store<T>(to + at, load<T>(from + at));
}

// --- Operations

enum class Repeat : u8 { while_equal, while_not_equal };

struct op_movs {
    template <class T, class Address>
    static bool once(Cpu& cpu, const Insn& insn) {
        T value;
        if (!cpu.read<T>(insn.segment, index_register<Address>(cpu, kRsi), value)) return false;
        if (!cpu.write<T>(Segment::es, index_register<Address>(cpu, kRdi), value)) return false;
        advance<T, Address>(cpu, kRsi, 1);
        advance<T, Address>(cpu, kRdi, 1);
        return true;
    }
    template <class T, class Address>
    static u64 run(Cpu& cpu, const Insn& insn, u64 wanted) {
        const Run to = writable_run<T, Address>(cpu, Segment::es, kRdi, wanted);
        const Run from = readable_run<T, Address>(cpu, insn.segment, kRsi, to.elements);
        if (!from.elements) return 0;
        copy_upwards<T>(to.host, from.host, from.elements);
        advance<T, Address>(cpu, kRsi, from.elements);
        advance<T, Address>(cpu, kRdi, from.elements);
        return from.elements;
    }
};

struct op_stos {
    template <class T, class Address>
    static bool once(Cpu& cpu, const Insn&) {
        if (!cpu.write<T>(Segment::es, index_register<Address>(cpu, kRdi), get_gpr<T>(cpu, kRax))) return false;
        advance<T, Address>(cpu, kRdi, 1);
        return true;
    }
    template <class T, class Address>
    static u64 run(Cpu& cpu, const Insn&, u64 wanted) {
        const Run to = writable_run<T, Address>(cpu, Segment::es, kRdi, wanted);
        const T value = get_gpr<T>(cpu, kRax);
        for (u64 i = 0; i < to.elements; ++i) store<T>(to.host + i * sizeof(T), value);
        advance<T, Address>(cpu, kRdi, to.elements);
        return to.elements;
    }
};

struct op_lods {
    template <class T, class Address>
    static bool once(Cpu& cpu, const Insn& insn) {
        T value;
        if (!cpu.read<T>(insn.segment, index_register<Address>(cpu, kRsi), value)) return false;
        set_gpr<T>(cpu, kRax, value);
        advance<T, Address>(cpu, kRsi, 1);
        return true;
    }
    // Only the last element stays.
    template <class T, class Address>
    static u64 run(Cpu& cpu, const Insn& insn, u64 wanted) {
        const Run from = readable_run<T, Address>(cpu, insn.segment, kRsi, wanted);
        if (!from.elements) return 0;
        set_gpr<T>(cpu, kRax, load<T>(from.host + (from.elements - 1) * sizeof(T)));
        advance<T, Address>(cpu, kRsi, from.elements);
        return from.elements;
    }
};

// The operands of the last comparison: flags are set from them when the repetition ends, so that a fault leaves the
// flags as they were before it (SDM vol. 2, "REP").
template <class T>
struct Compared {
    T left, right;
};

template <class T>
bool ends(Repeat repeat, Compared<T> compared) {
    return (compared.left == compared.right) != (repeat == Repeat::while_equal);
}

struct op_cmps {
    template <class T, class Address>
    static bool once(Cpu& cpu, const Insn& insn, Compared<T>& compared) {
        if (!cpu.read<T>(insn.segment, index_register<Address>(cpu, kRsi), compared.left)) return false;
        if (!cpu.read<T>(Segment::es, index_register<Address>(cpu, kRdi), compared.right)) return false;
        advance<T, Address>(cpu, kRsi, 1);
        advance<T, Address>(cpu, kRdi, 1);
        return true;
    }
    template <Repeat repeat, class T, class Address>
    static u64 run(Cpu& cpu, const Insn& insn, u64 wanted, Compared<T>& compared) {
        const Run right = readable_run<T, Address>(cpu, Segment::es, kRdi, wanted);
        const Run left = readable_run<T, Address>(cpu, insn.segment, kRsi, right.elements);
        u64 done = 0;
        while (done < left.elements) {
            compared = {load<T>(left.host + done * sizeof(T)), load<T>(right.host + done * sizeof(T))};
            ++done;
            if (ends(repeat, compared)) break;
        }
        advance<T, Address>(cpu, kRsi, done);
        advance<T, Address>(cpu, kRdi, done);
        return done;
    }
};

struct op_scas {
    template <class T, class Address>
    static bool once(Cpu& cpu, const Insn&, Compared<T>& compared) {
        compared.left = get_gpr<T>(cpu, kRax);
        if (!cpu.read<T>(Segment::es, index_register<Address>(cpu, kRdi), compared.right)) return false;
        advance<T, Address>(cpu, kRdi, 1);
        return true;
    }
    template <Repeat repeat, class T, class Address>
    static u64 run(Cpu& cpu, const Insn&, u64 wanted, Compared<T>& compared) {
        const Run right = readable_run<T, Address>(cpu, Segment::es, kRdi, wanted);
        compared.left = get_gpr<T>(cpu, kRax);
        u64 done = 0;
        while (done < right.elements) {
            compared.right = load<T>(right.host + done * sizeof(T));
            ++done;
            if (ends(repeat, compared)) break;
        }
        advance<T, Address>(cpu, kRdi, done);
        return done;
    }
};

// The port is read only when the element can be stored: reading may change the device.
struct op_ins {
    template <class T, class Address>
    static bool once(Cpu& cpu, const Insn&) {
        const u16 port = get_gpr<u16>(cpu, kRdx);
        const u64 offset = index_register<Address>(cpu, kRdi);
        if (!cpu.check_port(port, sizeof(T))) return false;
        if (!cpu.probe_write(Segment::es, offset, sizeof(T))) return false;
        u32 value;
        if (!cpu.port_read(port, sizeof(T), value)) return false;
        if (!cpu.write<T>(Segment::es, offset, static_cast<T>(value))) return false;
        advance<T, Address>(cpu, kRdi, 1);
        return true;
    }
};
struct op_outs {
    template <class T, class Address>
    static bool once(Cpu& cpu, const Insn& insn) {
        const u16 port = get_gpr<u16>(cpu, kRdx);
        T value;
        if (!cpu.check_port(port, sizeof(T))) return false;
        if (!cpu.read<T>(insn.segment, index_register<Address>(cpu, kRsi), value)) return false;
        if (!cpu.port_write(port, sizeof(T), value)) return false;
        advance<T, Address>(cpu, kRsi, 1);
        return true;
    }
};

// --- Repetition

enum class Outcome : u8 { done, faulted, interrupted };

// How many elements may pass between two looks at `attention`.
constexpr u64 kElementsPerLook = 4096;
// How many elements before the engine returns: a millisecond of a device's, microseconds of memory. Not runs, whose
// length depends on what an engine watches.
constexpr u64 kElementsPerTurn = 16384;

inline bool interrupted(const Cpu& cpu) {
    constexpr u32 kComesBetween =
        kAttentionKick | kAttentionTrap | kAttentionInterrupt | kAttentionNmi | kAttentionInit | kAttentionDebugger;
    return cpu.flag(kFlagTrap) || (cpu.attention.load(std::memory_order_relaxed) & kComesBetween);
}
// A single step or a data breakpoint comes after the very element; nothing else that stops the block does.
inline bool looks_at_each(const Cpu& cpu) {
    return cpu.flag(kFlagTrap) || cpu.watches_data();
}

// step(u64 wanted, bool& ended) -> elements completed, 0 when the first one faulted.
template <class Address, class Step>
Outcome repeat_steps(Cpu& cpu, Step step) {
    u64 count = get_gpr<Address>(cpu, kRcx);
    const u64 elements_per_look = looks_at_each(cpu) ? 1 : kElementsPerLook;
    u64 until_look = elements_per_look;
    u64 turn = kElementsPerTurn;
    bool ended = false;
    while (count != 0 && !ended) {
        const u64 done = step(cpu.flag(kFlagTrap) ? 1 : std::min(count, turn), ended);
        if (done == 0) return Outcome::faulted;
        count -= done;
        set_gpr<Address>(cpu, kRcx, static_cast<Address>(count));
        turn -= done;
        if (turn == 0) {
            cpu.request_attention(kAttentionKick);
            turn = kElementsPerTurn;
            until_look = 0;
        }
        if (done < until_look && !cpu.stop) {
            until_look -= done;
            continue;
        }
        if (interrupted(cpu) && count != 0 && !ended) return Outcome::interrupted;
        until_look = elements_per_look;
    }
    return Outcome::done;
}

// MOVS, STOS, LODS.
template <class Form>
struct repeat_moving {
    template <class T, class Address>
    static Outcome repeat(Cpu& cpu, const Insn& insn) {
        const bool upwards = !cpu.flag(kFlagDirection);
        return repeat_steps<Address>(cpu, [&](u64 wanted, bool&) -> u64 {
            if (upwards)
                if (const u64 done = Form::template run<T, Address>(cpu, insn, wanted)) return done;
            return Form::template once<T, Address>(cpu, insn);
        });
    }
};
// INS, OUTS. The right to use the port is looked at even when the count is 0 (verified on hardware).
template <class Form>
struct repeat_port {
    template <class T, class Address>
    static Outcome repeat(Cpu& cpu, const Insn& insn) {
        if (!cpu.check_port(get_gpr<u16>(cpu, kRdx), sizeof(T))) return Outcome::faulted;
        return repeat_steps<Address>(cpu,
                                     [&](u64, bool&) -> u64 { return Form::template once<T, Address>(cpu, insn); });
    }
};
// CMPS, SCAS.
template <class Form, Repeat kind>
struct repeat_comparing {
    template <class T, class Address>
    static Outcome repeat(Cpu& cpu, const Insn& insn) {
        const bool upwards = !cpu.flag(kFlagDirection);
        if (get_gpr<Address>(cpu, kRcx) == 0) return Outcome::done;
        Compared<T> compared{};
        const Outcome outcome = repeat_steps<Address>(cpu, [&](u64 wanted, bool& ended) -> u64 {
            u64 done = upwards ? Form::template run<kind, T, Address>(cpu, insn, wanted, compared) : 0;
            if (done == 0) done = Form::template once<T, Address>(cpu, insn, compared);
            ended = done != 0 && ends(kind, compared);
            return done;
        });
        if (outcome != Outcome::faulted) alu::sub<T>(compared.left, compared.right, cpu.state.status);
        return outcome;
    }
};

// The handler of a repeated instruction.
template <Outcome (*repeat)(Cpu&, const Insn&)>
void repeating(Cpu& cpu, const Insn* insn) {
    cpu.current = insn;  // see chained()
    switch (repeat(cpu, *insn)) {
        case Outcome::faulted:
            return leave_block(cpu, insn);
        case Outcome::interrupted:
            return stop_before(cpu, insn);
        case Outcome::done:
            break;
    }
    if (cpu.stop) return stop_before(cpu, insn + 1);
    return insn[1].run(cpu, insn + 1);
}

// CMPS and SCAS without a prefix.
template <class Form>
struct compare_once {
    template <class T, class Address>
    static bool once(Cpu& cpu, const Insn& insn) {
        Compared<T> compared;
        if (!Form::template once<T, Address>(cpu, insn, compared)) return false;
        alu::sub<T>(compared.left, compared.right, cpu.state.status);
        return true;
    }
};

// --- Binding

template <class Form, class Repeated, class T, class Address>
InsnHandler pick(bool repeated) {
    return repeated ? repeating<Repeated::template repeat<T, Address>> : chained<Form::template once<T, Address>>;
}
template <class Form, class Repeated, class T>
InsnHandler bind_address(const Insn& insn, bool repeated) {
    switch (insn.address_size) {
        case 2:
            return pick<Form, Repeated, T, u16>(repeated);
        case 4:
            return pick<Form, Repeated, T, u32>(repeated);
        default:
            return pick<Form, Repeated, T, u64>(repeated);
    }
}
template <class Form, class Repeated>
InsnHandler bind_element(const Insn& insn, bool repeated) {
    switch (element_size(insn)) {
        case 1:
            return bind_address<Form, Repeated, u8>(insn, repeated);
        case 2:
            return bind_address<Form, Repeated, u16>(insn, repeated);
        case 4:
            return bind_address<Form, Repeated, u32>(insn, repeated);
        default:
            return bind_address<Form, Repeated, u64>(insn, repeated);
    }
}
// INS and OUTS have no elements of 8 bytes.
template <class Form, class Repeated>
InsnHandler bind_port_element(const Insn& insn, bool repeated) {
    switch (element_size(insn)) {
        case 1:
            return bind_address<Form, Repeated, u8>(insn, repeated);
        case 2:
            return bind_address<Form, Repeated, u16>(insn, repeated);
        default:
            return bind_address<Form, Repeated, u32>(insn, repeated);
    }
}
template <class Form>
InsnHandler bind_comparing(const Insn& insn, bool repeated) {
    if (insn.prefixes & kPrefixRepne)
        return bind_element<compare_once<Form>, repeat_comparing<Form, Repeat::while_not_equal>>(insn, repeated);
    return bind_element<compare_once<Form>, repeat_comparing<Form, Repeat::while_equal>>(insn, repeated);
}

}  // namespace

InsnHandler bind_string(const Insn& insn) {
    const bool repeated = insn.prefixes & (kPrefixRep | kPrefixRepne);
    switch (insn.opcode) {
        case Opcode::MOVS:
            return bind_element<op_movs, repeat_moving<op_movs>>(insn, repeated);
        case Opcode::STOS:
            return bind_element<op_stos, repeat_moving<op_stos>>(insn, repeated);
        case Opcode::LODS:
            return bind_element<op_lods, repeat_moving<op_lods>>(insn, repeated);
        case Opcode::CMPS:
            return bind_comparing<op_cmps>(insn, repeated);
        case Opcode::SCAS:
            return bind_comparing<op_scas>(insn, repeated);
        case Opcode::INS:
            return bind_port_element<op_ins, repeat_port<op_ins>>(insn, repeated);
        case Opcode::OUTS:
            return bind_port_element<op_outs, repeat_port<op_outs>>(insn, repeated);
        default:
            return nullptr;
    }
}

}  // namespace lodge
