// The guest's x87, MMX and SSE state lives in the host's own registers while translated code uses it, and in FpuState
// otherwise. Here is what moves it, and which instructions ask for what.
//
// Both parts are loaded when the first block that uses them is entered, and stored when translated code is left or
// calls the interpreter. There one thing may stay: the x87 part, if the instruction has nothing to do with the FPU. C++
// code of ours touches the host's x87 only to execute x87 and MMX instructions.
#pragma once

#include "jit/registers.h"

namespace lodge::jit {

// Parts of the FPU's state.
constexpr u8 kFpuSse = 1;  // XMM registers, MXCSR
constexpr u8 kFpuX87 = 2;  // x87 registers, control and status; MMX registers

// The parts that the instruction works on, when it is translated to itself.
u8 fpu_parts(const Insn& insn);
// Whether the interpreter, executing it, may look at or change FpuState.
bool touches_fpu(const Insn& insn);
// x87 instructions proper, control instructions included; not MMX.
bool is_x87(Opcode opcode);
// Whether the emitter can translate them, where the mode lets it.
bool is_translated_simd(const Insn& insn);  // emit_simd.cpp
bool is_translated_x87(const Insn& insn);   // emit_x87.cpp

// Bodies of functions, each with its RET. They change flags, and r10 (loading) or rAX and rCX (storing); the stack is 8
// bytes off alignment at their start, as after a call.
void emit_load_sse(x86::Assembler& a);
void emit_load_x87(x86::Assembler& a);
// Afterwards MXCSR is as C++ code expects it.
void emit_store_sse(x86::Assembler& a);
// Afterwards the host's x87 is as C++ code expects it: empty.
void emit_store_x87(x86::Assembler& a);
// Brings FpuState's selectors up to date (EngineState::x87_code).
void emit_complete_pointers(x86::Assembler& a);

// Zero as long as there is nothing to store.
inline x86::Mem fpu_in_use() {
    static_assert(offsetof(EngineState, x87_data) == offsetof(EngineState, sse_loaded) + 3);
    return LODGE_STATE(engine.sse_loaded, 4);
}

}  // namespace lodge::jit
