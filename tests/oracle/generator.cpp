#include "tests/oracle/generator.h"

#include <algorithm>
#include <cstring>

#include "core/decode/decoder.h"
#include "core/decode/encoding.h"
#include "tests/oracle/exclusions.h"

namespace lodge::oracle {
namespace {

using enum Opcode;

bool is_string(Opcode opcode) {
    return opcode >= Opcode::MOVS && opcode <= Opcode::OUTS;
}
bool is_bit_string(Opcode opcode) {
    return is_one_of(opcode, {Opcode::BT, Opcode::BTS, Opcode::BTR, Opcode::BTC});
}

}  // namespace

Generator::Generator(u64 seed, Fs32 fs32, bool bits32, bool bits64, std::string_view only, unsigned runs)
    : seed_(seed), fs32_(fs32), runs_(only.empty() ? runs : 0) {
    for (unsigned row = 1; row < kEncodings.size(); ++row) {
        if (!only.empty() && name_of(kEncodings[row].opcode) != only) continue;
        if (bits32 && reason_not_to_draw(row, false).empty()) rows_[0].push_back(row);
        if (bits64 && reason_not_to_draw(row, true).empty()) rows_[1].push_back(row);
    }
}

// One whose descriptor both sides know.
u16 Generator::selector() {
    static constexpr u16 kSelectors[] = {0,    1,    2,    3,    0x23, 0x2B, 0x2B,   0x33,
                                         0x28, 0x2A, 0x20, 0x31, 0x83, 0x07, 0xFFF3, 0x33};
    return kSelectors[random_() % std::size(kSelectors)];
}

void Generator::fill(u64 number, std::span<u8> data) {
    seed(number * 2 + 1);
    for (size_t at = 0; at + 16 <= data.size(); at += 16) random_operand(random_, data.data() + at);
}

void Generator::draw_prefixes(Draft& draft) {
    const Encoding& row = *draft.row;
    unsigned prefix = kNoPrefix;
    if (row.prefixes == 0b1111) {
        const u64 pick = random_() % 16;
        prefix = pick < 10 ? kNoPrefix : pick < 13 ? kPrefix66 : pick < 15 ? kPrefixF3 : kPrefixF2;
        if (is_string(row.opcode) && random_() % 2) prefix = random_() % 2 ? kPrefixF3 : kPrefixF2;
    } else {
        do {
            prefix = random_() % 4;
        } while (!(row.prefixes >> prefix & 1));
    }
    auto& bytes = draft.bytes;
    if (prefix == kPrefixF3) bytes.push_back(0xF3);
    if (prefix == kPrefixF2) bytes.push_back(0xF2);
    if (prefix == kPrefix66 || (prefix >= kPrefixF3 && chance(15))) bytes.push_back(0x66);
    if (chance(8)) bytes.push_back(0x67);
    if (chance(12)) bytes.push_back(chance(50) ? 0x64 : 0x65);
    if (chance(3)) bytes.push_back(static_cast<u8>(0x26 + random_() % 4 * 8));
    const bool fs_is_needed = !draft.code64 && std::count(bytes.begin(), bytes.end(), 0x67) && chance(85);
    if (fs_is_needed && fs32_.base) bytes.push_back(0x64);
    if (facts(row.opcode).lockable ? chance(6) : random_() % 300 == 0) bytes.push_back(0xF0);
    // More of them than make sense; so many, now and then, that the instruction is too long.
    const unsigned more = chance(96) ? 0 : chance(90) ? 1 + random_() % 3 : 8 + random_() % 7;
    static constexpr u8 kPrefixes[] = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF2, 0xF3};
    for (unsigned i = 0; i < more; ++i) bytes.push_back(kPrefixes[random_() % std::size(kPrefixes)]);
    std::shuffle(bytes.begin(), bytes.end(), random_);
    if (!draft.code64) return;
    if (!bytes.empty() && chance(2))  // a REX that counts for nothing: another prefix follows
        bytes.insert(bytes.end() - 1, static_cast<u8>(0x40 | random_() % 16));
    const bool wide_matters = row.wide != 0b11, b_matters = row.rex_b != 0b11;
    draft.rex = (wide_matters && row.wide == 0b10) || (b_matters && row.rex_b == 0b10) || chance(60);
    if (!draft.rex) return;
    draft.rex_bits = static_cast<u8>(random_() & 7);
    draft.wide = row.wide == 0b10 || (row.wide == 0b11 && chance(50));
    if (b_matters) draft.rex_bits = static_cast<u8>((draft.rex_bits & 6) | (row.rex_b == 0b10));
    bytes.push_back(static_cast<u8>(0x40 | draft.wide << 3 | draft.rex_bits));
}

