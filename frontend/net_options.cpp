#include "frontend/net_options.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "devices/pc.h"
#include "net/socket_network.h"
#include "net/tap_network.h"

namespace lodge {

namespace {

Error wrong(const std::string& option, const std::string& text, const std::string& why) {
    return {ErrorKind::usage, option + " " + text + ": " + why};
}

std::vector<std::string> split(const std::string& text, char at) {
    std::vector<std::string> parts;
    for (size_t begin = 0;;) {
        const size_t end = text.find(at, begin);
        parts.push_back(text.substr(begin, end == std::string::npos ? end : end - begin));
        if (end == std::string::npos) return parts;
        begin = end + 1;
    }
}

std::optional<MacAddress> parse_mac(const std::string& text) {
    MacAddress address;
    if (text.size() != 17) return {};
    for (size_t i = 0; i < address.size(); ++i) {
        const char* at = text.data() + 3 * i;
        const auto [end, failed] = std::from_chars(at, at + 2, address[i], 16);
        if (failed != std::errc() || end != at + 2 || (i < 5 && at[2] != ':')) return {};
    }
    return address;
}

std::optional<u16> parse_port(const std::string& text) {
    u16 port = 0;
    const char* end = text.data() + text.size();
    const auto [at, failed] = std::from_chars(text.data(), end, port);
    if (failed != std::errc() || at != end || port == 0) return {};
    return port;
}

// [ADDRESS]:PORT. Without an address `address` is left as it is.
bool parse_endpoint(const std::string& text, Ipv4Address& address, u16& port) {
    const size_t colon = text.rfind(':');
    if (colon == std::string::npos) return false;
    const auto number = parse_port(text.substr(colon + 1));
    if (!number) return false;
    port = *number;
    if (colon == 0) return true;
    const auto parsed = parse_ipv4(text.substr(0, colon));
    if (parsed) address = *parsed;
    return parsed.has_value();
}

// tcp|udp:[HOST]:HPORT-[GUEST]:GPORT
std::optional<PortForward> parse_forward(const std::string& text) {
    PortForward forward;
    forward.udp = text.starts_with("udp:");
    if (!forward.udp && !text.starts_with("tcp:")) return {};
    const size_t dash = text.find('-');
    if (dash == std::string::npos) return {};
    if (!parse_endpoint(text.substr(4, dash - 4), forward.host, forward.host_port)) return {};
    if (!parse_endpoint(text.substr(dash + 1), forward.guest, forward.guest_port)) return {};
    return forward;
}

// Empty: it was understood.
std::string take_user_parameter(UserNetworkConfig& user, const std::string& part) {
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (value.empty()) return "'" + part + "' is not of the form NAME=VALUE";
    // The server's message has 127 bytes for the file's name, an option 255.
    if (key != "tftp" && value.size() > 127) return key + " has more than 127 characters";
    if (key == "hostfwd") {
        const auto forward = parse_forward(value);
        if (!forward) return "hostfwd must be tcp:[HOST]:PORT-[GUEST]:PORT, or udp: the same, with IPv4 addresses";
        user.forwards.push_back(*forward);
    } else if (key == "tftp") {
        user.tftp_folder = value;
    } else if (key == "bootfile") {
        user.dhcp.boot_file = value;
    } else if (key == "ipxe-bootfile") {
        user.dhcp.ipxe_boot_file = value;
    } else if (key == "root-path") {
        user.dhcp.root_path = value;
    } else if (key == "next-server") {
        user.dhcp.next_server = parse_ipv4(value);
        if (!user.dhcp.next_server) return "next-server must be an IPv4 address";
    } else {
        return "'" + part + "' is not one of hostfwd, tftp, bootfile, ipxe-bootfile, root-path, next-server";
    }
    return {};
}

// What a machine is called: its file, else its first disk, else its kernel.
std::string machine_name(const RunConfig& config) {
    const auto stem = [](const std::string& path) { return std::filesystem::path(path).stem().string(); };
    if (!config.machine_file.empty()) return stem(config.machine_file);
    if (!config.disks.empty()) return stem(config.disks[0].substr(0, config.disks[0].find(',')));
    return stem(config.kernel);
}

// Has the first user network tell its guest where the vDisk server is.
Result<void> announce(const std::string& vdisk_server, std::vector<PlannedCard>& cards) {
    const auto url = boot_script_url(vdisk_server);
    if (!url) return url.error();
    if (url->size() > 127) return wrong("--vdisk-server", vdisk_server, "is too long a name");
    const auto user =
        std::find_if(cards.begin(), cards.end(), [](const auto& card) { return card.net.kind == NetKind::user; });
    if (user == cards.end()) return wrong("--vdisk-server", vdisk_server, "needs a card on the user network");
    user->net.user.dhcp.ipxe_boot_file = *url;
    return {};
}

}  // namespace

Result<NicOption> parse_nic_option(const std::string& text) {
    const std::vector<std::string> parts = split(text, ',');
    NicOption nic;
    if (text == "none") {
        nic.present = false;
        return nic;
    }
    if (parts[0] != "e1000") return wrong("--nic", text, "the card must be e1000 or none");
    for (size_t i = 1; i < parts.size(); ++i) {
        if (!parts[i].starts_with("mac="))
            return wrong("--nic", text, "'" + parts[i] + "' is not mac=XX:XX:XX:XX:XX:XX");
        nic.address = parse_mac(parts[i].substr(4));
        if (!nic.address) return wrong("--nic", text, "mac must be XX:XX:XX:XX:XX:XX");
        if (is_multicast(nic.address->data())) return wrong("--nic", text, "that is a multicast address");
    }
    return nic;
}

Result<NetOption> parse_net_option(const std::string& text) {
    NetOption net;
    if (text == "none") {
        net.kind = NetKind::none;
        return net;
    }
    if (text.starts_with("tap=")) {
        net.kind = NetKind::tap;
        net.target = text.substr(4);
        return net;
    }
    if (text.starts_with("socket=unix:")) {
        net.kind = NetKind::socket;
        net.target = text.substr(12);
        return net;
    }
    const std::vector<std::string> parts = split(text, ',');
    if (parts[0] != "user") return wrong("--net", text, "not one of user, tap=IFNAME, socket=unix:PATH, none");
    for (size_t i = 1; i < parts.size(); ++i)
        if (const std::string why = take_user_parameter(net.user, parts[i]); !why.empty())
            return wrong("--net", text, why);
    return net;
}

Result<std::string> boot_script_url(const std::string& vdisk_server) {
    const size_t colon = vdisk_server.rfind(':');
    std::string host = vdisk_server.substr(0, colon);
    const bool address6 = host.starts_with('[') && host.ends_with(']');
    const bool valid = !host.empty() && (address6 || host.find_first_of(":[]/?#% ") == std::string::npos);
    if (colon == std::string::npos || !valid || !parse_port(vdisk_server.substr(colon + 1)))
        return wrong("--vdisk-server", vdisk_server, "must be HOST:PORT, of the server's HTTP");
    if (host == "localhost" || host == "[::1]" || host == "0.0.0.0" || (parse_ipv4(host).value_or(0) >> 24) == 127)
        host = "10.0.2.2";
    return "http://" + host + vdisk_server.substr(colon) + "/boot.ipxe?mac=${netX/mac:hexhyp}&uuid=${uuid}";
}

MacAddress default_mac_address(const RunConfig& config, size_t index) {
    u32 hash = 0x811C9DC5;  // FNV-1a, 32 bits
    for (const char c : machine_name(config)) hash = (hash ^ static_cast<u8>(c)) * 0x01000193;
    hash += static_cast<u32>(index);
    return {0x52, 0x54, 0x00, static_cast<u8>(hash >> 16), static_cast<u8>(hash >> 8), static_cast<u8>(hash)};
}

Result<std::vector<PlannedCard>> plan_network_cards(const RunConfig& config) {
    std::vector<PlannedCard> cards;
    for (const std::string& text : config.nics) {
        const auto nic = parse_nic_option(text);
        if (!nic) return nic.error();
        const auto& nets = config.nets;
        const bool networks = std::any_of(nets.begin(), nets.end(), [](const auto& net) { return net != "none"; });
        if (!nic->present && (config.nics.size() > 1 || networks))
            return wrong("--nic", text, "cannot be combined with other cards or with networks");
        if (nic->present) cards.push_back({nic->address.value_or(default_mac_address(config, cards.size())), {}, {}});
    }
    for (size_t i = 0; i < config.nets.size(); ++i) {
        auto net = parse_net_option(config.nets[i]);
        if (!net) return net.error();
        const bool is_new = i >= cards.size();
        if (is_new && net->kind == NetKind::none) continue;
        if (is_new) cards.push_back({default_mac_address(config, cards.size()), {}, {}});
        PlannedCard& card = is_new ? cards.back() : cards[i];
        card.text = config.nets[i];
        card.net = std::move(*net);
    }
    // Unless something is said about them, a machine has a card, on the user network.
    if (config.nics.empty() && config.nets.empty()) cards.push_back({default_mac_address(config, 0), {}, {}});
    if (!config.vdisk_server.empty()) LODGE_TRY(announce(config.vdisk_server, cards));
    if (cards.size() > Pc::kMostNetworkCards)
        return Error{ErrorKind::usage, "--nic: at most " + std::to_string(Pc::kMostNetworkCards) + " cards"};
    return cards;
}

Result<std::unique_ptr<Network>> open_network(const PlannedCard& card, ClockMode clock, Log& log) {
    Result<std::unique_ptr<NetworkBackend>> backend = std::unique_ptr<NetworkBackend>();
    switch (card.net.kind) {
        case NetKind::none:
            return std::unique_ptr<Network>();
        case NetKind::user:
            backend = make_user_network(card.net.user, log);
            break;
        case NetKind::tap:
            backend = open_tap(card.net.target);
            break;
        case NetKind::socket:
            backend = join_socket_network(card.net.target, log);
            break;
    }
    if (!backend) return Error{backend.error().kind, "--net " + card.text + ": " + backend.error().context};
    return make_network(std::move(*backend), clock);
}

}  // namespace lodge
