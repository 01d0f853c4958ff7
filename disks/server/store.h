// The records of a store of vDisks: which disks there are, which clients, who may use what, and what happened. Only
// records: the images are files in the store's folder `vdisks`, opened by the library (library.h).
//
// The interface hides the database. Calls may come from several threads and, through another Store on the same folder,
// from several processes; each is one transaction. Errors: not_found (no such record), usage (a name that is taken or
// cannot be one, a record that others need), locked, io, no_space, bad_format (the database is damaged, or of a newer
// version).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge::server {

// Seconds since 1970-01-01 00:00 UTC.
using Time = i64;

// Now.
Time clock_time();

// A MAC address as we write it everywhere: 12 hexadecimal digits in lower case with colons. Takes colons, hyphens or
// neither; empty when it is none.
std::string normal_mac(const std::string& text);
// A name of a vDisk: what may stand in an iSCSI name behind a colon (RFC 7143 section 4.2.7.2): a to z, 0 to 9, `-`
// and `.`, beginning with a letter or digit, at most 64.
bool is_vdisk_name(const std::string& name);
// iqn.2026-11.io.lodge:NAME and back; empty when it is no name of a target of ours.
std::string target_name(const std::string& vdisk);
std::string vdisk_of_target(const std::string& target);
// iqn.2026-11.io.lodge.client:MAC with hyphens: what boot scripts have a client call itself.
std::string initiator_name(const std::string& mac);
// The MAC address in such a name; empty when it is none.
std::string mac_of_initiator(const std::string& initiator);
// A MAC address with hyphens: a client's name in CHAP.
std::string chap_name(const std::string& mac);

enum class Mode : u8 {
    private_writes,  // one client at a time; what it writes persists
    shared,          // any number; what one writes is thrown away when it boots again
};
const char* name_of(Mode mode);  // "private", "shared"
std::optional<Mode> mode_of(const std::string& name);

struct VDisk {
    std::string name;
    std::string file;  // in the folder `vdisks`
    u64 bytes = 0;     // what a client sees
    std::string note;
    Time added = 0;
};

struct Client {
    std::string mac;                      // the key
    std::string name;                     // for people; may be empty
    std::string uuid;                     // of its firmware (SMBIOS), lower case; empty: not known
    std::vector<std::string> initiators;  // further iSCSI names that are this client's
    std::string chap_secret;              // fixed, for initiators that boot without our scripts; empty: none
    std::string target_secret;            // with which the server proves itself to it (mutual CHAP); empty: none
    Time added = 0;
    Time last_seen = 0;    // 0: never
    bool trusted = false;  // its initiator name is proof enough: it logs in without a secret
};

struct Assignment {
    std::string mac;
    std::string vdisk;
    Mode mode = Mode::private_writes;
    i32 order = 0;  // in the boot menu, ascending; the first is its default
};

// A client's boot: the secret that its boot script got, with which it logs in until it boots again.
struct Ticket {
    std::string secret;  // 32 hexadecimal digits
    Time given = 0;
    bool used = false;  // a login has been made with it
};

// What a client without a record gets.
enum class UnknownClients : u8 {
    refuse,     // a message
    fallback,   // the default vDisk, shared
    take_down,  // it is recorded, and told to ask for an assignment; it gets the default vDisk if there is one
};
const char* name_of(UnknownClients policy);  // "refuse", "default", "register"
std::optional<UnknownClients> unknown_clients_of(const std::string& name);

enum class CacheKind : u8 { disk, memory };  // memory overflows to disk

struct Settings {
    UnknownClients unknown_clients = UnknownClients::refuse;
    std::string default_vdisk;            // empty: none
    u32 menu_seconds = 10;                // then the first of several vDisks; 0: it waits for ever
    CacheKind cache = CacheKind::disk;    // of shared vDisks' writes
    u64 cache_memory = 64 * 1024 * 1024;  // bytes of each client's cache that may be in memory
    u64 cache_quota = 0;                  // bytes of each client's cache; 0: as large as the vDisk
    bool open_discovery = false;          // initiators that are nobody's may list targets
    std::string admin_password_hash;      // http_password.h; empty: administration only from this host, without one
};

