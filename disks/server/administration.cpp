#include "disks/server/administration.h"

#include <unistd.h>

#include <algorithm>

#include "disks/copy_disk.h"
#include "disks/open_image.h"
#include "disks/server/store_files.h"

namespace lodge::server {

namespace {

constexpr size_t kLongestNote = 1024;
constexpr size_t kLongestSecret = 255;  // RFC 7143 section 12.1.3: CHAP secrets up to 255 bytes
constexpr size_t kShortestSecret = 12;  // section 9.2.1

Error usage(const std::string& what) {
    return Error{ErrorKind::usage, what};
}

bool has_controls(const std::string& text) {
    return std::any_of(text.begin(), text.end(),
                       [](unsigned char character) { return character < 0x20 || character == 0x7F; });
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](char character) {
        return character >= 'A' && character <= 'Z' ? char(character + 32) : character;
    });
    return text;
}

Result<void> check_text(const std::string& text, const char* what) {
    if (text.size() > kLongestNote || has_controls(text))
        return usage(std::string("a ") + what + " is one line of at most " + std::to_string(kLongestNote) + " bytes");
    return {};
}

Result<void> check_secret(const std::string& secret, const char* what) {
    if (secret.empty()) return {};
    if (secret.size() < kShortestSecret || secret.size() > kLongestSecret || has_controls(secret))
        return usage(std::string(what) + " has 12 to 255 characters");
    return {};
}

// In the form that the store keeps.
Result<Client> tidy(Client client) {
    const std::string mac = normal_mac(client.mac);
    if (mac.empty()) return usage("'" + client.mac + "' is no MAC address");
    client.mac = mac;
    client.uuid = lower(client.uuid);
    for (std::string& name : client.initiators) name = lower(name);
    LODGE_TRY(check_text(client.name, "name"));
    LODGE_TRY(check_text(client.uuid, "UUID"));
    for (const std::string& name : client.initiators) LODGE_TRY(check_text(name, "initiator's name"));
    LODGE_TRY(check_secret(client.chap_secret, "a secret"));
    LODGE_TRY(check_secret(client.target_secret, "a target's secret"));
    // RFC 7143 section 9.2.1: never the same in both directions.
    if (!client.chap_secret.empty() && client.chap_secret == client.target_secret)
        return usage("the target's secret must not be the client's own");
    return client;
}

Result<std::string> known_mac(const std::string& text) {
    std::string mac = normal_mac(text);
    if (mac.empty()) return usage("'" + text + "' is no MAC address");
    return mac;
}

// An image that appears in `vdisks` when `fill` has filled it.
template <class Fill>
Result<void> make_image(const std::string& path, u64 bytes, Fill fill) {
    CreateOptions options;
    options.size = bytes;
    options.timestamp = vhd_timestamp(clock_time());
    auto id = random_unique_id();
    if (!id) return id.error();
    options.unique_id = *id;
    auto made = NewFile::create(path, false);
    if (!made) return made.error();
    auto device = create_image((*made)->take_file(), options);
    if (!device) return device.error();
    LODGE_TRY(fill(**device));
    LODGE_TRY(finish_image(**device));
    return (*made)->commit();
}

std::string or_nothing(const std::string& text) {
    return text.empty() ? "none" : text;
}

// What is different, for the log.
std::string differences(const Settings& old, const Settings& now) {
    std::string text;
    const auto say = [&](bool differs, const std::string& what) {
        if (differs) text += (text.empty() ? "" : ", ") + what;
    };
    say(old.unknown_clients != now.unknown_clients, std::string("unknown clients: ") + name_of(now.unknown_clients));
    say(old.default_vdisk != now.default_vdisk, "default vDisk: " + or_nothing(now.default_vdisk));
    say(old.menu_seconds != now.menu_seconds, "menu: " + std::to_string(now.menu_seconds) + " s");
    say(old.cache != now.cache, now.cache == CacheKind::disk ? "caches on disk" : "caches in memory");
    say(old.cache_memory != now.cache_memory, "memory of a cache: " + size_for_people(now.cache_memory));
    say(old.cache_quota != now.cache_quota,
        "quota of a cache: " + (now.cache_quota == 0 ? "none" : size_for_people(now.cache_quota)));
    say(old.open_discovery != now.open_discovery, now.open_discovery ? "discovery for all" : "discovery for clients");
    say(old.admin_password_hash != now.admin_password_hash,
        now.admin_password_hash.empty() ? "no administrator's password" : "new administrator's password");
    return text;
}

}  // namespace

Result<void> Administration::log(const std::string& what) {
    return store_.record(clock_time(), who_, what);
}

Result<VDisk> Administration::import_vdisk(const ImportOptions& options) {
    LODGE_TRY(check_new_vdisk(options.name, options.note));
    OpenOptions open_options;
    open_options.raw = options.raw;
    auto from = open_image(options.image, open_options);
    if (!from) return from.error();
    const VDisk vdisk{options.name, options.name + ".vhd", (*from)->size(), options.note, clock_time()};
    LODGE_TRY(make_image(image_path(store_.folder(), vdisk.file), vdisk.bytes, [&](BlockDevice& to) {
        return copy_disk(**from, to,
                         [&](u64 done, u64 all) { return !options.progress || options.progress(done, all); });
    }));
    return enter(vdisk, "imported vDisk " + vdisk.name + " from " + (*from)->describe());
}