void Generator::draw_modrm(Draft& draft) {
    const Encoding& row = *draft.row;
    auto& bytes = draft.bytes;
    unsigned reg;
    do {
        reg = random_() % 8;
    } while (!(row.regs >> reg & 1));
    const bool register_form = row.register_form && (!row.memory_form || chance(40));
    unsigned rm = random_() % 8;
    if (register_form) {
        while (!(row.rms >> rm & 1)) rm = random_() % 8;
        const unsigned mod = row.mod_ignored ? random_() % 4 : 3;
        bytes.push_back(static_cast<u8>(mod << 6 | reg << 3 | rm));
        return;
    }
    const unsigned mod = random_() % 3;
    bytes.push_back(static_cast<u8>(mod << 6 | reg << 3 | rm));
    const bool address16 = !draft.code64 && std::count(bytes.begin(), bytes.end() - 1, 0x67) && bytes.size() > 1;
    draft.displacement_size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    if (address16) {
        if (mod == 2 || (mod == 0 && rm == 6)) draft.displacement_size = 2;
    } else if (rm == 4) {
        u8 sib = static_cast<u8>(random_());
        if (draft.in_run && chance(85)) sib |= 0x20;  // no index: its register holds an address or anything
        if (draft.in_run && chance(85)) sib &= 0xE7;
        bytes.push_back(sib);
        if (mod == 0 && (sib & 7) == 5) draft.displacement_size = 4;
    } else if (mod == 0 && rm == 5) {
        draft.displacement_size = 4;
    }
    draft.displacement_at = bytes.size();
    const u64 displacement = draft.in_run || chance(50) ? random_() % 256 - 128 : random_();
    for (unsigned i = 0; i < draft.displacement_size; ++i) bytes.push_back(static_cast<u8>(displacement >> 8 * i));
}

void Generator::draw_fpu(FxImage& fpu) {
    fpu = FxImage{};
    fpu.control = 0x37F;
    if (chance(60)) fpu.control = static_cast<u16>(0x40 | (random_() & 0xF3F & ~(chance(70) ? 0 : 0x3F)));
    if (chance(70)) fpu.control |= 0x3F;
    u16 flags = static_cast<u16>(random_() & 0x7F);
    if (!chance(5)) flags &= static_cast<u16>(fpu.control | 0x40);  // no exception is pending
    const bool pending = flags & ~fpu.control & 0x3F;
    fpu.status = static_cast<u16>((random_() & 0x7F00) | flags | (pending ? 0x8080 : 0));
    const u64 kind = random_() % 8;
    fpu.valid = kind < 5 ? 0xFF : static_cast<u8>(random_());
    fpu.mxcsr = chance(40) ? 0x1F80 : static_cast<u32>(random_() & 0xFFFF);
    if (chance(50)) fpu.mxcsr |= 0x1F80;
    const unsigned similar = random_() % 4;
    for (auto& st : fpu.st) {
        u64 low = value();
        u16 high = static_cast<u16>(value());
        const unsigned bits = similar == 0 ? 0 : random_() % 8;
        if (bits >= 2) {
            const u64 number = float_bits(15, 48);
            high = static_cast<u16>(number >> 48);
            low = number << 15 | (chance(60) ? random_() & 0x7FFF : 0);
            if (chance(30)) low &= ~u64{0} << random_() % 63;
            if (high & 0x7FFF)
                low |= u64{1} << 63;
            else
                low &= ~u64{0} >> 1;
            if (chance(3)) low ^= u64{1} << 63;  // unnormal, pseudo-denormal
        } else if (bits == 1) {                  // an exponent near that of one
            high = static_cast<u16>(0x3FFF + random_() % 9 - 4 + (random_() & 0x8000));
            low |= u64{1} << 63;
        }
        store<u64>(st, low);
        store<u16>(st + 8, high);
    }
    for (auto& xmm : fpu.xmm) {
        u64 low = value(), high = value();
        const u64 format = random_() % 4;
        if (format == 0) {
            low = float_bits(11, 52), high = float_bits(11, 52);
        } else if (format == 1) {
            low = float_bits(8, 23) | float_bits(8, 23) << 32, high = float_bits(8, 23) | float_bits(8, 23) << 32;
        }
        store<u64>(xmm, low);
        store<u64>(xmm + 8, high);
    }
    if (chance(20)) std::memcpy(fpu.xmm[random_() % 16], fpu.xmm[random_() % 16], 16);
}

