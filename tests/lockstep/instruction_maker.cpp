#include "tests/lockstep/instruction_maker.h"

#include <algorithm>

#include "core/cpu/state.h"
#include "core/decode/decoder.h"

namespace lodge::lockstep {

namespace {

using enum Opcode;

bool is_one_of(Opcode opcode, std::initializer_list<Opcode> list) {
    return std::find(list.begin(), list.end(), opcode) != list.end();
}
bool is_between(Opcode opcode, Opcode first, Opcode last) {
    return opcode >= first && opcode <= last;
}

// Of Flavour: in the order of mnemonics.inc.
unsigned kind_of(const Encoding& row) {
    if (row.map >= OpcodeMap::vex0F) return 7;
    const Opcode opcode = row.opcode;
    if (opcode <= CRC32) return 0;
    if (opcode <= LSS) return 1;
    if (opcode <= LEAVE) return 2;
    if (is_between(opcode, MOVS, OUTS)) return 3;
    if (opcode < FLD) return 4;
    if (opcode <= FRSTOR) return 5;
    return 6;
}

// How many of a hundred draws are kept; what is not here is always kept.
unsigned welcome(const Insn& insn, bool supervisor) {
    const Opcode opcode = insn.opcode;
    // The structure of the program makes branches.
    if (is_between(opcode, JO, CALL) || is_one_of(opcode, {RET, JMPF, CALLF, RETF, IRET, INT, SYSCALL, SYSENTER}))
        return 1;
    if (is_one_of(opcode, {SYSRET, SYSEXIT, LGDT, LIDT, LTR, LMSW, XSETBV, RSM})) return supervisor ? 1 : 20;
    if (is_one_of(opcode, {MOV_CR, MOV_DR, MOV_TR, WRMSR, LLDT, SWAPGS, WRFSBASE, WRGSBASE}))
        return supervisor ? 3 : 30;
    if (is_one_of(opcode, {UD0, UD1, UD2, RDPMC, INT1, INVD, WBINVD, VMCALL, MONITOR, MWAIT})) return 10;
    if (is_one_of(opcode, {HLT, BOUND, INTO, DIV, IDIV})) return 20;
    if (is_one_of(opcode, {MOV_SEG, POP_SEG, LDS, LES, LFS, LGS, LSS})) return 10;
    if (is_one_of(opcode, {PUSH, POP, PUSHA, POPA, POPF, ENTER, LEAVE})) return 30;
    if (is_one_of(opcode, {LDMXCSR, FLDCW, FRSTOR, FXRSTOR, FLDENV, XRSTOR})) return 15;
    if (is_one_of(opcode, {STD, CLI, STI})) return 60;
    const bool repeats = insn.prefixes & (kPrefixRep | kPrefixRepne);
    if (is_between(opcode, MOVS, OUTS)) return repeats ? 3 : 60;
    return 100;
}

}  // namespace

InstructionMaker::InstructionMaker(Random& random, const CpuModel& model, const Flavour& flavour, bool code64)
    : random_(random),
      model_(model),
      weights_{flavour.integer, flavour.moves, flavour.stack, flavour.strings,
               flavour.control, flavour.x87,   flavour.simd,  flavour.later},
      code64_(code64) {
    for (unsigned i = 1; i < kEncodings.size(); ++i) {
        const Encoding& row = kEncodings[i];
        if (!(row.modes >> code64 & 1) || (!code64 && (row.wide == 0b10 || row.rex_b == 0b10))) continue;
        rows_[kind_of(row)].push_back(i);
    }
    for (const unsigned weight : weights_) total_ += weight;
}

const Encoding& InstructionMaker::draw_row() {
    u64 pick = random_.below(total_);
    unsigned kind = 0;
    while (pick >= weights_[kind]) pick -= weights_[kind++];
    return kEncodings[rows_[kind][random_.below(rows_[kind].size())]];
}

void InstructionMaker::draw_prefixes(Draft& draft, const Surroundings& around) {
    const Encoding& row = *draft.row;
    unsigned prefix = kNoPrefix;
    if (row.prefixes == 0b1111) {
        const u64 pick = random_.below(32);
        prefix = pick < 22 ? kNoPrefix : pick < 30 ? kPrefix66 : pick < 31 ? kPrefixF3 : kPrefixF2;
        if (is_between(row.opcode, MOVS, OUTS) && random_.chance(40)) prefix = kPrefixF3;
    } else {
        do {
            prefix = static_cast<unsigned>(random_.below(4));
        } while (!(row.prefixes >> prefix & 1));
    }
    auto& bytes = draft.legacy;
    if (prefix == kPrefixF3) bytes.push_back(0xF3);
    if (prefix == kPrefixF2) bytes.push_back(0xF2);
    if (prefix == kPrefix66 || (prefix >= kPrefixF3 && random_.chance(10))) bytes.push_back(0x66);
    if (random_.chance(5)) bytes.push_back(0x67);
    if (random_.chance(4)) bytes.push_back(static_cast<u8>(0x26 + random_.below(4) * 8));
    if (random_.chance(2)) bytes.push_back(random_.chance(50) ? 0x64 : 0x65);
    if (facts(row.opcode).lockable ? random_.chance(6) : random_.below(400) == 0) bytes.push_back(0xF0);
    std::shuffle(bytes.begin(), bytes.end(), random_);
    if (around.code_size != CodeSize::bits64) return;
    if (row.wide == 0b10 || (row.wide == 0b11 && random_.chance(35))) draft.rex = true, draft.rex_bits |= 8;
    if (random_.chance(10)) draft.rex = true;
}

void InstructionMaker::draw_address16(Draft& draft, const Surroundings& around, unsigned reg) {
    static constexpr u8 kForms[] = {4, 5, 7};  // SI, DI, BX: those that may hold pointers
    unsigned mod = static_cast<unsigned>(random_.below(3));
    unsigned rm = kForms[random_.below(3)];
    if (random_.chance(5)) rm = static_cast<unsigned>(random_.below(8));
    if (random_.chance(15)) mod = 0, rm = 6;
    draft.modrm = static_cast<u8>(mod << 6 | reg << 3 | rm);
    draft.displacement_size = mod;
    draft.displacement = static_cast<i64>(random_.below(256)) - 128;
    if (mod != 0 || rm != 6) return;
    draft.displacement_size = 2;
    draft.displacement = static_cast<i64>(around.data_offset + random_.below(around.data_size));
}

void InstructionMaker::draw_address32(Draft& draft, const Surroundings& around, unsigned reg) {
    const u8 base = around.pointers.empty() || random_.chance(3)
                        ? static_cast<u8>(random_.below(code64_ ? 16 : 8))
                        : around.pointers[random_.below(around.pointers.size())];
    if (random_.chance(12)) {  // no register; in 64-bit code relative to RIP
        draft.modrm = static_cast<u8>(reg << 3 | 5);
        draft.displacement_size = 4;
        draft.is_absolute = true;
        draft.displacement = static_cast<i64>(around.data_offset + random_.below(around.data_size));
        return;
    }
    unsigned mod = static_cast<unsigned>(random_.below(3));
    if (mod == 0 && (base & 7) == 5) mod = 1;
    draft.displacement_size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    draft.displacement = static_cast<i64>(random_.below(256)) - 128;
    if (mod == 2 && random_.chance(70)) draft.displacement = static_cast<i64>(random_.below(0x2000)) - 0x1000;
    // Most operands of SSE must be aligned.
    if (draft.row->opcode > FRSTOR && random_.chance(85)) draft.displacement &= ~i64{15};
    if (base & 8) draft.rex = true, draft.rex_bits |= 1;
    if ((base & 7) != 4 && random_.chance(70)) {
        draft.modrm = static_cast<u8>(mod << 6 | reg << 3 | (base & 7));
        return;
    }
    unsigned index = 4;  // none
    if (random_.chance(20)) index = random_.chance(70) ? 1 : static_cast<unsigned>(random_.below(code64_ ? 16 : 8));
    if (index & 8) draft.rex = true, draft.rex_bits |= 2;
    draft.modrm = static_cast<u8>(mod << 6 | reg << 3 | 4);
    draft.has_sib = true;
    draft.sib = static_cast<u8>(random_.below(4) << 6 | (index & 7) << 3 | (base & 7));
}

void InstructionMaker::draw_modrm(Draft& draft, const Surroundings& around) {
    const Encoding& row = *draft.row;
    unsigned reg;
    do {
        reg = static_cast<unsigned>(random_.below(8));
    } while (!(row.regs >> reg & 1));
    if (code64_ && row.regs == 0xFF && random_.chance(30)) draft.rex = true, draft.rex_bits |= 4;
    if (row.register_form && (!row.memory_form || random_.chance(55))) {
        unsigned rm;
        do {
            rm = static_cast<unsigned>(random_.below(8));
        } while (!(row.rms >> rm & 1));
        if (code64_ && row.rms == 0xFF && random_.chance(30)) draft.rex = true, draft.rex_bits |= 1;
        const unsigned mod = row.mod_ignored ? static_cast<unsigned>(random_.below(4)) : 3;
        draft.modrm = static_cast<u8>(mod << 6 | reg << 3 | rm);
        return;
    }
    const bool has67 = std::count(draft.legacy.begin(), draft.legacy.end(), 0x67) != 0;
    if (!code64_ && (around.code_size == CodeSize::bits16) != has67)
        draw_address16(draft, around, reg);
    else
        draw_address32(draft, around, reg);
}

bool InstructionMaker::try_make(const Surroundings& around, u64 ip, std::vector<u8>& bytes, Insn& insn) {
    Draft draft;
    draft.row = &draw_row();
    const Encoding& row = *draft.row;
    if (row.map >= OpcodeMap::vex0F) {  // in no model: #UD, whatever follows
        bytes = {0xC5, static_cast<u8>(0x80 | random_.below(128)), row.first, 0xC0};
        return decode(bytes, around.code_size, insn) == DecodeStatus::ok;
    }
    draw_prefixes(draft, around);
    if (row.has_modrm) draw_modrm(draft, around);
    if (row.rex_b != 0b11) draft.rex |= row.rex_b == 0b10, draft.rex_bits |= row.rex_b == 0b10;
    bytes = draft.legacy;
    if (code64_ && draft.rex) bytes.push_back(static_cast<u8>(0x40 | draft.rex_bits));
    static constexpr std::initializer_list<u8> kEscapes[] = {{}, {0x0F}, {0x0F, 0x38}, {0x0F, 0x3A}};
    const auto& escapes = kEscapes[static_cast<unsigned>(row.map)];
    bytes.insert(bytes.end(), escapes.begin(), escapes.end());
    bytes.push_back(static_cast<u8>(row.first + random_.below(static_cast<u64>(row.last - row.first + 1))));
    if (row.has_modrm) bytes.push_back(draft.modrm);
    if (draft.has_sib) bytes.push_back(draft.sib);
    const size_t displacement_at = bytes.size();
    for (unsigned i = 0; i < draft.displacement_size; ++i)
        bytes.push_back(static_cast<u8>(static_cast<u64>(draft.displacement) >> 8 * i));
    while (bytes.size() < kLongestInsn + 8) bytes.push_back(static_cast<u8>(random_integer(random_)));
    insn = Insn{};
    if (decode({bytes.data(), kLongestInsn}, around.code_size, insn) != DecodeStatus::ok) return false;
    if (insn.opcode != row.opcode) return false;
    bytes.resize(insn.length);
    if (draft.is_absolute && insn.base == kBlockIp)
        store(bytes.data() + displacement_at,
              static_cast<u32>(static_cast<u64>(draft.displacement) - ip - insn.length));
    // MOV with an absolute address and no ModRM
    if (insn.has_memory() && !row.has_modrm && insn.base == kNoRegister && insn.index == kNoRegister) {
        const u64 target = around.data_offset + random_.below(around.data_size);
        const unsigned size = insn.address_size;
        for (unsigned i = 0; i < size; ++i) bytes[bytes.size() - size + i] = static_cast<u8>(target >> 8 * i);
    }
    return is_wanted(insn, around);
}

bool InstructionMaker::writes_kept(const Insn& insn, u32 kept) const {
    for (unsigned i = 0; i < 4; ++i) {
        const Operand& operand = insn.operands[i];
        if (operand.kind != OperandKind::gpr) continue;
        const Access access = operand_access(insn, i);
        if (access != Access::write && access != Access::read_write) continue;
        const unsigned reg = operand.reg >= 16 ? operand.reg - 16u : operand.reg;
        if (kept >> reg & 1) return true;
    }
    switch (insn.opcode) {
        case POPA:
        case ENTER:
        case LEAVE:
            return kept >> kRbp & 1;
        case CPUID:
            return kept >> kRbx & 1;
        default:
            return false;
    }
}

bool InstructionMaker::is_wanted(const Insn& insn, const Surroundings& around) {
    const bool exists = has_feature(model_, required_feature(insn));
    if (!exists && !random_.chance(1)) return false;
    if (!random_.chance(welcome(insn, around.supervisor))) return false;
    if (facts(insn.opcode).privileged && !around.supervisor && !random_.chance(5)) return false;
    return !writes_kept(insn, around.kept) || random_.chance(2);
}

std::vector<u8> InstructionMaker::make(const Surroundings& around, u64 ip, Insn& insn) {
    std::vector<u8> bytes;
    while (!try_make(around, ip, bytes, insn)) {
    }
    return bytes;
}

}  // namespace lodge::lockstep