// A line of what happened: who did what.
struct LogEntry {
    i64 id = 0;
    Time when = 0;
    std::string who;   // "command line: USER", "API: ADDRESS", "client MAC"
    std::string what;  // one line
};

// A session, for those who are not in the server's process.
struct SessionRecord {
    std::string id;
    std::string mac;
    std::string vdisk;
    Mode mode = Mode::private_writes;
    std::string address;
    Time since = 0;
};

class Store {
  public:
    virtual ~Store() = default;
    // The folder.
    virtual const std::string& folder() const = 0;

    virtual Result<std::vector<VDisk>> vdisks() = 0;  // by name
    virtual Result<VDisk> vdisk(const std::string& name) = 0;
    virtual Result<void> add_vdisk(const VDisk& vdisk) = 0;
    virtual Result<void> change_vdisk(const VDisk& vdisk) = 0;
    // Assignments to it go with it.
    virtual Result<void> remove_vdisk(const std::string& name) = 0;

    virtual Result<std::vector<Client>> clients() = 0;  // by MAC address
    virtual Result<Client> client(const std::string& mac) = 0;
    virtual Result<Client> client_by_uuid(const std::string& uuid) = 0;
    // The one with initiator_name(mac) or with that name among its initiators.
    virtual Result<Client> client_by_initiator(const std::string& initiator) = 0;
    virtual Result<void> add_client(const Client& client) = 0;
    // All but `added` and `last_seen`.
    virtual Result<void> change_client(const Client& client) = 0;
    // Its assignments go with it.
    virtual Result<void> remove_client(const std::string& mac) = 0;
    virtual Result<void> seen(const std::string& mac, Time when) = 0;

    virtual Result<std::vector<Assignment>> assignments() = 0;                           // by MAC, order, vDisk
    virtual Result<std::vector<Assignment>> assignments_of(const std::string& mac) = 0;  // by order, vDisk
    // Adds it, or changes mode and order of one that is there.
    virtual Result<void> assign(const Assignment& assignment) = 0;
    virtual Result<void> unassign(const std::string& mac, const std::string& vdisk) = 0;

    // Tickets: a client has at most a used one (its present boot) and a fresh one (its next).
    // `new_ticket` replaces the fresh one. For unknown clients that get the default vDisk too.
    virtual Result<Ticket> new_ticket(const std::string& mac, Time now) = 0;
    virtual Result<std::vector<Ticket>> tickets(const std::string& mac) = 0;
    // The fresh one becomes the used one, which ends the boot before.
    virtual Result<void> use_ticket(const std::string& mac, const std::string& secret) = 0;

    // That boot (its ticket's secret) of a client has the vDisk for private writes from now on. False, and nothing has
    // changed: this boot had it before, and another client has had it since, so what it knows of the disk is outdated.
    // An empty boot, of an initiator without tickets, always gets it.
    virtual Result<bool> hold(const std::string& vdisk, const std::string& mac, const std::string& boot) = 0;

    virtual Result<Settings> settings() = 0;
    virtual Result<void> change_settings(const Settings& settings) = 0;

    virtual Result<void> record(Time when, const std::string& who, const std::string& what) = 0;
    // The newest first; `before` is an id, or 0.
    virtual Result<std::vector<LogEntry>> log(i64 before, u32 most) = 0;

    // The server's sessions, so that other processes can list them.
    virtual Result<void> set_sessions(const std::vector<SessionRecord>& sessions) = 0;
    virtual Result<std::vector<SessionRecord>> sessions() = 0;
};

// Makes the folder, its folders `vdisks` and `cache`, and its database. Usage: it is a store already, or not empty.
Result<std::unique_ptr<Store>> create_store(const std::string& folder);
// Opens it, and brings a database of an older version up to date.
Result<std::unique_ptr<Store>> open_store(const std::string& folder);

}  // namespace lodge::server
