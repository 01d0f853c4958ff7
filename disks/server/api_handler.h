// The API under /api/v1, without HTTP: requests and answers. docs/vdisk.md lists it for those who call it.
//
// Bodies are JSON objects both ways. An error is {"error": {"kind": KIND, "message": LINE}}, KIND one of ErrorKind's.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "disks/server/live.h"
#include "disks/server/store.h"

namespace lodge::server {

struct ApiRequest {
    std::string method;
    std::string path;  // below /api/v1/, decoded
    std::multimap<std::string, std::string> parameters;
    std::string body;
    std::string address;  // of who asks, for the log
};

struct ApiAnswer {
    int status = 200;
    std::string body;     // JSON, or empty with 204
    std::string allowed;  // methods, with 405
};

struct ApiConfig {
    bool from_anywhere = false;  // WebConfig::administer_from_anywhere: the password cannot be taken away
};

class ApiHandler {
  public:
    static std::unique_ptr<ApiHandler> create(const ApiConfig& config, Store& store, Live& live);
    virtual ~ApiHandler() = default;  // cancels jobs
    // Any thread.
    virtual ApiAnswer handle(const ApiRequest& request) = 0;
};

// The same as errors of the web server's own.
std::string api_error(const std::string& kind, const std::string& message);

}  // namespace lodge::server
