#include "core/interp/bind.h"

namespace lodge {

namespace {

bool op_undefined(Cpu& cpu, const Insn&) {
    return cpu.raise_ud();
}

// A CPU that lacks TZCNT or LZCNT ignores their F3 prefix (SDM vol. 2, "TZCNT", "LZCNT").
Opcode without_prefix(Opcode opcode) {
    if (opcode == Opcode::TZCNT) return Opcode::BSF;
    if (opcode == Opcode::LZCNT) return Opcode::BSR;
    return opcode;
}

// What no CpuFeature tells.
bool lacks(const CpuModel& model, const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::CPUID:
            return !model.has_cpuid;
        case Opcode::LAHF:
        case Opcode::SAHF:
            return insn.code_size == CodeSize::bits64 && !(model.extended_ecx & kCpuidLahf64);
        case Opcode::NOP:  // 0F 1F and its neighbours came with the Pentium Pro
            return insn.operands[0].kind != OperandKind::none && !has_feature(model, CpuFeature::cmov);
        default:
            return false;
    }
}

}  // namespace

bool exists(const Insn& insn, const CpuModel& model) {
    return !lacks(model, insn) && has_feature(model, required_feature(insn));
}

Opcode opcode_in(const CpuModel& model, const Insn& insn) {
    return has_feature(model, required_feature(insn)) ? insn.opcode : without_prefix(insn.opcode);
}

InsnHandler bind(const Insn& decoded, const CpuModel& model) {
    Insn insn = decoded;
    insn.opcode = opcode_in(model, insn);
    if (!exists(insn, model)) return chained<op_undefined>;
    using Binder = InsnHandler (*)(const Insn&);
    static constexpr Binder kBinders[] = {bind_integer, bind_move,      bind_branch, bind_shift, bind_string,
                                          bind_system,  bind_extension, bind_xsave,  bind_x87,   bind_simd};
    for (const Binder binder : kBinders)
        if (const InsnHandler handler = binder(insn)) return handler;
    return chained<op_undefined>;
}

}  // namespace lodge
