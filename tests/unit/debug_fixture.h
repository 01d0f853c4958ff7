// A small machine under a debugger, on either engine: real mode, a program at F000:0000, an interrupt line.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "core/interp/interpreter.h"
#include "debug/debugger.h"
#include "debug/inspector.h"
#include "jit/translator.h"

namespace lodge::debug {

enum class Engine : u8 { interpreter, translator };

// Interrupt vectors: 06h (#UD) skips the two bytes of a UD2; 20h and 21h return at once.
const std::vector<u8> kHandlers = {
    0x90, 0xCF,                                      // F000:0100 NOP; IRET
    0x55, 0x89, 0xE5, 0x83, 0x46, 0x02, 0x02, 0x5D,  // F000:0102 PUSH BP; MOV BP,SP; ADD WORD [BP+2],2; POP BP
    0xCF,                                            // F000:010A IRET
};

class DebugFixture final : private Listener, private InterruptController {
  public:
    static constexpr u64 kMemory = kMiB, kProgram = 0xF0000;

    DebugFixture(const std::vector<u8>& program, Engine engine) {
        MachineConfig config;
        config.backing_bytes = kMemory;
        config.clock = ClockMode::virtual_time;
        config.cpu = &cpu_models().back();
        machine = std::move(*Machine::create(config, log));
        PhysicalMemory& memory = machine->memory();
        memory.map(0, kMemory, 0, true);
        memory.map(0xFFFF0000, 0x10000, kProgram, true);
        memory.write(kProgram, program);
        memory.write(kProgram + 0x100, kHandlers);
        memory.write(0xFFFF0, std::vector<u8>{0xEA, 0x00, 0x00, 0x00, 0xF0});  // JMP F000:0000
        memory.write_value<u32>(0x06 * 4, 0xF0000102);
        memory.write_value<u32>(0x20 * 4, 0xF0000100);
        memory.write_value<u32>(0x21 * 4, 0xF0000100);
        port = std::move(*machine->ports().claim(
            0x10, 2, "chip", [](u64, unsigned) { return u64{0x5A}; }, [](u64, unsigned, u64) {}, kRegisters));
        machine->cpu().connect(*this, nullptr);
        if (engine == Engine::interpreter) {
            machine->set_executor(std::make_unique<Interpreter>(machine->cpu()));
        } else {
            jit::Translator::Options options;
            options.hot = 1;
            machine->set_executor(std::move(*jit::Translator::create(machine->cpu(), options)));
        }
        machine->reset();
        machine->cpu().state.gpr[kRsp] = 0x8000;
        machine->set_paused(true);
        debugger = std::make_unique<Debugger>(*machine);
        debugger->add_listener(*this);
    }

    // Lets it go on; true when it has stopped within `most` instructions.
    bool go(u64 most = 100'000) {
        debugger->resume();
        return run(most);
    }
    bool step(const Step& step, u64 most = 100'000) {
        REQUIRE(debugger->step(step).ok());
        return run(most);
    }
    bool run(u64 most) {
        stops = 0;
        ends_at_stop = true;
        const auto ended = machine->run_until(machine->cpu().state.retired + most);
        ends_at_stop = false;
        if (!ended) debugger->pause();
        return stops == 1 && ended.has_value();
    }
    u32 add(const Place& place) {
        StopPoint point;
        point.place = place;
        return *debugger->add(point);
    }
    u64 pc() { return machine->cpu().linear_ip(); }
    u64 retired() { return machine->cpu().state.retired; }
    u64 ax() { return machine->cpu().state.gpr[kRax]; }
    const Stop& stop() { return debugger->last_stop(); }

    Log log;
    std::unique_ptr<Machine> machine;
    std::unique_ptr<Debugger> debugger;
    BusRange port;
    unsigned stops = 0;
    bool ends_at_stop = false;
    std::vector<u8> interrupts;  // vectors that wait

    void interrupt(u8 vector) {
        interrupts.push_back(vector);
        machine->cpu().set_interrupt(true);
    }

  private:
    static constexpr RegisterInfo kRegisters[] = {{0, 8, "DATA"}, {1, 8, "STATUS", RegisterRead::changes}};

    void on_stopped(const Stop&) override {
        ++stops;
        if (ends_at_stop) machine->end();
    }
    std::optional<u8> acknowledge() override {
        if (interrupts.empty()) return {};
        const u8 vector = interrupts.back();
        interrupts.pop_back();
        machine->cpu().set_interrupt(!interrupts.empty());
        return vector;
    }
};

}  // namespace lodge::debug
