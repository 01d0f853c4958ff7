// Small system instructions that came after the Pentium 4: random numbers, processor number, SMAP, PCID, XCR0, cache
// lines.
#include "core/interp/bind.h"

namespace lodge {

namespace {

// Always succeeds: CF is set, the other status flags are cleared (SDM vol. 2, "RDRAND").
template <class T>
bool op_random(Cpu& cpu, const Insn& insn) {
    set_gpr<T>(cpu, insn.operands[0].reg, static_cast<T>(cpu.random()));
    cpu.state.status.set_eflags(kFlagCarry);
    return true;
}

InsnHandler bind_random(const Insn& insn) {
    if (insn.operands[0].size == 2) return chained_pure<op_random<u16>>;
    if (insn.operands[0].size == 4) return chained_pure<op_random<u32>>;
    return chained_pure<op_random<u64>>;
}

bool op_rdpid(Cpu& cpu, const Insn& insn) {
    cpu.state.gpr[insn.operands[0].reg] = cpu.tsc_aux() & 0xFFFFFFFF;
    return true;
}

template <bool set>
bool op_access_flag(Cpu& cpu, const Insn&) {
    if (cpu.state.cpl != 0) return cpu.raise_ud();
    const u32 others = cpu.state.system_flags & ~kFlagAlignmentCheck;
    cpu.set_system_flags(set ? others | kFlagAlignmentCheck : others);
    return true;
}

bool op_invpcid(Cpu& cpu, const Insn& insn) {
    if (cpu.state.cpl != 0) return cpu.raise_gp(0);
    struct {
        u64 pcid, linear;
    } descriptor;
    if (!cpu.read(insn.segment, effective_address(cpu, insn), descriptor)) return false;
    const u8 reg = insn.operands[0].reg;
    const u64 type = insn.code_size == CodeSize::bits64 ? cpu.state.gpr[reg] : get_gpr<u32>(cpu, reg);
    return cpu.invalidate_pcid(type, descriptor.pcid, descriptor.linear);
}

// XGETBV of 1 is XCR0 AND XINUSE; both components always count as in use, as the SDM permits (vol. 1, 13.6).
bool op_xgetbv(Cpu& cpu, const Insn&) {
    if (!(cpu.state.cr4 & kCr4Osxsave)) return cpu.raise_ud();
    const u32 index = static_cast<u32>(cpu.state.gpr[kRcx]);
    if (index > 1 || (index == 1 && !(cpu.model().xsave_eax & kCpuidXgetbv1))) return cpu.raise_gp(0);
    cpu.state.gpr[kRax] = cpu.xcr0();
    cpu.state.gpr[kRdx] = 0;
    return true;
}

bool op_xsetbv(Cpu& cpu, const Insn&) {
    if (!(cpu.state.cr4 & kCr4Osxsave)) return cpu.raise_ud();
    const u64* gpr = cpu.state.gpr;
    if (cpu.state.cpl != 0 || static_cast<u32>(gpr[kRcx]) != 0) return cpu.raise_gp(0);
    return cpu.set_xcr0(gpr[kRdx] << 32 | (gpr[kRax] & 0xFFFFFFFF));
}

// Checked as a read of one byte; there is no cache.
bool op_touch(Cpu& cpu, const Insn& insn) {
    u8 byte = 0;
    return cpu.read<u8>(insn.segment, effective_address(cpu, insn), byte);
}

}  // namespace

InsnHandler bind_extension(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::RDRAND:
        case Opcode::RDSEED:
            return bind_random(insn);
        case Opcode::RDPID:
            return chained_pure<op_rdpid>;
        case Opcode::STAC:
            return chained<op_access_flag<true>>;
        case Opcode::CLAC:
            return chained<op_access_flag<false>>;
        case Opcode::INVPCID:
            return chained<op_invpcid>;
        case Opcode::XGETBV:
            return chained<op_xgetbv>;
        case Opcode::XSETBV:
            return chained<op_xsetbv>;
        case Opcode::CLFLUSHOPT:
        case Opcode::CLWB:
            return chained<op_touch>;
        default:
            return nullptr;
    }
}

}  // namespace lodge