void Generator::draw_state(OracleCase& made) {
    OracleState& state = made.before;
    for (u64& reg : state.gpr) reg = made.code64 ? value() : static_cast<u32>(value());
    state.gpr[4] = kData + 0x400 + random_() % 0x180 * 8;
    if (chance(5)) state.gpr[4] = address(8);
    if (chance(40)) state.gpr[5] = kData + 0x400 + random_() % 0xC00;
    state.flags = 0x202 | (static_cast<u32>(random_()) & kArithmeticFlags);
    if (chance(25)) state.flags |= kFlagDirection;
    if (chance(4)) state.flags |= kFlagAlignmentCheck;
    if (made.code64) {
        state.selectors = {0x2B, 0x2B, 0, 0};
        state.fs_base = chance(50) ? kWindow : 0;
        state.gs_base = chance(50) ? 0 : value() & 0x3FFFFFFFFFFF;
    } else {
        state.selectors = {0x2B, 0x2B, fs32_.selector, 0x2B};
    }
    draw_fpu(state.fpu);
}

// Where an access of `size` bytes is to begin: mostly within the data, often aligned; sometimes over one of its edges.
u64 Generator::address(u64 size) {
    size = std::clamp<u64>(size, 1, 0x400);
    const u64 kind = random_() % 100;
    constexpr u64 kEnd = kReadOnly + kReadOnlySize;
    if (kind < 3) return kEnd - random_() % (size + 1);
    if (kind < 5) return kReadOnly - random_() % (size + 1);
    if (kind < 7) return kData - random_() % (size + 1);
    if (kind < 9) return kReadOnly + random_() % (kReadOnlySize - size);
    if (kind < 11) return kData + kDataSize / 2 - random_() % (size + 1);
    const u64 at = kData + random_() % (kDataSize - size);
    return chance(65) ? at & ~u64{15} : at;
}

void Generator::aim(OracleCase& made, Draft& draft) {
    aim_implicit(made);
    if (made.insn.has_memory()) aim_memory(made, draft);
    keep_off_own_code(made);
}

u64 segment_base(const OracleCase& made, Segment segment, const Fs32& fs32) {
    if (segment == Segment::fs) return made.code64 ? made.before.fs_base : fs32.base;
    if (segment == Segment::gs) return made.code64 ? made.before.gs_base : 0;
    return 0;
}

void Generator::set_displacement(u8* bytes, const Draft& draft, Insn& insn, u64 displacement) {
    for (unsigned i = 0; i < draft.displacement_size; ++i)
        bytes[draft.displacement_at + i] = static_cast<u8>(displacement >> 8 * i);
    const unsigned unused = 64 - 8 * draft.displacement_size;
    insn.displacement = static_cast<i64>(displacement << unused) >> unused;
}

