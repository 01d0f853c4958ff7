#include "disks/iscsi/crc32c.h"

#include <nmmintrin.h>

#include <array>

namespace lodge::iscsi {

namespace {

constexpr u32 kReflectedPolynomial = 0x82F6'3B78;

constexpr std::array<u32, 256> make_table() {
    std::array<u32, 256> table{};
    for (u32 byte = 0; byte < 256; ++byte) {
        u32 sum = byte;
        for (int step = 0; step < 8; ++step) sum = (sum >> 1) ^ (sum & 1 ? kReflectedPolynomial : 0);
        table[byte] = sum;
    }
    return table;
}
constexpr std::array<u32, 256> kTable = make_table();

[[gnu::target("sse4.2")]] u32 by_instruction(std::span<const u8> bytes, u32 before) {
    u64 sum = ~before;
    size_t at = 0;
    for (; at + 8 <= bytes.size(); at += 8) sum = _mm_crc32_u64(sum, load<u64>(&bytes[at]));
    for (; at < bytes.size(); ++at) sum = _mm_crc32_u8(static_cast<u32>(sum), bytes[at]);
    return ~static_cast<u32>(sum);
}

}  // namespace

u32 crc32c_by_table(std::span<const u8> bytes, u32 before) {
    u32 sum = ~before;
    for (const u8 byte : bytes) sum = (sum >> 8) ^ kTable[(sum ^ byte) & 0xFF];
    return ~sum;
}

u32 crc32c(std::span<const u8> bytes, u32 before) {
    return __builtin_cpu_supports("sse4.2") ? by_instruction(bytes, before) : crc32c_by_table(bytes, before);
}

}  // namespace lodge::iscsi
