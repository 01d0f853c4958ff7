// Who may use the API and the page: from where, with which password, and that it is not a strange page in the
// administrator's browser that asks.
//
// Without a password in the settings, only this host's loopback may, and only under a name of loopback's: a page of
// somebody's whose name is made to mean 127.0.0.1 (DNS rebinding) asks under its own. A browser sends a password only
// to the page that asked for it, so with one the name does not matter. What changes something needs the header
// `X-Lodge`: pages of other origins cannot set it without asking us (CORS), and we never agree.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/base/types.h"

namespace lodge::server {

struct AdminRequest {
    std::string address;        // of the client
    std::string host;           // header Host
    std::string authorization;  // header Authorization
    bool changes = false;       // its method is not GET or HEAD
    bool has_our_header = false;
};

struct AdminRefusal {
    int status = 403;  // of HTTP; 401 asks for a password
    std::string why;
};

bool is_loopback_address(const std::string& address);
// localhost, 127.x.y.z or [::1], with or without a port.
bool is_loopback_name(const std::string& host);
// The password of a header `Basic BASE64(user:password)`; the user does not matter. Nothing: it is no such header.
std::optional<std::string> basic_password(const std::string& authorization);

// Any thread.
class AdminGuard {
  public:
    using Clock = std::chrono::steady_clock;

    explicit AdminGuard(bool from_anywhere);

    // Nothing: it may go on. `hash` is the settings' admin_password_hash.
    std::optional<AdminRefusal> refusal(const AdminRequest& request, const std::string& hash);

  private:
    using Digest = std::array<u8, 32>;

    std::optional<AdminRefusal> check_password(const AdminRequest& request, const std::string& hash);
    Digest digest(const std::string& authorization, const std::string& hash) const;
    std::optional<AdminRefusal> begin_attempt(const std::string& address);
    void end_attempt(const std::string& address, bool right, const Digest& digest);

    const bool from_anywhere_;
    Digest key_{};  // random; so that what is remembered tells nothing
    std::mutex mutex_;
    std::vector<Digest> right_;                       // the last that were: a page asks every second
    u32 attempts_ = 0;                                // that are being computed
    std::map<std::string, Clock::time_point> wrong_;  // by address, when last
};

}  // namespace lodge::server
