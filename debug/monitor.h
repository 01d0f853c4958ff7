// Commands of one line for people: gdb's `monitor`, and whatever else takes a line. The same words everywhere.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "debug/debugger.h"
#include "debug/inspector.h"

namespace lodge::debug {

class Monitor {
  public:
    // Takes pieces of output as they come, lines with their ends.
    using Output = std::function<void(std::string_view)>;
    // What follows the command's name, in words. False: usage.
    using Handler = std::function<bool(const std::vector<std::string>& words, const Output& out)>;

    Monitor(Debugger& debugger, Inspector& inspector);

    // Adds a command or, for a name like "info pci", a topic. `usage`: what follows the name; `help`: one line.
    void add(std::string name, std::string usage, std::string help, Handler handler);
    // False: no such command, or bad usage; the output then says so.
    bool execute(std::string_view line, const Output& out);

  private:
    struct Command {
        std::string usage, help;
        Handler handler;
    };
    void add_running();
    void add_looking();
    void add_points();
    void add_memory();
    void add_devices();
    void print_help(const Output& out) const;

    Debugger& debugger_;
    Inspector& inspector_;
    std::map<std::string, Command, std::less<>> commands_;
};

// A number: 0x.., decimal, NAME of a register, SEG:OFFSET, or sums and differences of these. Nothing: none of it.
std::optional<u64> parse_address(Inspector& inspector, std::string_view text);
// A condition on registers and memory, as `rax == 5 && [rsp+8] != 0`: comparisons of such sums, joined by && and ||.
Result<std::function<bool()>> parse_condition(Inspector& inspector, std::string_view text);

}  // namespace lodge::debug
