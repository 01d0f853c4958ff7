// What translated code looks like, for people and for perf.
#pragma once

#include <cstdio>
#include <span>
#include <string>

#include "core/base/types.h"
#include "jit/block.h"

namespace lodge::jit {

// Writes the block's guest instructions (lodge's disassembler), each with the host instructions it became (Capstone's).
// `guest`: the block's bytes; the addresses printed are backing addresses.
void write_listing(std::FILE* out, const Block& block, std::span<const u8> guest);

// What perf calls a block that was translated at this IP.
std::string perf_symbol(u64 ip);
// A line of /tmp/perf-PID.map, by which perf names samples in translated code.
void write_perf_symbol(std::FILE* out, const Block& block, u64 ip);

}  // namespace lodge::jit
