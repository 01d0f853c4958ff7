#include "core/interp/bind.h"

namespace lodge {

namespace {

bool op_undefined(Cpu& cpu, const Insn&) {
    return cpu.raise_ud();
}

}  // namespace

InsnHandler bind(const Insn& insn, const CpuModel& model) {
    if (!has_feature(model, required_feature(insn))) return chained<op_undefined>;
    using Binder = InsnHandler (*)(const Insn&);
    static constexpr Binder kBinders[] = {bind_integer, bind_move,   bind_branch, bind_shift,
                                          bind_string,  bind_system, bind_x87,    bind_simd};
    for (const Binder binder : kBinders)
        if (const InsnHandler handler = binder(insn)) return handler;
    return chained<op_undefined>;
}

}  // namespace lodge
