// Which of a hot block's memory accesses are checked together: those through the same register, as long as it changes
// by known constants only. The first of a group checks all the bytes that the others touch.
#pragma once

#include <span>
#include <vector>

#include "core/decode/insn.h"
#include "jit/analysis.h"

namespace lodge::jit {

struct AccessGroup {
    u8 base = kNoRegister;
    bool write = false;
    // Bytes accessed, from the value of `base` at the block's start, or since it was last changed in another way.
    i64 low = 0, high = 0;
    size_t first = 0, last = 0;  // instructions
    u64 insns = 0;               // all of its instructions, one bit each
};

struct PlannedAccess {
    i32 group = -1;  // -1: checked alone, by its whole address
    bool first = false;
    bool test_alignment = false;
    u8 size = 0;
    i32 to_low = 0;  // from the register's present value to the group's first byte
};

struct AccessPlan {
    std::vector<AccessGroup> groups;
    std::vector<PlannedAccess> memory, stack;  // per instruction: its memory operand, and what it pushes or pops
    // All that the instruction accesses has been checked before.
    bool is_safe(size_t insn, bool has_operand) const;
    // A group has been checked before or in this instruction and is used behind it.
    bool is_used_behind(size_t insn) const;
};

// Instructions, one bit each: `single`, whose accesses are in no group with others; `plain`, whose accesses are not
// planned.
AccessPlan plan_accesses(std::span<const Insn> insns, const std::vector<bool>& native,
                         const std::vector<InsnFlags>& effects, u32 mode, u64 single, u64 plain);

}  // namespace lodge::jit
