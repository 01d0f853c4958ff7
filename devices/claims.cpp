#include "devices/claims.h"

namespace lodge {

Result<void> Claims::bytes(Bus& bus, u64 base, u64 size, const std::string& name, RegisterTable table, ReadByte read,
                           WriteByte write) {
    const auto read_bytes = [read = std::move(read)](u64 offset, unsigned width) {
        u64 value = 0;
        for (unsigned i = 0; i < width; ++i) value |= u64{read(offset + i)} << (8 * i);
        return value;
    };
    const auto write_bytes = [write = std::move(write)](u64 offset, unsigned width, u64 value) {
        for (unsigned i = 0; i < width; ++i) write(offset + i, static_cast<u8>(value >> (8 * i)));
    };
    return any(bus, base, size, name, table, read_bytes, write_bytes);
}

Result<void> Claims::any(Bus& bus, u64 base, u64 size, const std::string& name, RegisterTable table, BusRead read,
                         BusWrite write) {
    auto range = bus.claim(
        base, size, name,
        [this, name, table, read = std::move(read)](u64 offset, unsigned width) {
            const u64 value = read(offset, width);
            trace(name, table, "read", offset, value);
            return value;
        },
        [this, name, table, write = std::move(write)](u64 offset, unsigned width, u64 value) {
            trace(name, table, "write", offset, value);
            write(offset, width, value);
        },
        table);
    if (!range) return range.error();
    ranges_.push_back(std::move(*range));
    return {};
}

void Claims::trace(const std::string& name, RegisterTable table, const char* verb, u64 offset, u64 value) {
    if (!log_.wants(channel_, LogLevel::debug)) return;
    for (const RegisterInfo& row : table) {
        if (row.offset != offset) continue;
        log_.write(channel_, LogLevel::debug, "%s %s %s = 0x%llX", name.c_str(), verb, row.name,
                   static_cast<unsigned long long>(value));
        return;
    }
    log_.write(channel_, LogLevel::debug, "%s %s +0x%llX = 0x%llX", name.c_str(), verb,
               static_cast<unsigned long long>(offset), static_cast<unsigned long long>(value));
}

}  // namespace lodge
