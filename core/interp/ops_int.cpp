// Integer arithmetic and logic.
#include "core/interp/alu.h"
#include "core/interp/bind.h"

namespace lodge {

namespace {

// An ALU operation that writes its destination.
#define LODGE_ALU_FORM(Name, function)                                                              \
    struct Name {                                                                                   \
        template <class T, class Destination, class Source>                                         \
        static bool run(Cpu& cpu, const Insn& insn) {                                               \
            T source;                                                                               \
            if (!Source::template read<T>(cpu, insn, source)) return false;                         \
            return Destination::template modify<T>(                                                 \
                cpu, insn, [&](T old) { return alu::function<T>(old, source, cpu.state.status); }); \
        }                                                                                           \
    };

LODGE_ALU_FORM(op_add, add)
LODGE_ALU_FORM(op_sub, sub)
LODGE_ALU_FORM(op_and, bit_and)
LODGE_ALU_FORM(op_or, bit_or)
LODGE_ALU_FORM(op_xor, bit_xor)

#undef LODGE_ALU_FORM

struct op_cmp {
    template <class T, class Destination, class Source>
    static bool run(Cpu& cpu, const Insn& insn) {
        T left, right;
        if (!Source::template read<T>(cpu, insn, right)) return false;
        if (!Destination::template read<T>(cpu, insn, left)) return false;
        alu::sub<T>(left, right, cpu.state.status);
        return true;
    }
};

}  // namespace

InsnHandler bind_integer(const Insn& insn) {
    switch (insn.opcode) {
        case Opcode::ADD:
            return bind_binary<op_add>(insn);
        case Opcode::SUB:
            return bind_binary<op_sub>(insn);
        case Opcode::AND:
            return bind_binary<op_and>(insn);
        case Opcode::OR:
            return bind_binary<op_or>(insn);
        case Opcode::XOR:
            return bind_binary<op_xor>(insn);
        case Opcode::CMP:
            return bind_binary<op_cmp>(insn);
        default:
            return nullptr;
    }
}

}  // namespace lodge
