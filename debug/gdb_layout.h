// The registers as gdb numbers them, and the description that it fetches (target.xml). gdb keeps it for as long as it
// is connected, so it does not follow the CPU's mode: a CPU with long mode always shows the 64-bit layout, one without
// it the 32-bit layout, in which gdb also reads 32-bit stacks and symbols. A user can ask for the other one.
//
// `rip` (`eip`) is the linear address of the next instruction, whatever CS's base is, so that breakpoints, stepping and
// x/i meet in real mode too; the offset into CS is `ip_offset`.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "debug/inspector.h"

namespace lodge::debug {

enum class GdbArchitecture : u8 { i386, x86_64 };

struct GdbRegister {
    std::string name;                     // gdb's
    const RegisterName* lodge = nullptr;  // null: always 0 (what does not exist in this layout)
    unsigned bits = 0;
};

class GdbLayout {
  public:
    explicit GdbLayout(GdbArchitecture architecture);

    GdbArchitecture architecture() const { return architecture_; }
    std::span<const GdbRegister> registers() const { return registers_; }
    const std::string& target_xml() const { return target_xml_; }
    size_t program_counter() const { return program_counter_; }
    size_t stack_pointer() const { return stack_pointer_; }

  private:
    void add(const char* gdb_name, const char* lodge_name, unsigned bits, const char* type, const char* group = "");
    void add_core();
    void add_sse();
    void add_segments();
    void add_system();

    GdbArchitecture architecture_;
    std::vector<GdbRegister> registers_;
    std::string target_xml_;
    size_t program_counter_ = 0, stack_pointer_ = 0;
};

}  // namespace lodge::debug
