// `--gdb`: a gdb server at a socket. The socket's thread posts what gdb says to the machine's InputQueue; all else
// happens on the CPU thread (debug/gdb_server.h).
#pragma once

#include <memory>
#include <string>

#include "debug/gdb_server.h"
#include "devices/pc.h"
#include "frontend/host_serial.h"

namespace lodge {

class GdbPort final : private PortFeed {
  public:
    // `option`: tcp:HOST:PORT or unix:PATH, then perhaps `,arch=i386|x86-64`. ErrorKind::usage. Debugger and board
    // outlive it, and the machine does not run when it is made or goes away.
    static Result<std::unique_ptr<GdbPort>> open(const std::string& option, debug::Debugger& debugger, Pc& pc);
    ~GdbPort() override;

  private:
    GdbPort(debug::Debugger& debugger, debug::GdbArchitecture architecture, std::unique_ptr<HostPort> port);

    // --- PortFeed
    size_t room() const override;
    void send(std::vector<u8> bytes) override;
    void on_client(bool connected) override;

    InputQueue& inputs_;
    std::unique_ptr<HostPort> port_;
    debug::GdbServer server_;
};

}  // namespace lodge
