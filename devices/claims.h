// The bus ranges one chip has claimed, and the names of its registers. Every register access goes through here, so this
// is the one place that can show accesses by name (`pic write OCW1 = 0xFB`).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/bus.h"

namespace lodge {

class Claims {
  public:
    Claims(Log& log, LogChannel channel) : log_(log), channel_(channel) {}

    using ReadByte = std::function<u8(u64 offset)>;
    using WriteByte = std::function<void(u64 offset, u8 value)>;

    // A range of 8-bit registers: wider accesses are taken apart, lowest address first, as the ISA bridge does.
    Result<void> bytes(Bus& bus, u64 base, u64 size, const std::string& name, RegisterTable table, ReadByte read,
                       WriteByte write);
    // A range whose handlers see accesses as the CPU made them.
    Result<void> any(Bus& bus, u64 base, u64 size, const std::string& name, RegisterTable table, BusRead read,
                     BusWrite write);
    void release() { ranges_.clear(); }

  private:
    void trace(const std::string& name, RegisterTable table, const char* verb, u64 offset, u64 value);

    Log& log_;
    LogChannel channel_;
    std::vector<BusRange> ranges_;
};

}  // namespace lodge