void Generator::aim_memory(OracleCase& made, Draft& draft) {
    Insn& insn = made.insn;
    auto& gpr = made.before.gpr;
    const Operand& memory = *insn.memory();
    const u64 size = memory.size ? memory.size : is_one_of(insn.opcode, {FXSAVE, FXRSTOR}) ? 512 : 8;
    const u64 mask = insn.address_size == 8 ? ~u64{0} : (u64{1} << 8 * insn.address_size) - 1;
    const u64 base_of_segment = segment_base(made, insn.segment, fs32_);
    const u64 target = address(size) - base_of_segment;
    if (is_bit_string(insn.opcode) && insn.operands[1].kind == OperandKind::gpr && insn.operands[1].reg != insn.base &&
        insn.operands[1].reg != insn.index && !chance(5))
        gpr[insn.operands[1].reg] = random_() % 0x400 - 0x200;
    const auto patch = [&](u64 displacement) { set_displacement(made.bytes.data(), draft, insn, displacement); };
    const auto index_part = [&] { return insn.index < 16 ? gpr[insn.index] << insn.scale : 0; };
    const auto displacement = [&] { return static_cast<u64>(insn.displacement); };
    const bool leave_wild = chance(2);
    if (insn.base == kBlockIp) {
        if (!leave_wild) patch(target - made.end());
    } else if (leave_wild) {
    } else if (insn.operands[0].kind == OperandKind::memory && insn.base == kNoRegister && insn.modrm == 0 &&
               draft.displacement_size == 0) {  // MOV moffs
        draft.displacement_size = insn.address_size;
        draft.displacement_at = made.bytes.size() - insn.address_size;
        patch(target);
        if (draft.displacement_size < 8) insn.displacement &= static_cast<i64>(mask);
    } else if (insn.operands[1].kind == OperandKind::memory && insn.base == kNoRegister && insn.modrm == 0 &&
               draft.displacement_size == 0) {
        draft.displacement_size = insn.address_size;
        draft.displacement_at = made.bytes.size() - insn.address_size;
        patch(target);
        if (draft.displacement_size < 8) insn.displacement &= static_cast<i64>(mask);
    } else if (insn.base < 16 && insn.base != insn.index) {
        u64& base = gpr[insn.base];
        const u64 wanted = (target - displacement() - index_part()) & mask;
        base = insn.address_size == 2                  ? (base & ~mask) | wanted
               : insn.address_size == 4 && made.code64 ? (random_() << 32) | wanted
                                                       : wanted;
    } else if (draft.displacement_size == 4) {
        const u64 base = insn.base < 16 ? gpr[insn.base] : 0;
        if (insn.index < 16 && insn.address_size == 8) {
            gpr[insn.index] = random_() % 0x400;
            patch(target - index_part() - (insn.base < 16 ? gpr[insn.base] : 0));
        } else {
            patch(target - base - index_part());
        }
    } else if (insn.base < 16 && insn.address_size >= 4 && insn.base == insn.index) {
        gpr[insn.base] = (target - displacement()) / ((u64{1} << insn.scale) + 1);
    } else if (draft.displacement_size == 2) {
        patch(target);
    }
    u64 at = displacement() + index_part();
    if (insn.base < 16) at += gpr[insn.base];
    if (insn.base == kBlockIp) at += made.end();
    made.accessed = (at & mask) + base_of_segment;
    if (!made.code64) made.accessed = *made.accessed & 0xFFFFFFFF;
}

