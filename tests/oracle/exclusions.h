// What is not drawn, and why.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "core/decode/insn.h"

namespace lodge::oracle {

inline bool is_one_of(Opcode opcode, std::initializer_list<Opcode> list) {
    return std::find(list.begin(), list.end(), opcode) != list.end();
}

bool is_near_branch(Opcode opcode);
bool is_sha(Opcode opcode);

// Why cases of this row are not drawn in this kind of code; empty when they are.
std::string_view reason_not_to_draw(unsigned row, bool code64);

// Where processors differ without any being wrong.
bool means_different_things(const Insn& insn);

// Whether processors disagree on how many bytes the instruction has: those that no longer exist or never did (SDM vol.
// 2, "UD"), and near branches with 66 (see above).
bool has_length_of_its_own(Opcode opcode);

// Whether the instruction may be one of several: what comes of it needs no special look, and it leaves nothing behind
// that processors do not agree on.
bool may_be_in_run(const Insn& insn);

// Instructions whose accesses are made in several pieces: which of them faults first, and what has been done by then,
// no manual says.
bool in_pieces(Opcode opcode);

}  // namespace lodge::oracle
