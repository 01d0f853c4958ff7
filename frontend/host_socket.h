// A port of the host as a socket that lodge listens at: `unix:PATH` and `tcp:HOST:PORT`.
//
// One client at a time; the next one is accepted when it has gone. The guest never waits: without a client its bytes
// are lost, and so are those beyond kMostWaiting that a client does not read. A client does wait, when the guest does
// not read. One thread does all of the socket's work.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "frontend/host_serial.h"

namespace lodge {

class SocketPort final : public HostPort {
  public:
    static constexpr size_t kMostWaiting = 1 << 20;

    // ErrorKind::usage, with the reason alone as context. A socket file that nobody listens at any more is replaced.
    static Result<std::unique_ptr<HostPort>> listen_unix(const std::string& path);
    // `address`: HOST:PORT, the host a name, an IPv4 address or an IPv6 one in brackets.
    static Result<std::unique_ptr<HostPort>> listen_tcp(const std::string& address);

    // Takes `listener`, a listening socket; removes the file `path`, if any, in the end.
    SocketPort(int listener, std::string path);
    // Waits a moment at most for a client that does not read.
    ~SocketPort() override;

    void write(std::span<const u8> bytes) override;
    void connect(PortFeed* feed) override;

  private:
    void run();
    // One wait for something to do, and doing it. False: the end has come.
    bool round();
    void accept_client();
    void drop_client();
    void send_waiting();
    void receive();
    size_t room();
    void wake();

    int listener_;
    int wake_;
    std::string path_;
    int client_ = -1;          // the thread's
    std::vector<u8> sending_;  // the thread's
    size_t sent_ = 0;          // of sending_
    std::mutex mutex_;
    bool connected_ = false;    // under mutex_
    bool ending_ = false;       // under mutex_
    std::vector<u8> waiting_;   // under mutex_
    PortFeed* feed_ = nullptr;  // under mutex_
    std::thread thread_;
};

}  // namespace lodge
