// What must be the same after a case.
#pragma once

#include <span>
#include <string>

#include "tests/oracle/oracle_case.h"

namespace lodge::oracle {

// Bytes of memory that are not architecturally defined (the x87's last instruction and operand, which the host may
// forget; how much a PUSHA that faults has pushed): copies them from `host` to `guest`.
void forgive_memory(const OracleCase& made, bool faulted, std::span<const u8> host, std::span<u8> guest);
// A line for each difference; empty when there is none.
std::string differences(const OracleCase& made, const OracleOutcome& guest, const OracleOutcome& host);
std::string memory_differences(std::span<const u8> guest, std::span<const u8> host);
// The mnemonics.
std::string name_of(const OracleCase& made);
// Everything about a case that one needs to look into it.
std::string describe(const OracleCase& made);

}  // namespace lodge::oracle
