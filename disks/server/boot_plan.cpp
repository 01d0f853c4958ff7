#include "disks/server/boot_plan.h"

#include <algorithm>
#include <cctype>

namespace lodge::server {

namespace {

BootPlan refusal(BootPlan plan, std::string message) {
    plan.kind = BootPlan::Kind::refuse;
    plan.message = std::move(message);
    return plan;
}

std::string why_nothing(bool known, const Settings& settings) {
    if (settings.unknown_clients == UnknownClients::take_down)
        return "This computer is recorded now, but no vDisk is assigned to it. Ask the administrator for one.";
    if (known) return "No vDisk is assigned to this computer. Ask the administrator for one.";
    if (settings.unknown_clients == UnknownClients::fallback)
        return "The server does not know this computer, and has no default vDisk.";
    return "The server does not know this computer. Ask the administrator to add it.";
}

std::vector<BootChoice> choices_of(const std::vector<Assignment>& allowed, const std::string& mac,
                                   const InUse& in_use) {
    std::vector<BootChoice> choices;
    for (const Assignment& each : allowed)
        choices.push_back({each.vdisk, each.mode, in_use(each.vdisk, each.mode, mac).value_or("")});
    return choices;
}

size_t first_free(const std::vector<BootChoice>& choices) {
    const auto found = std::find_if(choices.begin(), choices.end(), [](auto& choice) { return choice.busy.empty(); });
    return found == choices.end() ? 0 : static_cast<size_t>(found - choices.begin());
}

}  // namespace

std::string normal_uuid(const std::string& text) {
    constexpr size_t kLength = 36;
    if (text.size() != kLength) return "";
    std::string uuid;
    for (size_t i = 0; i < kLength; ++i) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !std::isxdigit(static_cast<unsigned char>(text[i]))) return "";
        uuid += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
    }
    if (uuid.find_first_not_of("0-") == std::string::npos || uuid.find_first_not_of("f-") == std::string::npos)
        return "";
    return uuid;
}

std::vector<Assignment> allowed_vdisks(const std::string& mac, bool known, const std::vector<Assignment>& assigned,
                                       const Settings& settings) {
    if (!assigned.empty() || settings.default_vdisk.empty()) return assigned;
    // A client that somebody has recorded without giving it a disk gets none; one that the policy recorded has had the
    // default disk, and goes on having it.
    const bool by_policy = settings.unknown_clients == UnknownClients::take_down ||
                           (settings.unknown_clients == UnknownClients::fallback && !known);
    if (!by_policy) return {};
    return {{mac, settings.default_vdisk, Mode::shared, 0}};
}

BootPlan plan_boot(const BootRequest& request, const std::optional<Client>& client,
                   const std::vector<Assignment>& assigned, const Settings& settings, const InUse& in_use) {
    BootPlan plan;
    plan.mac = client ? client->mac : request.mac;
    plan.client_name = client ? client->name : "";
    if (plan.mac.empty())
        return refusal(plan, "The boot script was asked for without a MAC address: boot.ipxe?mac=...&uuid=...");
    plan.is_new = !client && settings.unknown_clients == UnknownClients::take_down;

    std::vector<Assignment> allowed = allowed_vdisks(plan.mac, client.has_value(), assigned, settings);
    if (allowed.empty()) return refusal(plan, why_nothing(client.has_value(), settings));
    if (!request.vdisk.empty()) {
        std::erase_if(allowed, [&](const Assignment& each) { return each.vdisk != request.vdisk; });
        if (allowed.empty()) return refusal(plan, "vDisk " + request.vdisk + " is not assigned to this computer.");
    }
    plan.choices = choices_of(allowed, plan.mac, in_use);
    plan.preferred = first_free(plan.choices);
    if (plan.choices.size() > 1)
        plan.kind = BootPlan::Kind::choose;
    else
        plan.kind = plan.choices[0].busy.empty() ? BootPlan::Kind::boot : BootPlan::Kind::wait;
    return plan;
}

}  // namespace lodge::server
