// Answers /boot.ipxe: finds the client, plans, gives it a ticket and renders its script. Any thread.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "disks/server/boot_script.h"
#include "disks/server/live.h"

namespace lodge::server {

struct BootQuery {
    std::multimap<std::string, std::string> parameters;  // mac, uuid, vdisk; ip, netmask; gateway=keep|clear
    std::string host;                                    // the Host header; empty: none
    std::string client_address, server_address;          // of the connection, without ports
    u16 server_port = 0;
};

class BootService {
  public:
    BootService(Store& store, Live& live, u16 iscsi_port) : store_(store), live_(live), iscsi_port_(iscsi_port) {}

    // Always a script: also errors of the store are for the client's screen.
    std::string script(const BootQuery& query);

  private:
    struct Records;

    Result<Records> look_up(const BootRequest& request);
    Result<BootSecret> carry_out(const BootPlan& plan, const BootRequest& request);
    Result<void> record_change(const BootPlan& plan);

    Store& store_;
    Live& live_;
    const u16 iscsi_port_;
    std::mutex mutex_;
    std::map<std::string, std::string> said_;  // by MAC address, the last line in the log: a client that asks every 30
                                               // seconds is worth one
};

// HOST[:PORT] as an HTTP client says it, if it is one that may stand in a script; else empty.
std::string safe_authority(const std::string& host);
// Whether these dotted IPv4 addresses are in one network of that mask.
bool same_network(const std::string& first, const std::string& second, const std::string& mask);

}  // namespace lodge::server
