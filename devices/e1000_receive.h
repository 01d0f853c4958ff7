// What the 82540EM makes of a frame from the wire: whether it takes it, and what it says of it in the descriptor.
// Source: Intel 317453, 3.2 (reception, descriptors), 3.2.9 (checksums), 9.3 (VLAN filter), 13.5.1..3 (filter tables).
#pragma once

#include <span>

#include "devices/e1000_registers.h"

namespace lodge::e1000 {

// Status and errors of a receive descriptor, 317453 tables 3-2 and 3-3.
constexpr u8 kReceivedDone = 0x01;     // DD
constexpr u8 kReceivedEnd = 0x02;      // EOP
constexpr u8 kReceivedIgnore = 0x04;   // IXSM: no checksum was looked at
constexpr u8 kReceivedTag = 0x08;      // VP
constexpr u8 kReceivedTcp = 0x20;      // TCPCS: TCP's or UDP's checksum was looked at
constexpr u8 kReceivedIp = 0x40;       // IPCS
constexpr u8 kReceivedInexact = 0x80;  // PIF: it passed by its hash, or by being let through
constexpr u8 kReceivedTcpError = 0x20;
constexpr u8 kReceivedIpError = 0x40;

enum class Acceptance : u8 { rejected, exact, inexact };

// Whether the card takes a frame of at least an Ethernet header: by its length, its addresses and its tag.
Acceptance filter_frame(const RegisterFile& registers, std::span<const u8> frame);

// A frame that is longer than the card takes (ROC).
bool frame_too_long(const RegisterFile& registers, std::span<const u8> frame);

// How large the buffers are that descriptors point to, bytes; 0 for the reserved code, which is not received with.
u32 receive_buffer_size(u32 rctl);

struct ReceivedInfo {
    u16 checksum = 0;  // over all behind RXCSUM.PCSS
    u8 status = 0;     // but DD and EOP
    u8 errors = 0;
    u16 tag = 0;
};
// For a frame that was accepted, as it came, before its tag is taken out.
ReceivedInfo describe_frame(const RegisterFile& registers, std::span<const u8> frame);

// Whether the frame has a tag that CTRL.VME takes out.
bool has_tag(const RegisterFile& registers, std::span<const u8> frame);

}  // namespace lodge::e1000
