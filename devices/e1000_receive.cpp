#include "devices/e1000_receive.h"

#include "devices/ethernet.h"

namespace lodge::e1000 {

namespace {

// With and without a tag, FCS included; more needs RCTL.LPE (317453 13.4.22).
constexpr size_t kLongest = 1522;
constexpr u8 kPauseAddress[6] = {0x01, 0x80, 0xC2, 0x00, 0x00, 0x01};  // 802.3 annex 31B

// Which 12 of the address's last 16 bits select a bit of the multicast table, by RCTL.MO.
bool in_multicast_table(const RegisterFile& registers, const u8* address) {
    static constexpr unsigned kShifts[4] = {4, 3, 2, 0};
    const u32 last = address[4] | u32{address[5]} << 8;
    const u32 hash = (last >> kShifts[bits(registers[RCTL], 12, 2)]) & 0xFFF;
    return bit(registers[MTA + 4 * (hash >> 5)], hash & 31);
}

// An entry of the receive address table: RAL, and RAH with 16 bits of address and which address is meant.
bool matches_receive_address(const RegisterFile& registers, std::span<const u8> frame) {
    for (u32 entry = 0; entry < 16; ++entry) {
        const u32 low = registers[RA + 8 * entry], high = registers[RA + 8 * entry + 4];
        const u32 select = bits(high, 16, 2);
        if (!(high & kRahAv) || select > 1) continue;
        const u8* address = &frame[select == 0 ? 0 : 6];
        if (load<u32>(address) == low && load<u16>(address + 4) == (high & 0xFFFF)) return true;
    }
    return false;
}

Acceptance filter_address(const RegisterFile& registers, std::span<const u8> frame) {
    const u32 rctl = registers[RCTL];
    if (matches_receive_address(registers, frame)) return Acceptance::exact;
    const u8* destination = frame.data();
    if (is_broadcast(destination) && (rctl & kRctlBam)) return Acceptance::exact;
    if (!is_multicast(destination)) return rctl & kRctlUpe ? Acceptance::inexact : Acceptance::rejected;
    if (rctl & kRctlMpe) return Acceptance::inexact;
    return in_multicast_table(registers, destination) ? Acceptance::inexact : Acceptance::rejected;
}

bool is_tagged(const RegisterFile& registers, std::span<const u8> frame) {
    return frame.size() >= kEthernetHeader + kEthernetTag &&
           load_big_endian<u16>(&frame[12]) == (registers[VET] & 0xFFFF);
}

bool passes_vlan_filter(const RegisterFile& registers, std::span<const u8> frame) {
    const u32 rctl = registers[RCTL];
    if (!(rctl & kRctlVfe) || !is_tagged(registers, frame)) return true;
    const u16 tag = load_big_endian<u16>(&frame[14]);
    if ((rctl & kRctlCfien) && bit(tag, 12) != static_cast<bool>(rctl & kRctlCfi)) return false;
    const u32 id = tag & 0xFFF;
    return bit(registers[VFTA + 4 * (id >> 5)], id & 31);
}

bool is_pause_frame(std::span<const u8> frame) {
    return std::memcmp(frame.data(), kPauseAddress, sizeof kPauseAddress) == 0 &&
           load_big_endian<u16>(&frame[12]) == 0x8808;
}

}  // namespace

bool frame_too_long(const RegisterFile& registers, std::span<const u8> frame) {
    return frame.size() + kEthernetFcs > kLongest && !(registers[RCTL] & (kRctlLpe | kRctlSbp));
}

Acceptance filter_frame(const RegisterFile& registers, std::span<const u8> frame) {
    const u32 rctl = registers[RCTL];
    if (frame_too_long(registers, frame)) return Acceptance::rejected;
    if ((rctl & kRctlDpf) && is_pause_frame(frame)) return Acceptance::rejected;
    if (!passes_vlan_filter(registers, frame)) return Acceptance::rejected;
    return filter_address(registers, frame);
}

u32 receive_buffer_size(u32 rctl) {
    const u32 code = bits(rctl, 16, 2);
    if (!(rctl & kRctlBsex)) return 2048 >> code;
    return code == 0 ? 0 : 32768 >> code;
}

bool has_tag(const RegisterFile& registers, std::span<const u8> frame) {
    return (registers[CTRL] & kCtrlVme) && is_tagged(registers, frame);
}

ReceivedInfo describe_frame(const RegisterFile& registers, std::span<const u8> frame) {
    const u32 rxcsum = registers[RXCSUM];
    ReceivedInfo info;
    const size_t start = bits(rxcsum, 0, 8);
    if (start < frame.size()) info.checksum = ones_sum(frame.subspan(start));
    if (has_tag(registers, frame)) {
        info.status |= kReceivedTag;
        info.tag = load_big_endian<u16>(&frame[14]);
    }
    const auto layers = rxcsum & (kRxcsumIpofl | kRxcsumTuofl) ? find_layers(frame) : std::nullopt;
    if (layers && layers->ipv4 && (rxcsum & kRxcsumIpofl)) {
        info.status |= kReceivedIp;
        if (!ip_checksum_right(frame, *layers)) info.errors |= kReceivedIpError;
    }
    const bool wanted = (rxcsum & kRxcsumTuofl) && (layers && (layers->ipv4 || (rxcsum & kRxcsumIpv6ofl)));
    // A UDP packet without a checksum has none to look at.
    if (wanted && layers->transport && (layers->tcp || layers->checksum_present)) {
        info.status |= kReceivedTcp;
        if (!transport_checksum_right(frame, *layers)) info.errors |= kReceivedTcpError;
    }
    if (!(info.status & (kReceivedIp | kReceivedTcp))) info.status |= kReceivedIgnore;
    if (filter_address(registers, frame) == Acceptance::inexact) info.status |= kReceivedInexact;
    return info;
}

}  // namespace lodge::e1000
