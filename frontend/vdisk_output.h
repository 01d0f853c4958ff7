// What `lodge vdisk list`, `client list`, `settings` and `log` print.
#pragma once

#include <string>
#include <vector>

#include "disks/server/store.h"

namespace lodge {

struct StoreContent {
    std::string folder;
    std::vector<server::VDisk> vdisks;
    std::vector<server::Client> clients;
    std::vector<server::Assignment> assignments;
    std::vector<server::SessionRecord> sessions;  // none without a server
    server::Settings settings;
};
Result<StoreContent> read_store(server::Store& store);

enum class Secrets { hide, show };

void print_vdisks(const StoreContent& content);
void print_vdisks_json(const StoreContent& content);
void print_clients(const StoreContent& content);
void print_clients_json(const StoreContent& content, Secrets secrets);
void print_settings(const server::Settings& settings);
void print_settings_json(const server::Settings& settings);
void print_log(const std::vector<server::LogEntry>& newest_first);

// 2026-11-20 18:22:05, in the host's time zone.
std::string time_for_people(server::Time time);

}  // namespace lodge
