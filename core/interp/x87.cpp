// The rare parts of what every x87 instruction does.
#include "core/interp/x87.h"

namespace lodge::x87 {

bool check_pending(Cpu& cpu) {
    if (!(cpu.state.fpu.status & kSummary)) return true;
    if (cpu.state.cr0 & kCr0Ne) return cpu.raise(Exception::MF);
    cpu.log().once(LogChannel::cpu, "x87 error with CR0.NE clear: IRQ 13 is not raised, the program goes on");
    return true;
}

bool enter_slow(Cpu& cpu, bool waiting) {
    if (cpu.state.cr0 & (kCr0Em | kCr0Ts)) return cpu.raise(Exception::NM);
    return !waiting || check_pending(cpu);
}

void initialise(FpuState& fpu) {
    fpu.control = kInitialControl;
    fpu.status = 0;
    fpu.valid = 0;
    fpu.opcode = fpu.instruction_selector = fpu.data_selector = 0;
    fpu.instruction = fpu.data = 0;
}

namespace {

// The escape byte by what the instruction does and by its memory operand (SDM vol. 2, appendix A.5). Aliases are taken
// for the encoding that the SDM lists.
u8 escape_with_memory(Opcode opcode, unsigned size) {
    switch (opcode) {
        case Opcode::FLD:
        case Opcode::FST:
        case Opcode::FSTP:
            return size == 4 ? 0xD9 : size == 8 ? 0xDD : 0xDB;
        case Opcode::FILD:
        case Opcode::FIST:
        case Opcode::FISTP:
            return size == 4 ? 0xDB : 0xDF;
        case Opcode::FISTTP:
            return size == 4 ? 0xDB : size == 8 ? 0xDD : 0xDF;
        case Opcode::FBLD:
        case Opcode::FBSTP:
            return 0xDF;
        case Opcode::FIADD:
        case Opcode::FIMUL:
        case Opcode::FISUB:
        case Opcode::FISUBR:
        case Opcode::FIDIV:
        case Opcode::FIDIVR:
        case Opcode::FICOM:
        case Opcode::FICOMP:
            return size == 4 ? 0xDA : 0xDE;
        default:
            return size == 4 ? 0xD8 : 0xDC;
    }
}

u8 escape_of_registers(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::FADD:
        case Opcode::FMUL:
        case Opcode::FSUB:
        case Opcode::FSUBR:
        case Opcode::FDIV:
        case Opcode::FDIVR:
            return insn.operands[0].reg == 0 ? 0xD8 : 0xDC;
        case Opcode::FCOM:
        case Opcode::FCOMP:
            return 0xD8;
        case Opcode::FCMOVB:
        case Opcode::FCMOVE:
        case Opcode::FCMOVBE:
        case Opcode::FCMOVU:
        case Opcode::FUCOMPP:
            return 0xDA;
        case Opcode::FCMOVNB:
        case Opcode::FCMOVNE:
        case Opcode::FCMOVNBE:
        case Opcode::FCMOVNU:
        case Opcode::FCOMI:
        case Opcode::FUCOMI:
            return 0xDB;
        case Opcode::FST:
        case Opcode::FSTP:
        case Opcode::FUCOM:
        case Opcode::FUCOMP:
            return 0xDD;
        case Opcode::FADDP:
        case Opcode::FMULP:
        case Opcode::FSUBP:
        case Opcode::FSUBRP:
        case Opcode::FDIVP:
        case Opcode::FDIVRP:
        case Opcode::FCOMPP:
            return 0xDE;
        case Opcode::FCOMIP:
        case Opcode::FUCOMIP:
            return 0xDF;
        default:
            return 0xD9;
    }
}

}  // namespace

u16 opcode_of(const Insn& insn) {
    const Operand* memory = insn.memory();
    const u8 escape = memory ? escape_with_memory(insn.opcode, memory->size) : escape_of_registers(insn);
    return static_cast<u16>((escape & 7) << 8 | insn.modrm);
}

}  // namespace lodge::x87
