#include "jit/fpu_transfer.h"

namespace lodge::jit {

using asmjit::imm;

// --- Which instructions

bool is_x87(Opcode opcode) {
    return opcode >= Opcode::FLD && opcode <= Opcode::FRSTOR;
}

u8 fpu_parts(const Insn& insn) {
    if (is_x87(insn.opcode)) return kFpuX87;
    u8 parts = 0;
    for (const Operand& operand : insn.operands) {
        if (operand.kind == OperandKind::xmm) parts |= kFpuSse;
        if (operand.kind == OperandKind::mmx) parts |= kFpuX87;
    }
    switch (insn.opcode) {
        case Opcode::EMMS:
            return kFpuX87;
        case Opcode::LDMXCSR:
        case Opcode::STMXCSR:
        // From memory to a general register: MXCSR rules them all the same.
        case Opcode::CVTSS2SI:
        case Opcode::CVTTSS2SI:
        case Opcode::CVTSD2SI:
        case Opcode::CVTTSD2SI:
            return kFpuSse;
        // From memory, these have operands of one kind only, but MXCSR rules the ones, and the others may make the x87
        // registers busy.
        case Opcode::CVTPS2PI:
        case Opcode::CVTTPS2PI:
        case Opcode::CVTPD2PI:
        case Opcode::CVTTPD2PI:
        case Opcode::CVTPI2PS:
        case Opcode::CVTPI2PD:
            return kFpuSse | kFpuX87;
        default:
            return parts;
    }
}

bool touches_fpu(const Insn& insn) {
    if (is_x87(insn.opcode)) return true;
    switch (facts(insn.opcode).feature) {
        case CpuFeature::base486:
        case CpuFeature::tsc:
        case CpuFeature::msr:
        case CpuFeature::cx8:
        case CpuFeature::sep:
        case CpuFeature::cmov:
        case CpuFeature::clflush:
        case CpuFeature::cx16:
        case CpuFeature::movbe:
        case CpuFeature::popcnt:
        case CpuFeature::fsgsbase:
        case CpuFeature::lm:
        case CpuFeature::syscall:
        case CpuFeature::rdtscp:
        case CpuFeature::smap:
        case CpuFeature::invpcid:
            return false;
        default:
            return true;
    }
}

namespace {

// --- FXSAVE's image (SDM vol. 2, "FXSAVE"), on the stack

constexpr i32 kImageBytes = 512;
constexpr i32 kImageControl = 0, kImageStatus = 2, kImageValid = 4, kImageRegisters = 32;
constexpr i32 kSavedRegister = kImageBytes;  // behind the image, and 16 bytes in all with the return address
constexpr i32 kFrameBytes = kImageBytes + 8;

constexpr u32 kHostMxcsr = 0x1F80;  // what C++ code expects (System V ABI, AMD64 supplement, 3.2.1)

x86::Mem image_at(i32 offset, unsigned size) {
    return x86::Mem(x86::rsp, offset, size);
}
x86::Mem xmm_in_state(unsigned n) {
    return state_at(offsetof(CpuState, fpu) + offsetof(FpuState, xmm) + 16 * n, 16);
}
// The register that is `offset` bytes from physical register 0.
x86::Mem st_in_state(const x86::Gp& offset, size_t part, unsigned size) {
    const size_t at = offsetof(CpuState, fpu) + offsetof(FpuState, st) + part;
    return x86::Mem(kState, offset.r64(), 0, static_cast<i32>(at) - kStateBias, size);
}

// The image has ST(0) first, FpuState physical register 0. In: `top` has the status word; out: TOP's offset.
void emit_offset_of_top(x86::Assembler& a, const x86::Gp& top) {
    a.shr(top, imm(11));
    a.and_(top, imm(7));
    a.shl(top, imm(4));
}
void emit_next_register(x86::Assembler& a, const x86::Gp& offset) {
    a.add(offset, imm(16));
    a.and_(offset, imm(0x7F));
}

}  // namespace

// --- Loading

void emit_load_sse(x86::Assembler& a) {
    const asmjit::Label done = a.newLabel();
    a.cmp(LODGE_STATE(engine.sse_loaded, 1), imm(0));
    a.jne(done);
    for (unsigned n = 0; n < 16; ++n) a.movaps(x86::xmm(n), xmm_in_state(n));
    a.ldmxcsr(LODGE_STATE(fpu.mxcsr, 4));
    a.mov(LODGE_STATE(engine.sse_loaded, 1), imm(1));
    a.bind(done);
    a.ret();
}

// FXRSTOR loads XMM registers and MXCSR as well: what FXSAVE has found there.
void emit_load_x87(x86::Assembler& a) {
    const asmjit::Label done = a.newLabel();
    const x86::Gp offset = kTemp0.r32();
    a.cmp(LODGE_STATE(engine.x87_loaded, 1), imm(0));
    a.jne(done);
    a.sub(x86::rsp, imm(kFrameBytes));
    a.mov(image_at(kSavedRegister, 8), x86::rcx);
    a.fxsave(image_at(0, 0));
    a.movzx(x86::ecx, LODGE_STATE(fpu.control, 2));
    a.mov(image_at(kImageControl, 2), x86::cx);
    a.movzx(x86::ecx, LODGE_STATE(fpu.valid, 1));
    a.mov(image_at(kImageValid, 1), x86::cl);
    a.movzx(offset, LODGE_STATE(fpu.status, 2));
    a.mov(image_at(kImageStatus, 2), kTemp0.r16());
    emit_offset_of_top(a, offset);
    for (i32 at = kImageRegisters; at < kImageRegisters + 8 * 16; at += 16) {
        a.mov(x86::rcx, st_in_state(offset, 0, 8));
        a.mov(image_at(at, 8), x86::rcx);
        a.movzx(x86::ecx, st_in_state(offset, 8, 2));
        a.mov(image_at(at + 8, 8), x86::rcx);
        emit_next_register(a, offset);
    }
    a.fxrstor(image_at(0, 0));
    a.mov(x86::rcx, image_at(kSavedRegister, 8));
    a.add(x86::rsp, imm(kFrameBytes));
    a.mov(LODGE_STATE(engine.x87_loaded, 1), imm(1));
    a.bind(done);
    a.ret();
}

// --- Storing

void emit_store_sse(x86::Assembler& a) {
    const asmjit::Label done = a.newLabel();
    a.cmp(LODGE_STATE(engine.sse_loaded, 1), imm(0));
    a.je(done);
    for (unsigned n = 0; n < 16; ++n) a.movaps(xmm_in_state(n), x86::xmm(n));
    a.stmxcsr(LODGE_STATE(fpu.mxcsr, 4));
    a.mov(LODGE_STATE(engine.scratch[1], 4), imm(kHostMxcsr));
    a.ldmxcsr(LODGE_STATE(engine.scratch[1], 4));
    a.mov(LODGE_STATE(engine.sse_loaded, 1), imm(0));
    a.bind(done);
    a.ret();
}

void emit_store_x87(x86::Assembler& a) {
    const asmjit::Label done = a.newLabel();
    const x86::Gp offset = x86::eax;
    a.cmp(LODGE_STATE(engine.x87_loaded, 1), imm(0));
    a.je(done);
    a.sub(x86::rsp, imm(kFrameBytes));
    a.fxsave(image_at(0, 0));
    a.fninit();
    a.movzx(x86::ecx, image_at(kImageControl, 2));
    a.mov(LODGE_STATE(fpu.control, 2), x86::cx);
    a.movzx(x86::ecx, image_at(kImageValid, 1));
    a.mov(LODGE_STATE(fpu.valid, 1), x86::cl);
    a.movzx(offset, image_at(kImageStatus, 2));
    a.mov(LODGE_STATE(fpu.status, 2), x86::ax);
    emit_offset_of_top(a, offset);
    for (i32 at = kImageRegisters; at < kImageRegisters + 8 * 16; at += 16) {
        a.mov(x86::rcx, image_at(at, 8));
        a.mov(st_in_state(offset, 0, 8), x86::rcx);
        a.movzx(x86::ecx, image_at(at + 8, 2));
        a.mov(st_in_state(offset, 8, 2), x86::cx);
        emit_next_register(a, offset);
    }
    a.add(x86::rsp, imm(kFrameBytes));
    a.mov(LODGE_STATE(engine.x87_loaded, 1), imm(0));
    a.bind(done);
    a.ret();
}

// CS is the same as when the instructions were executed: whatever loads it leaves translated code. So are the others.
void emit_complete_pointers(x86::Assembler& a) {
    const asmjit::Label done = a.newLabel(), no_data = a.newLabel();
    constexpr size_t kSelector = offsetof(CpuState, segments) + offsetof(SegmentState, selector);
    a.cmp(LODGE_STATE(engine.x87_code, 1), imm(0));
    a.je(done);
    a.movzx(x86::eax, state_at(kSelector + static_cast<size_t>(Segment::cs) * sizeof(SegmentState), 2));
    a.mov(LODGE_STATE(fpu.instruction_selector, 2), x86::ax);
    a.movzx(x86::ecx, LODGE_STATE(engine.x87_data, 1));
    a.test(x86::ecx, x86::ecx);
    a.je(no_data);
    a.imul(x86::ecx, x86::ecx, imm(sizeof(SegmentState)));
    a.movzx(x86::eax, x86::Mem(kState, x86::rcx, 0,
                               static_cast<i32>(kSelector) - static_cast<i32>(sizeof(SegmentState)) - kStateBias, 2));
    a.mov(LODGE_STATE(fpu.data_selector, 2), x86::ax);
    a.bind(no_data);
    a.mov(LODGE_STATE(engine.x87_code, 2), imm(0));
    a.bind(done);
    a.ret();
}

}  // namespace lodge::jit
