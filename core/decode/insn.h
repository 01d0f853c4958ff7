// A decoded instruction: the one form that the interpreter executes and the translator translates.
// The decoder fills it from bytes alone; nothing in it depends on where the code lies in linear memory, so a decoded
// instruction may be kept per physical page and shared by every linear alias of that page.
#pragma once

#include "core/base/types.h"
#include "core/decode/opcode.h"

namespace lodge {

// CS.D and EFER.LMA/CS.L: what the default operand and address sizes are.
enum class CodeSize : u8 { bits16 = 2, bits32 = 4, bits64 = 8 };

// Register numbers as in ModRM/REX: 0 rAX, 1 rCX, 2 rDX, 3 rBX, 4 rSP, 5 rBP, 6 rSI, 7 rDI, 8..15.
// In operands of one byte, 16..19 are AH, CH, DH, BH (4..7 are SPL, BPL, SIL, DIL, which need a REX prefix).
// `base` and `index` of a memory operand may also be one of:
constexpr u8 kNoRegister = 16;  // contributes zero
constexpr u8 kBlockIp = 17;     // RIP-relative: the displacement is then relative to the *start* of the instruction's
                                // block, i.e. block offset and length are added by whoever places it in a block

// Segment register numbers as in ModRM.reg: 0 ES, 1 CS, 2 SS, 3 DS, 4 FS, 5 GS.
enum class Segment : u8 { es, cs, ss, ds, fs, gs };

enum class OperandKind : u8 {
    none,
    gpr,        // reg: number as above; size 1, 2, 4, 8
    segment,    // reg: Segment
    control,    // reg: n of CRn
    debug,      // reg: n of DRn
    st,         // reg: i of ST(i)
    mmx,        // reg: 0..7
    xmm,        // reg: 0..15; size is what the instruction uses of it (4, 8, 16), 32 for YMM
    memory,     // base, index, scale, displacement, segment of the Insn; size in bytes, 0 where it has none (LEA) or
                // depends on machine state (FXSAVE, XSAVE)
    immediate,  // Insn::immediate: sign-extended to 64 bits where the instruction sign-extends it to its operand size
                // (Ib of 83, 6A, 6B; Iz under REX.W), else zero-extended; a second one (ENTER, EXTRQ, INSERTQ) is
                // immediate2. size: bytes it was encoded in
    relative,   // Insn::immediate, signed, relative to the end of the instruction
    far,        // Insn::immediate is the offset, Insn::immediate2 the selector
    test,       // reg: n of TRn (486 only)
    bound,      // reserved for MPX registers: never produced
    opmask,     // reserved for AVX-512
};

struct Operand {
    OperandKind kind = OperandKind::none;
    u8 reg = 0;
    u8 size = 0;  // bytes
};

// Insn::prefixes
constexpr u8 kPrefixLock = 0x01;
constexpr u8 kPrefixRep = 0x02;          // F3, where it is not part of the opcode
constexpr u8 kPrefixRepne = 0x04;        // F2, where it is not part of the opcode
constexpr u8 kPrefixOperandSize = 0x08;  // 66 seen, also where it is part of the opcode and operand_size ignores it
constexpr u8 kPrefixAddressSize = 0x10;  // 67 seen
constexpr u8 kPrefixRexW = 0x20;         // REX.W or VEX.W, in 64-bit code
constexpr u8 kPrefixRex = 0x40;          // any REX
constexpr u8 kPrefixSegment = 0x80;      // a segment override was given (and is in `segment`)

struct Insn;
class Cpu;
using InsnHandler = void (*)(Cpu&, const Insn*);  // see core/interp/interp.h

struct Insn {
    InsnHandler run = nullptr;  // filled by the interpreter's binder, not by the decoder
    u64 immediate = 0;
    i64 displacement = 0;  // sign-extended; of MOV moffs the address, zero-extended
    Opcode opcode{};
    u16 immediate2 = 0;  // far selector, or ENTER's nesting level, or the second immediate (EXTRQ, INSERTQ)
    u8 length = 0;       // bytes, 1..15
    CodeSize code_size = CodeSize::bits32;
    u8 operand_size = 4;            // effective operand size: 2, 4, 8 (of byte instructions too: what 66/REX.W select)
    u8 address_size = 4;            // effective address size: 2, 4, 8
    Segment segment = Segment::ds;  // of the memory operand, or of string sources; default or override
    u8 base = kNoRegister;
    u8 index = kNoRegister;  // in gathers (VSIB) an XMM or YMM register
    u8 scale = 0;            // shift 0..3
    u8 prefixes = 0;
    u8 modrm = 0;         // raw, 0 when there is none
    u8 vvvv = 0;          // VEX.vvvv, already inverted: a register number
    u8 vector_size = 0;   // 0: legacy encoding; 16 or 32: VEX with L 0 or 1
    Operand operands[4];  // in Intel order: destination first; implicit ones are left out
    // Filled by whoever places the instruction in a block:
    u8 block_index = 0;    // instructions before it in its block
    u16 block_offset = 0;  // bytes before it in its block

    bool has_memory() const;
    const Operand* memory() const;  // the memory operand or null
};

inline const Operand* Insn::memory() const {
    for (const Operand& operand : operands)
        if (operand.kind == OperandKind::memory) return &operand;
    return nullptr;
}
inline bool Insn::has_memory() const {
    return memory() != nullptr;
}

// String instructions (MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS) and XLAT have no operands: their memory is implicit.
// operands[0] is then of kind none and its size is the element's: 1, 2, 4 or 8 bytes. Insn::segment is the source's.
constexpr u8 element_size(const Insn& insn) {
    return insn.operands[0].size;
}

// How `insn` uses operands[index]: facts().access, but for the instructions whose use depends on the form.
Access operand_access(const Insn& insn, unsigned index);

// What a CPU must have for this form: facts().feature, or the later feature where XMM forms came after MMX ones (SSE2)
// or YMM forms after XMM ones (AVX2).
CpuFeature required_feature(const Insn& insn);

// Whether a block must end after `insn`: facts().ends_block, but a segment register load only if it is SS (its
// interrupt shadow, SDM vol. 3, 6.8.3). Loads of other segments may still change what a translator has assumed of them.
bool ends_block(const Insn& insn);

static_assert(sizeof(Insn) <= 64, "one cache line");

}  // namespace lodge
