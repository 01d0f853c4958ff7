// Random bytes through the decoder and the disassembler. The first byte picks the code size, the rest is code.
#include "core/decode/decoder.h"

#include <cstdlib>

#include "core/decode/disasm.h"

using namespace lodge;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

// What users of an Insn index arrays with.
void check_ranges(const Insn& insn) {
    require(insn.length >= 1 && insn.length <= kLongestInsn);
    require(insn.opcode != Opcode::INVALID && insn.opcode < Opcode::count);
    require(insn.operand_size == 2 || insn.operand_size == 4 || insn.operand_size == 8);
    require(insn.address_size == 2 || insn.address_size == 4 || insn.address_size == 8);
    require(insn.base <= kBlockIp && insn.index <= kNoRegister && insn.scale <= 3);
    require(insn.segment <= Segment::gs && insn.vvvv < 16);
    const u8 registers = insn.code_size == CodeSize::bits64 ? 16 : 8;
    for (unsigned i = 0; i < 4; ++i) {
        const Operand& operand = insn.operands[i];
        switch (operand.kind) {
            case OperandKind::gpr:
                require(operand.reg < registers || (operand.size == 1 && operand.reg >= 16 && operand.reg < 20));
                break;
            case OperandKind::xmm:
                require(operand.reg < registers);
                break;
            case OperandKind::segment:
                require(operand.reg < 6);
                break;
            case OperandKind::control:
                require(operand.reg <= 8);
                break;
            default:
                require(operand.reg < 8);
                break;
        }
        operand_access(insn, i);
    }
    required_feature(insn);
    ends_block(insn);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    if (size == 0) return 0;
    static constexpr CodeSize kSizes[] = {CodeSize::bits16, CodeSize::bits32, CodeSize::bits64};
    const CodeSize code_size = kSizes[data[0] % 3];
    std::span<const u8> code(data + 1, size - 1);
    while (!code.empty()) {
        Insn insn;
        const DecodeStatus status = decode(code, code_size, insn);
        if (status == DecodeStatus::truncated) require(code.size() < kLongestInsn);
        if (status != DecodeStatus::ok) break;
        require(insn.length <= code.size());
        check_ranges(insn);
        require(!disassemble(insn, 0).empty());
        Insn shorter;  // nothing past the instruction was looked at, and all of it was
        require(decode(code.first(insn.length), code_size, shorter) == DecodeStatus::ok);
        require(decode(code.first(insn.length - 1u), code_size, shorter) == DecodeStatus::truncated);
        code = code.subspan(insn.length);
    }
    return 0;
}
