#include "frontend/gdb_port.h"

#include "debug/board.h"
#include "frontend/host_socket.h"

namespace lodge {

namespace {

Error refused(const std::string& option, const std::string& why) {
    return {ErrorKind::usage, "--gdb " + option + ": " + why};
}

Result<std::unique_ptr<HostPort>> listen_at(const std::string& place) {
    if (place.starts_with("unix:")) return SocketPort::listen_unix(place.substr(5));
    if (place.starts_with("tcp:")) return SocketPort::listen_tcp(place.substr(4));
    return Error{ErrorKind::usage, "not one of tcp:HOST:PORT, unix:PATH"};
}

}  // namespace

Result<std::unique_ptr<GdbPort>> GdbPort::open(const std::string& option, debug::Debugger& debugger, Pc& pc) {
    const CpuModel& model = debugger.machine().cpu().model();
    const bool wide = model.extended_edx & kCpuidLm;
    auto architecture = wide ? debug::GdbArchitecture::x86_64 : debug::GdbArchitecture::i386;
    const size_t comma = option.rfind(",arch=");
    if (comma != std::string::npos) {
        const std::string name = option.substr(comma + 6);
        if (name != "i386" && name != "x86-64") return refused(option, "arch is i386 or x86-64");
        architecture = name == "i386" ? debug::GdbArchitecture::i386 : debug::GdbArchitecture::x86_64;
    }
    auto port = listen_at(option.substr(0, comma));
    if (!port) return refused(option, port.error().context);
    std::unique_ptr<GdbPort> made(new GdbPort(debugger, architecture, std::move(*port)));
    debug::add_board_topics(made->server_.monitor(), pc);
    made->port_->connect(made.get());
    return made;
}

GdbPort::GdbPort(debug::Debugger& debugger, debug::GdbArchitecture architecture, std::unique_ptr<HostPort> port)
    : inputs_(debugger.machine().inputs()),
      port_(std::move(port)),
      server_(debugger, architecture, [this](std::string_view bytes) {
          port_->write({reinterpret_cast<const u8*>(bytes.data()), bytes.size()});
      }) {}

GdbPort::~GdbPort() {
    port_->connect(nullptr);
}

// gdb asks and waits: there is never much.
size_t GdbPort::room() const {
    return 0x10000;
}

void GdbPort::send(std::vector<u8> bytes) {
    inputs_.post_command([this, bytes = std::move(bytes)] { server_.receive(bytes); });
}

void GdbPort::on_client(bool) {
    inputs_.post_command([this] { server_.reset(); });
}

}  // namespace lodge
