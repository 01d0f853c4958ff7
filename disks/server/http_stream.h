// One HTTP connection with limits that cpp-httplib does not have: on the bytes of a request, headers included, and on
// the time that it may take, however slowly its bytes come.
#pragma once

#include <httplib.h>

#include <array>
#include <chrono>
#include <string>

#include "core/base/types.h"

namespace lodge::server {

class HttpStream final : public httplib::Stream {
  public:
    using Clock = std::chrono::steady_clock;

    explicit HttpStream(int socket);  // which stays the caller's

    // Waits for a request's first byte, so long; false: none came, or the connection has ended.
    bool wait_for_request(std::chrono::milliseconds longest);
    // From here on, a request may take `time` until its answer is sent, and have so many bytes.
    void begin_request(std::chrono::milliseconds time, size_t most_bytes);
    // After the answer: says that no more is sent, and reads what is still on its way, for a moment; a close with
    // unread bytes would reset the connection and could take the answer from the client.
    void finish();

    bool is_readable() const override;
    bool is_writable() const override;
    ssize_t read(char* to, size_t size) override;
    ssize_t write(const char* from, size_t size) override;
    void get_remote_ip_and_port(std::string& address, int& port) const override;
    void get_local_ip_and_port(std::string& address, int& port) const override;
    socket_t socket() const override { return socket_; }

  private:
    bool wait_for(short events) const;
    bool fill();

    const int socket_;
    std::array<char, 4096> buffer_{};
    size_t begin_ = 0, end_ = 0;  // of what is in it
    size_t left_ = 0;             // bytes that the request may still have
    Clock::time_point deadline_{};
};

}  // namespace lodge::server
