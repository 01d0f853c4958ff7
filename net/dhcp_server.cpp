#include "net/dhcp_server.h"

#include <arpa/inet.h>

#include <algorithm>

namespace lodge {

namespace {

// A BOOTP message, RFC 951 and RFC 2131 figure 1, behind Ethernet, IP and UDP headers of fixed size.
constexpr size_t kIp = kEthernetHeader, kUdp = kIp + 20, kBootp = kUdp + 8;
constexpr size_t kXid = 4, kFlags = 10, kClientIp = 12, kYourIp = 16, kNextServer = 20, kHardware = 28, kName = 44,
                 kFile = 108, kCookie = 236, kOptions = 240;
constexpr size_t kNameSize = 64, kFileSize = 128, kLeastBootp = 300;
constexpr u32 kMagic = 0x63825363;
constexpr u16 kServerPort = 67, kClientPort = 68;
constexpr u16 kBroadcastFlag = 0x8000;
constexpr u32 kLeaseSeconds = 86400;

// Messages, RFC 2132 9.6.
constexpr u8 kDiscover = 1, kOffer = 2, kRequest = 3, kDecline = 4, kAck = 5, kNak = 6, kRelease = 7, kInform = 8;

enum Option : u8 {
    kMask = 1,
    kRouter = 3,
    kNameServer = 6,
    kRootPath = 17,
    kWish = 50,
    kLeaseTime = 51,
    kMessageType = 53,
    kServerId = 54,
    kVendorClass = 60,
    kTftpServer = 66,
    kBootFile = 67,
    kUserClass = 77,
    kIpxe = 175,
    kEnd = 255
};
constexpr u8 kIpxeNoProxy = 176;  // within 175: do not wait for a proxy DHCP server

u32 address_at(std::span<const u8> message, size_t at) {
    return load_big_endian<u32>(&message[at]);
}

class OptionWriter {
  public:
    explicit OptionWriter(std::vector<u8>& out) : out_(out) {}
    void bytes(u8 code, std::span<const u8> value) {
        if (value.size() > 255) return;
        out_.push_back(code);
        out_.push_back(static_cast<u8>(value.size()));
        out_.insert(out_.end(), value.begin(), value.end());
    }
    void address(u8 code, u32 value) {
        u8 raw[4];
        store_big_endian(raw, value);
        bytes(code, raw);
    }
    void text(u8 code, const std::string& value) {
        bytes(code, {reinterpret_cast<const u8*>(value.data()), value.size()});
    }

  private:
    std::vector<u8>& out_;
};

}  // namespace

std::optional<Ipv4Address> parse_ipv4(const std::string& text) {
    in_addr address;
    if (inet_pton(AF_INET, text.c_str(), &address) != 1) return {};
    return ntohl(address.s_addr);
}

std::string to_text(Ipv4Address address) {
    return std::to_string(address >> 24) + "." + std::to_string(address >> 16 & 255) + "." +
           std::to_string(address >> 8 & 255) + "." + std::to_string(address & 255);
}

struct DhcpServer::Request {
    MacAddress client;
    u32 xid;
    u16 flags;
    Ipv4Address client_address;
    std::map<u8, std::vector<u8>> options;

