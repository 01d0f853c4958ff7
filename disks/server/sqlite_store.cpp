#include "disks/server/sqlite_store.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "disks/server/schema.h"

namespace lodge::server {

namespace {

namespace fs = std::filesystem;

constexpr u32 kMostLogLines = 100'000;
constexpr i64 kTrimEvery = 256;            // lines
constexpr i64 kMostUnknownTickets = 4096;  // of clients without a record: anybody may ask for a boot script
constexpr size_t kLongestText = 4096;

#define VDISK_COLUMNS "SELECT name, file, bytes, note, added FROM vdisk "
#define CLIENT_COLUMNS "SELECT mac, name, uuid, chap_secret, target_secret, added, last_seen, trusted FROM client "
#define ASSIGNMENT_COLUMNS "SELECT mac, vdisk, mode, position FROM assignment "

Error not_found(const std::string& what) {
    return Error{ErrorKind::not_found, what};
}

Error usage(const std::string& what) {
    return Error{ErrorKind::usage, what};
}

std::string quoted(const std::string& text) {
    return "'" + text + "'";
}

Error no_vdisk(const std::string& name) {
    return not_found("there is no vDisk " + quoted(name));
}

Error no_client(const std::string& mac) {
    return not_found("there is no client " + quoted(mac));
}

// One line, whatever somebody on the network has put into it.
std::string one_line(std::string text) {
    if (text.size() > kLongestText) text.resize(kLongestText);
    for (char& character : text)
        if (static_cast<unsigned char>(character) < 0x20 || character == 0x7F) character = '?';
    return text;
}

// The name of a file in a folder, and of nothing elsewhere.
bool is_plain_file_name(const std::string& name) {
    return !name.empty() && name != "." && name != ".." && name.size() < 256 && name.find('/') == std::string::npos &&
           name.find('\0') == std::string::npos;
}

bool is_normal_mac(const std::string& mac) {
    return !mac.empty() && normal_mac(mac) == mac;
}

Result<std::string> random_secret() {
    std::array<u8, 16> bytes;
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
        return Error{ErrorKind::io, std::string("the host gives no random numbers: ") + std::strerror(errno)};
    std::string text;
    for (const u8 byte : bytes) {
        text += "0123456789abcdef"[byte >> 4];
        text += "0123456789abcdef"[byte & 15];
    }
    return text;
}

}  // namespace

// vDisks.

Result<VDisk> SqliteStore::read_vdisk(const Statement& row) const {
    VDisk vdisk{row.text(0), row.text(1), static_cast<u64>(row.integer(2)), row.text(3), row.integer(4)};
    if (!is_vdisk_name(vdisk.name) || !is_plain_file_name(vdisk.file) || row.integer(2) < 0)
        return database_->damaged("the record of vDisk " + quoted(one_line(vdisk.name)) + " cannot be");
    return vdisk;
}

Result<std::vector<VDisk>> SqliteStore::vdisks() {
    std::lock_guard lock(mutex_);
    return database_->rows<VDisk>(VDISK_COLUMNS "ORDER BY name",
                                  [this](const Statement& row) { return read_vdisk(row); });
}

Result<VDisk> SqliteStore::vdisk(const std::string& name) {
    std::lock_guard lock(mutex_);
    auto found = database_->rows<VDisk>(
        VDISK_COLUMNS "WHERE name = ?", [this](const Statement& row) { return read_vdisk(row); }, name);
    if (!found) return found.error();
    if (found->empty()) return no_vdisk(name);
    return found->front();
}

Result<bool> SqliteStore::exists(const char* sql, const std::string& key) {
    auto statement = database_->prepare(sql);
    if (!statement) return statement.error();
    statement->bind(key);
    return statement->step();
}

Result<void> SqliteStore::add_vdisk(const VDisk& vdisk) {
    if (!is_vdisk_name(vdisk.name))
        return usage(quoted(vdisk.name) + " cannot be a vDisk's name: a to z, 0 to 9, '-' and '.', at most 64");
    if (!is_plain_file_name(vdisk.file)) return usage(quoted(vdisk.file) + " is no file in the folder vdisks");
    return change(Survives::host_crash, [&]() -> Result<void> {
        auto taken = exists("SELECT 1 FROM vdisk WHERE name = ?", vdisk.name);
        if (taken && *taken) return usage("there is a vDisk " + quoted(vdisk.name) + " already");
        return database_->run("INSERT INTO vdisk VALUES (?, ?, ?, ?, ?)", vdisk.name, vdisk.file,
                              static_cast<i64>(vdisk.bytes), vdisk.note, vdisk.added);
    });
}

Result<void> SqliteStore::change_vdisk(const VDisk& vdisk) {
    if (!is_plain_file_name(vdisk.file)) return usage(quoted(vdisk.file) + " is no file in the folder vdisks");
    return change(Survives::host_crash, [&]() -> Result<void> {
        LODGE_TRY(database_->run("UPDATE vdisk SET file = ?, bytes = ?, note = ?, added = ? WHERE name = ?", vdisk.file,
                                 static_cast<i64>(vdisk.bytes), vdisk.note, vdisk.added, vdisk.name));
        return database_->changes() == 0 ? Result<void>(no_vdisk(vdisk.name)) : Result<void>();
    });
}

Result<void> SqliteStore::remove_vdisk(const std::string& name) {
    return change(Survives::host_crash, [&]() -> Result<void> {
        auto needed = exists("SELECT 1 FROM settings WHERE default_vdisk = ?", name);
        if (!needed) return needed.error();
        if (*needed) return usage("vDisk " + quoted(name) + " is the default for clients; choose another one first");
        LODGE_TRY(database_->run("DELETE FROM vdisk WHERE name = ?", name));
        return database_->changes() == 0 ? Result<void>(no_vdisk(name)) : Result<void>();
    });
}

// Clients.

Result<Client> SqliteStore::read_client(const Statement& row) const {
    Client client;
    client.mac = row.text(0);
    client.name = row.text(1);
    client.uuid = row.text(2);
    client.chap_secret = row.text(3);
    client.target_secret = row.text(4);
    client.added = row.integer(5);
    client.last_seen = row.integer(6);
    client.trusted = row.integer(7) != 0;
    if (!is_normal_mac(client.mac))
        return database_->damaged("the record of client " + quoted(one_line(client.mac)) + " cannot be");
    return client;
}

Result<Client> SqliteStore::with_initiators(Client client) {
    auto names = database_->rows<std::string>(
        "SELECT name FROM initiator WHERE mac = ? ORDER BY name",
        [](const Statement& row) { return Result<std::string>(row.text(0)); }, client.mac);
    if (!names) return names.error();
    client.initiators = std::move(*names);
    return client;
}

Result<std::vector<Client>> SqliteStore::clients_of(const char* sql, const std::string& key) {
    auto found = database_->rows<Client>(
        sql, [this](const Statement& row) { return read_client(row); }, key);
    if (!found) return found;
    for (Client& client : *found) {
        auto whole = with_initiators(std::move(client));
        if (!whole) return whole.error();
        client = std::move(*whole);
    }
    return found;
}

Result<std::vector<Client>> SqliteStore::clients() {
    std::lock_guard lock(mutex_);
    return clients_of(CLIENT_COLUMNS "WHERE ? = '' ORDER BY mac", "");
}

Result<Client> SqliteStore::client(const std::string& mac) {
    std::lock_guard lock(mutex_);
    auto found = clients_of(CLIENT_COLUMNS "WHERE mac = ?", mac);
    if (!found) return found.error();
    if (found->empty()) return no_client(mac);
    return found->front();
}

Result<Client> SqliteStore::client_by_uuid(const std::string& uuid) {
    std::lock_guard lock(mutex_);
    auto found = clients_of(CLIENT_COLUMNS "WHERE uuid = ? AND uuid <> ''", uuid);
    if (!found) return found.error();
    if (found->empty()) return not_found("there is no client with UUID " + quoted(uuid));
    return found->front();
}

Result<Client> SqliteStore::client_by_initiator(const std::string& initiator) {
    if (const std::string mac = mac_of_initiator(initiator); !mac.empty()) return client(mac);
    std::lock_guard lock(mutex_);
    auto found = clients_of(CLIENT_COLUMNS "WHERE mac = (SELECT mac FROM initiator WHERE name = ?)", initiator);
    if (!found) return found.error();
    if (found->empty()) return not_found("no client is called " + quoted(initiator));
    return found->front();
}

Result<void> SqliteStore::check_names(const Client& client) {
    if (!client.uuid.empty()) {
        auto others = clients_of(CLIENT_COLUMNS "WHERE uuid = ?", client.uuid);
        if (!others) return others.error();
        for (const Client& other : *others)
            if (other.mac != client.mac) return usage("client " + other.mac + " has UUID " + quoted(client.uuid));
    }
    for (const std::string& name : client.initiators) {
        if (name.empty() || name.size() > 223) return usage(quoted(name) + " cannot be an iSCSI name");
        if (!mac_of_initiator(name).empty())
            return usage(quoted(name) + " is the name of the client with that MAC address, and of nobody else");
        auto others = clients_of(CLIENT_COLUMNS "WHERE mac = (SELECT mac FROM initiator WHERE name = ?)", name);
        if (!others) return others.error();
        if (!others->empty() && others->front().mac != client.mac)
            return usage("client " + others->front().mac + " is called " + quoted(name) + " already");
    }
    return {};
}

Result<void> SqliteStore::add_initiators(const Client& client) {
    LODGE_TRY(database_->run("DELETE FROM initiator WHERE mac = ?", client.mac));
    for (const std::string& name : client.initiators)
        LODGE_TRY(database_->run("INSERT OR IGNORE INTO initiator VALUES (?, ?)", name, client.mac));
    return {};
}

Result<void> SqliteStore::add_client(const Client& client) {
    if (!is_normal_mac(client.mac)) return usage(quoted(client.mac) + " is no MAC address");
    return change(Survives::host_crash, [&]() -> Result<void> {
        auto taken = exists("SELECT 1 FROM client WHERE mac = ?", client.mac);
        if (taken && *taken) return usage("there is a client " + client.mac + " already");
        LODGE_TRY(check_names(client));
        LODGE_TRY(database_->run("INSERT INTO client VALUES (?, ?, ?, ?, ?, ?, ?, ?)", client.mac, client.name,
                                 client.uuid, client.chap_secret, client.target_secret, client.added, client.last_seen,
                                 i64{client.trusted}));
        return add_initiators(client);
    });
}

Result<void> SqliteStore::change_client(const Client& client) {
    return change(Survives::host_crash, [&]() -> Result<void> {
        LODGE_TRY(check_names(client));
        LODGE_TRY(database_->run(
            "UPDATE client SET name = ?, uuid = ?, chap_secret = ?, target_secret = ?, trusted = ? WHERE mac = ?",
            client.name, client.uuid, client.chap_secret, client.target_secret, i64{client.trusted}, client.mac));
        if (database_->changes() == 0) return no_client(client.mac);
        return add_initiators(client);
    });
}

Result<void> SqliteStore::remove_client(const std::string& mac) {
    return change(Survives::host_crash, [&]() -> Result<void> {
        LODGE_TRY(database_->run("DELETE FROM client WHERE mac = ?", mac));
        if (database_->changes() == 0) return no_client(mac);
        LODGE_TRY(database_->run("DELETE FROM holder WHERE mac = ?", mac));
        return database_->run("DELETE FROM ticket WHERE mac = ?", mac);
    });
}

Result<void> SqliteStore::seen(const std::string& mac, Time when) {
    return change(Survives::process_kill, [&]() -> Result<void> {
        LODGE_TRY(database_->run("UPDATE client SET last_seen = ? WHERE mac = ?", when, mac));
        return database_->changes() == 0 ? Result<void>(no_client(mac)) : Result<void>();
    });
}

// Assignments.

Result<Assignment> SqliteStore::read_assignment(const Statement& row) const {
    const auto mode = mode_of(row.text(2));
    Assignment assignment{row.text(0), row.text(1), mode.value_or(Mode::shared), static_cast<i32>(row.integer(3))};
    if (!mode || !is_normal_mac(assignment.mac) || !is_vdisk_name(assignment.vdisk))
        return database_->damaged("an assignment of client " + quoted(one_line(assignment.mac)) + " cannot be");
    return assignment;
}

Result<std::vector<Assignment>> SqliteStore::assignments() {
    std::lock_guard lock(mutex_);
    return database_->rows<Assignment>(ASSIGNMENT_COLUMNS "ORDER BY mac, position, vdisk",
                                       [this](const Statement& row) { return read_assignment(row); });
}

Result<std::vector<Assignment>> SqliteStore::assignments_of(const std::string& mac) {
    std::lock_guard lock(mutex_);
    return database_->rows<Assignment>(
        ASSIGNMENT_COLUMNS "WHERE mac = ? ORDER BY position, vdisk",
        [this](const Statement& row) { return read_assignment(row); }, mac);
}

Result<void> SqliteStore::assign(const Assignment& assignment) {
    return change(Survives::host_crash, [&]() -> Result<void> {
        auto client = exists("SELECT 1 FROM client WHERE mac = ?", assignment.mac);
        if (!client) return client.error();
        if (!*client) return no_client(assignment.mac);
        auto vdisk = exists("SELECT 1 FROM vdisk WHERE name = ?", assignment.vdisk);
        if (!vdisk) return vdisk.error();
        if (!*vdisk) return no_vdisk(assignment.vdisk);
        return database_->run(
            "INSERT INTO assignment VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET mode = excluded.mode, position = excluded.position",
            assignment.mac, assignment.vdisk, std::string(name_of(assignment.mode)), i64{assignment.order});
    });
}

Result<void> SqliteStore::unassign(const std::string& mac, const std::string& vdisk) {
    return change(Survives::host_crash, [&]() -> Result<void> {
        LODGE_TRY(database_->run("DELETE FROM assignment WHERE mac = ? AND vdisk = ?", mac, vdisk));
        if (database_->changes() != 0) return {};
        return not_found("vDisk " + quoted(vdisk) + " is not assigned to client " + quoted(mac));
    });
}

// Tickets.

Result<Ticket> SqliteStore::store_ticket(const std::string& mac, Time now) {
    auto secret = random_secret();
    if (!secret) return secret.error();
    LODGE_TRY(database_->run("INSERT OR REPLACE INTO ticket VALUES (?, 0, ?, ?)", mac, *secret, now));
    LODGE_TRY(
        database_->run("DELETE FROM ticket WHERE mac IN (SELECT mac FROM ticket WHERE used = 0 AND mac NOT IN (SELECT "
                       "mac FROM client) "
                       "ORDER BY given DESC, mac LIMIT -1 OFFSET ?) AND mac <> ?",
                       kMostUnknownTickets, mac));
    return Ticket{*secret, now, false};
}

Result<Ticket> SqliteStore::new_ticket(const std::string& mac, Time now) {
    if (!is_normal_mac(mac)) return usage(quoted(mac) + " is no MAC address");
    Ticket ticket;
    LODGE_TRY(change(Survives::process_kill, [&]() -> Result<void> {
        auto stored = store_ticket(mac, now);
        if (!stored) return stored.error();
        ticket = *stored;
        return {};
    }));
    return ticket;
}

Result<std::vector<Ticket>> SqliteStore::tickets(const std::string& mac) {
    std::lock_guard lock(mutex_);
    return database_->rows<Ticket>(
        "SELECT secret, given, used FROM ticket WHERE mac = ? ORDER BY used",
        [this](const Statement& row) -> Result<Ticket> {
            Ticket ticket{row.text(0), row.integer(1), row.integer(2) != 0};
            if (ticket.secret.size() != 32) return database_->damaged("a ticket cannot be");
            return ticket;
        },
        mac);
}

Result<void> SqliteStore::use_ticket(const std::string& mac, const std::string& secret) {
    return change(Survives::process_kill, [&]() -> Result<void> {
        LODGE_TRY(database_->run("UPDATE OR REPLACE ticket SET used = 1 WHERE mac = ? AND secret = ? AND used = 0", mac,
                                 secret));
        return database_->changes() == 0 ? Result<void>(not_found("client " + mac + " has no such ticket"))
                                         : Result<void>();
    });
}

Result<bool> SqliteStore::hold(const std::string& vdisk, const std::string& mac, const std::string& boot) {
    bool outdated = false;
    // If a crash of the host took it back, a boot that lost the disk could come back to it.
    LODGE_TRY(change(Survives::host_crash, [&]() -> Result<void> {
        auto rows = database_->rows<bool>(
            "SELECT superseded FROM holder WHERE vdisk = ? AND mac = ? AND boot = ? AND boot <> ''",
            [](const Statement& row) { return Result<bool>(row.integer(0) != 0); }, vdisk, mac, boot);
        if (!rows) return rows.error();
        outdated = !rows->empty() && rows->front();
        if (!rows->empty()) return {};  // it has it already, or has lost it
        LODGE_TRY(database_->run("UPDATE holder SET superseded = 1 WHERE vdisk = ? AND mac <> ?", vdisk, mac));
        return database_->run("INSERT OR REPLACE INTO holder VALUES (?, ?, ?, 0)", vdisk, mac, boot);
    }));
    return !outdated;
}

// Settings, log, sessions.

Result<Settings> SqliteStore::settings() {
    std::lock_guard lock(mutex_);
    auto rows = database_->rows<Settings>(
        "SELECT unknown_clients, default_vdisk, menu_seconds, cache, cache_memory, cache_quota, open_discovery, "
        "admin_password_hash FROM settings",
        [this](const Statement& row) -> Result<Settings> {
            Settings settings;
            const auto policy = unknown_clients_of(row.text(0));
            const std::string cache = row.text(3);
            if (!policy || (cache != "disk" && cache != "memory") || row.integer(2) < 0 || row.integer(4) < 0 ||
                row.integer(5) < 0)
                return database_->damaged("the settings cannot be");
            settings.unknown_clients = *policy;
            settings.default_vdisk = row.text(1);
            settings.menu_seconds = static_cast<u32>(std::min<i64>(row.integer(2), 1'000'000));
            settings.cache = cache == "disk" ? CacheKind::disk : CacheKind::memory;
            settings.cache_memory = static_cast<u64>(row.integer(4));
            settings.cache_quota = static_cast<u64>(row.integer(5));
            settings.open_discovery = row.integer(6) != 0;
            settings.admin_password_hash = row.text(7);
            return settings;
        });
    if (!rows) return rows.error();
    if (rows->empty()) return database_->damaged("there are no settings");
    return rows->front();
}

Result<void> SqliteStore::change_settings(const Settings& settings) {
    constexpr u64 kMost = u64{1} << 62;
    if (settings.cache_memory > kMost || settings.cache_quota > kMost) return usage("a cache cannot be so large");
    if (settings.menu_seconds > 86'400) return usage("a menu cannot wait for more than a day");
    return change(Survives::host_crash, [&]() -> Result<void> {
        if (!settings.default_vdisk.empty()) {
            auto there = exists("SELECT 1 FROM vdisk WHERE name = ?", settings.default_vdisk);
            if (!there) return there.error();
            if (!*there) return no_vdisk(settings.default_vdisk);
        }
        return database_->run(
            "UPDATE settings SET unknown_clients = ?, default_vdisk = nullif(?, ''), menu_seconds = ?, cache = ?, "
            "cache_memory = ?, cache_quota = ?, open_discovery = ?, admin_password_hash = ?",
            std::string(name_of(settings.unknown_clients)), settings.default_vdisk, i64{settings.menu_seconds},
            std::string(settings.cache == CacheKind::disk ? "disk" : "memory"), static_cast<i64>(settings.cache_memory),
            static_cast<i64>(settings.cache_quota), i64{settings.open_discovery}, settings.admin_password_hash);
    });
}

Result<void> SqliteStore::record(Time when, const std::string& who, const std::string& what) {
    return change(Survives::process_kill, [&]() -> Result<void> {
        LODGE_TRY(database_->run("INSERT INTO log (moment, who, what) VALUES (?, ?, ?)", when, one_line(who),
                                 one_line(what)));
        auto newest = database_->rows<i64>("SELECT max(id) FROM log",
                                           [](const Statement& row) { return Result<i64>(row.integer(0)); });
        if (!newest) return newest.error();
        if (newest->empty() || newest->front() % kTrimEvery != 0) return {};
        return database_->run("DELETE FROM log WHERE id <= ?", newest->front() - kMostLogLines);
    });
}

Result<std::vector<LogEntry>> SqliteStore::log(i64 before, u32 most) {
    std::lock_guard lock(mutex_);
    return database_->rows<LogEntry>(
        "SELECT id, moment, who, what FROM log WHERE ?1 = 0 OR id < ?1 ORDER BY id DESC LIMIT ?2",
        [](const Statement& row) {
            return Result<LogEntry>(LogEntry{row.integer(0), row.integer(1), row.text(2), row.text(3)});
        },
        before, i64{std::min(most, kMostLogLines)});
}

Result<void> SqliteStore::set_sessions(const std::vector<SessionRecord>& sessions) {
    return change(Survives::process_kill, [&]() -> Result<void> {
        LODGE_TRY(database_->run("DELETE FROM session"));
        for (const SessionRecord& session : sessions)
            LODGE_TRY(database_->run("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?)", session.id,
                                     session.mac, session.vdisk, std::string(name_of(session.mode)), session.address,
                                     session.since));
        return {};
    });
}

Result<std::vector<SessionRecord>> SqliteStore::sessions() {
    std::lock_guard lock(mutex_);
    return database_->rows<SessionRecord>(
        "SELECT id, mac, vdisk, mode, address, since FROM session ORDER BY mac, vdisk, id",
        [this](const Statement& row) -> Result<SessionRecord> {
            const auto mode = mode_of(row.text(3));
            if (!mode) return database_->damaged("a session cannot be");
            return SessionRecord{row.text(0), row.text(1), row.text(2), *mode, row.text(4), row.integer(5)};
        });
}

// Opening.

namespace {

std::string database_path(const std::string& folder) {
    return (fs::path(folder) / "lodge.sqlite").string();
}

Error host_failure(const std::string& path, const std::string& what, const std::error_code& code) {
    const bool full = code == std::errc::no_space_on_device;
    return Error{full ? ErrorKind::no_space : ErrorKind::usage, path + ": " + what + ": " + code.message()};
}

// SQLite gives its other files the permissions of the database, in which there are secrets.
Result<void> make_private_file(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor < 0) return host_failure(path, "cannot create", {errno, std::generic_category()});
    ::close(descriptor);
    return {};
}

Result<void> make_folders(const std::string& folder) {
    std::error_code code;
    fs::create_directory(folder, code);
    if (code) return host_failure(folder, "cannot make the folder", code);
    const bool empty = fs::is_empty(folder, code);
    if (code) return host_failure(folder, "cannot look into the folder", code);
    if (!empty && fs::exists(database_path(folder))) return usage(folder + ": is a store already");
    if (!empty) return usage(folder + ": is not empty; name a new folder");
    for (const char* name : {"vdisks", "cache"}) {
        fs::create_directory(fs::path(folder) / name, code);
        if (code) return host_failure(folder, std::string("cannot make its folder ") + name, code);
    }
    return {};
}

Result<std::unique_ptr<Store>> make_database(const std::string& folder) {
    LODGE_TRY(make_private_file(database_path(folder)));
    auto database = Database::open(database_path(folder), Database::Open::create);
    if (!database) return database.error();
    LODGE_TRY(make_schema(**database));
    return std::unique_ptr<Store>(std::make_unique<SqliteStore>(folder, std::move(*database)));
}

}  // namespace

Result<std::unique_ptr<Store>> create_store(const std::string& folder) {
    LODGE_TRY(make_folders(folder));
    auto store = make_database(folder);
    if (store) return store;
    std::error_code ignored;
    for (const char* name : {"lodge.sqlite", "lodge.sqlite-wal", "lodge.sqlite-shm", "vdisks", "cache"})
        fs::remove(fs::path(folder) / name, ignored);
    return store;
}

Result<std::unique_ptr<Store>> open_store(const std::string& folder) {
    const std::string path = database_path(folder);
    std::error_code ignored;
    if (!fs::exists(path, ignored)) return not_found(folder + ": is no store; 'lodge vdisk init' makes one");
    auto database = Database::open(path, Database::Open::existing);
    if (!database) return database.error();
    LODGE_TRY(update_schema(**database));
    return std::unique_ptr<Store>(std::make_unique<SqliteStore>(folder, std::move(*database)));
}

}  // namespace lodge::server
