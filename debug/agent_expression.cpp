#include "debug/agent_expression.h"

#include <array>

namespace lodge::debug {

namespace {

// Appendix F.2 "Bytecode Descriptions".
enum Opcode : u8 {
    kAdd = 0x02,
    kSub = 0x03,
    kMul = 0x04,
    kDivSigned = 0x05,
    kDivUnsigned = 0x06,
    kRemSigned = 0x07,
    kRemUnsigned = 0x08,
    kLsh = 0x09,
    kRshSigned = 0x0A,
    kRshUnsigned = 0x0B,
    kLogNot = 0x0E,
    kBitAnd = 0x0F,
    kBitOr = 0x10,
    kBitXor = 0x11,
    kBitNot = 0x12,
    kEqual = 0x13,
    kLessSigned = 0x14,
    kLessUnsigned = 0x15,
    kExt = 0x16,
    kRef8 = 0x17,
    kRef16 = 0x18,
    kRef32 = 0x19,
    kRef64 = 0x1A,
    kIfGoto = 0x20,
    kGoto = 0x21,
    kConst8 = 0x22,
    kConst16 = 0x23,
    kConst32 = 0x24,
    kConst64 = 0x25,
    kReg = 0x26,
    kEnd = 0x27,
    kDup = 0x28,
    kPop = 0x29,
    kZeroExt = 0x2A,
    kSwap = 0x2B,
    kPick = 0x32,
    kRot = 0x33,
};

constexpr size_t kMostOnStack = 64;
constexpr unsigned kMostSteps = 10000;

class Evaluation {
  public:
    Evaluation(std::span<const u8> code, const AgentTarget& target) : code_(code), target_(target) {}

    std::optional<u64> run() {
        for (unsigned steps = 0; steps < kMostSteps; ++steps) {
            u64 opcode = 0;
            if (!operand(1, opcode)) return {};
            if (opcode == kEnd) return depth_ ? std::optional<u64>(stack_[depth_ - 1]) : std::nullopt;
            if (!execute(static_cast<u8>(opcode))) return {};
        }
        return {};
    }

  private:
    // Operands are big-endian.
    bool operand(unsigned bytes, u64& value) {
        if (code_.size() - at_ < bytes) return false;
        value = 0;
        for (unsigned i = 0; i < bytes; ++i) value = value << 8 | code_[at_++];
        return true;
    }
    bool push(u64 value) {
        if (depth_ == kMostOnStack) return false;
        stack_[depth_++] = value;
        return true;
    }
    bool pop(u64& value) {
        if (depth_ == 0) return false;
        value = stack_[--depth_];
        return true;
    }

    bool execute(u8 opcode) {
        switch (opcode) {
            case kConst8:
                return constant(1);
            case kConst16:
                return constant(2);
            case kConst32:
                return constant(4);
            case kConst64:
                return constant(8);
            case kRef8:
                return reference(1);
            case kRef16:
                return reference(2);
            case kRef32:
                return reference(4);
            case kRef64:
                return reference(8);
            case kReg: {
                u64 number = 0;
                if (!operand(2, number)) return false;
                const auto value = target_.read_register(number);
                return value && push(*value);
            }
            case kGoto:
            case kIfGoto:
                return jump(opcode == kIfGoto);
            case kExt:
            case kZeroExt:
                return extend(opcode == kExt);
            case kLogNot:
            case kBitNot: {
                u64 value = 0;
                return pop(value) && push(opcode == kLogNot ? u64{value == 0} : ~value);
            }
            case kDup:
                return depth_ > 0 && push(stack_[depth_ - 1]);
            case kPop:
                return depth_ > 0 && depth_-- > 0;
            case kPick: {
                u64 depth = 0;
                return operand(1, depth) && depth < depth_ && push(stack_[depth_ - 1 - depth]);
            }
            case kSwap:
                if (depth_ < 2) return false;
                std::swap(stack_[depth_ - 1], stack_[depth_ - 2]);
                return true;
            case kRot:  // a b c => c a b
                if (depth_ < 3) return false;
                std::swap(stack_[depth_ - 1], stack_[depth_ - 2]);
                std::swap(stack_[depth_ - 2], stack_[depth_ - 3]);
                return true;
            default: {
                u64 b = 0, a = 0, result = 0;
                return pop(b) && pop(a) && combine(opcode, a, b, result) && push(result);
            }
        }
    }

    bool constant(unsigned bytes) {
        u64 value = 0;
        return operand(bytes, value) && push(value);
    }

    bool reference(unsigned bytes) {
        u64 address = 0;
        u8 value[8] = {};
        return pop(address) && target_.read_memory(address, {value, bytes}) && push(load<u64>(value));
    }

    bool jump(bool conditional) {
        u64 target = 0, condition = 1;
        if (!operand(2, target) || (conditional && !pop(condition))) return false;
        if (condition) at_ = static_cast<size_t>(target);
        return at_ < code_.size();
    }

    bool extend(bool is_signed) {
        u64 width = 0, value = 0;
        if (!operand(1, width) || !pop(value) || width == 0) return false;
        if (width >= 64) return push(value);
        const unsigned unused = static_cast<unsigned>(64 - width);
        return push(is_signed ? static_cast<u64>(static_cast<i64>(value << unused) >> unused)
                              : value << unused >> unused);
    }

    static bool combine(u8 opcode, u64 a, u64 b, u64& result) {
        const i64 signed_a = static_cast<i64>(a), signed_b = static_cast<i64>(b);
        // The one signed quotient that does not exist.
        const bool overflows = b == ~u64{0} && a == u64{1} << 63;
        switch (opcode) {
            case kAdd:
                result = a + b;
                return true;
            case kSub:
                result = a - b;
                return true;
            case kMul:
                result = a * b;
                return true;
            case kDivSigned:
                if (b == 0) return false;
                result = overflows ? a : static_cast<u64>(signed_a / signed_b);
                return true;
            case kDivUnsigned:
                if (b == 0) return false;
                result = a / b;
                return true;
            case kRemSigned:
                if (b == 0) return false;
                result = overflows ? 0 : static_cast<u64>(signed_a % signed_b);
                return true;
            case kRemUnsigned:
                if (b == 0) return false;
                result = a % b;
                return true;
            case kLsh:
                result = b < 64 ? a << b : 0;
                return true;
            case kRshSigned:
                result = static_cast<u64>(signed_a >> (b < 64 ? b : 63));
                return true;
            case kRshUnsigned:
                result = b < 64 ? a >> b : 0;
                return true;
            case kBitAnd:
                result = a & b;
                return true;
            case kBitOr:
                result = a | b;
                return true;
            case kBitXor:
                result = a ^ b;
                return true;
            case kEqual:
                result = a == b;
                return true;
            case kLessSigned:
                result = signed_a < signed_b;
                return true;
            case kLessUnsigned:
                result = a < b;
                return true;
            default:
                return false;
        }
    }

    std::span<const u8> code_;
    const AgentTarget& target_;
    size_t at_ = 0;
    std::array<u64, kMostOnStack> stack_{};
    size_t depth_ = 0;
};

}  // namespace

std::optional<u64> evaluate(std::span<const u8> bytecode, const AgentTarget& target) {
    return Evaluation(bytecode, target).run();
}

}  // namespace lodge::debug
