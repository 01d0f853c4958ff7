#include "net/dhcp_server.h"

#include <doctest/doctest.h>

#include <cstring>

namespace lodge {
namespace {

constexpr MacAddress kClient = {0x52, 0x54, 0, 0, 0, 1}, kOther = {0x52, 0x54, 0, 0, 0, 2};
constexpr u8 kDiscover = 1, kOffer = 2, kRequest = 3, kAck = 5, kNak = 6, kRelease = 7, kInform = 8;

using Options = std::vector<std::vector<u8>>;  // code, value

std::vector<u8> message(const MacAddress& client, const Options& options, u16 flags = 0, Ipv4Address own = 0) {
    std::vector<u8> frame(42 + 240);
    std::memset(frame.data(), 0xFF, 6);
    std::copy(client.begin(), client.end(), frame.begin() + 6);
    u8* bootp = &frame[42];
    bootp[0] = 1;
    bootp[1] = 1;
    bootp[2] = 6;
    store_big_endian(bootp + 4, u32{0xCAFE0001});
    store_big_endian(bootp + 10, flags);
    store_big_endian(bootp + 12, own);
    std::copy(client.begin(), client.end(), bootp + 28);
    store_big_endian(bootp + 236, u32{0x63825363});
    for (const auto& option : options) {
        frame.push_back(option[0]);
        frame.push_back(static_cast<u8>(option.size() - 1));
        frame.insert(frame.end(), option.begin() + 1, option.end());
    }
    frame.push_back(255);
    store_big_endian(&frame[12], kEtherTypeIpv4);
    frame[14] = 0x45;
    store_big_endian(&frame[16], static_cast<u16>(frame.size() - 14));
    frame[23] = 17;
    store_big_endian(&frame[34], u16{68});
    store_big_endian(&frame[36], u16{67});
    return frame;
}

std::vector<u8> with_text(u8 code, const std::string& text) {
    std::vector<u8> option(1 + text.size(), code);
    std::copy(text.begin(), text.end(), option.begin() + 1);
    return option;
}

struct Answer {
    explicit Answer(const std::optional<std::vector<u8>>& frame) : frame(frame.value_or(std::vector<u8>{})) {
        if (!frame) return;
        const auto layers = find_layers(this->frame);
        REQUIRE(layers);
        CHECK(ip_checksum_right(this->frame, *layers));
        CHECK(transport_checksum_right(this->frame, *layers));
        CHECK(load_big_endian<u16>(&this->frame[34]) == 67);
        CHECK(load_big_endian<u16>(&this->frame[36]) == 68);
    }
    bool there() const { return !frame.empty(); }
    u32 word(size_t at) const { return load_big_endian<u32>(&frame[42 + at]); }
    Ipv4Address address() const { return word(16); }
    std::vector<u8> option(u8 code) const {
        for (size_t at = 42 + 240; at < frame.size() && frame[at] != 255; at += 2 + frame[at + 1])
            if (frame[at] == code) return {&frame[at + 2], &frame[at + 2] + frame[at + 1]};
        return {};
    }
    std::string text(u8 code) const {
        const auto value = option(code);
        return {value.begin(), value.end()};
    }
    u8 type() const { return option(53).empty() ? 0 : option(53)[0]; }
    std::vector<u8> frame;
};

TEST_CASE("a client gets an address, keeps it, and gives it back") {
    DhcpServer server({});
    const Answer offer(server.answer(message(kClient, {{53, kDiscover}})));
    CHECK(offer.type() == kOffer);
    CHECK(offer.address() == 0x0A00020F);
    CHECK(offer.word(4) == 0xCAFE0001);
    CHECK(offer.option(1) == std::vector<u8>{255, 255, 255, 0});
    CHECK(offer.option(3) == std::vector<u8>{10, 0, 2, 2});
    CHECK(offer.option(6) == std::vector<u8>{10, 0, 2, 3});
    CHECK(offer.option(54) == std::vector<u8>{10, 0, 2, 2});
    CHECK(offer.option(67).empty());
    CHECK(std::equal(kClient.begin(), kClient.end(), offer.frame.begin()));
    const Answer ack(server.answer(message(kClient, {{53, kRequest}, {50, 10, 0, 2, 15}, {54, 10, 0, 2, 2}})));
    CHECK(ack.type() == kAck);
    CHECK(ack.address() == 0x0A00020F);
    // Another gets another, also when it asks for the first's; it may wish for a free one.
    CHECK(Answer(server.answer(message(kOther, {{53, kRequest}, {50, 10, 0, 2, 15}}))).type() == kNak);
    CHECK(Answer(server.answer(message(kOther, {{53, kDiscover}}))).address() == 0x0A000210);
    // Renewing: by its own address.
    CHECK(Answer(server.answer(message(kClient, {{53, kRequest}}, 0, 0x0A00020F))).type() == kAck);
    CHECK(Answer(server.answer(message(kClient, {{53, kInform}}, 0, 0x0A00020F))).address() == 0);
    CHECK(!server.answer(message(kClient, {{53, kRelease}})));
    server.answer(message(kOther, {{53, kRelease}}));
    CHECK(Answer(server.answer(message(kOther, {{53, kDiscover}, {50, 10, 0, 2, 20}}))).address() == 0x0A000214);
    CHECK(Answer(server.answer(message(kClient, {{53, kDiscover}, {50, 10, 0, 9, 9}}))).address() == 0x0A00020F);
}

TEST_CASE("a request to another server is none of ours; a broadcast is answered as one; BOOTP is understood") {
    DhcpServer server({});
    CHECK(!server.answer(message(kClient, {{53, kRequest}, {50, 10, 0, 2, 15}, {54, 10, 0, 2, 9}})));
    const Answer broadcast(server.answer(message(kClient, {{53, kDiscover}}, 0x8000)));
    CHECK(is_broadcast(broadcast.frame.data()));
    CHECK(load_big_endian<u32>(&broadcast.frame[30]) == ~0u);
    const Answer plain(server.answer(message(kOther, {})));
    CHECK(plain.there());
    CHECK(plain.type() == 0);
    CHECK(plain.address() == 0x0A000210);
}

TEST_CASE("addresses run out") {
    DhcpServer server({});
    for (u8 i = 0; i < 16; ++i) {
        const MacAddress client = {0x52, 0x54, 0, 0, 1, i};
        CHECK(Answer(server.answer(message(client, {{53, kDiscover}}))).address() == 0x0A00020Fu + i);
    }
    CHECK(!server.answer(message(kClient, {{53, kDiscover}})));
}

TEST_CASE("what to boot: everybody, and iPXE") {
    DhcpConfig config;
    config.boot_file = "pxelinux.0";
    config.ipxe_boot_file = "http://10.0.2.2/boot.ipxe";
    config.root_path = "iscsi:10.0.2.2::::iqn.2026-11.io.lodge:disk";
    config.next_server = 0x0A000207;
    DhcpServer server(config);
    const Answer rom(server.answer(message(kClient, {{53, kDiscover}, with_text(60, "PXEClient:Arch:00000")})));
    CHECK(rom.text(67) == "pxelinux.0");
    CHECK(rom.text(66) == "10.0.2.7");
    CHECK(rom.word(20) == 0x0A000207);
    CHECK(std::strcmp(reinterpret_cast<const char*>(&rom.frame[42 + 108]), "pxelinux.0") == 0);
    CHECK(rom.text(17) == config.root_path);
    CHECK(rom.option(175).empty());
    for (const std::string name : {"iPXE", "\4iPXE"}) {
        const Answer ipxe(server.answer(message(kClient, {{53, kDiscover}, with_text(77, name)})));
        CHECK(ipxe.text(67) == config.ipxe_boot_file);
        CHECK(ipxe.option(175) == std::vector<u8>{176, 1, 1});
    }
}

TEST_CASE("messages that are none") {
    DhcpServer server({});
    const auto good = message(kClient, {{53, kDiscover}, {50, 10, 0, 2, 15}});
    for (size_t size = 0; size < good.size(); ++size) CHECK(!server.answer(std::span<const u8>(good).first(size)));
    auto changed = good;
    changed[42 + 236] = 0;
    CHECK(!server.answer(changed));
    changed = good;
    changed[42] = 2;
    CHECK(!server.answer(changed));
    // An option that runs past the end is not read.
    changed = good;
    changed[42 + 244] = 200;
    CHECK(server.answer(changed));
    // Not for a server.
    changed = good;
    store_big_endian(&changed[36], u16{68});
    CHECK(!DhcpServer::is_request(changed));
}

TEST_CASE("addresses as text") {
    CHECK(parse_ipv4("10.0.2.15") == 0x0A00020F);
    for (const char* wrong : {"", "10.0.2", "10.0.2.256", "10.0.2.1x", "host"}) CHECK(!parse_ipv4(wrong));
    CHECK(to_text(0x0A00020F) == "10.0.2.15");
}

}  // namespace
}  // namespace lodge
