// The x87 environment and the whole state in memory: FNSTENV, FLDENV, FNSAVE, FRSTOR, FXSAVE, FXRSTOR.
#include "core/interp/fx_area.h"
#include "core/interp/simd.h"
#include "core/interp/x87.h"

namespace lodge::x87 {

namespace {

// --- The tag word (SDM vol. 1, 8.1.7) by physical register.

constexpr u16 kTagValid = 0, kTagZero = 1, kTagSpecial = 2, kTagEmpty = 3;

u16 tag_of(const u8* value) {
    const u16 exponent = sign_and_exponent(value) & 0x7FFF;
    if (exponent == 0 && significand(value) == 0) return kTagZero;
    const bool normal = exponent != 0 && exponent != 0x7FFF && significand(value) >> 63;
    return normal ? kTagValid : kTagSpecial;
}

u16 tag_word(const FpuState& fpu) {
    u16 tags = 0;
    for (unsigned n = 0; n < 8; ++n) {
        const u16 tag = fpu.valid >> n & 1 ? tag_of(fpu.st[n]) : kTagEmpty;
        tags = static_cast<u16>(tags | tag << (2 * n));
    }
    return tags;
}

void set_tag_word(FpuState& fpu, u16 tags) {
    fpu.valid = 0;
    for (unsigned n = 0; n < 8; ++n)
        if ((tags >> (2 * n) & 3) != kTagEmpty) fpu.valid = static_cast<u8>(fpu.valid | 1u << n);
}

// --- The environment, in units of 2 or 4 bytes (SDM vol. 1, 8.1.10). In real and virtual-8086 mode pointers are linear
// addresses, of 20 bits in the 16-bit format and of 32 bits in the other.

struct Environment16 {
    u16 words[7];
};
struct Environment32 {
    u32 words[7];
};

u32 real_address(u16 selector, u64 offset) {
    return (u32{selector} << 4) + static_cast<u32>(offset);
}

Environment16 environment16(const Cpu& cpu) {
    const FpuState& fpu = cpu.state.fpu;
    Environment16 e = {{fpu.control, fpu.status, tag_word(fpu)}};
    if (cpu.real_or_v86()) {
        const u32 instruction = real_address(fpu.instruction_selector, fpu.instruction);
        const u32 data = real_address(fpu.data_selector, fpu.data);
        e.words[3] = static_cast<u16>(instruction);
        e.words[4] = static_cast<u16>((instruction >> 4 & 0xF000) | fpu.opcode);
        e.words[5] = static_cast<u16>(data);
        e.words[6] = static_cast<u16>(data >> 4 & 0xF000);
    } else {
        e.words[3] = static_cast<u16>(fpu.instruction);
        e.words[4] = fpu.instruction_selector;
        e.words[5] = static_cast<u16>(fpu.data);
        e.words[6] = fpu.data_selector;
    }
    return e;
}

constexpr u32 kReservedOnes = 0xFFFF0000;

Environment32 environment32(const Cpu& cpu) {
    const FpuState& fpu = cpu.state.fpu;
    Environment32 e = {{kReservedOnes | fpu.control, kReservedOnes | fpu.status, kReservedOnes | tag_word(fpu)}};
    if (cpu.real_or_v86()) {
        const u32 instruction = real_address(fpu.instruction_selector, fpu.instruction);
        const u32 data = real_address(fpu.data_selector, fpu.data);
        e.words[3] = kReservedOnes | instruction;
        e.words[4] = (instruction >> 4 & 0x0FFFF000) | fpu.opcode;
        e.words[5] = kReservedOnes | data;
        e.words[6] = data >> 4 & 0x0FFFF000;
    } else {
        e.words[3] = static_cast<u32>(fpu.instruction);
        e.words[4] = u32{fpu.opcode} << 16 | fpu.instruction_selector;
        e.words[5] = static_cast<u32>(fpu.data);
        e.words[6] = kReservedOnes | fpu.data_selector;
    }
    return e;
}

constexpr u16 kOpcodeMask = 0x7FF;

void set_words(FpuState& fpu, u32 control, u32 status, u32 tags) {
    set_control(fpu, static_cast<u16>(control));
    fpu.status = static_cast<u16>(status);
    set_tag_word(fpu, static_cast<u16>(tags));
    update_summary(fpu);
}

void set_environment(Cpu& cpu, const Environment16& e) {
    FpuState& fpu = cpu.state.fpu;
    set_words(fpu, e.words[0], e.words[1], e.words[2]);
    const bool real = cpu.real_or_v86();
    fpu.instruction = e.words[3] | (real ? u32{e.words[4]} << 4 & 0xF0000 : 0);
    fpu.data = e.words[5] | (real ? u32{e.words[6]} << 4 & 0xF0000 : 0);
    fpu.instruction_selector = real ? 0 : e.words[4];
    fpu.data_selector = real ? 0 : e.words[6];
    fpu.opcode = real ? e.words[4] & kOpcodeMask : 0;
}

void set_environment(Cpu& cpu, const Environment32& e) {
    FpuState& fpu = cpu.state.fpu;
    set_words(fpu, e.words[0], e.words[1], e.words[2]);
    if (cpu.real_or_v86()) {
        fpu.instruction = (e.words[3] & 0xFFFF) | (e.words[4] << 4 & 0xFFFF0000);
        fpu.data = (e.words[5] & 0xFFFF) | (e.words[6] << 4 & 0xFFFF0000);
        fpu.instruction_selector = fpu.data_selector = 0;
        fpu.opcode = e.words[4] & kOpcodeMask;
    } else {
        fpu.instruction = e.words[3];
        fpu.data = e.words[5];
        fpu.instruction_selector = static_cast<u16>(e.words[4]);
        fpu.data_selector = static_cast<u16>(e.words[6]);
        fpu.opcode = e.words[4] >> 16 & kOpcodeMask;
    }
}

template <class Environment>
Environment environment(const Cpu& cpu) {
    if constexpr (sizeof(Environment) == sizeof(Environment16))
        return environment16(cpu);
    else
        return environment32(cpu);
}

// --- The same with the registers, ST(0) first.

template <class Environment>
struct [[gnu::packed]] Saved {
    Environment environment;
    Float80 registers[8];
};
static_assert(sizeof(Saved<Environment16>) == 94 && sizeof(Saved<Environment32>) == 108);

template <class Environment>
bool op_fnstenv(Cpu& cpu, const Insn& insn) {
    if (!enter_no_wait(cpu)) return false;
    if (!cpu.write(insn.segment, effective_address(cpu, insn), environment<Environment>(cpu))) return false;
    cpu.state.fpu.control |= kExceptions;
    update_summary(cpu.state.fpu);
    return true;
}

template <class Environment>
bool op_fldenv(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    Environment loaded;
    if (!cpu.read(insn.segment, effective_address(cpu, insn), loaded)) return false;
    set_environment(cpu, loaded);
    return true;
}

template <class Environment>
bool op_fnsave(Cpu& cpu, const Insn& insn) {
    if (!enter_no_wait(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    Saved<Environment> saved;
    saved.environment = environment<Environment>(cpu);
    for (unsigned i = 0; i < 8; ++i) saved.registers[i] = load<Float80>(st(fpu, i));
    if (!cpu.write(insn.segment, effective_address(cpu, insn), saved)) return false;
    initialise(fpu);
    return true;
}

template <class Environment>
bool op_frstor(Cpu& cpu, const Insn& insn) {
    if (!enter(cpu)) return false;
    FpuState& fpu = cpu.state.fpu;
    Saved<Environment> saved;
    if (!cpu.read(insn.segment, effective_address(cpu, insn), saved)) return false;
    set_environment(cpu, saved.environment);
    for (unsigned i = 0; i < 8; ++i) store(st(fpu, i), saved.registers[i]);
    return true;
}

// --- FXSAVE (SDM vol. 2). Nothing is written past the last register that the mode has.

u64 fx_pointer(const Insn& insn, u64 offset, u16 selector) {
    if (insn.prefixes & kPrefixRexW) return offset;
    return static_cast<u32>(offset) | u64{selector} << 32;
}

}  // namespace

void fill_fx_area(const Insn& insn, FpuState& fpu, FxArea& area) {
    area = {};
    area.control = fpu.control;
    area.status = fpu.status;
    area.valid = fpu.valid;
    area.opcode = fpu.opcode;
    area.instruction = fx_pointer(insn, fpu.instruction, fpu.instruction_selector);
    area.data = fx_pointer(insn, fpu.data, fpu.data_selector);
    area.mxcsr = fpu.mxcsr;
    area.mxcsr_mask = kMxcsrMask;
    for (unsigned i = 0; i < 8; ++i) copy_value(area.registers[i], st(fpu, i));
}

void take_fx_area(const Insn& insn, const FxArea& area, FpuState& fpu) {
    set_control(fpu, area.control);
    fpu.status = area.status;
    fpu.valid = area.valid;
    fpu.opcode = area.opcode & kOpcodeMask;
    update_summary(fpu);
    const bool wide = insn.prefixes & kPrefixRexW;
    fpu.instruction = wide ? area.instruction : static_cast<u32>(area.instruction);
    fpu.data = wide ? area.data : static_cast<u32>(area.data);
    fpu.instruction_selector = wide ? 0 : static_cast<u16>(area.instruction >> 32);
    fpu.data_selector = wide ? 0 : static_cast<u16>(area.data >> 32);
    for (unsigned i = 0; i < 8; ++i) copy_value(st(fpu, i), area.registers[i]);
}

namespace {

// An address that is not canonical is found first: #SS where it is of the stack (verified on hardware).
bool fx_aligned(Cpu& cpu, const Insn& insn, u64 address) {
    if (simd::is_aligned(cpu, insn.segment, address)) return true;
    const u64 linear = cpu.state.segment(insn.segment).base + address;
    if (cpu.code64() && !Cpu::canonical(linear)) return cpu.probe_read(insn.segment, address, kFxAreaSize);
    return cpu.raise_gp(0);
}

template <unsigned xmm_count>
bool save_fx(Cpu& cpu, const Insn& insn, u64 address) {
    FpuState& fpu = cpu.state.fpu;
    FxAreaWithXmm<xmm_count> area;
    fill_fx_area(insn, fpu, area.legacy);
    for (unsigned i = 0; i < xmm_count; ++i) std::memcpy(area.xmm[i], fpu.xmm[i], 16);
    return cpu.write(insn.segment, address, area);
}

bool op_fxsave(Cpu& cpu, const Insn& insn) {
    if (!enter_no_wait(cpu)) return false;
    const u64 address = effective_address(cpu, insn);
    if (!fx_aligned(cpu, insn, address)) return false;
    if (!cpu.probe_write(insn.segment, address, kFxAreaSize)) return false;
    if (cpu.state.cr4 & kCr4Osfxsr) {
        if (insn.code_size == CodeSize::bits64) return save_fx<16>(cpu, insn, address);
        return save_fx<8>(cpu, insn, address);
    }
    FxArea area;
    fill_fx_area(insn, cpu.state.fpu, area);
    return cpu.write(insn.segment, address, area);
}

bool op_fxrstor(Cpu& cpu, const Insn& insn) {
    if (!enter_no_wait(cpu)) return false;
    const u64 address = effective_address(cpu, insn);
    if (!fx_aligned(cpu, insn, address)) return false;
    struct {
        FxAreaWithXmm<16> used;
        u8 reserved[kFxAreaSize - sizeof(FxAreaWithXmm<16>)];
    } area;
    if (!cpu.read(insn.segment, address, area)) return false;
    FpuState& fpu = cpu.state.fpu;
    if (cpu.state.cr4 & kCr4Osfxsr) {
        if (area.used.legacy.mxcsr & ~kMxcsrMask) return cpu.raise_gp(0);
        fpu.mxcsr = area.used.legacy.mxcsr;
        const unsigned count = insn.code_size == CodeSize::bits64 ? 16 : 8;
        for (unsigned i = 0; i < count; ++i) std::memcpy(fpu.xmm[i], area.used.xmm[i], 16);
    }
    take_fx_area(insn, area.used.legacy, fpu);
    cpu.state.ip = next_ip(cpu, insn);
    return true;
}

InsnHandler by_size(const Insn& insn, InsnHandler small, InsnHandler large) {
    return insn.operand_size == 2 ? small : large;
}

}  // namespace

InsnHandler bind_environment(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::FNSTENV:
            return by_size(insn, chained<op_fnstenv<Environment16>>, chained<op_fnstenv<Environment32>>);
        case Opcode::FLDENV:
            return by_size(insn, chained<op_fldenv<Environment16>>, chained<op_fldenv<Environment32>>);
        case Opcode::FNSAVE:
            return by_size(insn, chained<op_fnsave<Environment16>>, chained<op_fnsave<Environment32>>);
        case Opcode::FRSTOR:
            return by_size(insn, chained<op_frstor<Environment16>>, chained<op_frstor<Environment32>>);
        case Opcode::FXSAVE:
            return chained<op_fxsave>;
        case Opcode::FXRSTOR:
            return ending<op_fxrstor>;
        default:
            return nullptr;
    }
}

}  // namespace lodge::x87
