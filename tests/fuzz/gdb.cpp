// What a socket may say to the gdb server, whatever it is: packets, noise, monitor commands, conditions. The first byte
// of the input chooses: bytes as they are, or payloads between zero bytes, framed here so that they get through.
#include <memory>

#include "core/interp/interpreter.h"
#include "debug/gdb_server.h"

using namespace lodge;
using namespace lodge::debug;

namespace {

struct Target final : Listener {
    Target() {
        MachineConfig config;
        config.backing_bytes = kMiB;
        config.clock = ClockMode::virtual_time;
        config.cpu = &cpu_models().back();
        machine = std::move(*Machine::create(config, log));
        machine->memory().map(0, kMiB, 0, true);
        machine->memory().map(0xFFFF0000, 0x10000, 0xF0000, true);
        // MOV CX,FFFFh; INC AX; MOV [2000h],AX; OUT 10h,AL; LOOP; JMP to itself
        machine->memory().write(
            0xFFFF0, std::vector<u8>{0xB9, 0xFF, 0xFF, 0x40, 0xA3, 0x00, 0x20, 0xE6, 0x10, 0xE2, 0xF8, 0xEB, 0xFE});
        machine->set_executor(std::make_unique<Interpreter>(machine->cpu()));
        enough = std::make_unique<Event>(machine->scheduler(), "enough", [this](u64) { debugger->pause(); });
        machine->reset();
        machine->set_paused(true);
        debugger = std::make_unique<Debugger>(*machine);
        debugger->add_listener(*this);
        server = std::make_unique<GdbServer>(*debugger, GdbArchitecture::x86_64, [](std::string_view) {});
    }
    void on_stopped(const Stop&) override { machine->end(); }

    // A guest that has been let go on gets a moment, also when it only waits for an interrupt.
    void say(std::span<const u8> bytes) {
        server->receive(bytes);
        while (debugger->running()) {
            enough->schedule_at(machine->clock().now() + 300);
            static_cast<void>(machine->run());
        }
        enough->cancel();
    }

    Log log;
    std::unique_ptr<Machine> machine;
    std::unique_ptr<Event> enough;
    std::unique_ptr<Debugger> debugger;
    std::unique_ptr<GdbServer> server;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    if (size < 2 || size > 4096) return 0;
    Target target;
    std::span<const u8> input(data + 1, size - 1);
    if (data[0] & 1) {
        target.say(input);
        return 0;
    }
    std::string payload;
    const auto flush = [&] {
        const bool monitor = data[0] & 2;
        const std::string packet = frame(monitor ? "qRcmd," + to_hex(payload) : escape(payload));
        target.say({reinterpret_cast<const u8*>(packet.data()), packet.size()});
        payload.clear();
    };
    for (const u8 byte : input) {
        if (byte == 0)
            flush();
        else
            payload += static_cast<char>(byte);
    }
    flush();
    return 0;
}
