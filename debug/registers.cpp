// Every register by its name: one table, which says how each is read and written.
#include <algorithm>
#include <cstring>

#include "core/interp/x87.h"
#include "debug/inspector.h"

namespace lodge::debug {

namespace {

using Get = void (*)(const Cpu&, RegisterBytes&);
using Set = bool (*)(Cpu&, const RegisterBytes&);

struct Row {
    RegisterName name;
    Get get;
    Set set;  // null: read-only
};

u64 low(const RegisterBytes& value) {
    return load<u64>(value.data());
}
void put(RegisterBytes& into, u64 value) {
    store(into.data(), value);
}

// --- Registers by number

template <unsigned number>
void get_general(const Cpu& cpu, RegisterBytes& value) {
    put(value, cpu.state.gpr[number]);
}
template <unsigned number>
bool set_general(Cpu& cpu, const RegisterBytes& value) {
    cpu.state.gpr[number] = low(value);
    return true;
}

template <Segment which>
void get_selector(const Cpu& cpu, RegisterBytes& value) {
    put(value, cpu.state.segment(which).selector);
}
// In real mode whatever one likes; in protected mode what a MOV could load. CS cannot be loaded there.
template <Segment which>
bool set_selector(Cpu& cpu, const RegisterBytes& value) {
    const u16 selector = load<u16>(value.data());
    if (selector == cpu.state.segment(which).selector) return true;
    if (cpu.real_or_v86()) {
        cpu.set_real_mode_segment(which, selector);
        return true;
    }
    return which != Segment::cs && cpu.load_segment(which, selector);
}
template <Segment which>
void get_base(const Cpu& cpu, RegisterBytes& value) {
    put(value, cpu.state.segment(which).base);
}
template <Segment which>
bool set_base(Cpu& cpu, const RegisterBytes& value) {
    if (low(value) == cpu.state.segment(which).base) return true;
    constexpr bool kHasOne = which == Segment::fs || which == Segment::gs;
    return kHasOne && cpu.code64() && cpu.set_segment_base(which, low(value));
}
template <Segment which>
void get_limit(const Cpu& cpu, RegisterBytes& value) {
    put(value, cpu.state.segment(which).limit);
}
template <Segment which>
void get_attributes(const Cpu& cpu, RegisterBytes& value) {
    put(value, cpu.state.segment(which).attributes & 0xF0FF);
}

template <unsigned number>
void get_debug(const Cpu& cpu, RegisterBytes& value) {
    put(value, cpu.state.dr[number]);
}
template <unsigned number>
bool set_debug(Cpu& cpu, const RegisterBytes& value) {
    return cpu.write_dr(number, low(value));
}

unsigned top(const FpuState& fpu) {
    return (fpu.status >> 11) & 7;
}
template <unsigned number>
void get_st(const Cpu& cpu, RegisterBytes& value) {
    const FpuState& fpu = cpu.state.fpu;
    std::memcpy(value.data(), fpu.st[(top(fpu) + number) & 7], 10);
}
template <unsigned number>
bool set_st(Cpu& cpu, const RegisterBytes& value) {
    FpuState& fpu = cpu.state.fpu;
    std::memcpy(fpu.st[(top(fpu) + number) & 7], value.data(), 10);
    return true;
}
template <unsigned number>
void get_xmm(const Cpu& cpu, RegisterBytes& value) {
    std::memcpy(value.data(), cpu.state.fpu.xmm[number], 16);
}
template <unsigned number>
bool set_xmm(Cpu& cpu, const RegisterBytes& value) {
    std::memcpy(cpu.state.fpu.xmm[number], value.data(), 16);
    return true;
}

// --- Registers of their own

// SDM vol. 1, 8.1.7: two bits for each physical register, 0 valid, 1 zero, 2 special, 3 empty.
u16 full_tags(const FpuState& fpu) {
    unsigned tags = 0;
    for (unsigned i = 0; i < 8; ++i) {
        unsigned tag = 3;
        if (fpu.valid & (1u << i)) {
            const u64 fraction = load<u64>(fpu.st[i]);
            const u16 exponent = load<u16>(fpu.st[i] + 8) & 0x7FFF;
            const bool ordinary = exponent != 0 && exponent != 0x7FFF && fraction >> 63;
            tag = ordinary ? 0 : exponent == 0 && fraction == 0 ? 1 : 2;
        }
        tags |= tag << (2 * i);
    }
    return static_cast<u16>(tags);
}
bool set_full_tags(FpuState& fpu, u16 tags) {
    fpu.valid = 0;
    for (unsigned i = 0; i < 8; ++i)
        if (((tags >> (2 * i)) & 3) != 3) fpu.valid = static_cast<u8>(fpu.valid | 1u << i);
    return true;
}

// As FLDCW and FLDENV do: an unmasked exception that is pending shows.
bool set_control_word(FpuState& fpu, u16 value) {
    x87::set_control(fpu, value);
    x87::update_summary(fpu);
    return true;
}
bool set_status_word(FpuState& fpu, u16 value) {
    fpu.status = value;
    x87::update_summary(fpu);
    return true;
}

bool set_mxcsr(Cpu& cpu, u32 value) {
    if (value & ~kMxcsrMask) return false;
    cpu.state.fpu.mxcsr = value;
    return true;
}

// VM changes with the segment registers, or not at all.
bool set_flags(Cpu& cpu, u32 value) {
    cpu.set_eflags(replace_bits(value, kFlagVirtual8086, cpu.eflags()));
    return true;
}

bool set_pc(Cpu& cpu, u64 linear) {
    const u64 offset = (linear - cpu.state.segment(Segment::cs).base) & cpu.state.linear_mask;
    return cpu.branch_to(offset);
}

bool set_cr8(Cpu& cpu, u64 value) {
    if (!cpu.apic() || value > 15) return false;
    cpu.apic()->set_task_priority(static_cast<u8>(value << 4));
    return true;
}
u64 cr8(const Cpu& cpu) {
    ApicRegisters* apic = const_cast<Cpu&>(cpu).apic();
    return apic ? apic->task_priority() >> 4 : 0;
}

// clang-format off
#define GET(expression) [](const Cpu& cpu, RegisterBytes& into) { put(into, (expression)); }
#define SET(expression) [](Cpu& cpu, const RegisterBytes& from) -> bool { [[maybe_unused]] const u64 value = low(from); return (expression); }
#define ASSIGN(place, type) SET(((place) = static_cast<type>(value), true))

#define GENERAL(name, number) {{name, RegisterGroup::general, 64, true}, get_general<number>, set_general<number>}
#define SELECTOR(name, which) {{name, RegisterGroup::segment, 32, true}, get_selector<Segment::which>, set_selector<Segment::which>}
#define HIDDEN(name) \
    {{#name "_base", RegisterGroup::segment, 64, true}, get_base<Segment::name>, set_base<Segment::name>}, \
    {{#name "_limit", RegisterGroup::segment, 32, false}, get_limit<Segment::name>, nullptr}, \
    {{#name "_attributes", RegisterGroup::segment, 32, false}, get_attributes<Segment::name>, nullptr}
#define CONTROL(name) {{#name, RegisterGroup::control, 64, true}, GET(cpu.state.name), SET(value == cpu.state.name || cpu.set_##name(value))}
#define DEBUG(number) {{"dr" #number, RegisterGroup::debug, 64, true}, get_debug<number>, set_debug<number>}
#define ST(number) {{"st" #number, RegisterGroup::x87, 80, true}, get_st<number>, set_st<number>}
#define FPU(name, field, type) {{name, RegisterGroup::x87, 32, true}, GET(cpu.state.fpu.field), ASSIGN(cpu.state.fpu.field, type)}
#define XMM(number) {{"xmm" #number, RegisterGroup::sse, 128, true}, get_xmm<number>, set_xmm<number>}
#define FIXED(name, bits, expression) {{name, RegisterGroup::system, bits, false}, GET(expression), nullptr}

constexpr Row kRows[] = {
    GENERAL("rax", kRax), GENERAL("rbx", kRbx), GENERAL("rcx", kRcx), GENERAL("rdx", kRdx),
    GENERAL("rsi", kRsi), GENERAL("rdi", kRdi), GENERAL("rbp", kRbp), GENERAL("rsp", kRsp),
    GENERAL("r8", 8), GENERAL("r9", 9), GENERAL("r10", 10), GENERAL("r11", 11),
    GENERAL("r12", 12), GENERAL("r13", 13), GENERAL("r14", 14), GENERAL("r15", 15),
    {{"rip", RegisterGroup::general, 64, true}, GET(cpu.state.ip), SET(cpu.branch_to(value))},
    {{"pc", RegisterGroup::general, 64, true}, GET(cpu.linear_ip()), SET(set_pc(cpu, value))},
    {{"eflags", RegisterGroup::general, 32, true}, GET(cpu.eflags() | 2), SET(set_flags(cpu, static_cast<u32>(value)))},
    SELECTOR("cs", cs), SELECTOR("ss", ss), SELECTOR("ds", ds), SELECTOR("es", es), SELECTOR("fs", fs), SELECTOR("gs", gs),
    HIDDEN(cs), HIDDEN(ss), HIDDEN(ds), HIDDEN(es), HIDDEN(fs), HIDDEN(gs),
    CONTROL(cr0),
    {{"cr2", RegisterGroup::control, 64, true}, GET(cpu.state.cr2), ASSIGN(cpu.state.cr2, u64)},
    CONTROL(cr3), CONTROL(cr4),
    {{"cr8", RegisterGroup::control, 64, true}, GET(cr8(cpu)), SET(value == cr8(cpu) || set_cr8(cpu, value))},
    CONTROL(efer),
    DEBUG(0), DEBUG(1), DEBUG(2), DEBUG(3), DEBUG(6), DEBUG(7),
    ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
    {{"fctrl", RegisterGroup::x87, 32, true}, GET(cpu.state.fpu.control), SET(set_control_word(cpu.state.fpu, static_cast<u16>(value)))},
    {{"fstat", RegisterGroup::x87, 32, true}, GET(cpu.state.fpu.status), SET(set_status_word(cpu.state.fpu, static_cast<u16>(value)))},
    {{"ftag", RegisterGroup::x87, 32, true}, GET(full_tags(cpu.state.fpu)), SET(set_full_tags(cpu.state.fpu, static_cast<u16>(value)))},
    FPU("fiseg", instruction_selector, u16), FPU("fioff", instruction, u32),
    FPU("foseg", data_selector, u16), FPU("fooff", data, u32), FPU("fop", opcode, u16),
    XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
    XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
    {{"mxcsr", RegisterGroup::sse, 32, true}, GET(cpu.state.fpu.mxcsr), SET(set_mxcsr(cpu, static_cast<u32>(value)))},
    FIXED("mode", 32, static_cast<u64>(mode_of(cpu))),
    FIXED("cpl", 32, cpu.state.cpl),
    FIXED("kernel_gs_base", 64, load<u64>(static_cast<const u8*>(cpu.places().kernel_gs_base))),
    FIXED("gdtr_base", 64, cpu.state.gdtr.base), FIXED("gdtr_limit", 32, cpu.state.gdtr.limit),
    FIXED("idtr_base", 64, cpu.state.idtr.base), FIXED("idtr_limit", 32, cpu.state.idtr.limit),
    FIXED("ldtr", 32, cpu.state.ldtr.selector), FIXED("ldtr_base", 64, cpu.state.ldtr.base), FIXED("ldtr_limit", 32, cpu.state.ldtr.limit),
    FIXED("tr", 32, cpu.state.tr.selector), FIXED("tr_base", 64, cpu.state.tr.base), FIXED("tr_limit", 32, cpu.state.tr.limit),
    FIXED("retired", 64, cpu.state.retired),
};
// clang-format on

constexpr auto kNames = [] {
    std::array<RegisterName, std::size(kRows)> names{};
    for (size_t i = 0; i < names.size(); ++i) names[i] = kRows[i].name;
    return names;
}();

const Row& row_of(const RegisterName& which) {
    return kRows[&which - kNames.data()];
}

}  // namespace

std::span<const RegisterName> register_names() {
    return kNames;
}

const RegisterName* find_register(std::string_view name) {
    for (const RegisterName& candidate : kNames)
        if (candidate.name == name) return &candidate;
    return nullptr;
}

RegisterBytes read_register(const Cpu& cpu, const RegisterName& which) {
    RegisterBytes value{};
    row_of(which).get(cpu, value);
    return value;
}

Result<void> write_register(Cpu& cpu, const RegisterName& which, const RegisterBytes& value) {
    const Row& row = row_of(which);
    const std::string name(which.name);
    if (!row.set) return Error{ErrorKind::guest, name + " cannot be written"};
    const u64 fault_address = cpu.state.cr2;
    if (row.set(cpu, value)) return {};
    cpu.forget_fault();
    cpu.state.cr2 = fault_address;
    return Error{ErrorKind::guest, "the CPU refuses that value for " + name + " in this mode"};
}

u64 read_u64(const Cpu& cpu, std::string_view name) {
    return low(read_register(cpu, *find_register(name)));
}

}  // namespace lodge::debug
