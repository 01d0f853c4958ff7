// Everything about two CPUs that must be the same, for comparing and for telling people what is not.
#pragma once

#include <string>
#include <vector>

#include "core/cpu/cpu.h"

namespace lodge::lockstep {

struct Field {
    std::string name;
    u64 interpreter, translator;
};

std::vector<Field> cpu_fields(const Cpu& interpreter, const Cpu& translator);
// Bit for bit: what EngineState says of translated code apart.
bool same_cpus(const Cpu& interpreter, const Cpu& translator);
// All fields, those that differ marked.
void print_fields(const Cpu& interpreter, const Cpu& translator);

// The instruction at `ip`, as text.
std::string disassemble_at(Cpu& cpu, u64 ip, unsigned& length);

}  // namespace lodge::lockstep