void Generator::aim_implicit(OracleCase& made) {
    const Insn& insn = made.insn;
    auto& gpr = made.before.gpr;
    const u64 upper = made.code64 && insn.address_size == 4 && chance(30) ? random_() << 32 : 0;
    const u64 source_base = segment_base(made, insn.segment, fs32_);
    const u64 mask = insn.address_size == 8 ? ~u64{0} : 0xFFFFFFFF;
    if (is_string(insn.opcode)) {
        if (chance(90)) gpr[1] = (chance(80) ? random_() % 24 : random_() % 3000) | upper;
        if (chance(95)) gpr[6] = ((address(64) - source_base) & mask) | upper;
        if (chance(95)) gpr[7] = (chance(70) ? address(64) : gpr[6] + source_base + random_() % 64 - 32) | upper;
        return;
    }
    switch (insn.opcode) {
        case XLAT:
            gpr[3] = ((address(256) - source_base) & mask) | upper;
            break;
        case MASKMOVQ:
        case MASKMOVDQU:
            gpr[7] = ((address(16) - source_base) & mask) | upper;
            break;
        case LEAVE:
        case ENTER:
            if (chance(85)) gpr[5] = kData + 0x600 + random_() % 0x800;
            break;
        case JCXZ:
        case LOOP:
        case LOOPZ:
        case LOOPNZ:
            if (chance(60)) gpr[1] = random_() % 3 | upper;
            break;
        case DIV:
        case IDIV:  // quotients that fit
            if (chance(60)) gpr[2] = chance(50) ? random_() % 100 : 0 - random_() % 100;
            if (!made.code64) gpr[2] = static_cast<u32>(gpr[2]);
            break;
        case CMPXCHG:
            if (chance(40) && insn.operands[0].kind == OperandKind::gpr && insn.operands[0].reg < 16)
                gpr[0] = gpr[insn.operands[0].reg];
            break;
        case JMP:
        case CALL:
            if (insn.operands[0].kind == OperandKind::gpr && insn.operands[0].reg != 4 && chance(80))
                gpr[insn.operands[0].reg] = kCode + random_() % 16 * 16;
            break;
        case MOV_SEG:
        case LAR:
        case LSL:
        case VERR:
        case VERW:
        case ARPL:
            for (const Operand& operand : insn.operands)
                if (operand.kind == OperandKind::gpr && operand.reg != 4 && operand.reg < 16)
                    gpr[operand.reg] = (gpr[operand.reg] & ~u64{0xFFFF}) | selector();
            break;
        case JMPF:
        case CALLF:
            if (insn.operands[0].kind == OperandKind::far) {  // offset and selector end the instruction
                u8* end = made.bytes.data() + made.bytes.size();
                const u64 offset = kCode + random_() % 16 * 16;
                if (insn.operand_size == 2)
                    store(end - 4, static_cast<u16>(offset));
                else
                    store(end - 6, static_cast<u32>(offset));
                store(end - 2, selector());
            }
            break;
        case PCMPESTRI:
        case PCMPESTRM:
            if (chance(80)) gpr[0] = random_() % 40 - 20, gpr[2] = random_() % 40 - 20;
            if (!made.code64) gpr[0] = static_cast<u32>(gpr[0]), gpr[2] = static_cast<u32>(gpr[2]);
            break;
        default:
            break;
    }
}

bool takes_selector(Opcode opcode) {
    return is_one_of(opcode, {MOV_SEG, LDS, LES, LFS, LGS, LSS, LAR, LSL, VERR, VERW, JMPF, CALLF});
}

bool has_full_mask(const OracleCase& made) {
    const Operand& mask = made.insn.operands[1];
    const FxImage& fpu = made.before.fpu;
    const bool is_mmx = made.insn.opcode == MASKMOVQ;
    const u8* bytes = is_mmx ? fpu.st[(mask.reg - (fpu.status >> 11)) & 7] : fpu.xmm[mask.reg];
    return std::all_of(bytes, bytes + (is_mmx ? 8 : 16), [](u8 byte) { return byte & 0x80; });
}

