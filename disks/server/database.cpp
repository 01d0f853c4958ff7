#include "disks/server/database.h"

#include <sqlite3.h>

#include <algorithm>

namespace lodge::server {

namespace {

constexpr int kBusyMilliseconds = 10'000;
constexpr int kMostValueBytes = 1 << 20;

ErrorKind kind_of(int code) {
    switch (code & 0xFF) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return ErrorKind::locked;
        case SQLITE_FULL:
            return ErrorKind::no_space;
        case SQLITE_IOERR:
        case SQLITE_NOMEM:
            return ErrorKind::io;
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_AUTH:
        case SQLITE_CANTOPEN:
        case SQLITE_CONSTRAINT:
        case SQLITE_TOOBIG:
            return ErrorKind::usage;
        default:
            return ErrorKind::bad_format;
    }
}

const char* remedy_of(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::locked:
            return "; another program keeps it busy";
        case ErrorKind::no_space:
            return "; free some space on its file system";
        case ErrorKind::bad_format:
            return "; the database is damaged, restore it from a copy";
        case ErrorKind::usage:
            return "; check its permissions";
        default:
            return "";
    }
}

}  // namespace

Statement::~Statement() {
    if (!statement_) return;
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
}

// A value that cannot be bound (too long) makes the step fail: the parameter stays NULL, which no column of ours takes.
void Statement::bind(const std::string& value) {
    sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(std::min<size_t>(value.size(), 1u << 30)),
                      SQLITE_TRANSIENT);
}

void Statement::bind(i64 value) {
    sqlite3_bind_int64(statement_, ++bound_, value);
}

void Statement::bind_null() {
    sqlite3_bind_null(statement_, ++bound_);
}

Result<bool> Statement::step() {
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return database_->failure(code);
}

std::string Statement::text(int column) const {
    const unsigned char* bytes = sqlite3_column_text(statement_, column);
    if (!bytes) return {};
    return {reinterpret_cast<const char*>(bytes), static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

i64 Statement::integer(int column) const {
    return sqlite3_column_int64(statement_, column);
}

bool Statement::null(int column) const {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

int Database::on_progress(void* self) {
    return ++static_cast<Database*>(self)->looks_ > kMostLooks;
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path, Open how) {
    std::unique_ptr<Database> database(new Database(path));
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                      (how == Open::create ? SQLITE_OPEN_CREATE : 0);
    const int code = sqlite3_open_v2(path.c_str(), &database->handle_, flags, nullptr);
    if (!database->handle_) return Error{ErrorKind::io, path + ": no memory to open it"};
    if (code != SQLITE_OK) return database->failure(code);
    sqlite3_busy_timeout(database->handle_, kBusyMilliseconds);
    sqlite3_limit(database->handle_, SQLITE_LIMIT_LENGTH, kMostValueBytes);
    sqlite3_progress_handler(database->handle_, kStepsPerLook, on_progress, database.get());
    // What a file says about itself is not to be run (sqlite.org/security.html).
    sqlite3_db_config(database->handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(database->handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_db_config(database->handle_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    sqlite3_db_config(database->handle_, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
    LODGE_TRY(database->script("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA foreign_keys = ON;"));
    return database;
}

Database::~Database() {
    for (const auto& [sql, statement] : prepared_) sqlite3_finalize(statement);
    sqlite3_close(handle_);
}

Result<Statement> Database::prepare(const char* sql) {
    looks_ = 0;
    sqlite3_stmt*& statement = prepared_[sql];
    if (!statement) {
        const int code = sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
        if (code != SQLITE_OK) return failure(code);
    }
    return Statement(*this, statement);
}

Result<void> Database::script(const char* sql) {
    looks_ = 0;
    const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return failure(code);
    return {};
}

i64 Database::changes() const {
    return sqlite3_changes64(handle_);
}

Error Database::failure(int code) const {
    const ErrorKind kind = kind_of(code);
    return Error{kind, path_ + ": " + sqlite3_errmsg(handle_) + remedy_of(kind)};
}

Error Database::damaged(const std::string& what) const {
    return Error{ErrorKind::bad_format, path_ + ": " + what + remedy_of(ErrorKind::bad_format)};
}

Result<Transaction> Transaction::begin(Database& database, Survives survives) {
    // In WAL mode NORMAL does not sync at a commit, and never leaves half a transaction (sqlite.org/pragma.html).
    if (survives == Survives::host_crash)
        LODGE_TRY(database.run("PRAGMA synchronous = FULL"));
    else
        LODGE_TRY(database.run("PRAGMA synchronous = NORMAL"));
    LODGE_TRY(database.run("BEGIN IMMEDIATE"));
    return Transaction(database);
}

Result<void> Transaction::commit() {
    LODGE_TRY(database_->run("COMMIT"));
    database_ = nullptr;
    return {};
}

Transaction::~Transaction() {
    if (!database_) return;
    // SQLite may have undone it already, after an error.
    if (auto done = database_->run("ROLLBACK"); !done) return;
}

}  // namespace lodge::server
