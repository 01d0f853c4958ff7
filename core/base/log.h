// What lodge has to say to its developers and to a curious user: channels with levels, and notices that come once.
// One Log per machine or tool, passed to constructors; where the lines go is the owner's choice (a sink).
#pragma once

#include <array>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "core/base/types.h"

namespace lodge {

enum class LogLevel : u8 { error, warning, info, debug };

// A channel per part that somebody may want to hear alone.
enum class LogChannel : u8 {
    machine,
    cpu,
    memory,
    bus,
    pic,
    apic,
    pit,
    cmos,
    dma,
    ps2,
    uart,
    pci,
    ide,
    scsi,
    acpi,
    vga,
    fw_cfg,
    floppy,
    disks,
    net,
    server,
    frontend
};
std::string_view name_of(LogChannel channel);

class Log {
  public:
    using Sink = std::function<void(LogChannel, LogLevel, const std::string& line)>;

    Log() = default;  // silent
    explicit Log(Sink sink) : sink_(std::move(sink)) { levels_.fill(LogLevel::warning); }

    void set_level(LogChannel channel, LogLevel level) { levels_[static_cast<size_t>(channel)] = level; }
    void set_level(LogLevel level) { levels_.fill(level); }

    bool wants(LogChannel channel, LogLevel level) const {
        return sink_ && level <= levels_[static_cast<size_t>(channel)];
    }

    // printf-style. Safe from any thread.
    [[gnu::format(printf, 4, 5)]] void write(LogChannel channel, LogLevel level, const char* format, ...);

    // As `write` at level warning, but each distinct text only once in this log's life: for guest oddities.
    [[gnu::format(printf, 3, 4)]] void once(LogChannel channel, const char* format, ...);

  private:
    static constexpr size_t kChannels = static_cast<size_t>(LogChannel::frontend) + 1;
    static constexpr size_t kMostNotices = 4096;  // a guest must not make this set grow without bound

    Sink sink_;
    std::array<LogLevel, kChannels> levels_{};
    std::mutex mutex_;
    std::set<std::string> said_;
};

}  // namespace lodge