// Takes out of a case what is left to the implementation. False: nothing of it would be left.
bool Generator::settle(OracleCase& made) {
    const Opcode opcode = made.insn.opcode;
    OracleState& state = made.before;
    switch (opcode) {
        case MASKMOVQ:
        case MASKMOVDQU: {
            // Whether bytes that the mask leaves out are looked at (SDM vol. 2 and APM vol. 4, "MASKMOVDQU"), and what
            // alignment is checked, no manual says.
            state.flags &= ~kFlagAlignmentCheck;
            if (has_full_mask(made)) break;
            if (made.insn.segment == Segment::cs && !made.code64) return false;  // not writable
            const u64 address = kData + random_() % (kDataSize - 16);
            const u64 mask = made.insn.address_size == 8 ? ~u64{0} : (u64{1} << 8 * made.insn.address_size) - 1;
            const u64 wanted = address - segment_base(made, made.insn.segment, fs32_);
            if (wanted & ~mask) return false;
            state.gpr[7] = (state.gpr[7] & ~mask) | wanted;
            break;
        }
        case FXSAVE:
        case FXRSTOR:  // #AC or #GP when not aligned: "may vary with implementation" (SDM vol. 2, "FXSAVE")
            state.flags &= ~kFlagAlignmentCheck;
            break;
        case POPF:
        case IRET:  // See prepare_data().
            state.gpr[4] = kData + 0x400 + random_() % 0xC00;
            break;
        case BT:
        case BTS:
        case BTR:
        case BTC:  // far from the operand's address; near RIP lies what the sides have behind the case
            if (made.insn.base == kBlockIp && made.insn.operands[1].kind == OperandKind::gpr) return false;
            break;
        case RETF:
            // AMD's look at CS before IP, at more bytes of it, and at the stack that is left before they check CS.
            state.gpr[4] = kData + 0x400 + random_() % 0x180 * 8;
            if (made.insn.operands[0].kind == OperandKind::immediate) {
                made.insn.immediate = made.insn.immediate % 0x400 & ~u64{7};
                store(made.bytes.data() + made.bytes.size() - 2, static_cast<u16>(made.insn.immediate));
            }
            break;
        default:
            break;
    }
    // A selector from memory that cannot be prepared: the sides' descriptors differ.
    constexpr u64 kFarPointer = 10;
    const auto reads_read_only = [](u64 at) { return at + kFarPointer > kReadOnly && at < kReadOnly + kReadOnlySize; };
    if (opcode == POP_SEG && reads_read_only(state.gpr[4])) return false;
    if (!made.accessed) return true;
    if (takes_selector(opcode) && reads_read_only(*made.accessed)) return false;
    // Intel's want SHA operands aligned (SDM vol. 2, "SHA1MSG1": exceptions type 4), AMD's do not.
    if (is_sha(opcode) && *made.accessed % 16) return false;
    constexpr u64 kLargest = 512;
    // What follows the case is not the same on both sides.
    return *made.accessed + kLargest < made.before.ip || *made.accessed >= made.end() + 16;
}

// A branch that lands within the case's own bytes would run something else, perhaps for ever.
void Generator::keep_off_own_code(OracleCase& made) {
    const Insn& insn = made.insn;
    if (insn.operands[0].kind != OperandKind::relative) return;
    const u64 from = made.before.ip, to = made.end() + 8;
    for (;;) {
        const u64 target = made.end() + made.insn.immediate;
        const u64 target16 = target & 0xFFFF;
        if ((target < from || target >= to) && (target16 < (from & 0xFFFF) || target16 >= (to & 0xFFFF))) return;
        const unsigned size = insn.operands[0].size;
        made.bytes[made.bytes.size() - size] = static_cast<u8>(random_());
        const u8* at = made.bytes.data() + made.bytes.size() - size;
        made.insn.immediate = static_cast<u64>(size == 1   ? static_cast<i64>(static_cast<i8>(*at))
                                               : size == 2 ? static_cast<i64>(load<i16>(at))
                                                           : static_cast<i64>(load<i32>(at)));
    }
}

