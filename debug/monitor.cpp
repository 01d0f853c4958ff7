#include "debug/monitor.h"

#include <algorithm>
#include <charconv>

#include "debug/expression.h"
#include "debug/text.h"

namespace lodge::debug {

namespace {

using Words = std::vector<std::string>;
using Output = Monitor::Output;

constexpr u64 kMostDumped = 4096, kMostListed = 1000;

std::string join(const Words& words, size_t from) {
    std::string text;
    for (size_t i = from; i < words.size(); ++i) text += (text.empty() ? "" : " ") + words[i];
    return text;
}

// From ` if CONDITION` on, which is taken out.
Words take_condition(Words& words) {
    const auto at = std::find(words.begin(), words.end(), "if");
    Words condition(at, words.end());
    words.erase(at, words.end());
    if (!condition.empty()) condition.erase(condition.begin());
    return condition;
}

std::optional<u8> parse_vector(const std::string& word) {
    const auto number = parse_number(word);
    if (number && *number <= 0xFF) return static_cast<u8>(*number);
    for (unsigned vector = 0; vector < 32; ++vector) {
        const std::string_view name = exception_name(static_cast<u8>(vector));
        if (name.empty()) continue;
        const std::string lower = lower_case(name.starts_with('#') ? name.substr(1) : name);
        if (lower_case(word) == lower || lower_case(word) == "#" + lower) return static_cast<u8>(vector);
    }
    return {};
}

std::optional<RegisterGroup> group_of(const std::string& word) {
    static constexpr std::string_view kNames[] = {"general", "segment", "control", "debug", "x87", "sse", "system"};
    for (size_t i = 0; i < std::size(kNames); ++i)
        if (kNames[i] == word) return static_cast<RegisterGroup>(i);
    return {};
}

std::string point_line(u32 number, const StopPoint& point) {
    std::string line = std::to_string(number) + "  " + describe(point.place);
    if (point.condition) line += ", with a condition";
    if (point.ignore) line += ", ignored " + std::to_string(point.ignore) + " times more";
    if (!point.enabled) line += ", disabled";
    return line + ", met " + std::to_string(point.hits) + " times\n";
}

}  // namespace

Monitor::Monitor(Debugger& debugger, Inspector& inspector) : debugger_(debugger), inspector_(inspector) {
    add("help", "", "this text", [this](const Words&, const Output& out) {
        print_help(out);
        return true;
    });
    add_running();
    add_cpu();
    add_points();
    add_memory();
    add_devices();
}

void Monitor::add(std::string name, std::string usage, std::string help, Handler handler) {
    commands_[std::move(name)] = {std::move(usage), std::move(help), std::move(handler)};
}

void Monitor::print_help(const Output& out) const {
    for (const auto& [name, command] : commands_)
        out(format("%-44s %s\n", (name + (command.usage.empty() ? "" : " ") + command.usage).c_str(),
                   command.help.c_str()));
    out("Addresses are linear: 0x1000, rip+4, 07c0:0010. CONDITION: rax == 5 && dword[rsp+4] != 0.\n");
}

bool Monitor::execute(std::string_view line, const Output& out) {
    Words words = split_words(line);
    if (words.empty()) words = {"help"};
    for (const size_t length : {size_t{2}, size_t{1}}) {
        if (words.size() < length) continue;
        const auto found = commands_.find(length == 2 ? words[0] + " " + words[1] : words[0]);
        if (found == commands_.end()) continue;
        const Words rest(words.begin() + static_cast<std::ptrdiff_t>(length), words.end());
        if (found->second.handler(rest, out)) return true;
        out("usage: " + found->first + " " + found->second.usage + "\n");
        return false;
    }
    const std::string first = words[0] + " ";
    const auto topics = commands_.lower_bound(first);
    if (topics != commands_.end() && topics->first.starts_with(first)) {
        out(words[0] + " what?");
        for (auto at = topics; at != commands_.end() && at->first.starts_with(first); ++at)
            out(" " + at->first.substr(first.size()));
        out("\n");
        return false;
    }
    out("no such command: " + words[0] + "; 'help' lists them\n");
    return false;
}

std::optional<u64> Monitor::address(const std::string& text, const Output& out) {
    const auto expression = parse_expression(inspector_, text);
    if (!expression) {
        out(expression.error().context + "\n");
        return {};
    }
    const auto value = (*expression)();
    if (!value) out(text + ": has no value now\n");
    return value;
}

// --- Running

bool Monitor::step(const Step& step, const Output& out) {
    if (auto stepped = debugger_.step(step); !stepped) out(stepped.error().context + "\n");
    return true;
}

void Monitor::add_running() {
    add("info status", "", "whether it runs, and why it stands", [this](const Words&, const Output& out) {
        const Machine& machine = debugger_.machine();
        out(debugger_.running() ? std::string("running") : "stopped: " + debugger_.last_stop().text);
        out(format(", %llu instructions retired, guest time %.9f s, speed %.3f %%\n",
                   static_cast<unsigned long long>(machine.cpu().state.retired),
                   static_cast<double>(debugger_.machine().clock().now()) / 1e9,
                   static_cast<double>(machine.speed()) / 1000));
        return true;
    });
    add("stop", "", "pause", [this](const Words&, const Output&) {
        debugger_.pause();
        return true;
    });
    add("cont", "", "go on", [this](const Words&, const Output&) {
        debugger_.resume();
        return true;
    });
    add("step", "[N]", "N instructions, as step-interrupts and step-faults say",
        [this](const Words& words, const Output& out) {
            Step request;
            request.hold_interrupts = debugger_.manners.hold_interrupts;
            request.faults = debugger_.manners.faults;
            if (!words.empty()) {
                const auto count = parse_number(words[0]);
                if (!count) return false;
                request.count = *count;
            }
            return step(request, out);
        });
    add("until", "interrupt|device|mode|branch", "go on to the next of these",
        [this](const Words& words, const Output& out) {
            static const std::map<std::string, StepUntil> kKinds = {{"interrupt", StepUntil::interrupt},
                                                                    {"device", StepUntil::device_access},
                                                                    {"mode", StepUntil::mode_switch},
                                                                    {"branch", StepUntil::branch}};
            if (words.size() != 1 || !kKinds.contains(words[0])) return false;
            Step request;
            request.until = kKinds.at(words[0]);
            if (request.until == StepUntil::branch) request.hold_interrupts = debugger_.manners.hold_interrupts;
            return step(request, out);
        });
    add("step-interrupts", "held|taken", "whether a step lets interrupts in",
        [this](const Words& words, const Output& out) {
            if (words.size() == 1 && (words[0] == "held" || words[0] == "taken"))
                debugger_.manners.hold_interrupts = words[0] == "held";
            else if (!words.empty())
                return false;
            out(debugger_.manners.hold_interrupts ? "held\n" : "taken\n");
            return true;
        });
    add("step-faults", "passed|stop|taken",
        "what a fault in a step does: its handler runs and the step goes on, stops, counts",
        [this](const Words& words, const Output& out) {
            static constexpr std::string_view kNames[] = {"taken", "stop", "passed"};
            if (!words.empty()) {
                const auto found = std::find(std::begin(kNames), std::end(kNames), words[0]);
                if (found == std::end(kNames) || words.size() > 1) return false;
                debugger_.manners.faults = static_cast<StepFaults>(found - std::begin(kNames));
            }
            out(std::string(kNames[static_cast<size_t>(debugger_.manners.faults)]) + "\n");
            return true;
        });
    add("speed", "[PERCENT]", "slow motion: 0.1 to 100", [this](const Words& words, const Output& out) {
        if (words.size() > 1) return false;
        if (words.size() == 1) {
            double percent = 0;
            const auto [end, error] = std::from_chars(words[0].data(), words[0].data() + words[0].size(), percent);
            if (error != std::errc{} || end != words[0].data() + words[0].size() || !(percent >= 0 && percent <= 1e6))
                return false;
            if (auto set = debugger_.set_speed(static_cast<u64>(percent * 1000)); !set) out(set.error().context + "\n");
        }
        out(format("%.3f %%\n", static_cast<double>(debugger_.machine().speed()) / 1000));
        return true;
    });
    add("reset", "", "the reset button", [this](const Words&, const Output&) {
        debugger_.machine().request_reset();
        return true;
    });
    add("quit", "", "end the machine, at once", [this](const Words&, const Output&) {
        debugger_.machine().end();
        return true;
    });
}

// --- The CPU

void Monitor::add_cpu() {
    add("info registers", "[general|segment|control|debug|x87|sse|system|all]", "the CPU's registers",
        [this](const Words& words, const Output& out) {
            if (words.empty()) {
                out(inspector_.registers_text());
            } else if (words[0] == "all") {
                for (const RegisterGroup group :
                     {RegisterGroup::general, RegisterGroup::segment, RegisterGroup::control, RegisterGroup::debug,
                      RegisterGroup::x87, RegisterGroup::sse, RegisterGroup::system})
                    out(inspector_.registers_text(group));
            } else {
                const auto group = group_of(words[0]);
                if (!group) return false;
                out(inspector_.registers_text(group));
            }
            return true;
        });
    add("info segments", "", "segment registers with what is hidden in them", [this](const Words&, const Output& out) {
        out(inspector_.segments_text());
        return true;
    });
    add("info tlb", "", "the TLB of the rights in use", [this](const Words&, const Output& out) {
        out(inspector_.tlb_text());
        return true;
    });
    add("walk", "ADDRESS", "page-table walk of a linear address", [this](const Words& words, const Output& out) {
        if (words.empty()) return false;
        if (const auto linear = address(join(words, 0), out)) out(inspector_.walk_text(*linear));
        return true;
    });
    const auto disassemble = [this](const Words& words, const Output& out) {
        unsigned count = 10, bits = 0;
        std::optional<u64> linear = debugger_.machine().cpu().linear_ip();
        if (!words.empty() && !(linear = address(words[0], out))) return true;
        if (words.size() > 1) {
            const auto number = parse_number(words[1]);
            if (!number || *number > kMostListed) return false;
            count = static_cast<unsigned>(*number);
        }
        if (words.size() > 2) {
            const auto number = parse_number(words[2]);
            if (!number || (*number != 16 && *number != 32 && *number != 64)) return false;
            bits = static_cast<unsigned>(*number);
        }
        out(inspector_.disassembly_text(*linear, count, bits));
        return true;
    };
    for (const char* name : {"disassemble", "disas", "u"})
        add(name, "[ADDRESS [COUNT [16|32|64]]]", "instructions, as the CPU's mode takes them", disassemble);
    add("print", "EXPRESSION", "its value", [this](const Words& words, const Output& out) {
        if (words.empty()) return false;
        if (const auto value = address(join(words, 0), out)) out(hex(*value) + " = " + std::to_string(*value) + "\n");
        return true;
    });
    add("set", "REGISTER EXPRESSION", "writes a register", [this](const Words& words, const Output& out) {
        if (words.size() < 2) return false;
        const RegisterName* name = find_register(lower_case(words[0]));
        if (!name) return false;
        const auto value = address(join(words, 1), out);
        if (!value) return true;
        RegisterBytes bytes = read_register(debugger_.machine().cpu(), *name);
        store(bytes.data(), *value);
        if (auto written = write_register(debugger_.machine().cpu(), *name, bytes); !written)
            out(written.error().context + "\n");
        return true;
    });
}

// --- Stop points

bool Monitor::add_point(StopPoint point, const Words& condition, const Output& out) {
    if (!condition.empty()) {
        auto parsed = parse_condition(inspector_, join(condition, 0));
        if (!parsed) {
            out(parsed.error().context + "\n");
            return true;
        }
        point.condition = std::move(*parsed);
    }
    const std::string text = describe(point.place);
    point.owner = this;
    const auto number = debugger_.add(std::move(point));
    out(number ? std::to_string(*number) + "  " + text + "\n" : number.error().context + "\n");
    return true;
}

// "e1000.bar0 ICR", "e1000.bar0.ICR", or a device alone: all that it has claimed on one bus.
std::optional<DevicePoint> Monitor::device_point(const std::string& text) {
    const auto point_of = [&](const Bus* bus, u64 first, u64 size, std::string name) {
        DevicePoint point;
        point.space = bus == &debugger_.machine().ports() ? DeviceSpace::ports : DeviceSpace::memory;
        point.first = first;
        point.last = first + size - 1;
        point.name = std::move(name);
        return point;
    };
    if (const auto found = inspector_.find_device_register(text))
        return point_of(found->bus, found->address, found->info.bits / 8, found->device + " " + found->info.name);
    std::optional<DevicePoint> claimed;
    for (Bus* bus : {&debugger_.machine().ports(), &debugger_.machine().mmio()})
        bus->visit([&](const BusClaim& claim) {
            if (!claimed && claim.name == text) claimed = point_of(bus, claim.base, claim.size, text);
        });
    return claimed;
}

void Monitor::add_points() {
    add("info points", "", "what the machine is stopped at", [this](const Words&, const Output& out) {
        for (const auto& [number, point] : debugger_.points()) out(point_line(number, point));
        if (debugger_.points().empty()) out("none\n");
        return true;
    });
    add("break", "ADDRESS [if CONDITION]", "stop before an instruction", [this](Words words, const Output& out) {
        const Words condition = take_condition(words);
        if (words.empty()) return false;
        const auto linear = address(join(words, 0), out);
        return !linear || add_point({.place = CodePoint{*linear, false}}, condition, out);
    });
    const auto add_watch = [this](const char* name, bool on_read, bool on_write, const char* help) {
        add(name, "ADDRESS [SIZE] [if CONDITION]", help, [this, on_read, on_write](Words words, const Output& out) {
            const Words condition = take_condition(words);
            if (words.empty() || words.size() > 2) return false;
            const auto linear = address(words[0], out);
            const auto size = words.size() > 1 ? parse_number(words[1]) : std::optional<u64>(4);
            if (!size) return false;
            return !linear || add_point({.place = DataPoint{*linear, *size, on_read, on_write}}, condition, out);
        });
    };
    add_watch("watch", false, true, "stop after writes of memory");
    add_watch("rwatch", true, false, "stop after reads of memory");
    add_watch("awatch", true, true, "stop after accesses of memory");
    add("access", "DEVICE REGISTER | port|memory FIRST [LAST] [reads|writes] [if CONDITION]",
        "stop after accesses of a device", [this](Words words, const Output& out) {
            const Words condition = take_condition(words);
            bool reads = true, writes = true;
            if (!words.empty() && (words.back() == "reads" || words.back() == "writes")) {
                reads = words.back() == "reads";
                writes = !reads;
                words.pop_back();
            }
            if (words.empty()) return false;
            DevicePoint point;
            if (words[0] == "port" || words[0] == "memory") {
                const auto first = words.size() > 1 ? parse_number(words[1]) : std::nullopt;
                const auto last = words.size() > 2 ? parse_number(words[2]) : first;
                if (!first || !last || words.size() > 3) return false;
                point.space = words[0] == "port" ? DeviceSpace::ports : DeviceSpace::memory;
                point.first = *first;
                point.last = *last;
            } else if (const auto found = device_point(join(words, 0))) {
                point = *found;
            } else {
                out("no such device or register; 'info devices' and 'info device DEVICE' list them\n");
                return true;
            }
            point.on_read = reads;
            point.on_write = writes;
            return add_point({.place = point}, condition, out);
        });
    const auto add_vector = [this](const char* name, auto place, const char* help) {
        add(name, "[VECTOR] [if CONDITION]", help, [this, place](Words words, const Output& out) {
            auto at = place;
            const Words condition = take_condition(words);
            if (words.size() > 1) return false;
            if (words.size() == 1 && !(at.vector = parse_vector(words[0]))) return false;
            return add_point({.place = at}, condition, out);
        });
    };
    add_vector("interrupt", InterruptPoint{}, "stop at the handler of an interrupt");
    add_vector("exception", ExceptionPoint{}, "stop at the handler of an exception: 14, or PF");
    add_vector("int", SoftwareInterruptPoint{}, "stop at the handler of INT n");
    add("mode", "[if CONDITION]", "stop after a switch of the CPU's mode", [this](Words words, const Output& out) {
        const Words condition = take_condition(words);
        return words.empty() && add_point({.place = ModePoint{}}, condition, out);
    });
    add("cr3", "[VALUE] [if CONDITION]", "stop after a load of CR3", [this](Words words, const Output& out) {
        const Words condition = take_condition(words);
        PageTablePoint point;
        if (!words.empty() && !(point.value = address(join(words, 0), out))) return true;
        return add_point({.place = point}, condition, out);
    });
    add("shutdown", "", "stop at a triple fault, before the reset", [this](const Words& words, const Output& out) {
        return words.empty() && add_point({.place = ShutdownPoint{}}, {}, out);
    });
    add("delete", "NUMBER|all", "takes a stop point away", [this](const Words& words, const Output& out) {
        if (words.size() != 1) return false;
        if (words[0] == "all") {
            debugger_.remove_all_of(this);
            return true;
        }
        const auto number = parse_number(words[0]);
        if (!number) return false;
        if (*number > ~u32{0} || !debugger_.remove(static_cast<u32>(*number))) out("no such stop point\n");
        return true;
    });
    const auto add_switch = [this](const char* name, bool enabled) {
        add(name, "NUMBER", "of a stop point", [this, enabled](const Words& words, const Output& out) {
            const auto number = words.size() == 1 ? parse_number(words[0]) : std::nullopt;
            if (!number || *number > ~u32{0}) return false;
            StopPoint* point = debugger_.find(static_cast<u32>(*number));
            if (point)
                point->enabled = enabled;
            else
                out("no such stop point\n");
            return true;
        });
    };
    add_switch("enable", true);
    add_switch("disable", false);
    add("ignore", "NUMBER TIMES", "passes a stop point by so many times",
        [this](const Words& words, const Output& out) {
            const auto number = words.size() == 2 ? parse_number(words[0]) : std::nullopt;
            const auto times = words.size() == 2 ? parse_number(words[1]) : std::nullopt;
            if (!number || !times || *number > ~u32{0}) return false;
            StopPoint* point = debugger_.find(static_cast<u32>(*number));
            if (point)
                point->ignore = *times;
            else
                out("no such stop point\n");
            return true;
        });
}

// --- Memory

bool Monitor::dump(bool physical, const Words& words, const Output& out) {
    if (words.empty() || words.size() > 2) return false;
    u64 size = 64;
    if (words.size() == 2) {
        const auto number = parse_number(words[1]);
        if (!number || *number > kMostDumped) return false;
        size = *number;
    }
    const auto start = address(words[0], out);
    if (!start) return true;
    std::vector<u8> bytes(size);
    const size_t have = physical ? inspector_.read_physical(*start, bytes) : inspector_.read_linear(*start, bytes);
    for (size_t row = 0; row < have; row += 16) {
        std::string line = format("%016llX ", static_cast<unsigned long long>(*start + row)), text;
        for (size_t i = row; i < row + 16; ++i) {
            line += i < have ? format(" %02X", bytes[i]) : "   ";
            if (i < have) text += bytes[i] >= 0x20 && bytes[i] < 0x7F ? static_cast<char>(bytes[i]) : '.';
        }
        out(line + "  " + text + "\n");
    }
    if (have < size) out(format("%016llX  (no memory)\n", static_cast<unsigned long long>(*start + have)));
    return true;
}

void Monitor::add_memory() {
    add("x", "ADDRESS [BYTES]", "memory by linear address",
        [this](const Words& words, const Output& out) { return dump(false, words, out); });
    add("xp", "ADDRESS [BYTES]", "memory by physical address",
        [this](const Words& words, const Output& out) { return dump(true, words, out); });
    add("info memory", "", "the map of physical addresses", [this](const Words&, const Output& out) {
        out(inspector_.memory_map_text());
        return true;
    });
}

// --- Devices

void Monitor::add_devices() {
    add("info devices", "", "what has claimed ports and memory", [this](const Words&, const Output& out) {
        out(inspector_.devices_text());
        return true;
    });
    add("info device", "DEVICE", "its registers by name, as far as reading them has no effect",
        [this](const Words& words, const Output& out) {
            if (words.empty()) return false;
            const std::string text = inspector_.device_registers_text(join(words, 0));
            out(text.empty() ? "no registers are known of it; 'info devices' lists those that have any\n" : text);
            return true;
        });
    add("info state", "DEVICE", "all that a device knows, by the names of its saved state",
        [this](const Words& words, const Output& out) {
            if (words.size() != 1) return false;
            const auto text = inspector_.device_state_text(words[0]);
            out(text ? *text : "no such device; 'info devices' lists them\n");
            return true;
        });
    add("read", "DEVICE REGISTER", "reads a register as the guest would, effects included",
        [this](const Words& words, const Output& out) {
            if (words.empty()) return false;
            const auto found = inspector_.find_device_register(join(words, 0));
            out(found ? std::string(found->info.name) + " = " + hex(inspector_.read_device_register(*found)) + "\n"
                      : std::string("no such register\n"));
            return true;
        });
    add("in", "PORT [1|2|4]", "reads a port as the guest would", [this](const Words& words, const Output& out) {
        const auto port = !words.empty() ? parse_number(words[0]) : std::nullopt;
        const auto size = words.size() > 1 ? parse_number(words[1]) : std::optional<u64>(1);
        if (!port || *port > 0xFFFF || !size || (*size != 1 && *size != 2 && *size != 4)) return false;
        out(hex(debugger_.machine().ports().read_unobserved(*port, static_cast<unsigned>(*size))) + "\n");
        return true;
    });
    add("out", "PORT VALUE [1|2|4]", "writes a port as the guest would", [this](const Words& words, const Output&) {
        const auto port = words.size() > 1 ? parse_number(words[0]) : std::nullopt;
        const auto value = words.size() > 1 ? parse_number(words[1]) : std::nullopt;
        const auto size = words.size() > 2 ? parse_number(words[2]) : std::optional<u64>(1);
        if (!port || *port > 0xFFFF || !value || !size || (*size != 1 && *size != 2 && *size != 4)) return false;
        debugger_.machine().ports().write(*port, static_cast<unsigned>(*size), *value);
        return true;
    });
}

}  // namespace lodge::debug
