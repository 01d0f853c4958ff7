#include "tests/lockstep/cpu_fields.h"

#include <cstdio>
#include <cstring>

#include "core/decode/decoder.h"
#include "core/decode/disasm.h"

namespace lodge::lockstep {

namespace {

using Fields = std::vector<Field>;

void add_segment(Fields& all, const std::string& name, const SegmentState& x, const SegmentState& y) {
    all.push_back({name, x.selector, y.selector});
    all.push_back({name + " base", x.base, y.base});
    all.push_back({name + " descriptor base", x.descriptor_base, y.descriptor_base});
    all.push_back({name + " limit", x.limit, y.limit});
    all.push_back({name + " attributes", x.attributes, y.attributes});
    all.push_back({name + " readable", static_cast<u64>(x.readable_span), static_cast<u64>(y.readable_span)});
    all.push_back({name + " writable", static_cast<u64>(x.writable_span), static_cast<u64>(y.writable_span)});
}

void add_fpu(Fields& all, const FpuState& x, const FpuState& y) {
    for (unsigned i = 0; i < 8; ++i) {
        all.push_back({"r" + std::to_string(i) + " significand", load<u64>(x.st[i]), load<u64>(y.st[i])});
        all.push_back({"r" + std::to_string(i) + " exponent", load<u64>(x.st[i] + 8), load<u64>(y.st[i] + 8)});
    }
    for (unsigned i = 0; i < 16; ++i) {
        all.push_back({"xmm" + std::to_string(i) + " low", load<u64>(x.xmm[i]), load<u64>(y.xmm[i])});
        all.push_back({"xmm" + std::to_string(i) + " high", load<u64>(x.xmm[i] + 8), load<u64>(y.xmm[i] + 8)});
    }
    all.push_back({"x87 control", x.control, y.control});
    all.push_back({"x87 status", x.status, y.status});
    all.push_back({"x87 valid", x.valid, y.valid});
    all.push_back({"x87 opcode", x.opcode, y.opcode});
    all.push_back({"x87 instruction", x.instruction, y.instruction});
    all.push_back({"x87 data", x.data, y.data});
    all.push_back({"x87 instruction selector", x.instruction_selector, y.instruction_selector});
    all.push_back({"x87 data selector", x.data_selector, y.data_selector});
    all.push_back({"mxcsr", x.mxcsr, y.mxcsr});
}

u32 attention(const Cpu& cpu) {
    return cpu.attention.load(std::memory_order_relaxed) & ~kAttentionKick;
}

}  // namespace

Fields cpu_fields(const Cpu& a, const Cpu& b) {
    static constexpr const char* kRegisters[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                                   "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static constexpr const char* kSegments[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
    Fields all;
    const CpuState &x = a.state, &y = b.state;
    for (unsigned i = 0; i < 16; ++i) all.push_back({kRegisters[i], x.gpr[i], y.gpr[i]});
    all.push_back({"ip", x.ip, y.ip});
    all.push_back({"eflags", a.eflags(), b.eflags()});
    all.push_back({"fixed flag", x.status.low & 0x2Au, y.status.low & 0x2Au});
    all.push_back({"cpl", x.cpl, y.cpl});
    all.push_back({"retired", x.retired, y.retired});
    for (unsigned i = 0; i < 6; ++i) add_segment(all, kSegments[i], x.segments[i], y.segments[i]);
    add_segment(all, "ldtr", x.ldtr, y.ldtr);
    add_segment(all, "tr", x.tr, y.tr);
    all.push_back({"gdtr base", x.gdtr.base, y.gdtr.base});
    all.push_back({"gdtr limit", x.gdtr.limit, y.gdtr.limit});
    all.push_back({"idtr base", x.idtr.base, y.idtr.base});
    all.push_back({"idtr limit", x.idtr.limit, y.idtr.limit});
    all.push_back({"cr0", x.cr0, y.cr0});
    all.push_back({"cr2", x.cr2, y.cr2});
    all.push_back({"cr3", x.cr3, y.cr3});
    all.push_back({"cr4", x.cr4, y.cr4});
    all.push_back({"efer", x.efer, y.efer});
    for (unsigned i = 0; i < 8; ++i) all.push_back({"dr" + std::to_string(i), x.dr[i], y.dr[i]});
    all.push_back({"linear mask", x.linear_mask, y.linear_mask});
    all.push_back({"halted", x.halted, y.halted});
    all.push_back({"attention", attention(a), attention(b)});
    all.push_back({"pending dr6", a.pending_dr6, b.pending_dr6});
    add_fpu(all, x.fpu, y.fpu);
    return all;
}

// Bytes, which is quick: all of CpuState but what lies between these.
bool same_cpus(const Cpu& a, const Cpu& b) {
    struct Range {
        size_t begin, end;
    };
    static constexpr Range kRanges[] = {
        {offsetof(CpuState, gpr), offsetof(CpuState, gpr) + 16 * sizeof(u64)},
        {offsetof(CpuState, ip), offsetof(CpuState, status) + sizeof(StatusFlags)},
        {offsetof(CpuState, system_flags), offsetof(CpuState, engine)},
        {offsetof(CpuState, segments), offsetof(CpuState, halted) + sizeof(bool)},
        {offsetof(CpuState, fpu), sizeof(CpuState)},
    };
    static_assert(offsetof(CpuState, engine) == offsetof(CpuState, system_flags) + sizeof(u32));
    const u8* x = reinterpret_cast<const u8*>(&a.state);
    const u8* y = reinterpret_cast<const u8*>(&b.state);
    for (const Range& range : kRanges)
        if (std::memcmp(x + range.begin, y + range.begin, range.end - range.begin) != 0) return false;
    return attention(a) == attention(b) && a.pending_dr6 == b.pending_dr6;
}

void print_fields(const Cpu& a, const Cpu& b) {
    std::printf("  %-28s %16s %16s\n", "", "interpreter", "translator");
    for (const Field& field : cpu_fields(a, b))
        std::printf("%c %-28s %016lx %016lx\n", field.interpreter == field.translator ? ' ' : '*', field.name.c_str(),
                    field.interpreter, field.translator);
}

std::string disassemble_at(Cpu& cpu, u64 ip, unsigned& length) {
    u8 bytes[kLongestInsn] = {};
    const CpuState& state = cpu.state;
    for (unsigned at = 0; at < sizeof bytes; ++at) {
        const u64 linear = (state.segment(Segment::cs).base + ip + at) & state.linear_mask;
        if (const auto physical = cpu.debug_translate(linear))
            if (const u8* page = cpu.memory().read_pointer(*physical)) bytes[at] = page[*physical & kPageMask];
    }
    Insn insn;
    length = 1;
    if (decode(bytes, cpu.code_size(), insn) != DecodeStatus::ok) return "(no instruction)";
    length = insn.length;
    std::string text;
    for (unsigned i = 0; i < insn.length; ++i) {
        char byte[4];
        std::snprintf(byte, sizeof byte, "%02x ", bytes[i]);
        text += byte;
    }
    text.resize(std::max<size_t>(text.size(), 26), ' ');
    return text + disassemble(insn, ip);
}

}  // namespace lodge::lockstep
