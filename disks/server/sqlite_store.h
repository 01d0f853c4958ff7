// The store in SQLite: one connection, one call at a time. schema.cpp has the tables.
#pragma once

#include <mutex>

#include "disks/server/database.h"
#include "disks/server/store.h"

namespace lodge::server {

class SqliteStore final : public Store {
  public:
    SqliteStore(std::string folder, std::unique_ptr<Database> database)
        : folder_(std::move(folder)), database_(std::move(database)) {}

    const std::string& folder() const override { return folder_; }

    Result<std::vector<VDisk>> vdisks() override;
    Result<VDisk> vdisk(const std::string& name) override;
    Result<void> add_vdisk(const VDisk& vdisk) override;
    Result<void> change_vdisk(const VDisk& vdisk) override;
    Result<void> remove_vdisk(const std::string& name) override;

    Result<std::vector<Client>> clients() override;
    Result<Client> client(const std::string& mac) override;
    Result<Client> client_by_uuid(const std::string& uuid) override;
    Result<Client> client_by_initiator(const std::string& initiator) override;
    Result<void> add_client(const Client& client) override;
    Result<void> change_client(const Client& client) override;
    Result<void> remove_client(const std::string& mac) override;
    Result<void> seen(const std::string& mac, Time when) override;

    Result<std::vector<Assignment>> assignments() override;
    Result<std::vector<Assignment>> assignments_of(const std::string& mac) override;
    Result<void> assign(const Assignment& assignment) override;
    Result<void> unassign(const std::string& mac, const std::string& vdisk) override;

    Result<Ticket> new_ticket(const std::string& mac, Time now) override;
    Result<std::vector<Ticket>> tickets(const std::string& mac) override;
    Result<void> use_ticket(const std::string& mac, const std::string& secret) override;
    Result<bool> hold(const std::string& vdisk, const std::string& mac, const std::string& boot) override;

    Result<Settings> settings() override;
    Result<void> change_settings(const Settings& settings) override;

    Result<void> record(Time when, const std::string& who, const std::string& what) override;
    Result<std::vector<LogEntry>> log(i64 before, u32 most) override;

    Result<void> set_sessions(const std::vector<SessionRecord>& sessions) override;
    Result<std::vector<SessionRecord>> sessions() override;

  private:
    using Survives = Transaction::Survives;

    // All of these are called with the lock held.
    Result<VDisk> read_vdisk(const Statement& row) const;
    Result<Client> read_client(const Statement& row) const;
    Result<Assignment> read_assignment(const Statement& row) const;
    Result<Client> with_initiators(Client client);
    Result<std::vector<Client>> clients_of(const char* sql, const std::string& key);
    Result<void> check_names(const Client& client);
    Result<void> add_initiators(const Client& client);
    Result<bool> exists(const char* sql, const std::string& key);
    Result<Ticket> store_ticket(const std::string& mac, Time now);

    // Does `work` as one transaction.
    template <class Work>
    Result<void> change(Survives survives, Work work) {
        std::lock_guard lock(mutex_);
        auto transaction = Transaction::begin(*database_, survives);
        if (!transaction) return transaction.error();
        LODGE_TRY(work());
        return transaction->commit();
    }

    std::string folder_;
    std::mutex mutex_;
    std::unique_ptr<Database> database_;  // under mutex_
};

}  // namespace lodge::server
