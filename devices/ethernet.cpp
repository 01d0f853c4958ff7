#include "devices/ethernet.h"

#include <algorithm>

namespace lodge {

namespace {

constexpr u8 kTcp = 6, kUdp = 17;
constexpr size_t kIpv6Header = 40;

// Eight bytes at a time: table k gives what a byte with k zero bytes behind it contributes.
using CrcTables = std::array<std::array<u32, 256>, 8>;

constexpr CrcTables make_crc_tables() {
    constexpr u32 kPolynomial = 0xEDB88320;  // 802.3's, bits reversed
    CrcTables tables{};
    for (u32 byte = 0; byte < 256; ++byte) {
        u32 value = byte;
        for (int step = 0; step < 8; ++step) value = value >> 1 ^ (value & 1 ? kPolynomial : 0);
        tables[0][byte] = value;
    }
    for (size_t k = 1; k < tables.size(); ++k)
        for (u32 byte = 0; byte < 256; ++byte)
            tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 0xFF];
    return tables;
}

constexpr CrcTables kCrc = make_crc_tables();

// Protocol, addresses and length of the TCP or UDP packet, RFC 9293 3.1 and RFC 8200 8.1.
u16 pseudo_header_sum(std::span<const u8> frame, const FrameLayers& layers) {
    const size_t length = layers.ip_end - layers.transport;
    const auto addresses = layers.ipv4 ? frame.subspan(layers.ip + 12, 8) : frame.subspan(layers.ip + 8, 32);
    return ones_add(ones_sum(addresses), ones_add(static_cast<u32>(length), layers.tcp ? kTcp : kUdp));
}

bool find_transport(std::span<const u8> frame, FrameLayers& layers, u8 protocol, size_t at) {
    const size_t length = layers.ip_end - at;
    if (protocol == kTcp ? length < 20 : length < 8) return false;
    if (protocol != kTcp && protocol != kUdp) return false;
    layers.transport = at;
    layers.tcp = protocol == kTcp;
    layers.checksum_present = load_big_endian<u16>(&frame[at + (layers.tcp ? 16 : 6)]);
    return true;
}

std::optional<FrameLayers> find_ipv4(std::span<const u8> frame, size_t at) {
    if (frame.size() < at + 20 || frame[at] >> 4 != 4) return {};
    const size_t header = (frame[at] & 15) * 4u, length = load_big_endian<u16>(&frame[at + 2]);
    if (header < 20 || length < header || at + length > frame.size()) return {};
    FrameLayers layers{.ipv4 = true, .ip = at, .ip_end = at + length};
    const bool fragment = load_big_endian<u16>(&frame[at + 6]) & 0x3FFF;  // offset, or more to come
    if (!fragment) find_transport(frame, layers, frame[at + 9], at + header);
    return layers;
}

std::optional<FrameLayers> find_ipv6(std::span<const u8> frame, size_t at) {
    if (frame.size() < at + kIpv6Header || frame[at] >> 4 != 6) return {};
    const size_t length = kIpv6Header + load_big_endian<u16>(&frame[at + 4]);
    if (at + length > frame.size()) return {};
    FrameLayers layers{.ipv4 = false, .ip = at, .ip_end = at + length};
    find_transport(frame, layers, frame[at + 6], at + kIpv6Header);
    return layers;
}

}  // namespace

bool is_broadcast(const u8* address) {
    return std::all_of(address, address + 6, [](u8 byte) { return byte == 0xFF; });
}

u32 ethernet_fcs(std::span<const u8> bytes) {
    u32 crc = ~u32{0};
    while (bytes.size() >= 8) {
        const u32 low = load<u32>(bytes.data()) ^ crc, high = load<u32>(bytes.data() + 4);
        crc = kCrc[7][low & 0xFF] ^ kCrc[6][low >> 8 & 0xFF] ^ kCrc[5][low >> 16 & 0xFF] ^ kCrc[4][low >> 24] ^
              kCrc[3][high & 0xFF] ^ kCrc[2][high >> 8 & 0xFF] ^ kCrc[1][high >> 16 & 0xFF] ^ kCrc[0][high >> 24];
        bytes = bytes.subspan(8);
    }
    for (const u8 byte : bytes) crc = crc >> 8 ^ kCrc[0][(crc ^ byte) & 0xFF];
    return ~crc;
}

// The sum does not depend on the order of a word's bytes but for the order of the result's (RFC 1071 section 2 B).
u16 ones_sum(std::span<const u8> bytes) {
    u64 sum = 0;
    while (bytes.size() >= 4) {
        sum += load<u32>(bytes.data());
        bytes = bytes.subspan(4);
    }
    if (bytes.size() >= 2) {
        sum += load<u16>(bytes.data());
        bytes = bytes.subspan(2);
    }
    if (!bytes.empty()) sum += bytes[0];
    while (sum >> 16) sum = (sum & 0xFFFF) + (sum >> 16);
    return static_cast<u16>(sum << 8 | sum >> 8);
}

std::optional<FrameLayers> find_layers(std::span<const u8> frame) {
    if (frame.size() < kEthernetHeader) return {};
    size_t type = 12;
    if (load_big_endian<u16>(&frame[type]) == kEtherTypeVlan) type += kEthernetTag;
    if (frame.size() < type + 2) return {};
    if (load_big_endian<u16>(&frame[type]) == kEtherTypeIpv4) return find_ipv4(frame, type + 2);
    if (load_big_endian<u16>(&frame[type]) == kEtherTypeIpv6) return find_ipv6(frame, type + 2);
    return {};
}

bool ip_checksum_right(std::span<const u8> frame, const FrameLayers& layers) {
    return ones_sum(frame.subspan(layers.ip, (frame[layers.ip] & 15) * 4u)) == 0xFFFF;
}

bool transport_checksum_right(std::span<const u8> frame, const FrameLayers& layers) {
    if (!layers.tcp && layers.checksum_present == 0) return true;
    const u16 sum = ones_sum(frame.subspan(layers.transport, layers.ip_end - layers.transport));
    return ones_add(sum, pseudo_header_sum(frame, layers)) == 0xFFFF;
}

}  // namespace lodge
