// When the FPU's state is loaded, and what is kept of its last instruction.
//
// A block that translates FPU instructions makes sure of the state at its start; after that only the interpreter takes
// it away. The pointers to the last instruction and its operand are what the interpreter makes of them, never the
// host's. They are stored where they can be seen for the first time, the operand's offset earlier if a register of its
// address is about to change.
#include "jit/emitter.h"
#include "jit/fpu_transfer.h"

namespace lodge::jit {

using asmjit::imm;

namespace {

// Control instructions leave the pointers alone (SDM vol. 1, 8.1.8).
bool sets_pointers(Opcode opcode) {
    return opcode >= Opcode::FLD && opcode < Opcode::FDECSTP;
}

// Registers that its memory operand's address is formed from, one bit each.
u16 address_registers(const Insn& insn) {
    u32 registers = 0;
    if (insn.base < 16) registers |= 1u << insn.base;
    if (insn.index < 16) registers |= 1u << insn.index;
    return static_cast<u16>(registers);
}

}  // namespace

void Emitter::plan_fpu() {
    const size_t count = insns_.size();
    fpu_from_.assign(count + 1, 0);
    for (size_t i = count; i-- > 0;)
        if (native_[i]) fpu_from_[i] = fpu_parts(insns_[i]) | fpu_from_[i + 1];
    x87_records_.assign(count + 1, {});
    for (size_t i = 0; i < count; ++i) {
        if (!native_[i]) continue;  // the interpreter needs them, and may set them itself
        X87Record& after = x87_records_[i + 1];
        after = x87_records_[i];
        if (overwrites_x87_operand(i)) after.operand = -1;
        const Insn& insn = insns_[i];
        if (!is_x87(insn.opcode) || !sets_pointers(insn.opcode)) continue;
        after.offset = static_cast<i32>(block_.page_offset() + insn.block_offset);
        if (!insn.has_memory()) continue;
        after.data = static_cast<u8>(static_cast<u8>(insn.segment) + 1);
        after.operand = static_cast<i32>(i);
    }
}

bool Emitter::overwrites_x87_operand(size_t index) const {
    const i32 operand = x87_records_[index].operand;
    return operand >= 0 && (address_registers(insns_[static_cast<size_t>(operand)]) & flags_of_[index].writes);
}

void Emitter::keep_x87_operand(size_t index) {
    if (overwrites_x87_operand(index)) emit_x87_operand(x87_records_[index]);
}

void Emitter::emit_x87_operand(const X87Record& record) {
    if (record.operand < 0) return;
    emit_address(insns_[static_cast<size_t>(record.operand)]);
    a_.mov(LODGE_STATE(fpu.data, 8), kTemp0);
}

void Emitter::require_fpu(size_t index) {
    const u8 parts = fpu_from_[index];
    if (!parts) return;
    const FpuLoad load{a_.newLabel(), a_.newLabel(), parts};
    static_assert(offsetof(EngineState, x87_loaded) == offsetof(EngineState, sse_loaded) + 1);
    if (parts == (kFpuSse | kFpuX87))
        a_.cmp(LODGE_STATE(engine.sse_loaded, 2), imm(0x0101));
    else if (parts == kFpuSse)
        a_.cmp(LODGE_STATE(engine.sse_loaded, 1), imm(1));
    else
        a_.cmp(LODGE_STATE(engine.x87_loaded, 1), imm(1));
    a_.jne(load.entry);
    a_.bind(load.resume);
    fpu_loads_.push_back(load);
}

void Emitter::reload_fpu(size_t index) {
    emit_fpu_load(fpu_from_[index]);
}

void Emitter::emit_fpu_load(u8 parts) {
    if (parts & kFpuSse) a_.call(imm(reinterpret_cast<u64>(context_.stubs->load_sse)));
    if (parts & kFpuX87) a_.call(imm(reinterpret_cast<u64>(context_.stubs->load_x87)));
}

void Emitter::emit_fpu_loads() {
    for (const FpuLoad& load : fpu_loads_) {
        a_.bind(load.entry);
        emit_fpu_load(load.parts);
        a_.jmp(load.resume);
    }
}

void Emitter::emit_x87_record(size_t index) {
    const X87Record& record = x87_records_[index];
    if (record.offset < 0) return;
    emit_x87_operand(record);
    load_ip(kTemp0, record.offset);
    a_.mov(LODGE_STATE(fpu.instruction, 8), kTemp0);
    static_assert(offsetof(EngineState, x87_data) == offsetof(EngineState, x87_code) + 1);
    if (record.data)
        a_.mov(LODGE_STATE(engine.x87_code, 2), imm(record.data << 8 | 1));
    else
        a_.mov(LODGE_STATE(engine.x87_code, 1), imm(1));
}

}  // namespace lodge::jit