void Generator::prepare_data(const OracleCase& made, std::span<u8> data) {
    const auto put = [&](u64 at, auto value) {
        if (at >= kData && at <= kData + kDataSize - sizeof value) store(data.data() + (at - kData), value);
    };
    random_.seed(made.before.gpr[3] ^ made.before.gpr[0] ^ seed_);
    const u64 code_address = kCode + random_() % 16 * 16;
    const u64 stack = made.before.gpr[4];
    const auto put_word = [&](u64 at, u64 word) {
        const unsigned size = made.insn.operand_size;
        if (size == 2)
            put(at, static_cast<u16>(word));
        else if (size == 4)
            put(at, static_cast<u32>(word));
        else
            put(at, word);
    };
    switch (made.insn.opcode) {
        case RET:
            if (chance(75)) put(stack, code_address);
            break;
        case IRET:
        case RETF: {
            const u64 flags = random_() & (chance(5) ? 0x3F7ED5 : 0xCD5);  // never TF
            const u64 words[] = {code_address, selector(), flags, kData + 0x400, chance(60) ? u16{0x2B} : selector()};
            const unsigned count = made.insn.opcode == RETF ? 2 : 5;
            for (unsigned i = 0; i < count; ++i) put_word(stack + i * made.insn.operand_size, words[i]);
            break;
        }
        case JMPF:
        case CALLF:
            if (made.accessed) {
                put_word(*made.accessed, code_address);
                put(*made.accessed + made.insn.operand_size, selector());
            }
            break;
        case JMP:
        case CALL:
            if (made.accessed && chance(75)) put(*made.accessed, code_address);
            break;
        case POPF:  // without TF: the trap would come behind the case, where the sides differ
            if (stack >= kData && stack <= kData + kDataSize - 8) data[stack - kData + 1] &= 0xFE;
            break;
        case LDMXCSR:
            if (made.accessed && chance(85)) put(*made.accessed, static_cast<u32>(random_() & 0xFFFF));
            break;
        case FXRSTOR:
            if (made.accessed && chance(90)) put(*made.accessed + 24, static_cast<u32>(random_() & 0xFFFF));
            break;
        case POP_SEG:
        case MOV_SEG:
        case LDS:
        case LES:
        case LFS:
        case LGS:
        case LSS:
        case LAR:
        case LSL:
        case VERR:
        case VERW: {
            const u16 chosen = selector();
            const bool far = made.insn.opcode >= LDS && made.insn.opcode <= LSS;
            if (made.insn.opcode == POP_SEG) put(stack, chosen);
            if (made.accessed) put(*made.accessed + (far ? made.insn.operand_size : 0), chosen);
            break;
        }
        case CMPXCHG8B:
        case CMPXCHG16B:
            if (made.accessed && chance(50)) {
                const unsigned half = made.insn.opcode == CMPXCHG8B ? 4 : 8;
                if (half == 4) {
                    put(*made.accessed, static_cast<u32>(made.before.gpr[0]));
                    put(*made.accessed + 4, static_cast<u32>(made.before.gpr[2]));
                } else {
                    put(*made.accessed, made.before.gpr[0]);
                    put(*made.accessed + 8, made.before.gpr[2]);
                }
            }
            break;
        case FBLD: {
            if (!made.accessed || chance(10)) break;
            u64 digits = 0;
            for (unsigned i = 0; i < 16; ++i) digits = digits << 4 | random_() % 10;
            put(*made.accessed, digits);
            put(*made.accessed + 8, static_cast<u8>(random_() % 10 << 4 | random_() % 10));
            break;
        }
        default:
            break;
    }
}

