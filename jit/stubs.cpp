#include "jit/stubs.h"

#include "jit/registers.h"
#include "jit/translator.h"

namespace lodge::jit {

namespace {

using asmjit::imm;

u64 fall_back(Translator* translator, const Fallback* fallback) {
    return translator->fall_back(*fallback);
}

void load_registers(x86::Assembler& a) {
    for (unsigned reg = 0; reg < 16; ++reg)
        if (is_pinned(reg)) a.mov(x86::gpq(kHostOfGuest[reg]), gpr_in_state(reg, 8));
}
void store_registers(x86::Assembler& a) {
    for (unsigned reg = 0; reg < 16; ++reg)
        if (is_pinned(reg)) a.mov(gpr_in_state(reg, 8), x86::gpq(kHostOfGuest[reg]));
}

const x86::Gp kSaved[] = {x86::rbp, x86::rbx, x86::r12, x86::r13, x86::r14, x86::r15};

// (state, code): the stack is aligned to 16 bytes while translated code runs.
void emit_enter(x86::Assembler& a) {
    for (const x86::Gp& reg : kSaved) a.push(reg);
    a.sub(x86::rsp, 8);
    a.mov(kState, x86::rdi);
    a.mov(kTemp0, x86::rsi);
    load_registers(a);
    a.jmp(kTemp0);
}
void emit_return(x86::Assembler& a) {
    a.add(x86::rsp, 8);
    for (size_t i = std::size(kSaved); i-- > 0;) a.pop(kSaved[i]);
    a.ret();
}
void emit_leave(x86::Assembler& a) {
    store_registers(a);
    a.mov(x86::rax, kTemp0);
    emit_return(a);
}
void emit_fall_back(x86::Assembler& a) {
    const asmjit::Label left = a.newLabel();
    store_registers(a);
    a.sub(x86::rsp, 8);
    a.mov(x86::rdi, LODGE_STATE(engine.engine, 8));
    a.mov(x86::rsi, kTemp0);
    a.mov(x86::rax, imm(reinterpret_cast<u64>(&fall_back)));
    a.call(x86::rax);
    a.add(x86::rsp, 8);
    a.test(x86::eax, x86::eax);
    a.jnz(left);
    load_registers(a);
    a.ret();
    a.bind(left);
    a.add(x86::rsp, 8);
    a.xor_(x86::eax, x86::eax);
    emit_return(a);
}

}  // namespace

Stubs make_stubs(CodeMemory& memory) {
    asmjit::CodeHolder code;
    code.init(asmjit::Environment::host(), reinterpret_cast<u64>(memory.begin()));
    x86::Assembler a(&code);
    size_t offset[3];
    offset[0] = a.offset();
    emit_enter(a);
    a.align(asmjit::AlignMode::kCode, 16);
    offset[1] = a.offset();
    emit_leave(a);
    a.align(asmjit::AlignMode::kCode, 16);
    offset[2] = a.offset();
    emit_fall_back(a);
    const asmjit::CodeBuffer& buffer = code.textSection()->buffer();
    std::memcpy(memory.writable(memory.begin()), buffer.data(), buffer.size());
    Stubs stubs;
    stubs.enter = reinterpret_cast<Stubs::Enter>(memory.begin() + offset[0]);
    stubs.leave = memory.begin() + offset[1];
    stubs.fall_back = memory.begin() + offset[2];
    stubs.bytes = buffer.size();
    return stubs;
}

}  // namespace lodge::jit
