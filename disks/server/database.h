// SQLite as the store uses it: statements that are prepared once, values bound and read by type, transactions that end
// with their scope, errors as one line. A database file may hold any bytes: whatever SQLite makes of them comes back as
// an Error.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/result.h"
#include "core/base/types.h"

struct sqlite3;
struct sqlite3_stmt;

namespace lodge::server {

class Database;

// A statement under way. It is ready for its next use when this is destroyed.
class Statement {
  public:
    Statement(Database& database, sqlite3_stmt* statement) : database_(&database), statement_(statement) {}
    ~Statement();
    Statement(Statement&& other) noexcept : database_(other.database_), statement_(other.statement_) {
        other.statement_ = nullptr;
    }
    Statement& operator=(Statement&&) = delete;

    // Parameters in their order.
    void bind(const std::string& value);
    void bind(i64 value);
    void bind_null();

    // True: there is a row. Errors: whatever Database::failure says.
    Result<bool> step();
    // Of the present row, from column 0 on.
    std::string text(int column) const;
    i64 integer(int column) const;
    bool null(int column) const;

  private:
    Database* database_;
    sqlite3_stmt* statement_;
    int bound_ = 0;
};

class Database {
  public:
    enum class Open { existing, create };

    // Errors: not_found, usage (permission), bad_format (not a database), io.
    static Result<std::unique_ptr<Database>> open(const std::string& path, Open how);
    ~Database();
    Database(const Database&) = delete;
    Database& operator=(const Database&) = delete;

    const std::string& path() const { return path_; }

    // `sql` is a literal: it is told by its address.
    Result<Statement> prepare(const char* sql);
    // One statement with these values, whose rows nobody wants.
    template <class... Values>
    Result<void> run(const char* sql, const Values&... values) {
        auto statement = prepare(sql);
        if (!statement) return statement.error();
        (statement->bind(values), ...);
        auto row = statement->step();
        if (!row) return row.error();
        return {};
    }
    // Each row as `read` makes it: Result<T>(const Statement&).
    template <class T, class Read, class... Values>
    Result<std::vector<T>> rows(const char* sql, Read read, const Values&... values) {
        auto statement = prepare(sql);
        if (!statement) return statement.error();
        (statement->bind(values), ...);
        std::vector<T> all;
        for (;;) {
            auto row = statement->step();
            if (!row) return row.error();
            if (!*row) return all;
            Result<T> one = read(*statement);
            if (!one) return one.error();
            all.push_back(std::move(*one));
        }
    }
    // Several statements, for schemas.
    Result<void> script(const char* sql);
    // Rows that the last statement changed.
    i64 changes() const;

    Error failure(int code) const;
    // A record that cannot be.
    Error damaged(const std::string& what) const;

  private:
    friend class Statement;
    explicit Database(std::string path) : path_(std::move(path)) {}
    static int on_progress(void* self);

    // A damaged file may lead a search in circles; none of ours takes nearly so many steps.
    static constexpr int kStepsPerLook = 100'000;
    static constexpr int kMostLooks = 2'000;

    std::string path_;
    sqlite3* handle_ = nullptr;
    int looks_ = 0;  // since the last statement was prepared
    std::unordered_map<const char*, sqlite3_stmt*> prepared_;
};

// Undone unless it is committed.
class Transaction {
  public:
    enum class Survives {
        host_crash,    // on the host's disk when commit() returns
        process_kill,  // a crash of the host may take it back, whole
    };

    static Result<Transaction> begin(Database& database, Survives survives);
    ~Transaction();
    Transaction(Transaction&& other) noexcept : database_(other.database_) { other.database_ = nullptr; }
    Transaction& operator=(Transaction&&) = delete;

    Result<void> commit();

  private:
    explicit Transaction(Database& database) : database_(&database) {}

    Database* database_;
};

}  // namespace lodge::server
