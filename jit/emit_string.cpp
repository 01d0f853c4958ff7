// Single string instructions, upwards: with a repetition, or EFLAGS.DF set, they are the interpreter's.
#include "jit/emitter.h"

namespace lodge::jit {

using asmjit::imm;

bool Emitter::emit_string(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::MOVS:
            return emit_movs(insn), true;
        case Opcode::STOS:
            return emit_stos(insn), true;
        case Opcode::LODS:
            return emit_lods(insn), true;
        case Opcode::CMPS:
            return emit_cmps(insn), true;
        case Opcode::SCAS:
            return emit_scas(insn), true;
        default:
            return false;
    }
}

void Emitter::leave_unless_upwards() {
    release_flags();
    a_.test(LODGE_STATE(system_flags, 4), imm(kFlagDirection));
    a_.jnz(cold_label());
}

// The element that an index register points at. Uses both temporaries and the flags.
x86::Mem Emitter::element(const Insn& insn, u8 index, bool write) {
    const unsigned width = insn.address_size;
    a_.mov(sized(kTemp0, width), pinned(index, width));
    return checked(index == kRsi ? insn.segment : Segment::es, element_size(insn), write);
}

void Emitter::advance(const Insn& insn, u8 index) {
    const x86::Gp reg = pinned(index, 8);
    a_.lea(sized(reg, insn.address_size), x86::ptr(reg, element_size(insn)));
}

// The element at rSI waits in EngineState::scratch until the other one is known to be accessible.
void Emitter::load_source(const Insn& insn) {
    const unsigned size = element_size(insn);
    a_.mov(sized(kTemp1, size), element(insn, kRsi, false));
    a_.mov(LODGE_STATE(engine.scratch, 8), kTemp1);
}

void Emitter::emit_movs(const Insn& insn) {
    leave_unless_upwards();
    load_source(insn);
    const x86::Mem to = element(insn, kRdi, true);
    a_.mov(kTemp1, LODGE_STATE(engine.scratch, 8));
    a_.mov(to, sized(kTemp1, element_size(insn)));
    advance(insn, kRsi);
    advance(insn, kRdi);
}

void Emitter::emit_stos(const Insn& insn) {
    leave_unless_upwards();
    a_.mov(element(insn, kRdi, true), sized(x86::rax, element_size(insn)));
    advance(insn, kRdi);
}

void Emitter::emit_lods(const Insn& insn) {
    leave_unless_upwards();
    a_.mov(sized(x86::rax, element_size(insn)), element(insn, kRsi, false));
    advance(insn, kRsi);
}

void Emitter::emit_cmps(const Insn& insn) {
    leave_unless_upwards();
    load_source(insn);
    const x86::Mem right = element(insn, kRdi, false);
    a_.mov(kTemp1, LODGE_STATE(engine.scratch, 8));
    a_.cmp(sized(kTemp1, element_size(insn)), right);
    flags_are_set();
    advance(insn, kRsi);
    advance(insn, kRdi);
}

void Emitter::emit_scas(const Insn& insn) {
    leave_unless_upwards();
    a_.cmp(sized(x86::rax, element_size(insn)), element(insn, kRdi, false));
    flags_are_set();
    advance(insn, kRdi);
}

}  // namespace lodge::jit
