// x87 loads, stores, exchanges, conditional moves, constants, sign changes.
#include "core/interp/x87_host.h"

namespace lodge::x87 {

namespace {

LODGE_X87_LOAD(load_real4, "flds (%[m])")
LODGE_X87_LOAD(load_real8, "fldl (%[m])")
LODGE_X87_LOAD(load_integer2, "filds (%[m])")
LODGE_X87_LOAD(load_integer4, "fildl (%[m])")
LODGE_X87_LOAD(load_integer8, "fildll (%[m])")
LODGE_X87_LOAD(load_decimal, "fbld (%[m])")

LODGE_X87_LOAD(load_log2_10, "fldl2t")
LODGE_X87_LOAD(load_log2_e, "fldl2e")
LODGE_X87_LOAD(load_pi, "fldpi")
LODGE_X87_LOAD(load_log10_2, "fldlg2")
LODGE_X87_LOAD(load_ln_2, "fldln2")

LODGE_X87_STORE(store_real4, "fsts")
LODGE_X87_STORE(store_real8, "fstl")
LODGE_X87_STORE(store_integer2, "fists")
LODGE_X87_STORE(store_integer4, "fistl")
LODGE_X87_STORE_AND_POP(store_integer8, "fistpll")
LODGE_X87_STORE_AND_POP(truncate_integer2, "fisttps")
LODGE_X87_STORE_AND_POP(truncate_integer4, "fisttpl")
LODGE_X87_STORE_AND_POP(truncate_integer8, "fisttpll")
LODGE_X87_STORE_AND_POP(store_decimal, "fbstp")

// What an invalid operation stores (SDM vol. 1, tables 4-3 and 8-10; 8.5.1.1 for stack underflow).
constexpr Float80 kIndefiniteDecimal = {{0, 0, 0, 0, 0, 0, 0, 0xC0, 0xFF, 0xFF}};
constexpr Float80 kIndefiniteReal10 = kIndefiniteDecimal;
constexpr u32 kIndefiniteReal4 = 0xFFC00000;
constexpr u64 kIndefiniteReal8 = 0xFFF8000000000000;
constexpr u16 kIndefiniteInteger2 = 0x8000;
constexpr u32 kIndefiniteInteger4 = 0x80000000;
constexpr u64 kIndefiniteInteger8 = 0x8000000000000000;

// Makes room for a value. False: the stack is full, and the indefinite value (masked) or nothing was pushed.
bool make_room(FpuState& fpu, const Insn& insn) {
    if (is_empty(fpu, 7)) [[likely]]
        return true;
    if (stack_fault(fpu, insn, kStackOverflow)) {
        push(fpu);
        set_indefinite(st(fpu, 0));
    }
    return false;
}

// A denormal operand is reported, but loaded all the same.
template <class Kernel>
void load_by(FpuState& fpu, const Insn& insn, void* memory) {
    if (!make_room(fpu, insn)) return;
    alignas(16) u8 result[16];
    const u16 status = run_on_host<Kernel>(fpu, {.m = memory, .result = result});
    if (!finish(fpu, insn, status, kC1, kInvalid)) return;
    push(fpu);
    copy_value(st(fpu, 0), result);
}

void push_value(FpuState& fpu, const Insn& insn, u16 sign_and_exponent, u64 significand) {
    if (!make_room(fpu, insn)) return;
    fpu.status &= static_cast<u16>(~kC1);
    push(fpu);
    set_value(st(fpu, 0), sign_and_exponent, significand);
}

// FLD, FILD, FBLD of a memory operand of type T.
template <class Kernel, class T>
bool op_load(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    const u64 address = effective_address(cpu, insn);
    T value;
    if (!cpu.read<T>(insn.segment, address, value)) return false;
    record_memory(cpu, insn, address);
    load_by<Kernel>(cpu.state.fpu, insn, &value);
    return true;
}

// The 80-bit format is the register's own: nothing is converted, so nothing can be wrong with it.
bool op_load_real10(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    const u64 address = effective_address(cpu, insn);
    Float80 value;
    if (!cpu.read(insn.segment, address, value)) return false;
    record_memory(cpu, insn, address);
    push_value(cpu.state.fpu, insn, sign_and_exponent(value.bytes), significand(value.bytes));
    return true;
}

bool op_load_register(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    const unsigned i = insn.operands[0].reg;
    const u8* from = st(fpu, i);
    if (is_empty(fpu, i)) [[unlikely]] {
        if (!stack_fault(fpu, insn, kStackUnderflow)) return true;
        push(fpu);
        set_indefinite(st(fpu, 0));
        return true;
    }
    push_value(fpu, insn, sign_and_exponent(from), significand(from));
    return true;
}

// FLDL2T and so on: rounded as the control word says.
template <class Kernel>
bool op_load_constant(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    load_by<Kernel>(cpu.state.fpu, insn, nullptr);
    return true;
}
template <u16 exponent, u64 fraction>
bool op_load_exact(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    push_value(cpu.state.fpu, insn, exponent, fraction);
    return true;
}

// Memory is checked although an unmasked exception keeps the result from it (verified on hardware).
template <class T>
bool store_unless(bool prevented, Cpu& cpu, const Insn& insn, u64 address, const T& value) {
    return prevented ? cpu.probe_write(insn.segment, address, sizeof(T)) : cpu.write(insn.segment, address, value);
}

// ST(0) to memory. Numeric errors are found before the memory is touched; only once it has been written does
// anything change.
template <class Kernel, class T, T indefinite, unsigned pops>
bool op_store(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    const u64 address = effective_address(cpu, insn);
    T value = indefinite;
    u16 status = kInvalid;
    const bool empty = is_empty(fpu, 0);
    if (!empty) [[likely]]
        status = run_on_host<Kernel>(fpu, {.a = st(fpu, 0), .m = &value});
    const bool prevented = status & ~fpu.control & kPreventMemory;
    if (!store_unless(prevented, cpu, insn, address, value)) return false;
    record_memory(cpu, insn, address);
    if (empty) fpu.status |= kStackFault;
    if (finish(fpu, insn, status, kC1, kPreventMemory)) pop(fpu, pops);
    return true;
}

bool op_store_real10(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    const u64 address = effective_address(cpu, insn);
    const bool empty = is_empty(fpu, 0);
    const Float80 value = empty ? kIndefiniteReal10 : load<Float80>(st(fpu, 0));
    const bool prevented = empty && !(fpu.control & kInvalid);
    if (!store_unless(prevented, cpu, insn, address, value)) return false;
    record_memory(cpu, insn, address);
    fpu.status &= static_cast<u16>(~kC1);
    if (empty && !stack_fault(fpu, insn, kStackUnderflow)) return true;
    pop(fpu);
    return true;
}

template <unsigned pops>
bool op_store_register(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    u8* to = st(fpu, insn.operands[0].reg);
    if (is_empty(fpu, 0)) [[unlikely]] {
        if (!stack_fault(fpu, insn, kStackUnderflow)) return true;
        set_indefinite(to);
    } else {
        fpu.status &= static_cast<u16>(~kC1);
        copy_value(to, st(fpu, 0));
    }
    set_valid(fpu, insn.operands[0].reg);
    pop(fpu, pops);
    return true;
}

bool op_fxch(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    const unsigned i = insn.operands[insn.operands[1].kind == OperandKind::st].reg;
    if (is_empty(fpu, 0) || is_empty(fpu, i)) [[unlikely]] {
        if (!stack_fault(fpu, insn, kStackUnderflow)) return true;
        if (is_empty(fpu, 0)) set_indefinite(st(fpu, 0));
        if (is_empty(fpu, i)) set_indefinite(st(fpu, i));
        set_valid(fpu, 0);
        set_valid(fpu, i);
    }
    fpu.status &= static_cast<u16>(~kC1);
    alignas(16) u8 old[16];
    copy_value(old, st(fpu, 0));
    copy_value(st(fpu, 0), st(fpu, i));
    copy_value(st(fpu, i), old);
    return true;
}

// FCMOVcc: an empty source is an error even when the condition is false.
template <u32 flag, bool when>
bool op_fcmov(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    const unsigned i = insn.operands[insn.operands[1].kind == OperandKind::st].reg;
    if (is_empty(fpu, 0) || is_empty(fpu, i)) [[unlikely]] {
        if (!stack_fault(fpu, insn, kStackUnderflow)) return true;
        set_indefinite(st(fpu, 0));
        set_valid(fpu, 0);
        return true;
    }
    if (((cpu.state.status.low & flag) != 0) == when) copy_value(st(fpu, 0), st(fpu, i));
    return true;
}

// FCHS, FABS: the sign bit alone, of any value.
template <u16 keep, u16 flip>
bool op_sign(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    record_instruction(cpu, insn);
    FpuState& fpu = cpu.state.fpu;
    u8* value = st(fpu, 0);
    if (is_empty(fpu, 0)) [[unlikely]] {
        if (!stack_fault(fpu, insn, kStackUnderflow)) return true;
        set_indefinite(value);
        set_valid(fpu, 0);
        return true;
    }
    fpu.status &= static_cast<u16>(~kC1);
    store<u16>(value + 8, (sign_and_exponent(value) & keep) ^ flip);
    return true;
}

InsnHandler bind_load(const Insn& insn) {
    const Operand* memory = insn.memory();
    if (!memory) return chained_pure<op_load_register>;
    if (memory->size == 4) return chained<op_load<load_real4, u32>>;
    if (memory->size == 8) return chained<op_load<load_real8, u64>>;
    return chained<op_load_real10>;
}
InsnHandler bind_load_integer(const Insn& insn) {
    if (insn.memory()->size == 2) return chained<op_load<load_integer2, u16>>;
    if (insn.memory()->size == 4) return chained<op_load<load_integer4, u32>>;
    return chained<op_load<load_integer8, u64>>;
}
template <unsigned pops>
InsnHandler bind_store(const Insn& insn) {
    const Operand* memory = insn.memory();
    if (!memory) return chained_pure<op_store_register<pops>>;
    if (memory->size == 4) return chained<op_store<store_real4, u32, kIndefiniteReal4, pops>>;
    if (memory->size == 8) return chained<op_store<store_real8, u64, kIndefiniteReal8, pops>>;
    return chained<op_store_real10>;
}
template <unsigned pops>
InsnHandler bind_store_integer(const Insn& insn) {
    if (insn.memory()->size == 2) return chained<op_store<store_integer2, u16, kIndefiniteInteger2, pops>>;
    if (insn.memory()->size == 4) return chained<op_store<store_integer4, u32, kIndefiniteInteger4, pops>>;
    return chained<op_store<store_integer8, u64, kIndefiniteInteger8, 1>>;
}
InsnHandler bind_store_truncated(const Insn& insn) {
    if (insn.memory()->size == 2) return chained<op_store<truncate_integer2, u16, kIndefiniteInteger2, 1>>;
    if (insn.memory()->size == 4) return chained<op_store<truncate_integer4, u32, kIndefiniteInteger4, 1>>;
    return chained<op_store<truncate_integer8, u64, kIndefiniteInteger8, 1>>;
}

}  // namespace

InsnHandler bind_move(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::FLD:
            return bind_load(insn);
        case Opcode::FILD:
            return bind_load_integer(insn);
        case Opcode::FBLD:
            return chained<op_load<load_decimal, Float80>>;
        case Opcode::FST:
            return bind_store<0>(insn);
        case Opcode::FSTP:
            return bind_store<1>(insn);
        case Opcode::FIST:
            return bind_store_integer<0>(insn);
        case Opcode::FISTP:
            return bind_store_integer<1>(insn);
        case Opcode::FISTTP:
            return bind_store_truncated(insn);
        case Opcode::FBSTP:
            return chained<op_store<store_decimal, Float80, kIndefiniteDecimal, 1>>;
        case Opcode::FXCH:
            return chained_pure<op_fxch>;
        case Opcode::FCMOVB:
            return chained_pure<op_fcmov<kFlagCarry, true>>;
        case Opcode::FCMOVE:
            return chained_pure<op_fcmov<kFlagZero, true>>;
        case Opcode::FCMOVBE:
            return chained_pure<op_fcmov<kFlagCarry | kFlagZero, true>>;
        case Opcode::FCMOVU:
            return chained_pure<op_fcmov<kFlagParity, true>>;
        case Opcode::FCMOVNB:
            return chained_pure<op_fcmov<kFlagCarry, false>>;
        case Opcode::FCMOVNE:
            return chained_pure<op_fcmov<kFlagZero, false>>;
        case Opcode::FCMOVNBE:
            return chained_pure<op_fcmov<kFlagCarry | kFlagZero, false>>;
        case Opcode::FCMOVNU:
            return chained_pure<op_fcmov<kFlagParity, false>>;
        case Opcode::FLD1:
            return chained_pure<op_load_exact<0x3FFF, u64{1} << 63>>;
        case Opcode::FLDZ:
            return chained_pure<op_load_exact<0, 0>>;
        case Opcode::FLDL2T:
            return chained_pure<op_load_constant<load_log2_10>>;
        case Opcode::FLDL2E:
            return chained_pure<op_load_constant<load_log2_e>>;
        case Opcode::FLDPI:
            return chained_pure<op_load_constant<load_pi>>;
        case Opcode::FLDLG2:
            return chained_pure<op_load_constant<load_log10_2>>;
        case Opcode::FLDLN2:
            return chained_pure<op_load_constant<load_ln_2>>;
        case Opcode::FCHS:
            return chained_pure<op_sign<0xFFFF, 0x8000>>;
        case Opcode::FABS:
            return chained_pure<op_sign<0x7FFF, 0>>;
        default:
            return nullptr;
    }
}

}  // namespace lodge::x87
