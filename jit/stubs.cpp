#include "jit/stubs.h"

#include "jit/block.h"
#include "jit/fpu_transfer.h"
#include "jit/translator.h"

namespace lodge::jit {

namespace {

using asmjit::imm;

const u8* fall_back(Translator* translator, const Fallback* fallback) {
    return translator->fall_back(*fallback);
}

const u8* follow(Translator* translator, Link* link) {
    return translator->follow(*link);
}

bool refill_cell(Translator* translator, AccessCell* cell, u64 linear) {
    return translator->refill(*cell, linear);
}

const void* find_jump(Translator* translator, u64 ip) {
    return translator->known_jump(ip);
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
// Behind the code that calls them.
struct FpuStores {
    asmjit::Label sse, x87, pointers;
};

void emit_leave(x86::Assembler& a, const FpuStores& stores) {
    const asmjit::Label stored = a.newLabel();
    store_registers(a);
    a.cmp(fpu_in_use(), imm(0));
    a.je(stored);
    a.call(stores.pointers);
    a.call(stores.sse);
    a.call(stores.x87);
    a.bind(stored);
    emit_return(a);
}
// As from a call of the interpreter that leads elsewhere.
void emit_follow(x86::Assembler& a, const FpuStores& stores) {
    const asmjit::Label stored = a.newLabel(), left = a.newLabel();
    store_registers(a);
    a.cmp(fpu_in_use(), imm(0));
    a.je(stored);
    a.call(stores.pointers);
    a.call(stores.sse);
    a.bind(stored);
    a.mov(x86::rdi, LODGE_STATE(engine.engine, 8));
    a.mov(x86::rsi, kTemp0);
    a.mov(x86::rax, imm(reinterpret_cast<u64>(&follow)));
    a.call(x86::rax);
    a.test(x86::rax, x86::rax);
    a.jz(left);
    a.mov(kTemp0, x86::rax);
    load_registers(a);
    a.jmp(kTemp0);
    a.bind(left);
    a.call(stores.x87);
    emit_return(a);
}
// The x87 part stays in the host over an instruction that has nothing to do with it, unless translated code is left.
void emit_fall_back(x86::Assembler& a, const FpuStores& stores) {
    const asmjit::Label elsewhere = a.newLabel(), left = a.newLabel(), stored = a.newLabel();
    store_registers(a);
    a.sub(x86::rsp, 8);
    a.cmp(fpu_in_use(), imm(0));
    a.je(stored);
    a.call(stores.pointers);
    a.call(stores.sse);
    a.cmp(x86::byte_ptr(kTemp0, offsetof(Fallback, needs_fpu)), imm(0));
    a.je(stored);
    a.call(stores.x87);
    a.bind(stored);
    a.mov(x86::rdi, LODGE_STATE(engine.engine, 8));
    a.mov(x86::rsi, kTemp0);
    a.mov(x86::rax, imm(reinterpret_cast<u64>(&fall_back)));
    a.call(x86::rax);
    a.cmp(x86::rax, imm(reinterpret_cast<u64>(Translator::kGoOn)));
    a.jne(elsewhere);
    a.add(x86::rsp, 8);
    load_registers(a);
    a.ret();
    a.bind(elsewhere);
    a.test(x86::rax, x86::rax);
    a.jz(left);
    a.add(x86::rsp, 16);
    a.mov(kTemp0, x86::rax);
    load_registers(a);
    a.jmp(kTemp0);
    a.bind(left);
    a.call(stores.x87);
    a.add(x86::rsp, 16);
    emit_return(a);
}

// What the cell does not reach at the page's end is good for this access only.
void emit_find_stack(x86::Assembler& a, const Tlb& tlb, unsigned size) {
    const auto entry = [&](size_t field) {
        return x86::ptr(kTemp1, x86::rax, 0, static_cast<i32>(tlb.entries_from_stack_cell() + field), 8);
    };
    const auto cell = [](size_t field) { return x86::ptr(kTemp1, static_cast<i32>(field), 8); };
    const asmjit::Label missed = a.newLabel(), found = a.newLabel();
    a.push(x86::rax);
    a.push(x86::rcx);
    a.mov(x86::rax, kTemp0);
    a.shr(x86::rax, imm(kTlbIndexShift));
    a.and_(x86::eax, imm(kTlbIndexMask));
    a.mov(x86::rcx, entry(offsetof(TlbEntry, write_tag)));
    a.sub(kTemp0, x86::rcx);
    a.cmp(kTemp0, imm(static_cast<i32>(kPageSize - size)));
    a.ja(missed);
    a.push(entry(offsetof(TlbEntry, host_page)));
    a.cmp(kTemp0, imm(static_cast<i32>(StackCell::kSpan)));
    a.jae(found);
    a.mov(cell(offsetof(StackCell, tag)), x86::rcx);
    a.mov(x86::rcx, x86::ptr(x86::rsp, 0, 8));
    a.mov(cell(offsetof(StackCell, host_page)), x86::rcx);
    a.mov(cell(offsetof(StackCell, span)), imm(static_cast<i32>(StackCell::kSpan)));
    a.bind(found);
    a.pop(x86::rcx);
    a.add(kTemp0, x86::rcx);
    a.pop(x86::rcx);
    a.pop(x86::rax);
    a.clc();
    a.ret();
    a.bind(missed);
    a.pop(x86::rcx);
    a.pop(x86::rax);
    a.stc();
    a.ret();
}

// Calls function(Translator*, kTemp1, kTemp0) with all registers kept but for kTemp1, which gets what it returns. XMM
// registers alone can be lost in C++ code that does not calculate with floating-point numbers.
void emit_call_within(x86::Assembler& a, u64 function) {
    const x86::Gp kept[] = {x86::rax, x86::rcx, x86::rdx, x86::rsi, x86::rdi, x86::r8, x86::r9, kTemp0};
    constexpr i32 kVectorBytes = 16 * 16, kFrame = kVectorBytes + 8;  // aligned, with the return address
    const asmjit::Label call = a.newLabel(), unsaved = a.newLabel();
    for (const x86::Gp& reg : kept) a.push(reg);
    a.sub(x86::rsp, kFrame);
    a.cmp(LODGE_STATE(engine.sse_loaded, 1), imm(0));
    a.je(call);
    for (i32 i = 0; i < 16; ++i) a.movaps(x86::ptr(x86::rsp, 16 * i), x86::xmm(static_cast<u32>(i)));
    a.bind(call);
    a.mov(x86::rdi, LODGE_STATE(engine.engine, 8));
    a.mov(x86::rsi, kTemp1);
    a.mov(x86::rdx, kTemp0);
    a.mov(x86::rax, imm(function));
    a.call(x86::rax);
    a.mov(kTemp1, x86::rax);
    a.cmp(LODGE_STATE(engine.sse_loaded, 1), imm(0));
    a.je(unsaved);
    for (i32 i = 0; i < 16; ++i) a.movaps(x86::xmm(static_cast<u32>(i)), x86::ptr(x86::rsp, 16 * i));
    a.bind(unsaved);
    a.add(x86::rsp, kFrame);
    for (size_t i = std::size(kept); i-- > 0;) a.pop(kept[i]);
}

void emit_refill_cell(x86::Assembler& a) {
    emit_call_within(a, reinterpret_cast<u64>(&refill_cell));
    a.cmp(kTemp1.r8(), imm(1));  // carry: it was false
    a.ret();
}

void emit_find_jump(x86::Assembler& a) {
    emit_call_within(a, reinterpret_cast<u64>(&find_jump));
    a.mov(kTemp0, kTemp1);
    a.cmp(kTemp0, imm(1));  // carry: it was null
    a.ret();
}

}  // namespace

Stubs make_stubs(CodeMemory& memory, const Tlb& tlb) {
    asmjit::CodeHolder code;
    code.init(asmjit::Environment::host(), reinterpret_cast<u64>(memory.begin()));
    x86::Assembler a(&code);
    const auto begin = [&] {
        a.align(asmjit::AlignMode::kCode, 16);
        return memory.begin() + a.offset();
    };
    const FpuStores stores{a.newLabel(), a.newLabel(), a.newLabel()};
    Stubs stubs;
    stubs.enter = reinterpret_cast<Stubs::Enter>(begin());
    emit_enter(a);
    stubs.leave = begin();
    emit_leave(a, stores);
    stubs.follow = begin();
    emit_follow(a, stores);
    stubs.fall_back = begin();
    emit_fall_back(a, stores);
    stubs.load_sse = begin();
    emit_load_sse(a);
    stubs.load_x87 = begin();
    emit_load_x87(a);
    stubs.find_stack_4 = begin();
    emit_find_stack(a, tlb, 4);
    stubs.find_stack_8 = begin();
    emit_find_stack(a, tlb, 8);
    stubs.refill_cell = begin();
    emit_refill_cell(a);
    stubs.find_jump = begin();
    emit_find_jump(a);
    a.bind(stores.sse);
    emit_store_sse(a);
    a.bind(stores.x87);
    emit_store_x87(a);
    a.bind(stores.pointers);
    emit_complete_pointers(a);
    const asmjit::CodeBuffer& buffer = code.textSection()->buffer();
    std::memcpy(memory.writable(memory.begin()), buffer.data(), buffer.size());
    stubs.bytes = buffer.size();
    return stubs;
}

}  // namespace lodge::jit
