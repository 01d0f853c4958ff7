// The server's web side: boot scripts, the API and the administration page, on one port.
//
// `/boot.ipxe` answers everybody who can reach the port. The API and the page answer requests from this host's
// loopback only, unless `administer_from_anywhere`; and once the store's settings have a password (http_password.h),
// they ask for it wherever the request comes from.
#pragma once

#include <memory>
#include <string>

#include "core/base/log.h"
#include "core/base/result.h"
#include "disks/server/live.h"
#include "disks/server/store.h"

namespace lodge::server {

struct WebConfig {
    std::string address = "0.0.0.0";  // or an IPv6 address, without brackets
    u16 port = 8080;                  // 0: a free one
    u16 iscsi_port = 3260;            // of the target, for boot scripts
    bool administer_from_anywhere = false;
    u32 threads = 16;  // as many requests at a time; further ones wait
};

class WebServer {
  public:
    // Listens and answers, on threads of its own, until it is destroyed. Errors: usage (administration from anywhere
    // without a password in the store's settings), io (the address cannot be listened at).
    static Result<std::unique_ptr<WebServer>> create(const WebConfig& config, Store& store, Live& live, Log& log);
    virtual ~WebServer() = default;
    virtual u16 port() const = 0;
};

}  // namespace lodge::server
