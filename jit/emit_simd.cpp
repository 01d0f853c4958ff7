// MMX and SSE: each instruction as itself, on the registers of the same numbers, in the encoding without VEX, which
// leaves the upper halves of the host's YMM registers alone.
//
// Exceptions are masked (kModeSse), so an instruction can fault only by its memory operand. What it does to MXCSR's
// flags the host's MXCSR collects.
#include "jit/emitter.h"
#include "jit/fpu_transfer.h"
#include "jit/instruction_ids.h"

namespace lodge::jit {

using asmjit::imm;
namespace Inst = x86::Inst;

namespace {

constexpr u32 kMxcsrMasks = 0x1F80;

bool is_of_vectors(CpuFeature feature) {
    switch (feature) {
        case CpuFeature::mmx:
        case CpuFeature::sse:
        case CpuFeature::sse2:
        case CpuFeature::sse3:
        case CpuFeature::ssse3:
        case CpuFeature::sse41:
        case CpuFeature::sse42:
        case CpuFeature::aes:
        case CpuFeature::pclmulqdq:
        case CpuFeature::sha:
            return true;
        default:
            return false;
    }
}

bool is_left_out(Opcode opcode) {
    switch (opcode) {
        // Their memory operand is where the host's rDI points.
        case Opcode::MASKMOVQ:
        case Opcode::MASKMOVDQU:
            return true;
        // No vectors.
        case Opcode::CRC32:
        case Opcode::LFENCE:
        case Opcode::MFENCE:
        case Opcode::SFENCE:
        case Opcode::PREFETCHNTA:
        case Opcode::PREFETCHT0:
        case Opcode::PREFETCHT1:
        case Opcode::PREFETCHT2:
            return true;
        default:
            return is_x87(opcode);
    }
}

bool is_wanted(Opcode opcode) {
    return is_of_vectors(facts(opcode).feature) && !is_left_out(opcode);
}

u32 id_of(const Insn& insn) {
    static const InstructionIds ids = instruction_ids(is_wanted);
    return ids[static_cast<size_t>(insn.opcode)];
}

bool compares_strings(Opcode opcode) {
    return opcode == Opcode::PCMPESTRI || opcode == Opcode::PCMPESTRM || opcode == Opcode::PCMPISTRI ||
           opcode == Opcode::PCMPISTRM;
}

// Bits of the immediate that have a meaning. Of others it is not certain what hosts do.
u64 immediate_mask(Opcode opcode) {
    switch (opcode) {
        case Opcode::CMPPS:
        case Opcode::CMPSS:
        case Opcode::CMPPD:
        case Opcode::CMPSD:
        case Opcode::MPSADBW:
            return 0x07;
        case Opcode::ROUNDPS:
        case Opcode::ROUNDPD:
        case Opcode::ROUNDSS:
        case Opcode::ROUNDSD:
            return 0x0F;
        case Opcode::SHA1RNDS4:
            return 0x03;
        case Opcode::PCLMULQDQ:
            return 0x11;
        default:
            return 0xFF;
    }
}

// Whether a general register is used with 8 bytes. Where REX.W only widens what is zero-extended anyway, it is not.
bool is_wide(const Insn& insn, const Operand& operand) {
    switch (insn.opcode) {
        case Opcode::MOVMSKPS:
        case Opcode::MOVMSKPD:
        case Opcode::PMOVMSKB:
        case Opcode::PEXTRB:
        case Opcode::PEXTRW:
        case Opcode::EXTRACTPS:
        case Opcode::PINSRB:
        case Opcode::PINSRW:
            return false;
        default:
            return operand.size == 8;
    }
}

bool is_insertion(Opcode opcode) {
    return opcode == Opcode::PINSRB || opcode == Opcode::PINSRW || opcode == Opcode::PINSRD || opcode == Opcode::PINSRQ;
}

}  // namespace

// #GP(0) for an operand of 16 bytes that is not aligned (SDM vol. 1, 11.4.1), with these exceptions.
unsigned alignment_of(const Insn& insn, unsigned size) {
    switch (insn.opcode) {
        case Opcode::MOVUPS:
        case Opcode::MOVUPD:
        case Opcode::MOVDQU:
        case Opcode::LDDQU:
            return 1;
        default:
            return size == 16 && !compares_strings(insn.opcode) ? 16 : 1;
    }
}

bool is_translated_simd(const Insn& insn) {
    if (insn.vector_size || !id_of(insn)) return false;
    // With REX.W their lengths are RAX and RDX.
    return !(compares_strings(insn.opcode) && (insn.prefixes & kPrefixRexW));
}

bool Emitter::emit_simd(const Insn& insn) {
    u32 id = id_of(insn);
    if (!id) return false;
    if (insn.opcode == Opcode::LDMXCSR) return emit_ldmxcsr(insn), true;
    if (insn.opcode == Opcode::MOVD)
        for (const Operand& operand : insn.operands)
            if ((operand.kind == OperandKind::gpr || operand.kind == OperandKind::memory) && operand.size == 8)
                id = Inst::kIdMovq;
    if (insn.operands[0].kind == OperandKind::gpr)
        emit_vector_to_gpr(insn, id);
    else
        emit_vector(insn, id);
    return true;
}

asmjit::Operand Emitter::vector_operand(const Insn& insn, unsigned n) {
    const Operand& operand = insn.operands[n];
    switch (operand.kind) {
        case OperandKind::xmm:
            return x86::xmm(operand.reg);
        case OperandKind::mmx:
            return x86::mm(operand.reg);
        case OperandKind::memory:
            return memory_operand(insn, operand.size, n == 0 && operand_access(insn, 0) != Access::read,
                                  alignment_of(insn, operand.size));
        case OperandKind::gpr: {
            const unsigned size = is_wide(insn, operand) ? 8 : 4;
            if (is_insertion(insn.opcode) || insn.opcode == Opcode::MOVNTI)
                return in_register(operand.reg, size, kTemp1);
            return place_of(operand.reg, size);
        }
        case OperandKind::immediate:
            return imm(insn.immediate & immediate_mask(insn.opcode));
        default:
            return {};
    }
}

// To a vector register, memory or the flags.
void Emitter::emit_vector(const Insn& insn, u32 id) {
    const asmjit::Operand first = vector_operand(insn, 0), second = vector_operand(insn, 1),
                          third = vector_operand(insn, 2);
    const bool to_flags = facts(insn.opcode).flags_written != 0;
    if (to_flags) want_flags();
    a_.emit(id, first, second, third);
    if (to_flags) flags_are_set();
}

void Emitter::emit_vector_to_gpr(const Insn& insn, u32 id) {
    const Operand& to = insn.operands[0];
    const unsigned size = is_wide(insn, to) ? 8 : 4;
    const asmjit::Operand second = vector_operand(insn, 1), third = vector_operand(insn, 2);
    const x86::Gp target = is_pinned(to.reg) ? pinned(to.reg, size) : sized(kTemp1, size);
    a_.emit(id, target, second, third);
    if (!is_pinned(to.reg)) store_spilled(to.reg, 8, kTemp1);
}

// Only a value that the host can be given: every exception masked, no reserved bit. It is read once, since another
// thread may write to the guest's memory in between.
void Emitter::emit_ldmxcsr(const Insn& insn) {
    release_flags();
    const asmjit::Label cold = cold_label(true);
    const x86::Mem copy = LODGE_STATE(engine.scratch[1], 4);
    a_.mov(kTemp1.r32(), memory_operand(insn, 4, false));
    a_.mov(copy, kTemp1.r32());
    a_.and_(kTemp1.r32(), imm(static_cast<i32>(~kMxcsrMask | kMxcsrMasks)));
    a_.cmp(kTemp1.r32(), imm(kMxcsrMasks));
    a_.jne(cold);
    a_.ldmxcsr(copy);
}

}  // namespace lodge::jit