    std::optional<Ipv4Address> address_option(u8 code) const {
        const auto found = options.find(code);
        if (found == options.end() || found->second.size() != 4) return {};
        return load_big_endian<u32>(found->second.data());
    }
    // 0: a BOOTP client, which knows no types.
    u8 type() const {
        const auto found = options.find(kMessageType);
        return found != options.end() && found->second.size() == 1 ? found->second[0] : 0;
    }
    // With the length byte that RFC 3004 asks for, or without, as iPXE sends it.
    bool is_ipxe() const {
        const auto found = options.find(kUserClass);
        if (found == options.end()) return false;
        const std::string text(found->second.begin(), found->second.end());
        return text == "iPXE" || text == "\4iPXE";
    }
};

bool DhcpServer::is_request(std::span<const u8> frame) {
    const auto layers = find_layers(frame);
    return layers && layers->ipv4 && layers->transport && !layers->tcp &&
           load_big_endian<u16>(&frame[layers->transport + 2]) == kServerPort;
}

std::optional<std::vector<u8>> DhcpServer::answer(std::span<const u8> frame) {
    const auto layers = find_layers(frame);
    if (!is_request(frame) || layers->ip_end < layers->transport + 8 + kOptions) return {};
    const auto message = frame.subspan(layers->transport + 8, layers->ip_end - layers->transport - 8);
    // A request, from Ethernet.
    if (message[0] != 1 || message[1] != 1 || message[2] != 6 || address_at(message, kCookie) != kMagic) return {};

    Request request{
        {}, address_at(message, kXid), load_big_endian<u16>(&message[kFlags]), address_at(message, kClientIp), {}};
    std::copy_n(&message[kHardware], request.client.size(), request.client.begin());
    for (size_t at = kOptions; at < message.size() && message[at] != kEnd;) {
        if (message[at] == 0) {
            ++at;
            continue;
        }
        if (at + 2 > message.size() || at + 2 + message[at + 1] > message.size()) break;
        request.options[message[at]].assign(&message[at + 2], &message[at + 2] + message[at + 1]);
        at += 2 + size_t{message[at + 1]};
    }

    const auto server = request.address_option(kServerId);
    const auto wish = request.address_option(kWish);
    switch (request.type()) {
        case kDiscover:
        case 0: {
            const auto address = lease(request.client, wish);
            if (!address) return {};
            return reply(request, request.type() ? kOffer : u8{0}, *address);
        }
        case kRequest: {
            if (server && *server != config_.server) return {};  // it has chosen another
            const Ipv4Address wanted = wish.value_or(request.client_address);
            const auto address = lease(request.client, wanted);
            if (!address || *address != wanted) return reply(request, kNak, 0);
            return reply(request, kAck, *address);
        }
        case kInform:
            return reply(request, kAck, 0);
        case kRelease:
        case kDecline:
            leases_.erase(request.client);
            return {};
        default:
            return {};
    }
}

bool DhcpServer::is_free(Ipv4Address address) const {
    return std::none_of(leases_.begin(), leases_.end(), [&](const auto& lease) { return lease.second == address; });
}

// A client keeps its address; a new one gets the one it wishes for if that is free, else the first that is.
std::optional<Ipv4Address> DhcpServer::lease(const MacAddress& client, std::optional<Ipv4Address> wish) {
    if (const auto known = leases_.find(client); known != leases_.end()) return known->second;
    const bool possible = wish && *wish - config_.first < config_.addresses && is_free(*wish);
    if (possible) return leases_[client] = *wish;
    for (u32 index = 0; index < config_.addresses; ++index)
        if (is_free(config_.first + index)) return leases_[client] = config_.first + index;
    return {};
}

std::string DhcpServer::boot_file_for(const Request& request) const {
    return request.is_ipxe() && !config_.ipxe_boot_file.empty() ? config_.ipxe_boot_file : config_.boot_file;
}

std::vector<u8> DhcpServer::reply(const Request& request, u8 type, Ipv4Address address) const {
    std::vector<u8> out(kBootp + kOptions);
    u8* message = &out[kBootp];
    message[0] = 2;  // a reply
    message[1] = 1;  // Ethernet
    message[2] = 6;
    store_big_endian(message + kXid, request.xid);
    store_big_endian(message + kFlags, request.flags);
    if (type != kNak) store_big_endian(message + kClientIp, request.client_address);
    store_big_endian(message + kYourIp, address);
    std::copy(request.client.begin(), request.client.end(), message + kHardware);
    store_big_endian(message + kCookie, kMagic);

    OptionWriter options(out);
    if (type) options.bytes(kMessageType, std::span(&type, 1));
    options.address(kServerId, config_.server);
    if (type != kNak) {
        if (type && address) options.address(kLeaseTime, kLeaseSeconds);
        options.address(kMask, config_.mask);
        options.address(kRouter, config_.server);
        options.address(kNameServer, config_.name_server);
        const Ipv4Address next_server = config_.next_server.value_or(config_.server);
        const std::string file = boot_file_for(request);
        if (!file.empty()) {
            store_big_endian(&out[kBootp + kNextServer], next_server);
            std::copy_n(file.begin(), std::min(file.size(), kFileSize - 1), &out[kBootp + kFile]);
            options.text(kTftpServer, to_text(next_server));
            options.text(kBootFile, file);
        }
        if (!config_.root_path.empty()) options.text(kRootPath, config_.root_path);
        const u8 no_proxy[] = {kIpxeNoProxy, 1, 1};
        if (request.is_ipxe()) options.bytes(kIpxe, no_proxy);
    }
    out.push_back(kEnd);
    if (out.size() < kBootp + kLeastBootp) out.resize(kBootp + kLeastBootp);

    // To the client's new address if it can take that already; RFC 2131 4.1.
    const bool broadcast = type == kNak || (request.flags & kBroadcastFlag) != 0;
    const Ipv4Address unicast = request.client_address ? request.client_address : address;
    const MacAddress everybody = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    const MacAddress& to = broadcast ? everybody : request.client;
    std::copy(to.begin(), to.end(), out.begin());
    std::copy(config_.server_mac.begin(), config_.server_mac.end(), out.begin() + 6);
    store_big_endian(&out[12], kEtherTypeIpv4);
    u8* ip = &out[kIp];
    ip[0] = 0x45;
    store_big_endian(ip + 2, static_cast<u16>(out.size() - kIp));
    ip[8] = 64;
    ip[9] = 17;
    store_big_endian(ip + 12, config_.server);
    store_big_endian(ip + 16, broadcast ? ~u32{0} : unicast);
    store_big_endian(ip + 10, static_cast<u16>(~ones_sum({ip, 20})));
    u8* udp = &out[kUdp];
    store_big_endian(udp, kServerPort);
    store_big_endian(udp + 2, kClientPort);
    const size_t length = out.size() - kUdp;
    store_big_endian(udp + 4, static_cast<u16>(length));
    const u16 pseudo = ones_add(ones_sum({ip + 12, 8}), ones_add(17, static_cast<u32>(length)));
    store_big_endian(udp + 6, static_cast<u16>(~ones_add(pseudo, ones_sum({udp, length}))));
    return out;
}

}  // namespace lodge
