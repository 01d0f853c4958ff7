#include "tests/oracle/known_failures.h"

#include <algorithm>
#include <cstdio>
#include <fstream>

namespace lodge::oracle {

bool KnownFailures::load(const std::string& path) {
    std::ifstream file(path);
    if (!file) {
        std::fprintf(stderr, "cannot read %s\n", path.c_str());
        return false;
    }
    std::string line;
    while (std::getline(file, line)) {
        const std::string name = line.substr(0, line.find_first_of(" #"));
        if (!name.empty()) mnemonics_.push_back(name);
    }
    return true;
}

bool KnownFailures::forgives(const OracleCase& made, const OracleOutcome&, const OracleOutcome&) const {
    return std::find(mnemonics_.begin(), mnemonics_.end(), name_of(made.insn.opcode)) != mnemonics_.end();
}

std::string_view group_of(Opcode opcode) {
    struct Group {
        Opcode last;
        std::string_view name;
    };
    static constexpr Group kGroups[] = {
        {Opcode::CWD, "arithmetic and logic"},
        {Opcode::CRC32, "shifts, rotates, bits"},
        {Opcode::LSS, "moves"},
        {Opcode::LEAVE, "stack"},
        {Opcode::SYSEXIT, "branches"},
        {Opcode::OUTS, "strings"},
        {Opcode::XTEST, "processor control"},
        {Opcode::FRSTOR, "x87"},
        {Opcode::PALIGNR, "MMX, and its XMM forms"},
        {Opcode::STMXCSR, "SSE"},
        {Opcode::PUNPCKHQDQ, "SSE2"},
        {Opcode::LDDQU, "SSE3"},
        {Opcode::MOVNTSS, "SSE4"},
        {Opcode::SHA1RNDS4, "AES, PCLMULQDQ, SHA"},
    };
    for (const Group& group : kGroups)
        if (opcode <= group.last) return group.name;
    return "AVX and later";
}

}  // namespace lodge::oracle
