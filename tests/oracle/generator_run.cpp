// Cases of several instructions. Registers hold addresses of data as often as not, and branches lead to a later
// instruction of the case or to its end, so that most runs get far before something faults.
//
// Flags that an instruction leaves undefined are not compared, and no instruction behind it may read them.
#include "tests/oracle/exclusions.h"
#include "tests/oracle/generator.h"

namespace lodge::oracle {
namespace {

constexpr unsigned kMostInRun = 7;

bool is_branch(const Insn& insn) {
    return insn.operands[0].kind == OperandKind::relative;
}

}  // namespace

void Generator::draw_run_state(OracleCase& made) {
    draw_state(made);
    auto& gpr = made.before.gpr;
    for (unsigned reg = 0; reg < 16; ++reg)
        if (reg != 4 && chance(75)) gpr[reg] = kData + 0x200 + (random_() % 0x1C00 & (chance(65) ? ~u64{15} : ~u64{0}));
    if (chance(70)) gpr[1] = random_() % 24;
    gpr[4] = kData + 0x400 + random_() % 0x180 * 8;
}

// Operands without a register to aim with.
void Generator::aim_in_run(const OracleCase& made, Draft& draft, Insn& insn) {
    if (!insn.has_memory()) return;
    const bool is_absolute = insn.base == kNoRegister && insn.index == kNoRegister;
    if (insn.base != kBlockIp && !is_absolute) return;
    if (insn.modrm == 0 && draft.displacement_size == 0) {  // MOV moffs
        draft.displacement_size = insn.address_size;
        draft.displacement_at = draft.bytes.size() - insn.address_size;
    }
    u64 target = address(16);
    if (insn.segment == Segment::fs) target -= made.code64 ? made.before.fs_base : fs32_.base;
    if (insn.segment == Segment::gs && made.code64) target -= made.before.gs_base;
    if (insn.base == kBlockIp) target -= made.before.ip + made.bytes.size() + draft.bytes.size();
    set_displacement(draft.bytes.data(), draft, insn, target);
}

// One more instruction. `undefined`: flags that nothing may read.
bool Generator::draw_for_run(OracleCase& made, bool is_last, u32& undefined) {
    const auto& rows = rows_[made.code64];
    Draft draft;
    draft.row = &kEncodings[rows[random_() % rows.size()]];
    draft.code64 = made.code64;
    draft.in_run = true;
    Insn insn;
    if (draw_bytes(draft, insn) != DecodeStatus::ok || insn.opcode != draft.row->opcode) return false;
    if (!may_be_in_run(insn) || means_different_things(insn)) return false;
    // A trap behind the case would come where the sides differ.
    if (is_last && insn.opcode == Opcode::POPF) return false;
    const OpcodeFacts& facts = lodge::facts(insn.opcode);
    const bool faults = facts.privileged || insn.opcode == Opcode::INT || (facts.iopl_sensitive && facts.can_fault);
    if (faults && !is_last && chance(95)) return false;
    if (facts.flags_read & undefined) return false;
    const bool may_be_skipped = std::any_of(made.run.begin(), made.run.end(), is_branch);
    if (!may_be_skipped && !facts.may_keep_flags) undefined &= ~facts.flags_written;
    undefined |= facts.flags_undefined;
    aim_in_run(made, draft, insn);
    made.bytes.insert(made.bytes.end(), draft.bytes.begin(), draft.bytes.end());
    made.run.push_back(insn);
    return true;
}

void Generator::join_branches(OracleCase& made) {
    size_t end = 0;  // of the instruction
    for (size_t i = 0; i < made.run.size(); ++i) {
        Insn& insn = made.run[i];
        end += insn.length;
        if (!is_branch(insn)) continue;
        u64 distance = 0;
        for (size_t later = i + 1 + random_() % (made.run.size() - i); later-- > i + 1;)
            distance += made.run[later].length;
        const unsigned size = insn.operands[0].size;
        for (unsigned byte = 0; byte < size; ++byte)
            made.bytes[end - size + byte] = static_cast<u8>(distance >> 8 * byte);
        insn.immediate = distance;
    }
}

bool Generator::try_make_run(OracleCase& made) {
    made.before.ip = draw_ip();
    draw_run_state(made);
    const size_t count = 2 + random_() % (kMostInRun - 1);
    u32 undefined = 0;
    for (unsigned tries = 0; made.run.size() < count; ++tries) {
        if (tries == 100) return false;
        draw_for_run(made, made.run.size() + 1 == count, undefined);
    }
    join_branches(made);
    return true;
}

}  // namespace lodge::oracle
