#include "core/base/log.h"

#include <cstdarg>
#include <cstdio>

namespace lodge {

namespace {

constexpr std::array<std::string_view, 22> kNames = {
    "machine", "cpu", "memory", "bus",  "pic", "apic",   "pit",    "cmos",  "dma", "ps2",    "uart",
    "pci",     "ide", "scsi",   "acpi", "vga", "fw_cfg", "floppy", "disks", "net", "server", "frontend"};

std::string format_line(const char* format, va_list arguments) {
    char text[1024];
    std::vsnprintf(text, sizeof text, format, arguments);
    return text;
}

}  // namespace

std::string_view name_of(LogChannel channel) {
    return kNames[static_cast<size_t>(channel)];
}

void Log::write(LogChannel channel, LogLevel level, const char* format, ...) {
    if (!wants(channel, level)) return;
    va_list arguments;
    va_start(arguments, format);
    const std::string line = format_line(format, arguments);
    va_end(arguments);
    std::lock_guard lock(mutex_);
    sink_(channel, level, line);
}

void Log::once(LogChannel channel, const char* format, ...) {
    if (!wants(channel, LogLevel::warning)) return;
    va_list arguments;
    va_start(arguments, format);
    const std::string line = format_line(format, arguments);
    va_end(arguments);
    std::lock_guard lock(mutex_);
    if (said_.size() >= kMostNotices || !said_.insert(line).second) return;
    sink_(channel, LogLevel::warning, line);
}

}  // namespace lodge
