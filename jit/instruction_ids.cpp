#include "jit/instruction_ids.h"

#include <asmjit/x86.h>

#include <cctype>
#include <string>

namespace lodge::jit {

InstructionIds instruction_ids(bool (*wanted)(Opcode)) {
    InstructionIds ids{};
    for (size_t i = 0; i < kOpcodeCount; ++i) {
        const auto opcode = static_cast<Opcode>(i);
        if (!wanted(opcode)) continue;
        std::string name(name_of(opcode));
        for (char& letter : name) letter = static_cast<char>(std::tolower(letter));
        ids[i] = static_cast<u16>(asmjit::InstAPI::stringToInstId(asmjit::Arch::kX64, name.data(), name.size()));
    }
    return ids;
}

}  // namespace lodge::jit
