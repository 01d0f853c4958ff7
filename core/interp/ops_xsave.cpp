// XSAVE and its kin for the two components of this build, x87 and SSE: SDM vol. 1, chapter 13.
//
// The area is FXSAVE's 512 bytes (the legacy region), then a header of 64; compacted and standard form differ only in
// the header while there are no components behind it. Both components always count as in use (XINUSE) and as modified,
// which the SDM permits (13.6).
#include "core/interp/fx_area.h"
#include "core/interp/simd.h"
#include "core/interp/x87.h"

namespace lodge::x87 {

namespace {

constexpr u64 kCompacted = u64{1} << 63;

// SDM vol. 1, 13.4.2.
struct Header {
    u64 present;  // XSTATE_BV
    u64 compact;  // XCOMP_BV
    u64 reserved[6];
};
static_assert(sizeof(Header) == 64);

struct Area {
    FxAreaWithXmm<16> legacy;
    u8 unused[kFxAreaSize - sizeof(FxAreaWithXmm<16>)];
    Header header;
};
static_assert(sizeof(Area) == 576);

bool enter_xsave(Cpu& cpu, const Insn& insn, u64& address) {
    if (!(cpu.state.cr4 & kCr4Osxsave)) return cpu.raise_ud();
    if (cpu.state.cr0 & kCr0Ts) return cpu.raise(Exception::NM);
    address = effective_address(cpu, insn);
    return ((cpu.state.segment(insn.segment).base + address) & 63) == 0 ? true : cpu.raise_gp(0);
}

// The requested-feature bitmap: EDX:EAX AND XCR0.
u64 requested(const Cpu& cpu) {
    const u64* gpr = cpu.state.gpr;
    return cpu.xcr0() & (gpr[kRdx] << 32 | (gpr[kRax] & 0xFFFFFFFF));
}

unsigned xmm_count(const Insn& insn) {
    return insn.code_size == CodeSize::bits64 ? 16 : 8;
}

// Puts the requested components into `area`, which holds what memory has.
void fill_components(Cpu& cpu, const Insn& insn, u64 components, Area& area) {
    FpuState& fpu = cpu.state.fpu;
    FxArea& legacy = area.legacy.legacy;
    const u32 mxcsr = legacy.mxcsr, mask = legacy.mxcsr_mask;
    if (components & kXcr0X87) fill_fx_area(insn, fpu, legacy);
    legacy.mxcsr = components & kXcr0Sse ? fpu.mxcsr : mxcsr;
    legacy.mxcsr_mask = components & kXcr0Sse ? kMxcsrMask : mask;
    if (components & kXcr0Sse) std::memcpy(area.legacy.xmm, fpu.xmm, xmm_count(insn) * 16u);
}

template <bool compacted>
bool op_xsave(Cpu& cpu, const Insn& insn) {
    u64 address = 0;
    if (!enter_xsave(cpu, insn, address)) return false;
    Area area;
    if (!cpu.probe_write(insn.segment, address, sizeof area) || !cpu.read(insn.segment, address, area)) return false;
    const u64 components = requested(cpu);
    fill_components(cpu, insn, components, area);
    area.header.present = compacted ? components : area.header.present | components;
    if (compacted) area.header.compact = kCompacted | components;
    return cpu.write(insn.segment, address, area);
}

bool header_is_valid(const Cpu& cpu, const Header& header) {
    const bool compacted = header.compact & kCompacted;
    if (compacted && !has_feature(cpu.model(), CpuFeature::xsavec)) return false;
    const u64 possible = compacted ? header.compact & ~kCompacted : cpu.xcr0();
    if ((header.present & ~possible) || (possible & ~cpu.xcr0())) return false;
    if (!compacted && header.compact) return false;
    // The standard form looks at bytes 23:8 only, the compacted form at all that are reserved (SDM vol. 1, 13.8).
    u64 reserved = header.reserved[0];
    for (unsigned i = 1; compacted && i < 6; ++i) reserved |= header.reserved[i];
    return reserved == 0;
}

bool op_xrstor(Cpu& cpu, const Insn& insn) {
    u64 address = 0;
    if (!enter_xsave(cpu, insn, address)) return false;
    Area area;
    if (!cpu.read(insn.segment, address, area)) return false;
    if (!header_is_valid(cpu, area.header)) return cpu.raise_gp(0);
    const u64 components = requested(cpu);
    const u64 loaded = components & area.header.present;
    const bool compacted = area.header.compact & kCompacted;
    // MXCSR belongs to the SSE component; but the standard form loads it whatever XSTATE_BV says.
    const bool load_mxcsr = (components & kXcr0Sse) && (!compacted || (loaded & kXcr0Sse));
    FxArea& legacy = area.legacy.legacy;
    if (load_mxcsr && (legacy.mxcsr & ~kMxcsrMask)) return cpu.raise_gp(0);

    FpuState& fpu = cpu.state.fpu;
    static constexpr FxArea kInitialX87 = {.control = 0x37F};
    if (components & kXcr0X87) take_fx_area(insn, loaded & kXcr0X87 ? legacy : kInitialX87, fpu);
    if (components & kXcr0Sse) {
        constexpr u32 kInitialMxcsr = 0x1F80;
        fpu.mxcsr = load_mxcsr ? legacy.mxcsr : kInitialMxcsr;
        const unsigned bytes = xmm_count(insn) * 16u;
        if (loaded & kXcr0Sse)
            std::memcpy(fpu.xmm, area.legacy.xmm, bytes);
        else
            std::memset(fpu.xmm, 0, bytes);
    }
    cpu.state.ip = next_ip(cpu, insn);
    return true;
}

}  // namespace

}  // namespace lodge::x87

namespace lodge {

InsnHandler bind_xsave(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::XSAVE:
        case Opcode::XSAVEOPT:
            return chained<x87::op_xsave<false>>;
        case Opcode::XSAVEC:
            return chained<x87::op_xsave<true>>;
        case Opcode::XRSTOR:
            return ending<x87::op_xrstor>;
        default:
            return nullptr;
    }
}

}  // namespace lodge
