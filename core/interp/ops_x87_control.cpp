// x87 control instructions, FWAIT and EMMS. SDM vol. 1, 8.3.10.
#include "core/interp/x87.h"

namespace lodge::x87 {

namespace {

// FWAIT looks at TS only when MP says so, and not at EM.
bool op_fwait(Cpu& cpu, const Insn& insn) {
    constexpr u64 kBoth = kCr0Mp | kCr0Ts;
    if ((cpu.state.cr0 & kBoth) == kBoth) return cpu.raise(Exception::NM);
    return check_pending(cpu);
}

bool op_fnop(Cpu& cpu, const Insn& insn) {
    return enter(cpu);
}
// FNENI, FNDISI (8087), FNSETPM (80287): nothing since the 80387 (SDM vol. 3, 22.18.9).
bool op_obsolete(Cpu& cpu, const Insn& insn) {
    return enter_no_wait(cpu);
}

template <int step>
bool op_step_top(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    fpu.status &= static_cast<u16>(~kC1);
    set_top(fpu, top(fpu) + step);
    return true;
}

template <unsigned pops>
bool op_ffree(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    fpu.status &= static_cast<u16>(~kC1);
    set_empty(fpu, insn.operands[0].reg);
    pop(fpu, pops);
    return true;
}

bool op_fninit(Cpu& cpu, const Insn& insn) {
    if (!enter_no_wait(cpu)) return false;
    initialise(cpu.state.fpu);
    return true;
}

bool op_fnclex(Cpu& cpu, const Insn& insn) {
    if (!enter_no_wait(cpu)) return false;
    cpu.state.fpu.status &= kConditionCodes | kTopMask;
    return true;
}

bool op_fldcw(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    u16 value;
    if (!cpu.read(insn.segment, effective_address(cpu, insn), value)) return false;
    set_control(cpu.state.fpu, value);
    update_summary(cpu.state.fpu);
    return true;
}

bool op_fnstcw(Cpu& cpu, const Insn& insn) {
    if (!enter_no_wait(cpu)) return false;
    return cpu.write<u16>(insn.segment, effective_address(cpu, insn), cpu.state.fpu.control);
}

bool op_fnstsw_memory(Cpu& cpu, const Insn& insn) {
    if (!enter_no_wait(cpu)) return false;
    return cpu.write<u16>(insn.segment, effective_address(cpu, insn), cpu.state.fpu.status);
}
bool op_fnstsw_register(Cpu& cpu, const Insn& insn) {
    if (!enter_no_wait(cpu)) return false;
    set_gpr<u16>(cpu, kRax, cpu.state.fpu.status);
    return true;
}

}  // namespace

InsnHandler bind_control(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::FWAIT:
            return chained_pure<op_fwait>;
        case Opcode::FNOP:
            return chained_pure<op_fnop>;
        case Opcode::FNENI:
        case Opcode::FNDISI:
        case Opcode::FNSETPM:
            return chained_pure<op_obsolete>;
        case Opcode::FINCSTP:
            return chained_pure<op_step_top<1>>;
        case Opcode::FDECSTP:
            return chained_pure<op_step_top<-1>>;
        case Opcode::FFREE:
            return chained_pure<op_ffree<0>>;
        case Opcode::FFREEP:
            return chained_pure<op_ffree<1>>;
        case Opcode::FNINIT:
            return chained_pure<op_fninit>;
        case Opcode::FNCLEX:
            return chained_pure<op_fnclex>;
        case Opcode::FLDCW:
            return chained<op_fldcw>;
        case Opcode::FNSTCW:
            return chained<op_fnstcw>;
        case Opcode::FNSTSW:
            return insn.memory() ? chained<op_fnstsw_memory> : chained_pure<op_fnstsw_register>;
        default:
            return nullptr;
    }
}

}  // namespace lodge::x87

namespace lodge {

InsnHandler bind_x87(const Insn& insn) {
    for (auto* bind_part :
         {x87::bind_arithmetic, x87::bind_move, x87::bind_transcendental, x87::bind_control, x87::bind_environment})
        if (InsnHandler handler = bind_part(insn)) return handler;
    return nullptr;
}

}  // namespace lodge
