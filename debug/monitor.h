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

    // Adds a command; its name may have two words, "info pci". `usage`: what follows the name; `help`: one line.
    void add(std::string name, std::string usage, std::string help, Handler handler);
    // False: no such command, or bad usage; the output then says so.
    bool execute(std::string_view line, const Output& out);

  private:
    struct Command {
        std::string usage, help;
        Handler handler;
    };
    void add_running();
    void add_cpu();
    void add_points();
    void add_memory();
    void add_devices();
    void print_help(const Output& out) const;
    // By way of `out`: what could not be parsed, or done.
    std::optional<u64> address(const std::string& text, const Output& out);
    bool add_point(StopPoint point, const std::vector<std::string>& condition, const Output& out);
    bool dump(bool physical, const std::vector<std::string>& words, const Output& out);
    bool step(const Step& step, const Output& out);
    std::optional<DevicePoint> device_point(const std::string& text);

    Debugger& debugger_;
    Inspector& inspector_;
    std::map<std::string, Command, std::less<>> commands_;
};

}  // namespace lodge::debug