Result<VDisk> Administration::create_vdisk(const std::string& name, u64 bytes, const std::string& note) {
    LODGE_TRY(check_new_vdisk(name, note));
    const VDisk vdisk{name, name + ".vhd", bytes, note, clock_time()};
    LODGE_TRY(make_image(image_path(store_.folder(), vdisk.file), bytes, [](BlockDevice&) { return Result<void>(); }));
    return enter(vdisk, "made empty vDisk " + name + ", " + size_for_people(bytes));
}

Result<void> Administration::check_new_vdisk(const std::string& name, const std::string& note) {
    if (!is_vdisk_name(name))
        return usage("'" + name + "' cannot be a vDisk's name: a to z, 0 to 9, '-' and '.', at most 64");
    LODGE_TRY(check_text(note, "note"));
    auto there = store_.vdisk(name);
    if (there) return usage("there is a vDisk '" + name + "' already");
    if (there.error().kind != ErrorKind::not_found) return there.error();
    return {};
}

// The image is there; now it becomes a vDisk.
Result<VDisk> Administration::enter(const VDisk& vdisk, const std::string& what) {
    if (auto added = store_.add_vdisk(vdisk); !added) {
        ::unlink(image_path(store_.folder(), vdisk.file).c_str());
        return added.error();
    }
    LODGE_TRY(log(what));
    return vdisk;
}

Result<void> Administration::check_unneeded(const std::string& vdisk) {
    const auto settings = store_.settings();
    if (!settings) return settings.error();
    if (settings->default_vdisk == vdisk)
        return usage("vDisk '" + vdisk + "' is the default for clients without an own; choose another, or force it");
    const auto assignments = store_.assignments();
    if (!assignments) return assignments.error();
    for (const Assignment& assignment : *assignments)
        if (assignment.vdisk == vdisk)
            return usage("vDisk '" + vdisk + "' is assigned to client " + assignment.mac +
                         "; unassign it, or force it");
    return {};
}

Result<void> Administration::remove_vdisk(const std::string& name, bool force) {
    const auto vdisk = store_.vdisk(name);
    if (!vdisk) return vdisk.error();
    if (!force) LODGE_TRY(check_unneeded(name));
    const std::string path = image_path(store_.folder(), vdisk->file);
    auto image = HostFile::open(path, FileAccess::read_write);  // keeps everybody away until it is gone
    if (!image && image.error().kind == ErrorKind::locked)
        return Error{ErrorKind::locked, "vDisk '" + name + "' is in use"};
    if (!image && image.error().kind != ErrorKind::not_found) return image.error();
    auto settings = store_.settings();
    if (!settings) return settings.error();
    if (settings->default_vdisk == name) {
        settings->default_vdisk.clear();
        LODGE_TRY(store_.change_settings(*settings));
    }
    LODGE_TRY(store_.remove_vdisk(name));
    ::unlink(path.c_str());
    remove_caches(store_.folder(), "", name);
    return log("removed vDisk " + name);
}

Result<void> Administration::change_note(const std::string& name, const std::string& note) {
    LODGE_TRY(check_text(note, "note"));
    auto vdisk = store_.vdisk(name);
    if (!vdisk) return vdisk.error();
    vdisk->note = note;
    LODGE_TRY(store_.change_vdisk(*vdisk));
    return log("changed the note of vDisk " + name);
}

Result<Client> Administration::add_client(Client client) {
    auto tidied = tidy(std::move(client));
    if (!tidied) return tidied;
    tidied->added = clock_time();
    tidied->last_seen = 0;
    LODGE_TRY(store_.add_client(*tidied));
    LODGE_TRY(log("added client " + tidied->mac + (tidied->name.empty() ? "" : " (" + tidied->name + ")")));
    return tidied;
}

Result<void> Administration::change_client(const Client& client) {
    const auto tidied = tidy(client);
    if (!tidied) return tidied.error();
    LODGE_TRY(store_.change_client(*tidied));
    return log("changed client " + tidied->mac);
}

Result<void> Administration::remove_client(const std::string& mac) {
    const auto known = known_mac(mac);
    if (!known) return known.error();
    LODGE_TRY(store_.remove_client(*known));
    remove_caches(store_.folder(), *known, "");
    return log("removed client " + *known);
}

Result<void> Administration::assign(Assignment assignment) {
    const auto mac = known_mac(assignment.mac);
    if (!mac) return mac.error();
    assignment.mac = *mac;
    LODGE_TRY(store_.assign(assignment));
    return log("assigned vDisk " + assignment.vdisk + " to client " + *mac + ", " + name_of(assignment.mode));
}

Result<void> Administration::unassign(const std::string& mac, const std::string& vdisk) {
    const auto known = known_mac(mac);
    if (!known) return known.error();
    LODGE_TRY(store_.unassign(*known, vdisk));
    return log("unassigned vDisk " + vdisk + " from client " + *known);
}

Result<void> Administration::change_settings(const Settings& settings) {
    const auto old = store_.settings();
    if (!old) return old.error();
    const std::string what = differences(*old, settings);
    if (what.empty()) return {};
    LODGE_TRY(store_.change_settings(settings));
    return log("settings: " + what);
}

}  // namespace lodge::server
