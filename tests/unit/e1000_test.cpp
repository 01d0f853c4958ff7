#include "devices/e1000.h"

#include <doctest/doctest.h>

#include "tests/unit/e1000_fixture.h"

namespace lodge {
namespace {

using namespace e1000;
using e1000_test::Board;
using e1000_test::kAddress;

std::vector<u8> frame_to(const MacAddress& destination, size_t size, u16 type = 0x88B5) {
    std::vector<u8> frame(size);
    std::copy(destination.begin(), destination.end(), frame.begin());
    const MacAddress source = {0x02, 0, 0, 0, 0, 1};
    std::copy(source.begin(), source.end(), frame.begin() + 6);
    store_big_endian(&frame[12], type);
    for (size_t i = kEthernetHeader; i < size; ++i) frame[i] = static_cast<u8>(i * 7);
    return frame;
}

constexpr MacAddress kBroadcast = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

// An IPv4 packet with TCP or UDP; its checksums are right, or those of an unfinished offload.
std::vector<u8> ip_frame(bool tcp, size_t payload, bool finished = true) {
    const size_t header = tcp ? 20 : 8;
    auto frame = frame_to(kAddress, 34 + header + payload, kEtherTypeIpv4);
    u8* ip = &frame[14];
    std::fill(ip, ip + 20 + header, u8{0});
    ip[0] = 0x45;
    store_big_endian(ip + 2, static_cast<u16>(20 + header + payload));
    store_big_endian(ip + 4, u16{0x1234});
    ip[8] = 64;
    ip[9] = tcp ? 6 : 17;
    store_big_endian(ip + 12, u32{0x0A00020F});
    store_big_endian(ip + 16, u32{0x0A000202});
    u8* transport = ip + 20;
    store_big_endian(transport, u16{1000});
    store_big_endian(transport + 2, u16{2000});
    if (tcp) {
        store_big_endian(transport + 4, u32{0x01020304});
        transport[12] = 0x50;
        transport[13] = 0x19;  // ACK, PSH, FIN
    } else {
        store_big_endian(transport + 4, static_cast<u16>(header + payload));
    }
    u16 pseudo = ones_add(ones_sum({ip + 12, 8}), tcp ? 6u : 17u);
    u8* checksum = transport + (tcp ? 16 : 6);
    if (!finished) {
        store_big_endian(checksum, pseudo);
        return frame;
    }
    pseudo = ones_add(pseudo, static_cast<u32>(header + payload));
    store_big_endian(ip + 10, static_cast<u16>(~ones_sum({ip, 20})));
    store_big_endian(checksum, static_cast<u16>(~ones_add(pseudo, ones_sum({transport, header + payload}))));
    return frame;
}

TEST_CASE("identity, EEPROM and the receive address after power-on") {
    Board board;
    CHECK(board.card.config_read(0, 4) == 0x100E8086);
    CHECK(board.read(RA) == load<u32>(&kAddress[0]));
    CHECK(board.read(RA + 4) == (0x80000000 | load<u16>(&kAddress[4])));
    u16 sum = 0;
    for (u32 word = 0; word < 64; ++word) sum = static_cast<u16>(sum + board.eeprom_word(word));
    CHECK(sum == 0xBABA);
    CHECK(board.eeprom_word(0) == load<u16>(&kAddress[0]));
    CHECK(board.eeprom_word(0x0D) == 0x100E);
    for (u32 word : {0u, 1u, 2u, 0x0Eu, 0x3Fu}) CHECK(board.microwire_read(word) == board.eeprom_word(word));
}

TEST_CASE("the EEPROM is written only after it was told so") {
    Board board;
    board.microwire_write(5, 0xCAFE);
    CHECK(board.eeprom_word(5) == 0xFFFF);
    board.microwire_enable(true);
    board.microwire_write(5, 0xCAFE);
    board.microwire_enable(false);
    board.microwire_write(6, 0xCAFE);
    CHECK(board.eeprom_word(5) == 0xCAFE);
    CHECK(board.eeprom_word(6) == 0xFFFF);
    board.write(CTRL, kCtrlRst);
    CHECK(board.microwire_read(5) == 0xCAFE);
}

TEST_CASE("every register has one row, and writing all ones changes only what may be written") {
    Board board;
    for (const RegisterRow& row : RegisterFile::rows()) {
        CHECK_MESSAGE(RegisterFile::find(row.offset) == &row, row.name);
        if (row.kind == RegisterKind::action) continue;
        const u32 before = board.read(row.offset);
        board.write(row.offset, ~0u);
        CHECK_MESSAGE(board.read(row.offset) == (before | row.writable), row.name);
    }
    CHECK(board.read(0x00F0) == 0);
    CHECK(board.read(0x10000) == 0);
}

TEST_CASE("accesses that are not of a whole register") {
    Board board;
    board.write(VET, 0x1234);
    CHECK(board.mmio.read(Board::kBar + VET, 2) == 0x1234);
    CHECK(board.mmio.read(Board::kBar + VET + 1, 1) == 0x12);
    board.mmio.write(Board::kBar + VET, 2, 0x5678);
    CHECK(board.read(VET) == 0x1234);
    board.mmio.write(Board::kBar + TDBAL, 8, 0x1'0000'0100);
    CHECK(board.mmio.read(Board::kBar + TDBAL, 8) == 0x1'0000'0100);
    board.ports.write(Board::kIo, 4, VET);
    CHECK(board.ports.read(Board::kIo + 4, 4) == 0x1234);
    board.ports.write(Board::kIo + 4, 4, 0x88A8);
    CHECK(board.read(VET) == 0x88A8);
    board.ports.write(Board::kIo, 4, 0xFFFFFFFC);
    CHECK(board.ports.read(Board::kIo + 4, 4) == 0);
}

TEST_CASE("the PHY is found, and the link follows CTRL.SLU, the cable and negotiation") {
    Board board;
    CHECK(board.phy_read(2) == 0x0141);
    CHECK((*board.phy_read(3) & 0xFFF0) == 0x0C20);
    CHECK(board.phy_read(1, 2) == std::nullopt);
    CHECK(!(board.read(STATUS) & kStatusLu));
    board.read(ICR);
    board.write(CTRL, kCtrlSlu);
    CHECK((board.read(STATUS) & kStatusLu));
    CHECK(board.read(ICR) == kIntLsc);
    // A reset of the PHY takes the link down for a while.
    board.write(CTRL, kCtrlSlu | kCtrlPhyRst);
    CHECK(board.read(ICR) == kIntLsc);
    CHECK(!(board.read(STATUS) & kStatusLu));
    board.advance(Phy::kNegotiation);
    CHECK(board.read(ICR) == kIntLsc);
    CHECK((board.read(STATUS) & kStatusLu));
    // The status register shows once that the link was lost.
    CHECK(!(*board.phy_read(1) & 4));
    CHECK((*board.phy_read(1) & 0x24) == 0x24);
    CHECK(board.phy_read(17) == 0xAC00);
    board.post(board.card.input_source(), {NetworkPort::kInputCable, 0});
    CHECK(board.read(ICR) == kIntLsc);
    CHECK(!(board.read(STATUS) & kStatusLu));
    CHECK(!(*board.phy_read(1) & 4));
    board.post(board.card.input_source(), {NetworkPort::kInputCable, 1});
    board.advance(Phy::kNegotiation);
    CHECK((board.read(STATUS) & kStatusLu));
    // Restarting the negotiation by MII; the interrupt that tells of the access.
    board.read(ICR);
    board.write(MDIC, 1u << 26 | 1u << 21 | 0x1340 | 1u << 29);
    CHECK(board.read(ICR) == (kIntMdac | kIntLsc));
}

TEST_CASE("legacy descriptors") {
    Board board;
    board.start();
    const auto frame = frame_to(kBroadcast, 100);
    board.put(0x8000, frame);
    board.transmit({{0x8000, 40, 0}, {0x8028, 60, Board::kEop | Board::kIfcs | Board::kRs}});
    REQUIRE(board.port.sent.size() == 1);
    CHECK(board.port.sent[0] == frame);
    CHECK(board.transmit_status(0) == 0);
    CHECK(board.transmit_status(1) == 1);
    CHECK(board.read(TDH) == 2);
    CHECK(board.read(ICR) == (kIntTxdw | kIntTxqe));
    CHECK(board.read(GPTC) == 1);
    CHECK(board.read(BPTC) == 1);
    CHECK(board.read(PTC127) == 1);
    CHECK(board.read(TOTL) == 104);
    CHECK(board.read(TOTH) == 0);
    CHECK(board.read(TOTL) == 0);
    CHECK(board.read(GPTC) == 0);
}

TEST_CASE("short frames are padded if TCTL.PSP says so, and tags are inserted if CTRL.VME does") {
    Board board;
    board.start();
    const auto frame = frame_to(kBroadcast, 20);
    board.put(0x8000, frame);
    board.transmit({{0x8000, 20, Board::kSend}});
    board.write(TCTL, kTctlEn | kTctlPsp);
    board.write(CTRL, kCtrlSlu | kCtrlVme);
    board.transmit({{0x8000, 20, Board::kSend | Board::kVle, 0xABC}});
    REQUIRE(board.port.sent.size() == 2);
    CHECK(board.port.sent[0].size() == 20);
    CHECK(board.port.sent[1].size() == 64);
    CHECK(load_big_endian<u32>(&board.port.sent[1][12]) == 0x81000ABC);
    CHECK(load_big_endian<u16>(&board.port.sent[1][16]) == 0x88B5);
}

TEST_CASE("a frame that brings its own FCS") {
    Board board;
    board.start();
    auto frame = frame_to(kBroadcast, 60);
    const auto bare = frame;
    frame.resize(64);
    store(&frame[60], ethernet_fcs(bare));
    board.put(0x8000, frame);
    board.transmit({{0x8000, 64, Board::kEop}});
    board.transmit({{0x8000, 63, Board::kEop}});
    REQUIRE(board.port.sent.size() == 1);
    CHECK(board.port.sent[0] == bare);
}

TEST_CASE("the FCS is CRC-32") {
    const std::string_view text = "123456789";
    CHECK(ethernet_fcs({reinterpret_cast<const u8*>(text.data()), text.size()}) == 0xCBF43926);
}

TEST_CASE("checksums are inserted") {
    for (const bool tcp : {false, true}) {
        Board board;
        board.start();
        for (const size_t payload : {0, 1, 999, 1000}) {
            auto wanted = ip_frame(tcp, payload);
            auto frame = wanted;
            // The driver leaves the pseudo header's sum, length included.
            const size_t header = tcp ? 20 : 8, at = tcp ? 50 : 40;
            const u16 pseudo =
                ones_add(ones_add(ones_sum({&frame[26], 8}), tcp ? 6u : 17u), static_cast<u32>(header + payload));
            store_big_endian(&frame[at], pseudo);
            store_big_endian(&frame[24], u16{0});
            board.put(0x8000, frame);
            board.transmit_context(14, 24, 33, 34, static_cast<u8>(at), 0, tcp);
            board.transmit_data(0x8000, frame.size(), Board::kSend, 3);
            REQUIRE(!board.port.sent.empty());
            CHECK(board.port.sent.back() == wanted);
            CHECK(find_layers(wanted)->tcp == tcp);
            CHECK(transport_checksum_right(wanted, *find_layers(wanted)));
        }
    }
}

TEST_CASE("a legacy descriptor's checksum") {
    Board board;
    board.start();
    auto wanted = ip_frame(true, 100);
    auto frame = wanted;
    store_big_endian(&frame[50], ones_add(ones_add(ones_sum({&frame[26], 8}), 6), 120));
    board.put(0x8000, frame);
    board.transmit_raw(0x8000, frame.size() | 50u << 16 | u64{Board::kSend | Board::kIc} << 24 | u64{34} << 40);
    REQUIRE(board.port.sent.size() == 1);
    CHECK(board.port.sent[0] == wanted);
}

TEST_CASE("TCP segmentation") {
    Board board;
    board.start();
    const size_t payload = 3333;
    auto whole = ip_frame(true, payload, false);
    store_big_endian(&whole[16], u16{0});
    board.put(0x8000, whole);
    board.transmit_context(14, 24, 33, 34, 50, 0, true, 1000, 54, payload);
    // Headers and payload in pieces that have nothing to do with the segments.
    board.transmit_data(0x8000, 30, Board::kIfcs | Board::kTse, 3);
    board.transmit_data(0x801E, 1500, Board::kIfcs | Board::kTse, 3);
    board.transmit_data(0x801E + 1500, whole.size() - 1530, Board::kSend | Board::kTse, 3);
    REQUIRE(board.port.sent.size() == 4);
    size_t done = 0;
    for (size_t i = 0; i < 4; ++i) {
        const auto& frame = board.port.sent[i];
        const size_t part = std::min<size_t>(1000, payload - done);
        REQUIRE(frame.size() == 54 + part);
        const auto layers = find_layers(frame);
        REQUIRE(layers);
        CHECK(layers->ip_end == frame.size());
        CHECK(ip_checksum_right(frame, *layers));
        CHECK(transport_checksum_right(frame, *layers));
        CHECK(load_big_endian<u16>(&frame[18]) == 0x1234 + i);
        CHECK(load_big_endian<u32>(&frame[38]) == 0x01020304 + done);
        CHECK(frame[47] == (i == 3 ? 0x19 : 0x10));
        CHECK(std::equal(frame.begin() + 54, frame.end(), whole.begin() + 54 + static_cast<long>(done)));
        done += part;
    }
    CHECK(board.read(TSCTC) == 1);
}

TEST_CASE("segmentation of nonsense ends") {
    Board board;
    board.start();
    board.transmit_context(14, 24, 33, 34, 50, 0, true, 1, 54, 100);
    board.transmit_data(0x8000, 0xFFFFF, Board::kSend | Board::kTse, 3);
    CHECK(board.port.sent.empty());
    board.transmit_context(255, 255, 0xFFFF, 255, 255, 0xFFFF, true, 16, 0, 100);
    board.transmit_data(0x8000, 0xFFFFF, Board::kSend | Board::kTse, 3);
    CHECK(board.port.sent.size() == (0xFFFFF + 15) / 16);
    // Without segmentation: too long, and the next is sent again.
    board.port.sent.clear();
    board.transmit_data(0x8000, 0xFFFFF, Board::kSend, 0);
    CHECK(board.port.sent.empty());
    board.transmit_data(0x8000, 0, Board::kSend, 3);
    CHECK(board.port.sent.empty());
    board.transmit_data(0x8000, 60, Board::kSend, 0);
    CHECK(board.port.sent.size() == 1);
}

TEST_CASE("a ring that is larger than a burst is sent in several") {
    Board board;
    board.start();
    constexpr u32 kCount = 4096;
    board.put(0x8000, frame_to(kBroadcast, 60));
    for (u32 i = 0; i < kCount; ++i) {
        board.memory->write_value<u64>(0x100000 + 16 * i, 0x8000);
        board.memory->write_value<u64>(0x100008 + 16 * i, 60 | u64{Board::kSend} << 24);
    }
    board.write(TDBAL, 0x100000);
    board.write(TDLEN, kCount * 16);
    board.write(TDH, 0);
    board.write(TDT, kCount - 1);
    CHECK(board.port.sent.size() == E1000::kBurstDescriptors);
    board.write(TDT, kCount - 1);  // no faster that way
    CHECK(board.port.sent.size() == E1000::kBurstDescriptors);
    board.advance(20 * E1000::kBurstPause);
    CHECK(board.port.sent.size() == kCount - 1);
    CHECK(board.read(TDH) == kCount - 1);
}

TEST_CASE("rings whose head or tail is nowhere, and DMA at the card itself") {
    Board board;
    board.start();
    board.write(TDT, 5000);
    board.write(TDH, 5000);
    board.write(TDT, 1);
    board.write(TDLEN, 0);
    board.write(TDT, 2);
    CHECK(board.port.sent.empty());
    board.write(RDT, 0xFFFF);
    board.receive(frame_to(kAddress, 100));
    board.write(RDLEN, 0);
    board.receive(frame_to(kAddress, 100));
    // Descriptors in the card's own registers; buffers there.
    board.write(TDBAL, Board::kBar);
    board.write(TDLEN, 0x1000);
    board.write(TDH, 0);
    board.write(TDT, 0xFF);
    board.write(RDBAL, Board::kBar + 0x3800);
    board.write(RDLEN, 128);
    board.write(RDH, 0);
    board.write(RDT, 7);
    board.receive(frame_to(kAddress, 100));
    CHECK(board.read(TDBAL) == Board::kBar);
}

TEST_CASE("frames are received into as many buffers as they need") {
    Board board;
    board.start();
    const auto frame = frame_to(kAddress, 700);
    board.write(RCTL, kRctlEn | 3u << 16);  // buffers of 256 bytes
    board.receive(frame);
    CHECK(board.read(RDH) == 3);
    std::vector<u8> got;
    for (u32 i = 0; i < 3; ++i) {
        const auto part = board.received(i);
        CHECK((part.status & 3) == (i == 2 ? 3 : 1));
        got.insert(got.end(), part.bytes.begin(), part.bytes.end());
    }
    REQUIRE(got.size() == 704);
    CHECK(std::equal(frame.begin(), frame.end(), got.begin()));
    CHECK(load<u32>(&got[700]) == ethernet_fcs(frame));
    CHECK((board.read(ICR) & kIntRxt0));
    board.write(RCTL, kRctlEn | kRctlSecrc);
    board.receive(frame_to(kAddress, 20));
    CHECK(board.received(3).bytes.size() == 60);
    CHECK(board.port.taken_bytes == 720);
    CHECK(board.read(GPRC) == 2);
    CHECK(board.read(TPR) == 2);
}

TEST_CASE("address filters") {
    Board board;
    board.start();
    const auto takes = [&](const MacAddress& address) {
        const u32 before = board.read(RDH);
        board.receive(frame_to(address, 60));
        const u32 after = board.read(RDH);
        board.write(RDT, (after + 7) % 8);
        return after != before;
    };
    constexpr MacAddress kOther = {0x52, 0x54, 0, 0, 0, 9}, kGroup = {0x01, 0x00, 0x5E, 0x12, 0x34, 0x56};
    board.write(RCTL, kRctlEn);
    CHECK(takes(kAddress));
    CHECK(!takes(kOther));
    CHECK(!takes(kBroadcast));
    CHECK(!takes(kGroup));
    board.write(RCTL, kRctlEn | kRctlBam);
    CHECK(takes(kBroadcast));
    CHECK(!takes(kGroup));
    board.write(RCTL, kRctlEn | kRctlUpe);
    CHECK(takes(kOther));
    CHECK(!takes(kGroup));
    board.write(RCTL, kRctlEn | kRctlMpe);
    CHECK(takes(kGroup));
    CHECK(takes(kBroadcast));
    CHECK(!takes(kOther));
    // The hash of the last two bytes, by each of the four offsets.
    const u32 last = 0x5634;
    const unsigned shifts[] = {4, 3, 2, 0};
    for (u32 offset = 0; offset < 4; ++offset) {
        board.write(RCTL, kRctlEn | offset << 12);
        const u32 hash = last >> shifts[offset] & 0xFFF;
        board.write(MTA + 4 * (hash >> 5), 1u << (hash & 31));
        CHECK(takes(kGroup));
        board.write(MTA + 4 * (hash >> 5), ~(1u << (hash & 31)));
        CHECK(!takes(kGroup));
        board.write(MTA + 4 * (hash >> 5), 0);
    }
    // Another receive address, by destination and by source.
    board.write(RCTL, kRctlEn);
    board.write(RA + 8 * 15, load<u32>(&kOther[0]));
    board.write(RA + 8 * 15 + 4, kRahAv | load<u16>(&kOther[4]));
    CHECK(takes(kOther));
    board.write(RA + 8 * 15, 0x00000002);
    board.write(RA + 8 * 15 + 4, kRahAv | 1u << 16 | 0x0100);
    CHECK(takes(kOther));
    CHECK(takes(kGroup));
}

TEST_CASE("VLANs are filtered and tags taken out") {
    Board board;
    board.start();
    auto frame = frame_to(kAddress, 100, kEtherTypeVlan);
    store_big_endian(&frame[14], u16{0x2123});
    board.write(RCTL, kRctlEn | kRctlVfe);
    board.receive(frame);
    CHECK(board.read(RDH) == 0);
    board.write(VFTA + 4 * (0x123 >> 5), 1u << (0x123 & 31));
    board.receive(frame);
    CHECK(board.read(RDH) == 1);
    CHECK(board.received(0).bytes.size() == 104);
    CHECK(!(board.received(0).status & kReceivedTag));
    board.write(CTRL, kCtrlSlu | kCtrlVme);
    board.receive(frame);
    CHECK(board.received(1).bytes.size() == 100);
    CHECK((board.received(1).status & kReceivedTag));
    CHECK(board.received(1).tag == 0x2123);
    CHECK(load_big_endian<u16>(&board.received(1).bytes[12]) == load_big_endian<u16>(&frame[16]));
    board.write(RCTL, kRctlEn | kRctlVfe | kRctlCfien | kRctlCfi);
    board.receive(frame);
    CHECK(board.read(RDH) == 2);
}

TEST_CASE("long frames need RCTL.LPE") {
    Board board;
    board.start();
    board.write(RCTL, kRctlEn);
    board.receive(frame_to(kAddress, 1518));
    board.receive(frame_to(kAddress, 1519));
    CHECK(board.read(RDH) == 1);
    CHECK(board.read(ROC) == 1);
    board.write(RCTL, kRctlEn | kRctlLpe);
    board.receive(frame_to(kAddress, 9000));
    CHECK(board.read(RDH) == 6);
}

TEST_CASE("checksums of received packets") {
    Board board;
    board.start();
    board.write(RXCSUM, kRxcsumIpofl | kRxcsumTuofl | 14);
    u32 next = 0;
    const auto described = [&](const std::vector<u8>& frame) {
        board.receive(frame);
        board.write(RDT, (next + 7) % 8);
        return board.received(next++ % 8);
    };
    for (const bool tcp : {false, true}) {
        auto frame = ip_frame(tcp, 501);
        auto got = described(frame);
        CHECK(got.status == (3 | kReceivedIp | kReceivedTcp));
        CHECK(got.errors == 0);
        frame.back() ^= 1;
        got = described(frame);
        CHECK(got.errors == kReceivedTcpError);
        frame.back() ^= 1;
        frame[22] ^= 1;
        got = described(frame);
        CHECK(got.errors == kReceivedIpError);
    }
    // UDP without a checksum, a fragment, something else.
    auto frame = ip_frame(false, 20);
    store_big_endian(&frame[40], u16{0});
    CHECK(described(frame).status == (3 | kReceivedIp));
    frame = ip_frame(true, 20);
    frame[20] = 0x20;
    store_big_endian(&frame[24], u16{0});
    store_big_endian(&frame[24], static_cast<u16>(~ones_sum({&frame[14], 20})));
    auto got = described(frame);
    CHECK(got.status == (3 | kReceivedIp));
    CHECK(got.errors == 0);
    CHECK(got.checksum == ones_sum(std::span<const u8>(frame).subspan(14)));
    CHECK(described(frame_to(kAddress, 60)).status == (3 | kReceivedIgnore));
    // Lengths that lie.
    frame = ip_frame(true, 20);
    store_big_endian(&frame[16], u16{0xFFFF});
    CHECK(described(frame).status == (3 | kReceivedIgnore));
    frame[14] = 0x4F;
    CHECK(described(frame).status == (3 | kReceivedIgnore));
}

TEST_CASE("frames wait for descriptors, up to a limit") {
    Board board;
    board.start();
    board.write(RDT, 1);
    const auto frame = frame_to(kAddress, 1000);
    board.receive(frame);
    CHECK(board.port.taken_bytes == 1000);
    const size_t most = E1000::kBacklog / 1000;
    for (size_t i = 0; i < most + 5; ++i) board.receive(frame);
    CHECK(board.port.taken_bytes == 6000);
    CHECK(board.read(MPC) == 5);
    CHECK((board.read(ICR) & kIntRxo));
    CHECK(board.read(RNBC) == 1);
    board.write(RDT, 4);
    CHECK(board.read(RDH) == 4);
    CHECK(board.port.taken_bytes == 9000);
    board.write(RCTL, 0);
    CHECK(board.port.taken_bytes == (most + 6) * 1000);
}

TEST_CASE("a frame that the ring can never hold is lost, not waited for") {
    Board board;
    board.start();
    board.write(RCTL, kRctlEn | kRctlLpe | 3u << 16);
    board.receive(frame_to(kAddress, 9000));
    CHECK(board.port.taken_bytes == 9000);
    CHECK(board.read(MPC) == 1);
    board.receive(frame_to(kAddress, 100));
    CHECK(board.read(RDH) == 1);
}

TEST_CASE("a descriptor without an address holds nothing") {
    Board board;
    board.start();
    board.memory->write_value<u64>(Board::kReceiveRing, 0);
    board.receive(frame_to(kAddress, 100));
    CHECK(board.read(RDH) == 2);
    CHECK(board.received(0).status == 1);
    CHECK((board.received(1).status & 3) == 3);
    CHECK(board.received(1).bytes.size() == 104);
}

TEST_CASE("few descriptors left, small packets") {
    Board board;
    board.start();
    board.write(RCTL, kRctlEn | 2u << 8);  // an eighth
    board.write(RSRPD, 70);
    for (int i = 0; i < 5; ++i) board.receive(frame_to(kAddress, 100));
    CHECK(board.read(ICR) == kIntRxt0);
    board.receive(frame_to(kAddress, 60));
    CHECK(board.read(ICR) == (kIntRxt0 | kIntRxdmt0 | kIntSrpd));
}

TEST_CASE("the pin follows ICR and IMS") {
    Board board;
    board.read(ICR);
    board.write(ICS, kIntLsc);
    CHECK(!board.card.intx());
    board.write(IMS, kIntLsc | kIntRxt0);
    CHECK(board.card.intx());
    board.write(IMC, kIntLsc);
    CHECK(!board.card.intx());
    board.write(IMS, kIntLsc);
    board.write(ICR, kIntLsc);
    CHECK(!board.card.intx());
    board.write(ICS, kIntRxt0);
    CHECK(board.card.intx());
    CHECK(board.read(ICR) == kIntRxt0);
    CHECK(!board.card.intx());
    CHECK(board.read(IMS) == (kIntLsc | kIntRxt0));
    CHECK(board.read(IMC) == 0);
}

TEST_CASE("ITR keeps the pin from rising too often") {
    Board board;
    board.write(ITR, 1000);  // 256 microseconds
    board.write(IMS, kIntRxt0);
    board.write(ICS, kIntRxt0);
    CHECK(board.card.intx());
    board.read(ICR);
    board.write(ICS, kIntRxt0);
    CHECK(!board.card.intx());
    board.advance(255'999);
    CHECK(!board.card.intx());
    board.advance(1);
    CHECK(board.card.intx());
    board.read(ICR);
    board.advance(256'000);
    board.write(ICS, kIntRxt0);
    CHECK(board.card.intx());
}

TEST_CASE("receive and transmit delays") {
    Board board;
    board.start();
    board.write(RDTR, 100);
    board.write(RADV, 150);
    board.write(RCTL, kRctlEn | 2u << 8);
    board.read(ICR);
    const auto frame = frame_to(kAddress, 100);
    board.receive(frame);
    board.advance(80 * 1024);
    board.receive(frame);
    CHECK(board.read(ICR) == 0);
    board.advance(69 * 1024);
    CHECK(board.read(ICR) == 0);
    board.advance(1024);  // the absolute timer, from the first
    CHECK(board.read(ICR) == kIntRxt0);
    board.advance(1'000'000);
    CHECK(board.read(ICR) == 0);
    board.receive(frame);
    board.write(RDTR, 100 | kRdtrFpd);
    CHECK(board.read(ICR) == kIntRxt0);

    board.write(TIDV, 100);
    board.write(TADV, 150);
    board.put(0x8000, frame_to(kBroadcast, 60));
    board.transmit({{0x8000, 60, Board::kSend | Board::kIde}});
    CHECK(board.read(ICR) == kIntTxqe);
    board.advance(90 * 1024);
    board.transmit({{0x8000, 60, Board::kSend | Board::kIde}});
    board.read(ICR);
    board.advance(60 * 1024);
    CHECK(board.read(ICR) == kIntTxdw);
}

TEST_CASE("loopback, no link, no bus mastering") {
    Board board;
    board.start();
    board.put(0x8000, frame_to(kAddress, 100));
    board.write(RCTL, kRctlEn | 1u << 6);
    board.transmit({{0x8000, 100, Board::kSend}});
    CHECK(board.port.sent.empty());
    CHECK(board.read(RDH) == 1);
    board.write(RCTL, kRctlEn);
    board.post(board.card.input_source(), {NetworkPort::kInputCable, 0});
    board.transmit({{0x8000, 100, Board::kSend}});
    board.receive(frame_to(kAddress, 100));
    CHECK(board.port.sent.empty());
    CHECK(board.read(RDH) == 1);
    board.post(board.card.input_source(), {NetworkPort::kInputCable, 1});
    board.advance(Phy::kNegotiation);
    board.card.config_write(kPciCommand, 2, kPciCommandMemory | kPciCommandIo);
    board.transmit({{0x8000, 100, Board::kSend}});
    board.receive(frame_to(kAddress, 100));
    CHECK(board.port.sent.empty());
    CHECK(board.read(RDH) == 1);
    board.card.config_write(kPciCommand, 2, kPciCommandMemory | kPciCommandIo | kPciCommandMaster);
    CHECK(board.read(RDH) == 2);
}

TEST_CASE("CTRL.RST leaves the PHY and takes everything else back") {
    Board board;
    board.start();
    board.write(MTA, 5);
    board.write(RA, 0);
    board.write(IMS, kIntRxt0);
    board.write(ICS, kIntRxt0);
    board.write(CTRL, kCtrlRst | kCtrlSlu);
    CHECK(!board.card.intx());
    CHECK(board.read(MTA) == 0);
    CHECK(board.read(IMS) == 0);
    CHECK(board.read(RA) == load<u32>(&kAddress[0]));
    CHECK((*board.phy_read(1) & 4));
    CHECK(!(board.read(STATUS) & kStatusLu));
}

TEST_CASE("state in the middle of everything") {
    Board board, other;
    board.start();
    board.write(ITR, 1000);
    board.write(RDTR, 100);
    board.write(IMS, ~0u);
    board.receive(frame_to(kAddress, 100));
    board.write(RDT, board.read(RDH));
    board.receive(frame_to(kAddress, 1000));
    auto whole = ip_frame(true, 3000, false);
    board.put(0x8000, whole);
    board.transmit_context(14, 24, 33, 34, 50, 0, true, 1000, 54, 3000);
    board.transmit_data(0x8000, 1500, Board::kIfcs | Board::kTse, 3);
    board.write(CTRL, kCtrlSlu | kCtrlPhyRst);
    CHECK(test::same_after_load(board.card, other.card));
    // What was begun is finished by the other.
    other.memory->write(0, std::span<const u8>(board.memory->backing()).first(Board::kMemory));
    other.clock.skip_to(board.clock.now());
    other.write(RDT, 7);
    CHECK(other.read(RDH) == 2);
    CHECK(other.port.taken_bytes == 1000);
    other.advance(Phy::kNegotiation);
    CHECK((other.read(STATUS) & kStatusLu));
    other.next_transmit = board.next_transmit;
    other.transmit_data(0x8000 + 1500, whole.size() - 1500, Board::kSend | Board::kTse, 3);
    CHECK(other.port.sent.size() == 2);
}

TEST_CASE("a state that cannot be is refused") {
    Board board, other;
    auto saved = test::save(board.card);
    for (size_t cut : {size_t{1}, saved.size() / 2}) {
        CHECK(!test::load(other.card, std::span<const u8>(saved).first(saved.size() - cut)));
    }
}

}  // namespace
}  // namespace lodge
