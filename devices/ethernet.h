// Ethernet frames, and as much of IP, TCP and UDP as a card's offloading needs.
// Sources: IEEE 802.3 clause 3 (frames, FCS), 802.1Q (tags), RFC 791, 8200, 768, 9293, 1071 (checksums).
#pragma once

#include <array>
#include <optional>
#include <span>

#include "core/base/types.h"

namespace lodge {

using MacAddress = std::array<u8, 6>;

constexpr size_t kEthernetHeader = 14;
constexpr size_t kEthernetFcs = 4;
constexpr size_t kEthernetShortest = 60;  // without FCS
constexpr size_t kEthernetTag = 4;        // 802.1Q
constexpr u16 kEtherTypeIpv4 = 0x0800;
constexpr u16 kEtherTypeVlan = 0x8100;
constexpr u16 kEtherTypeIpv6 = 0x86DD;

inline bool is_multicast(const u8* address) {
    return address[0] & 1;
}
bool is_broadcast(const u8* address);

// The frame check sequence of these bytes, as its four bytes are stored little-endian behind them.
u32 ethernet_fcs(std::span<const u8> bytes);

// RFC 1071: the ones' complement sum of 16-bit big-endian words, folded; an odd last byte counts as if zero followed.
// A checksum is its complement.
u16 ones_sum(std::span<const u8> bytes);
// The sum of two sums.
inline u16 ones_add(u32 a, u32 b) {
    const u32 sum = a + b;
    return static_cast<u16>((sum & 0xFFFF) + (sum >> 16));
}

// What is in a frame, as far as checksums go.
struct FrameLayers {
    bool ipv4 = false;         // else IPv6
    size_t ip = 0;             // where the IP header starts
    size_t ip_end = 0;         // where the packet ends: padding may follow
    size_t transport = 0;      // where TCP or UDP starts; 0: neither, or a fragment, or behind further headers
    bool tcp = false;          // else UDP
    u16 checksum_present = 0;  // the transport's checksum field
};
// The layers of a frame, behind a tag if it has one; nothing if it is no whole IP packet.
std::optional<FrameLayers> find_layers(std::span<const u8> frame);
// Whether the IPv4 header's, TCP's or UDP's checksum is right. A UDP packet may go without.
bool ip_checksum_right(std::span<const u8> frame, const FrameLayers& layers);
bool transport_checksum_right(std::span<const u8> frame, const FrameLayers& layers);

}  // namespace lodge
