#include "disks/server/boot_service.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <memory>

namespace lodge::server {

namespace {

constexpr size_t kLongestHost = 255;
// Anybody can ask in any name: the policy "register" must not fill the store without bound.
constexpr size_t kMostRegistered = 20'000;
constexpr size_t kMostSaid = 4096;

std::string parameter(const BootQuery& query, const std::string& name) {
    const auto found = query.parameters.find(name);
    return found == query.parameters.end() ? "" : found->second;
}

BootRequest request_of(const BootQuery& query) {
    BootRequest request;
    request.mac = normal_mac(parameter(query, "mac"));
    request.uuid = normal_uuid(parameter(query, "uuid"));
    const std::string vdisk = parameter(query, "vdisk");
    if (is_vdisk_name(vdisk)) request.vdisk = vdisk;
    return request;
}

std::optional<u32> ipv4(const std::string& text) {
    in_addr address{};
    if (::inet_pton(AF_INET, text.c_str(), &address) != 1) return {};
    return ntohl(address.s_addr);
}

std::optional<u32> ipv4(const sockaddr* address) {
    if (!address || address->sa_family != AF_INET) return {};
    return ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
}

// Whether the client is in the network of the interface at which it reached us.
bool next_door(const std::string& client, const std::string& server) {
    const auto there = ipv4(client), here = ipv4(server);
    ifaddrs* list = nullptr;
    if (!there || !here || ::getifaddrs(&list) != 0) return false;
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
    for (const ifaddrs* each = list; each; each = each->ifa_next) {
        const auto mask = ipv4(each->ifa_netmask);
        if (ipv4(each->ifa_addr) != here || !mask || each->ifa_flags & IFF_LOOPBACK) continue;
        return ((*there ^ *here) & *mask) == 0;
    }
    return false;
}

std::string without_port(const std::string& authority) {
    return authority.starts_with('[') ? authority : authority.substr(0, authority.find(':'));
}

BootSite site_of(const BootQuery& query, u16 iscsi_port) {
    BootSite site;
    site.iscsi_port = iscsi_port;
    site.authority = safe_authority(query.host);
    if (site.authority.empty()) {
        const bool v6 = query.server_address.find(':') != std::string::npos;
        site.authority =
            (v6 ? "[" + query.server_address + "]" : query.server_address) + ":" + std::to_string(query.server_port);
    }
    const std::string gateway = parameter(query, "gateway"), netmask = parameter(query, "netmask");
    if (gateway == "keep" || gateway == "clear") {
        site.clear_gateway = gateway == "clear";
        site.repeat = "&gateway=" + gateway;
    } else if (!netmask.empty()) {
        site.clear_gateway = same_network(parameter(query, "ip"), without_port(site.authority), netmask);
        site.repeat = "&ip=${netX/ip}&netmask=${netX/netmask}";
    } else {
        site.clear_gateway = next_door(query.client_address, query.server_address);
    }
    return site;
}

BootPlan failure(const Error& error) {
    BootPlan plan;
    plan.message = "The server cannot answer: " + error.context;
    return plan;
}

std::string line_of(const BootPlan& plan) {
    switch (plan.kind) {
        case BootPlan::Kind::boot:
            return "boots vDisk " + plan.choices[0].vdisk + ", " + name_of(plan.choices[0].mode);
        case BootPlan::Kind::choose:
            return "is offered " + std::to_string(plan.choices.size()) + " vDisks";
        case BootPlan::Kind::wait:
            return "waits for vDisk " + plan.choices[0].vdisk + ": " + plan.choices[0].busy;
        case BootPlan::Kind::refuse:
            break;
    }
    return "is refused a boot script: " + plan.message;
}

}  // namespace

struct BootService::Records {
    std::optional<Client> client;
    std::vector<Assignment> assigned;
    Settings settings;
};

std::string safe_authority(const std::string& host) {
    if (host.empty() || host.size() > kLongestHost) return "";
    const bool v6 = host[0] == '[';
    const size_t end = v6 ? host.find(']') + 1 : std::min(host.find(':'), host.size());
    if (end == 0) return "";
    const auto in_name = [&](char c) {
        if (v6) return std::isxdigit(static_cast<unsigned char>(c)) || c == ':' || c == '.' || c == '[' || c == ']';
        return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-';
    };
    if (!std::all_of(host.begin(), host.begin() + static_cast<std::ptrdiff_t>(end), in_name)) return "";
    if (end < (v6 ? 4 : 1)) return "";
    const std::string port = host.substr(end);
    if (port.empty()) return host;
    const bool digits = std::all_of(port.begin() + 1, port.end(), [](unsigned char c) { return std::isdigit(c); });
    return port[0] == ':' && port.size() > 1 && port.size() <= 6 && digits ? host : "";
}

bool same_network(const std::string& first, const std::string& second, const std::string& mask) {
    const auto a = ipv4(first), b = ipv4(second), m = ipv4(mask);
    return a && b && m && *m != 0 && ((*a ^ *b) & *m) == 0;
}

Result<BootService::Records> BootService::look_up(const BootRequest& request) {
    Records records;
    auto settings = store_.settings();
    if (!settings) return settings.error();
    records.settings = *settings;
    const auto take = [&](Result<Client> found) -> Result<void> {
        if (found)
            records.client = *found;
        else if (found.error().kind != ErrorKind::not_found)
            return found.error();
        return {};
    };
    if (!request.mac.empty()) LODGE_TRY(take(store_.client(request.mac)));
    if (!records.client && !request.uuid.empty()) LODGE_TRY(take(store_.client_by_uuid(request.uuid)));
    if (!records.client) return records;
    auto assigned = store_.assignments_of(records.client->mac);
    if (!assigned) return assigned.error();
    records.assigned = *assigned;
    return records;
}

Result<void> BootService::record_change(const BootPlan& plan) {
    const std::string line = line_of(plan);
    {
        std::lock_guard lock(mutex_);
        if (said_.size() >= kMostSaid) said_.clear();
        if (plan.kind != BootPlan::Kind::boot && said_[plan.mac] == line) return {};
        said_[plan.mac] = line;
    }
    return store_.record(std::time(nullptr), "client " + plan.mac, line);
}

Result<BootSecret> BootService::carry_out(const BootPlan& plan, const BootRequest& request) {
    const Time now = std::time(nullptr);
    if (plan.is_new) {
        auto clients = store_.clients();
        if (!clients) return clients.error();
        if (clients->size() >= kMostRegistered)
            return Error{ErrorKind::usage, "there are too many clients to record another by itself"};
        LODGE_TRY(store_.add_client({.mac = plan.mac, .uuid = request.uuid, .added = now}));
        LODGE_TRY(store_.record(now, "client " + plan.mac, "recorded by the policy for unknown clients"));
    }
    if (!plan.mac.empty()) {
        if (const auto seen = store_.seen(plan.mac, now); !seen && seen.error().kind != ErrorKind::not_found)
            return seen.error();
        LODGE_TRY(record_change(plan));
    }
    if (plan.kind != BootPlan::Kind::boot) return BootSecret{};
    const auto ticket = store_.new_ticket(plan.mac, now);
    if (!ticket) return ticket.error();
    std::string name = plan.mac;
    std::replace(name.begin(), name.end(), ':', '-');
    return BootSecret{name, ticket->secret};
}

std::string BootService::script(const BootQuery& query) {
    const BootRequest request = request_of(query);
    const BootSite site = site_of(query, iscsi_port_);
    const auto records = look_up(request);
    if (!records) return boot_script(failure(records.error()), request, site, {}, {});
    const BootPlan plan = plan_boot(
        request, records->client, records->assigned, records->settings,
        [&](const std::string& vdisk, Mode mode, const std::string& mac) { return live_.in_use(vdisk, mode, mac); });
    const auto secret = carry_out(plan, request);
    if (!secret) return boot_script(failure(secret.error()), request, site, {}, {});
    return boot_script(plan, request, site, records->settings, *secret);
}

}  // namespace lodge::server
