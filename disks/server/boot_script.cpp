#include "disks/server/boot_script.h"

#include <fmt/format.h>

namespace lodge::server {

namespace {

constexpr size_t kLongestText = 200;
constexpr size_t kScreenWidth = 72;  // of a menu's text, on a screen of 80 columns
constexpr u32 kFailureSeconds = 30;  // then it tries again by itself
constexpr u32 kBusySeconds = 10;

bool may_begin_word(char c) {
    return c != '#' && c != ';' && c != '|' && c != '&';
}

std::string word(const std::string& text) {
    std::string out;
    for (const char c : text)
        if (c != '$' && c != '\\') out += out.empty() && !may_begin_word(c) ? '+' : c;
    return out;
}

// The host without the port: of HOST, HOST:PORT, [V6] or [V6]:PORT.
std::string host_of(const std::string& authority) {
    if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
    return authority.substr(0, authority.find(':'));
}

// What the same client asks again.
std::string again_url(const BootRequest& request, const BootSite& site) {
    std::string query;
    if (!request.mac.empty()) query += "&mac=" + request.mac;
    if (!request.uuid.empty()) query += "&uuid=" + request.uuid;
    query += site.repeat;
    return "http://" + site.authority + "/boot.ipxe?" + (query.empty() ? query : query.substr(1));
}

// Lines of a menu that cannot be chosen.
std::string gaps(const std::string& text) {
    std::string lines, line, rest = script_text(text);
    while (!rest.empty()) {
        size_t end = rest.size() <= kScreenWidth ? rest.size() : rest.rfind(' ', kScreenWidth);
        if (end == std::string::npos || end == 0) end = std::min(rest.size(), kScreenWidth);
        lines += "item --gap -- " + rest.substr(0, end) + "\n";
        rest.erase(0, rest.find_first_not_of(' ', end));
    }
    return lines;
}

// What every menu ends with, and where its choices lead.
std::string other_items() {
    return "item --gap --\n"
           "item shell iPXE shell\n"
           "item reboot Restart this computer\n"
           "item exit Go on without lodge, to the next boot device\n";
}

std::string other_labels(const std::string& url) {
    return ":again\n"
           "chain --replace --autofree " +
           url +
           " || goto unreachable\n"
           ":unreachable\n"
           "echo lodge: the server does not answer\n"
           "sleep 5\n"
           "goto top\n"
           ":shell\n"
           "shell || goto top\n"
           "goto top\n"
           ":reboot\n"
           "reboot\n"
           ":exit\n"
           "exit\n";
}

std::string choose(const std::string& preferred, u32 seconds) {
    const std::string time_out = seconds ? fmt::format(" --timeout {}000", seconds) : "";
    return "choose --default " + preferred + time_out + " choice || goto top\n" + "goto ${choice}\n";
}

std::string identity_lines(const BootPlan& plan, const BootRequest& request) {
    const std::string uuid = request.uuid.empty() ? "" : ", UUID " + request.uuid;
    const std::string name = plan.client_name.empty() ? "" : plan.client_name + ": ";
    return plan.mac.empty() ? "" : gaps(name + "MAC address " + plan.mac + uuid);
}

std::string waiting_script(const BootPlan& plan, const BootRequest& request, const BootSite& site,
                           const std::string& title, const std::string& message, u32 seconds) {
    return ":top\nmenu " + script_text(title) + "\n" + gaps(message) + identity_lines(plan, request) +
           "item --gap --\nitem again Try again\n" + other_items() + choose("again", seconds) +
           other_labels(again_url(request, site));
}

std::string choose_script(const BootPlan& plan, const BootRequest& request, const BootSite& site, u32 seconds) {
    const std::string who = plan.client_name.empty() ? plan.mac : plan.client_name;
    std::string items, labels;
    for (size_t i = 0; i < plan.choices.size(); ++i) {
        const BootChoice& choice = plan.choices[i];
        const std::string busy = choice.busy.empty() ? "" : ", " + choice.busy;
        items +=
            fmt::format("item v{} {} ({}{})\n", i, script_text(choice.vdisk), name_of(choice.mode), script_text(busy));
        labels += fmt::format(":v{}\nchain --replace --autofree {}&vdisk={} || goto unreachable\n", i,
                              again_url(request, site), word(choice.vdisk));
    }
    return ":top\nmenu " + script_text("lodge: a vDisk for " + who) + "\n" + items + other_items() +
           choose(fmt::format("v{}", plan.preferred), seconds) + labels + other_labels(again_url(request, site));
}

std::string san_url(const BootChoice& choice, const BootSite& site) {
    const std::string port = site.iscsi_port == 3260 ? "" : fmt::format("{}", site.iscsi_port);
    return "iscsi:" + host_of(site.authority) + "::" + port + ":0:" + word(target_name(choice.vdisk));
}

// Asking again gives a fresh secret, and what has changed meanwhile. Attempts are counted over all these scripts:
// settings outlive them.
std::string start_script(const BootPlan& plan, const BootRequest& request, const BootSite& site,
                         const BootSecret& secret) {
    const BootChoice& choice = plan.choices[0];
    const std::string url = san_url(choice, site), name = script_text(choice.vdisk);
    std::string script = "set initiator-iqn " + word(initiator_name(plan.mac)) + "\nset username " + word(secret.name) +
                         "\nset password " + word(secret.secret) + "\n";
    if (site.clear_gateway) script += "set netX/gateway 0.0.0.0\n";
    script +=
        "isset ${attempts} || set attempts:int32 0\n"
        "inc attempts\n"
        "echo lodge: vDisk " +
        name + " (" + name_of(choice.mode) +
        ")\n"
        "sanboot " +
        url +
        " || set reason ${errno}\n"
        "echo lodge: vDisk " +
        name +
        " did not start, attempt ${attempts}\n"
        "sleep 5\n"
        ":top\n"
        "menu lodge: vDisk " +
        name +
        " did not start, attempt ${attempts}\n"
        "item --gap -- iPXE says: http://ipxe.org/${reason}\n" +
        gaps("If the server turned this computer away, the log on its administration page says why.") +
        identity_lines(plan, request) +
        "item --gap --\n"
        "item again Try again\n"
        "item attach Attach the vDisk and go on to the next boot device, to install on it\n" +
        other_items() + choose("again", kFailureSeconds) +
        ":attach\n"
        "sanhook " +
        url +
        " || goto top\n"
        "exit\n" +
        other_labels(again_url(request, site));
    return script;
}

}  // namespace

std::string script_text(const std::string& text) {
    std::string out;
    bool word_begins = true;
    for (const char c : text) {
        if (out.size() == kLongestText) break;
        const u8 byte = static_cast<u8>(c);
        if ((byte & 0xC0) == 0x80) continue;  // the rest of a character of UTF-8
        if (byte <= ' ' || byte == 0x7F) {
            if (!word_begins) out += ' ';
            word_begins = true;
            continue;
        }
        const bool plain = byte < 0x80 && c != '$' && c != '\\' && c != '{' && c != '}';
        out += !plain ? '?' : word_begins && !may_begin_word(c) ? '+' : c;
        word_begins = false;
    }
    while (out.ends_with(' ')) out.pop_back();
    return out;
}

std::string boot_script(const BootPlan& plan, const BootRequest& request, const BootSite& site,
                        const Settings& settings, const BootSecret& secret) {
    const std::string first = "#!ipxe\n";
    switch (plan.kind) {
        case BootPlan::Kind::boot:
            return first + start_script(plan, request, site, secret);
        case BootPlan::Kind::choose:
            return first + choose_script(plan, request, site, settings.menu_seconds);
        case BootPlan::Kind::wait:
            return first + waiting_script(plan, request, site, "lodge: vDisk " + plan.choices[0].vdisk + " is in use",
                                          plan.choices[0].busy, kBusySeconds);
        case BootPlan::Kind::refuse:
            break;
    }
    return first + waiting_script(plan, request, site, "lodge: no vDisk to boot from", plan.message, kFailureSeconds);
}

std::string boot_script_url(const std::string& authority) {
    return "http://" + authority +
           "/boot.ipxe?mac=${netX/mac:hexhyp}&uuid=${uuid}&ip=${netX/ip}&netmask=${netX/netmask}";
}

}  // namespace lodge::server
