// A board with nothing but a network card whose frames are kept: what the tests and the fuzz target of the e1000 share.
#pragma once

#include <initializer_list>
#include <optional>
#include <vector>

#include "devices/e1000.h"
#include "tests/fuzz/device_harness.h"

namespace lodge::e1000_test {

constexpr MacAddress kAddress = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

class RecordingNetwork final : public NetworkPort {
  public:
    void send(std::span<const u8> frame) override { sent.emplace_back(frame.begin(), frame.end()); }
    void taken(size_t bytes) override { taken_bytes += bytes; }

    std::vector<std::vector<u8>> sent;
    size_t taken_bytes = 0;
};

struct Legacy {
    u64 address = 0;
    u16 length = 0;
    u8 command = 0;
    u16 special = 0;
};

struct Received {
    u8 status = 0;
    u8 errors = 0;
    u16 checksum = 0;
    u16 tag = 0;
    std::vector<u8> bytes;
};

// Memory is RAM from 0; rings of 8 descriptors, receive buffers of 2 KiB beneath 32 KiB.
struct Board : test::TestBoard {
    static constexpr u64 kMemory = 2 * kMiB;
    static constexpr u32 kBar = 0x80000000, kIo = 0xC000;
    static constexpr u64 kTransmitRing = 0x1000, kReceiveRing = 0x2000, kReceiveBuffers = 0x3000;
    static constexpr u32 kDescriptors = 8;
    static constexpr u8 kEop = 0x01, kIfcs = 0x02, kIc = 0x04, kTse = 0x04, kRs = 0x08, kDext = 0x20, kVle = 0x40,
                        kIde = 0x80, kSend = kEop | kIfcs | kRs;

    Board() {
        memory->map(0, kMemory, 0, true);
        card.config_write(kPciBar0, 4, kBar);
        card.config_write(kPciBar0 + 8, 4, kIo);
        card.config_write(kPciCommand, 2, kPciCommandIo | kPciCommandMemory | kPciCommandMaster);
    }

    u32 read(u32 offset) { return static_cast<u32>(mmio.read(kBar + offset, 4)); }
    void write(u32 offset, u32 value) { mmio.write(kBar + offset, 4, value); }
    void put(u64 address, std::span<const u8> bytes) { memory->write(address, bytes); }

    // Link, rings, and both directions on.
    void start() {
        using namespace e1000;
        write(CTRL, kCtrlSlu);
        for (u32 i = 0; i < kDescriptors; ++i)
            memory->write_value<u64>(kReceiveRing + 16 * i, kReceiveBuffers + 2048 * i);
        write(RDBAL, kReceiveRing);
        write(RDLEN, 16 * kDescriptors);
        write(RDT, kDescriptors - 1);
        write(RCTL, kRctlEn | kRctlBam);
        write(TDBAL, kTransmitRing);
        write(TDLEN, 16 * kDescriptors);
        write(TCTL, kTctlEn);
        read(ICR);
    }

    // --- Transmission
    void queue(u64 low, u64 high) {
        memory->write_value<u64>(kTransmitRing + 16 * next_transmit, low);
        memory->write_value<u64>(kTransmitRing + 16 * next_transmit + 8, high);
        next_transmit = (next_transmit + 1) % kDescriptors;
    }
    void transmit(std::initializer_list<Legacy> descriptors) {
        for (const Legacy& each : descriptors)
            queue(each.address, each.length | u64{each.command} << 24 | u64{each.special} << 48);
        write(e1000::TDT, next_transmit);
    }
    void transmit_raw(u64 low, u64 high) {
        queue(low, high);
        write(e1000::TDT, next_transmit);
    }
    void transmit_context(u8 ip, u8 ip_offset, u16 ip_end, u8 transport, u8 offset, u16 end, bool tcp, u16 segment = 0,
                          u8 header = 0, size_t payload = 0) {
        const u8 command = static_cast<u8>(kDext | (segment ? kTse : 0) | 0x02 | (tcp ? 1 : 0));
        transmit_raw(
            ip | u64{ip_offset} << 8 | u64{ip_end} << 16 | u64{transport} << 32 | u64{offset} << 40 | u64{end} << 48,
            payload | u64{command} << 24 | u64{header} << 40 | u64{segment} << 48);
    }
    void transmit_data(u64 address, size_t length, u8 command, u8 options) {
        transmit_raw(address, length | 1u << 20 | u64{static_cast<u8>(command | kDext)} << 24 | u64{options} << 40);
    }
    u8 transmit_status(u32 index) { return memory->read_value<u8>(kTransmitRing + 16 * index + 12); }

    // --- Reception
    void receive(const std::vector<u8>& frame) {
        std::vector<u8> payload = {NetworkPort::kInputFrames, static_cast<u8>(frame.size()),
                                   static_cast<u8>(frame.size() >> 8)};
        payload.insert(payload.end(), frame.begin(), frame.end());
        post(card.input_source(), std::move(payload));
    }
    Received received(u32 index) {
        const u64 result = memory->read_value<u64>(kReceiveRing + 16 * index + 8);
        Received got{static_cast<u8>(result >> 32), static_cast<u8>(result >> 40), static_cast<u16>(result >> 16),
                     static_cast<u16>(result >> 48), std::vector<u8>(result & 0xFFFF)};
        memory->read(memory->read_value<u64>(kReceiveRing + 16 * index), got.bytes);
        return got;
    }

    // --- EEPROM and PHY
    u16 eeprom_word(u32 index) {
        write(e1000::EERD, index << 8 | 1);
        const u32 value = read(e1000::EERD);
        return value & 0x10 ? static_cast<u16>(value >> 16) : u16{0};
    }
    bool microwire_clock(bool data) {
        const u32 pins = 0x42u | (data ? 4 : 0);
        write(e1000::EECD, pins);
        write(e1000::EECD, pins | 1);
        write(e1000::EECD, pins);
        return read(e1000::EECD) & 8;
    }
    void microwire_send(u32 value, unsigned count) {
        while (count > 0) microwire_clock(bit(value, --count));
    }
    void microwire_end() { write(e1000::EECD, 0x40); }
    u16 microwire_read(u32 index) {
        microwire_send(6u << 6 | index, 9);
        u16 value = 0;
        for (int i = 0; i < 16; ++i) value = static_cast<u16>(value << 1 | microwire_clock(false));
        microwire_end();
        return value;
    }
    void microwire_enable(bool on) {
        microwire_send(4u << 6 | (on ? 0x30 : 0), 9);
        microwire_end();
    }
    void microwire_write(u32 index, u16 value) {
        microwire_send(5u << 6 | index, 9);
        microwire_send(value, 16);
        microwire_end();
    }
    std::optional<u16> phy_read(u32 index, u32 phy = 1) {
        write(e1000::MDIC, 2u << 26 | phy << 21 | index << 16);
        const u32 value = read(e1000::MDIC);
        if (!(value & 1u << 28) || (value & 1u << 30)) return {};
        return static_cast<u16>(value);
    }

    RecordingNetwork port;
    Platform parts = platform();
    E1000 card{parts, {.name = "nic0", .address = kAddress, .port = &port}};
    u32 next_transmit = 0;
};

}  // namespace lodge::e1000_test
