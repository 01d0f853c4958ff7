// cpp-httplib's server with bounds of ours: on threads, waiting connections, the size and the time of requests.
#pragma once

#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/base/result.h"
#include "core/base/types.h"

namespace lodge::server {

class HttpListener final : private httplib::Server {
  public:
    using Request = httplib::Request;
    using Response = httplib::Response;
    // `early` is called when the headers are there, and answers requests without a body, and those that are refused;
    // true: it has answered. `late` is called with the body.
    struct Handlers {
        std::function<bool(const Request&, Response&)> early;
        std::function<void(const Request&, Response&)> late;
    };

    HttpListener(u32 threads, Handlers handlers);
    ~HttpListener() override;

    // Port 0: a free one. The port, and requests are answered from now on.
    Result<u16> start(const std::string& address, u16 port);

  private:
    bool process_and_close_socket(socket_t socket) override;
    void keep_answering(socket_t socket);
    void stop_all();

    const Handlers handlers_;
    std::thread thread_;
    std::atomic<bool> stopping_ = false;
    std::mutex mutex_;
    std::set<socket_t> open_;  // connections
};

}  // namespace lodge::server
