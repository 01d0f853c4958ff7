#include "debug/text.h"

#include <cstdarg>
#include <cstdio>

namespace lodge::debug {

std::string format(const char* format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return line;
}

std::string hex(u64 value) {
    return format("0x%llX", static_cast<unsigned long long>(value));
}

std::string hex(u64 value, unsigned digits) {
    return format("0x%0*llX", static_cast<int>(digits), static_cast<unsigned long long>(value));
}

std::string_view exception_name(u8 vector) {
    static constexpr std::string_view kNames[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "",
                                                  "#TS", "#NP", "#SS", "#GP", "#PF", "",    "#MF", "#AC", "#MC", "#XM"};
    return vector < std::size(kNames) ? kNames[vector] : std::string_view{};
}

std::string describe_exception(const StopDetails& details) {
    const u8 vector = details.vector.value_or(0);
    std::string text = "exception " + std::to_string(vector);
    if (const auto name = exception_name(vector); !name.empty()) text += " " + std::string(name);
    if (details.error) text += ", error code " + hex(*details.error);
    return text + ", from " + hex(details.return_linear);
}

const RegisterInfo* register_at(RegisterTable table, u64 offset) {
    for (const RegisterInfo& row : table)
        if (offset - row.offset < row.bits / 8) return &row;
    return nullptr;
}

std::string describe_access(Machine& machine, DeviceSpace space, const BusAccess& access) {
    const bool ports = space == DeviceSpace::ports;
    const Bus& bus = ports ? machine.ports() : machine.mmio();
    std::string text = (ports ? "port " : "memory ") + hex(access.address);
    if (const auto claim = bus.claim_at(access.address)) {
        const u64 offset = access.address - claim->base;
        const RegisterInfo* row = register_at(claim->registers, offset);
        text += " (" + std::string(claim->name) + " " + (row ? row->name : "+" + hex(offset)) + ")";
    }
    return text + ", " + (access.write ? "written " : "read ") + hex(access.value);
}

namespace {

std::string in_words(const std::optional<u8>& vector) {
    return vector ? " " + hex(*vector) : std::string(", any");
}

struct Describe {
    std::string operator()(const CodePoint& point) const { return "breakpoint at " + hex(point.linear); }
    std::string operator()(const DataPoint& point) const {
        const char* verb = point.on_read && point.on_write ? "access" : point.on_read ? "read" : "write";
        return std::string(verb) + " of " + std::to_string(point.size) + " bytes at " + hex(point.linear);
    }
    std::string operator()(const DevicePoint& point) const {
        std::string text = point.space == DeviceSpace::ports ? "port " : "memory ";
        text += hex(point.first);
        if (point.last != point.first) text += "-" + hex(point.last);
        if (!point.name.empty()) text += " (" + point.name + ")";
        if (!point.on_read) text += ", writes";
        if (!point.on_write) text += ", reads";
        return text;
    }
    std::string operator()(const InterruptPoint& point) const { return "interrupt" + in_words(point.vector); }
    std::string operator()(const ExceptionPoint& point) const {
        std::string text = "exception";
        if (!point.vector) return text + ", any";
        text += " " + std::to_string(*point.vector);
        const auto name = exception_name(*point.vector);
        return name.empty() ? text : text + " " + std::string(name);
    }
    std::string operator()(const SoftwareInterruptPoint& point) const { return "INT" + in_words(point.vector); }
    std::string operator()(const ModePoint&) const { return "switch of the CPU's mode"; }
    std::string operator()(const PageTablePoint& point) const {
        return point.value ? "load of CR3 with " + hex(*point.value) : "load of CR3";
    }
    std::string operator()(const ShutdownPoint&) const { return "triple fault"; }
};

}  // namespace

std::string describe(const Place& place) {
    return std::visit(Describe{}, place);
}

std::optional<u64> parse_number(std::string_view text) {
    const bool hexadecimal = text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    if (hexadecimal) text.remove_prefix(2);
    if (text.empty()) return {};
    const u64 base = hexadecimal ? 16 : 10;
    u64 value = 0;
    for (const char c : text) {
        u64 digit = 0;
        if (c >= '0' && c <= '9')
            digit = static_cast<u64>(c - '0');
        else if (hexadecimal && c >= 'a' && c <= 'f')
            digit = static_cast<u64>(c - 'a' + 10);
        else if (hexadecimal && c >= 'A' && c <= 'F')
            digit = static_cast<u64>(c - 'A' + 10);
        else
            return {};
        if (value > (~u64{0} - digit) / base) return {};
        value = value * base + digit;
    }
    return value;
}

std::string lower_case(std::string_view text) {
    std::string lower(text);
    for (char& c : lower)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return lower;
}

std::vector<std::string> split_words(std::string_view text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text) {
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            word += c;
        } else if (!word.empty()) {
            words.push_back(std::move(word));
            word.clear();
        }
    }
    if (!word.empty()) words.push_back(std::move(word));
    return words;
}

}  // namespace lodge::debug