// Bytes of the row, and what they decode to. They are cut to the instruction's length when they are one.
DecodeStatus Generator::draw_bytes(Draft& draft, Insn& insn) {
    draw_prefixes(draft);
    static constexpr std::initializer_list<u8> kEscapes[] = {{}, {0x0F}, {0x0F, 0x38}, {0x0F, 0x3A}};
    draft.opcode_at = draft.bytes.size();
    const auto& escapes = kEscapes[static_cast<unsigned>(draft.row->map)];
    draft.bytes.insert(draft.bytes.end(), escapes.begin(), escapes.end());
    draft.bytes.push_back(
        static_cast<u8>(draft.row->first + random_() % static_cast<u64>(draft.row->last - draft.row->first + 1)));
    if (draft.row->has_modrm) draw_modrm(draft);
    while (draft.bytes.size() < kLongestInsn + 8) draft.bytes.push_back(static_cast<u8>(value()));
    const CodeSize code_size = draft.code64 ? CodeSize::bits64 : CodeSize::bits32;
    insn = Insn{};
    const DecodeStatus status = decode({draft.bytes.data(), kLongestInsn}, code_size, insn);
    if (status == DecodeStatus::ok) {
        draft.bytes.resize(insn.length);
        return status;
    }
    insn = Insn{};
    insn.code_size = code_size;
    draft.bytes.resize(kLongestInsn);
    return status;
}

namespace {

// The page at which Linux answers some system calls itself: no page fault there.
bool leads_to_vsyscall(const OracleCase& made) {
    constexpr u64 kVsyscall = 0xFFFFFFFFFF600000;
    if (made.insn.operands[0].kind != OperandKind::relative) return false;
    const u64 target = made.before.ip + made.insn.length + made.insn.immediate;
    return target - kVsyscall < 4096;
}

}  // namespace

bool Generator::try_make(OracleCase& made, unsigned number) {
    Draft draft;
    draft.row = &kEncodings[number];
    draft.code64 = made.code64;
    Insn& insn = made.insn;
    const DecodeStatus status = draw_bytes(draft, insn);
    const bool is_insn = status == DecodeStatus::ok;
    if (is_insn && insn.opcode != draft.row->opcode) return false;
    if (status == DecodeStatus::truncated) return false;
    if (status == DecodeStatus::too_long && has_length_of_its_own(draft.row->opcode)) return false;
    // How long bytes that are no instruction are, no manual says: not those that may be too long.
    if (status == DecodeStatus::invalid && (draft.opcode_at > 4 || !chance(10))) return false;
    // LOCK MOV CR0 is an invalid opcode with Intel's and a way to CR8 with AMD's (APM vol. 3, "MOV CRn").
    if (status == DecodeStatus::invalid && draft.row->opcode == Opcode::MOV_CR) return false;
    if (insn.opcode == INT && insn.immediate == 0x80) return false;  // a system call
    if (means_different_things(insn)) return false;
    if (is_insn) made.row = number;
    made.bytes = draft.bytes;
    made.before.ip = draw_ip();
    if (leads_to_vsyscall(made)) return false;
    draw_state(made);
    if (!is_insn) return true;
    aim(made, draft);
    if (!settle(made)) return false;
    if (chance(1) && !has_length_of_its_own(insn.opcode)) cut(made);
    return true;
}

// Now and then such that the case lies in both pages.
u64 Generator::draw_ip() {
    if (chance(5)) return kCode + kCodeSize / 2 - random_() % 20;
    return kCode + 0x800 + random_() % 0x400;
}

// Leaves only some bytes of the instruction, before a page that is not there.
void Generator::cut(OracleCase& made) {
    if (made.bytes.size() < 2) return;
    made.bytes.resize(1 + random_() % (made.bytes.size() - 1));
    made.before.ip = kCode + kCodeSize - made.bytes.size();
    made.accessed.reset();
    made.insn = Insn{};
    made.row = 0;
}

OracleCase Generator::make(u64 number) {
    seed(number * 2);
    const bool code64 = rows_[0].empty() || (!rows_[1].empty() && random_() % 3);
    const auto& rows = rows_[code64];
    const bool wants_run = chance(runs_);
    for (;;) {
        const unsigned row = rows[random_() % rows.size()];
        for (unsigned tries = 0; tries < 20; ++tries) {
            OracleCase made;
            made.code64 = code64;
            if (wants_run ? try_make_run(made) : try_make(made, row)) return made;
        }
    }
}

}  // namespace lodge::oracle
