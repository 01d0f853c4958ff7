// Differences that are known, by the file known_failures.txt, and the groups that cases are counted by.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/oracle/oracle_case.h"

namespace lodge::oracle {

class KnownFailures {
  public:
    bool load(const std::string& path);
    bool forgives(const OracleCase& made, const OracleOutcome& guest, const OracleOutcome& host) const;

  private:
    std::vector<std::string> mnemonics_;
};

// Heading of mnemonics.inc under which the instruction stands.
std::string_view group_of(Opcode opcode);

}  // namespace lodge::oracle
