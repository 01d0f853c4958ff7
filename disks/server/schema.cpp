#include "disks/server/schema.h"

#include <array>

namespace lodge::server {

namespace {

constexpr i64 kApplicationId = 0x4C4F4447;  // "LODG", as file(1) can show it

// What brings a database from version N (its PRAGMA user_version) to N + 1. Rows are added to this table; those that
// have been in a release do not change.
constexpr std::array kSteps = {
    R"(
    CREATE TABLE vdisk (
        name TEXT PRIMARY KEY NOT NULL,
        file TEXT NOT NULL UNIQUE,
        bytes INTEGER NOT NULL,
        note TEXT NOT NULL,
        added INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE client (
        mac TEXT PRIMARY KEY NOT NULL,
        name TEXT NOT NULL,
        uuid TEXT NOT NULL,
        chap_secret TEXT NOT NULL,
        target_secret TEXT NOT NULL,
        added INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        trusted INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX client_uuid ON client (uuid) WHERE uuid <> '';
    CREATE TABLE initiator (
        name TEXT PRIMARY KEY NOT NULL,
        mac TEXT NOT NULL REFERENCES client (mac) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX initiator_mac ON initiator (mac);
    CREATE TABLE assignment (
        mac TEXT NOT NULL REFERENCES client (mac) ON DELETE CASCADE,
        vdisk TEXT NOT NULL REFERENCES vdisk (name) ON DELETE CASCADE,
        mode TEXT NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (mac, vdisk)
    ) STRICT;
    CREATE INDEX assignment_vdisk ON assignment (vdisk);
    -- Of clients without a record too. A client has at most one of each kind.
    CREATE TABLE ticket (
        mac TEXT NOT NULL,
        used INTEGER NOT NULL,
        secret TEXT NOT NULL,
        given INTEGER NOT NULL,
        PRIMARY KEY (mac, used)
    ) STRICT;
    CREATE INDEX ticket_given ON ticket (given);
    CREATE TABLE holder (
        vdisk TEXT NOT NULL REFERENCES vdisk (name) ON DELETE CASCADE,
        mac TEXT NOT NULL,
        boot TEXT NOT NULL,
        superseded INTEGER NOT NULL,
        PRIMARY KEY (vdisk, mac)
    ) STRICT;
    CREATE TABLE settings (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        unknown_clients TEXT NOT NULL,
        default_vdisk TEXT REFERENCES vdisk (name) ON DELETE RESTRICT,
        menu_seconds INTEGER NOT NULL,
        cache TEXT NOT NULL,
        cache_memory INTEGER NOT NULL,
        cache_quota INTEGER NOT NULL,
        open_discovery INTEGER NOT NULL,
        admin_password_hash TEXT NOT NULL
    ) STRICT;
    CREATE TABLE log (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        moment INTEGER NOT NULL,
        who TEXT NOT NULL,
        what TEXT NOT NULL
    ) STRICT;
    CREATE TABLE session (
        id TEXT PRIMARY KEY NOT NULL,
        mac TEXT NOT NULL,
        vdisk TEXT NOT NULL,
        mode TEXT NOT NULL,
        address TEXT NOT NULL,
        since INTEGER NOT NULL
    ) STRICT;
    INSERT INTO settings VALUES (1, 'refuse', NULL, 10, 'disk', 67108864, 0, 0, '');
    )",
};
constexpr i64 kVersion = kSteps.size();

Result<i64> integer_of(Database& database, const char* sql) {
    auto statement = database.prepare(sql);
    if (!statement) return statement.error();
    auto row = statement->step();
    if (!row) return row.error();
    return *row ? statement->integer(0) : 0;
}

// PRAGMA takes no parameters.
Result<void> set_version(Database& database, i64 version) {
    return database.script(("PRAGMA user_version = " + std::to_string(version)).c_str());
}

Result<void> take_steps(Database& database, i64 version) {
    for (; version < kVersion; ++version) {
        LODGE_TRY(database.script(kSteps[static_cast<size_t>(version)]));
        LODGE_TRY(set_version(database, version + 1));
    }
    return {};
}

Result<i64> version_of(Database& database) {
    const auto id = integer_of(database, "PRAGMA application_id");
    if (!id) return id.error();
    if (*id != kApplicationId) return Error{ErrorKind::bad_format, database.path() + ": is not a store's database"};
    const auto version = integer_of(database, "PRAGMA user_version");
    if (!version) return version.error();
    if (*version < 1) return database.damaged("has version " + std::to_string(*version));
    if (*version > kVersion)
        return Error{ErrorKind::bad_format, database.path() + ": has version " + std::to_string(*version) +
                                                ", and this lodge knows up to " + std::to_string(kVersion) +
                                                "; use the lodge that wrote it"};
    return *version;
}

// A table of ours has a page of its own; views, triggers and virtual tables, which may do anything, have none.
Result<void> refuse_strange(Database& database) {
    const auto strange =
        integer_of(database, "SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index') OR rootpage = 0");
    if (!strange) return strange.error();
    if (*strange != 0) return database.damaged("has tables that no store has");
    return {};
}

}  // namespace

Result<void> make_schema(Database& database) {
    LODGE_TRY(database.script(("PRAGMA application_id = " + std::to_string(kApplicationId)).c_str()));
    LODGE_TRY(database.script("PRAGMA journal_mode = WAL"));
    auto transaction = Transaction::begin(database, Transaction::Survives::host_crash);
    if (!transaction) return transaction.error();
    LODGE_TRY(take_steps(database, 0));
    return transaction->commit();
}

Result<void> update_schema(Database& database) {
    auto version = version_of(database);
    if (!version) return version.error();
    LODGE_TRY(refuse_strange(database));
    LODGE_TRY(database.script("PRAGMA journal_mode = WAL"));
    if (*version == kVersion) return {};
    auto transaction = Transaction::begin(database, Transaction::Survives::host_crash);
    if (!transaction) return transaction.error();
    version = version_of(database);  // another process may have been faster
    if (!version) return version.error();
    LODGE_TRY(take_steps(database, *version));
    return transaction->commit();
}

}  // namespace lodge::server
