// Random instructions with random operands on the interpreter and on the host: every register, flag, fault and byte of
// data must agree, undefined results included where both take them from the same CPU.
#pragma once

namespace lodge {

// Prints each difference. 0 when there was none, else 1.
int run_random(unsigned long count, unsigned long seed);

}  // namespace lodge
